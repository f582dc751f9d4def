"""What is measured of a device: rates, training steps, psi's encoder, search."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import random_graph
import torch
from training_step import DIMENSION, ROWS, make_module, make_step, random_batch

from configs.schema import Config, ModelConfig, RankConfig, RankHead
from prerank.encoding.batches import Batch
from prerank.network.inputs import HashedTable
from prerank.systems.grace import GRACE
from prerank.systems.ple import PLE
from prerank.training.network_system import NetworkSystem

SYSTEMS: dict[str, tuple[type[NetworkSystem], RankHead]] = {
    "ple": (PLE, RankHead.none),
    "grace": (GRACE, RankHead.shared),
}
BATCHES = (1024, 8192, 65_536)
SECONDS, COMPARED_STEPS = 4.0, 20
VECTORS, QUERIES, NEIGHBOURS = 500_000, 2_000, 50


def system(name: str) -> NetworkSystem:
    """A system on the CPU, ψ for half of the items."""
    kind, head = SYSTEMS[name]
    config = Config(model=ModelConfig(name=name, rank=RankConfig(head=head)))
    config.model.item.hash_vocabulary = ROWS
    return make_module(config, kind)


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rate(call: Callable[[], object], device: torch.device, seconds: float = SECONDS) -> float:
    """Calls a second, of the median of ten equal parts after a tenth of warm-up."""
    count = 0
    started = time.perf_counter()
    while time.perf_counter() - started < seconds / 10:
        call()
        synchronise(device)
        count += 1
    parts = []
    for _ in range(10):
        started = time.perf_counter()
        for _ in range(count):
            call()
        synchronise(device)
        parts.append(count / (time.perf_counter() - started))
    return statistics.median(parts)


def ceilings(device: torch.device) -> dict[str, float]:
    """Bytes a second of a copy, and operations a second of square products, in 10⁹."""
    size = 4096 if device.type == "cuda" else 1024
    source = torch.randn(size * size, device=device)
    target = torch.empty_like(source)
    figures = {"memory_gb_s": 2 * source.nbytes * rate(lambda: target.copy_(source), device, 1) / 1e9}
    for name, dtype, tf32 in (
        ("fp32", torch.float32, False),
        ("tf32", torch.float32, True),
        ("bf16", torch.bfloat16, False),
    ):
        if name == "tf32" and device.type != "cuda":
            continue
        torch.backends.cuda.matmul.allow_tf32 = tf32
        square = torch.randn(size, size, device=device).to(dtype)
        figures[f"{name}_gflop_s"] = (
            2 * size**3 * rate(lambda square=square: torch.mm(square, square), device, 1) / 1e9  # type: ignore[misc]
        )
    torch.backends.cuda.matmul.allow_tf32 = False
    return {name: round(value, 1) for name, value in figures.items()}


def bytes_of_step(module: NetworkSystem, batch: Batch) -> int:
    """What a step has to move at least: its rows of the tables, the dense weights, and the batch itself.

    A row is read forward, and read and written with its accumulator in the update, its gradient written and read: seven
    times. A dense weight is read forward and backward besides, eight times. What layers hand on may stay in caches.
    """
    tables = {id(each.weight): each.weight for each in module.modules() if isinstance(each, HashedTable)}
    dense = sum(weight.nbytes for weight in module.parameters() if id(weight) not in tables)
    columns = sum(side.ids.nbytes for side in batch.sides.values())
    values = len(batch) * (DIMENSION + 11 * 16) * 4
    return 7 * values + 8 * dense + columns + batch.item_hash.nbytes + 8 * batch.item.nbytes


def train(name: str, device: torch.device, bound: float) -> list[dict[str, float]]:
    """Steps a second at each size of batch, and the share of the memory bound."""
    figures = []
    for size in BATCHES if device.type == "cuda" else BATCHES[:2]:
        module = system(name).to(device)
        step = make_step(module)
        batches = [random_batch(torch.Generator().manual_seed(seed), size).to(device) for seed in range(4)]
        at = iter(range(10**9))
        steps = rate(lambda step=step, batches=batches, at=at: step(batches[next(at) % 4]), device)  # type: ignore[misc]
        share = steps * bytes_of_step(module, batches[0]) / (bound * 1e9)
        figures.append(
            {"batch": size, "steps_s": round(steps, 1), "rows_s": round(steps * size), "memory_share": round(share, 4)}
        )
    return figures


def compared(name: str, device: torch.device) -> dict[str, float]:
    """The same steps on CPU and device, from the same weights: how far apart losses and logits are."""
    modules = [system(name), system(name).to(device)]
    steps = [make_step(module) for module in modules]
    apart = 0.0
    for number in range(COMPARED_STEPS):
        batch = random_batch(torch.Generator().manual_seed(number))
        first, second = (float(step(batch.to(module.device))) for module, step in zip(modules, steps, strict=True))
        apart = max(apart, abs(first - second))
    batch = random_batch(torch.Generator().manual_seed(COMPARED_STEPS))
    with torch.inference_mode():
        logits = [module.eval()(batch.to(module.device)).click.cpu() for module in modules]
    return {"loss_apart": apart, "logits_apart": float((logits[0] - logits[1]).abs().max()), "steps": COMPARED_STEPS}


def psi(device: torch.device) -> dict[str, float]:
    """Pairs a second of the encoder's training, sampling included."""
    graph = random_graph.RandomGraph(device, torch.Generator(device).manual_seed(0))
    model = random_graph.encoder().to(device)
    optimizer = torch.optim.Adam(model.parameters(), fused=device.type == "cuda" or None)

    def step() -> None:
        optimizer.zero_grad()
        random_graph.loss(model, *graph.batch(1024)).backward()
        optimizer.step()

    return {"pairs_s": round(rate(step, device) * 1024)}


def search(device: torch.device) -> dict[str, Any]:
    """Exact search by FAISS: queries a second, and the share of the CPU's neighbours that the GPU finds."""
    try:
        import faiss
    except ImportError:
        return {"left_out": "FAISS is not installed"}
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(VECTORS, 64)).astype(np.float32)
    index = faiss.IndexFlatIP(64)
    index.add(vectors)
    started = time.perf_counter()
    _, exact = index.search(vectors[:QUERIES], NEIGHBOURS)
    figures: dict[str, Any] = {"cpu_queries_s": round(QUERIES / (time.perf_counter() - started))}
    if device.type != "cuda" or not getattr(faiss, "get_num_gpus", int)():
        return figures | {"left_out": "this FAISS sees no GPU"}
    moved = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
    figures["gpu_queries_s"] = round(QUERIES * rate(lambda: moved.search(vectors[:QUERIES], NEIGHBOURS), device, 3))
    _, near = moved.search(vectors[:QUERIES], NEIGHBOURS)
    same = [len(set(a) & set(b)) for a, b in zip(exact, near, strict=True)]
    return figures | {"overlap": float(np.mean(same)) / NEIGHBOURS}


def measured(device: torch.device) -> dict[str, Any]:
    """All that is measured on one device."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    figures: dict[str, Any] = {"device": name, "ceilings": ceilings(device)}
    print(f"\n{name}\n  ceilings: {figures['ceilings']}", flush=True)
    for each in SYSTEMS:
        figures[each] = train(each, device, figures["ceilings"]["memory_gb_s"])
        for row in figures[each]:
            print(f"  {each}: {row}", flush=True)
    figures["psi"] = psi(device)
    print(f"  psi: {figures['psi']}", flush=True)
    return figures


def run(missing: Sequence[str]) -> int:
    """Measure, print and write; 1 where there is no GPU."""
    started = time.perf_counter()
    torch.sparse.check_sparse_tensor_invariants.disable()
    cuda = torch.cuda.is_available()
    print(f"torch {torch.__version__}; stood in for: {', '.join(missing) or 'nothing'}")
    figures: dict[str, Any] = {"torch": torch.__version__, "cpu": measured(torch.device("cpu"))}
    device = torch.device("cuda" if cuda else "cpu")
    if cuda:
        figures["gpu"] = measured(device)
        figures["compared"] = {name: compared(name, device) for name in SYSTEMS}
        print(f"\nGPU less CPU after the same steps: {figures['compared']}")
    figures["faiss"] = search(device)
    print(f"FAISS, {VECTORS:,} vectors of 64: {figures['faiss']}")
    figures["seconds"] = round(time.perf_counter() - started, 1)
    path = Path(os.environ.get("OUT", ".")) / "gpu.json"
    path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(f"{figures['seconds']} s; written: {path}" + ("" if cuda else "; no GPU was seen"))
    return int(not cuda)
