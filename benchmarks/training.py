"""``prerank.fit``'s training, whole: rows per second beside a plain sketch of the same work and the machine's ceiling.

    python benchmarks/training.py [systems=ple,grace,copr,rankflow] [rows=300000] [rounds=2] [folder=FOLDER]

What runs is what the command runs: memory-mapped arrays, shuffling, Lightning, eight validations an epoch, checkpoints.
The log is noise of platform.md's shape: 12 id columns, one of them hashed to 3,000,000 rows of 32 and eleven of 16,
batches of 1,024, 2 shared and 2 own experts a task [128, 64], towers [64]; lists of 25, a catalogue of a million items
of which few are frequent. The time is that of the epoch, from its first batch to the end of the fit; building the
network is left out. Every round takes every system and the sketch in turns, so that whatever else the machine does
falls on all alike, and their medians are compared. Each fit is a process of its own, and its peak memory that
process's. Rounds are kept in FOLDER: a command that was stopped goes on, one with more rounds or systems adds them.

The sketch is PLE's very work in the fewest lines of torch, in memory, without validation. *Ceiling* is the time that
the matrix products of a step, forward and backward, take at the rate of the largest of them.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import configs  # noqa: F401  sets how OpenMP threads wait, before torch loads the library

# isort: split

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from training_step import Sketch

from configs.command import parse
from configs.console import say, table
from configs.schema import Config
from configs.stages import Stage, read_json, write_json
from prerank import systems
from prerank.encoding.batch_loader import BatchLoader
from prerank.encoding.batches import Batch, EncodedLog
from prerank.encoding.schema import EncodedSchema, SideSchema
from prerank.fitting import system_keys, train
from prerank.training.contracts import Work
from prerank.training.cost import backward, training_flops
from pretrain.embeddings import EmbeddingTable

BATCH, DIMENSION, LIST = 1024, 32, 25
VOCABULARY, ITEMS, BUCKETS = 3_000_000, 1_000_000, 20_000
VALIDATION_SHARE = 0.05
COLUMNS = {"item": ("brand", "shop", "category"), "request": ("user", "query", "city", "age"), "pair": tuple("abcd")}
SKETCH = "sketch"
TARGETS = {"ceiling": 0.6, "sketch": 1.3, "grace": 1.15, "copr": 1.4, "rankflow": 1.4}
"""Least share of the ceiling and multiple of the sketch of PLE; most time of the others as a multiple of PLE's."""


def write_encoded(folder: Path, rows: int) -> None:
    """An encoded log of noise, in which few items are frequent."""
    stage = Stage(folder, {"rows": rows, "version": 1})
    if stage.finished:
        return
    stage.start()
    draw = np.random.default_rng(0)
    splits = {"train": rows, "validation": max(int(rows * VALIDATION_SHARE), LIST)}
    counts = {name: {"rows": size, "requests": -(-size // LIST)} for name, size in splits.items()}
    _write(folder / "items", draw, ITEMS, "item")
    np.save(folder / "items" / "item_hash.npy", draw.integers(-(2**62), 2**62, ITEMS))
    for name in ("impressions", "clicks", "orders"):
        np.save(folder / "items" / f"training_{name}.npy", np.zeros(ITEMS, np.int64))
    pq.write_table(pa.table({"item_id": np.arange(ITEMS)}), folder / "items" / "item_id.parquet")
    for name, count in counts.items():
        _write_split(folder / name, draw, count["rows"], count["requests"])
    tasks = {task: {"available": True, "reason": ""} for task in ("click", "order", "rank")}
    sides = {side: SideSchema(ids=columns, id_tables=columns) for side, columns in COLUMNS.items()}
    EncodedSchema((), sides, ITEMS, "noise", tasks, (3, 5, 10, 20), "", counts).save(folder / "schema.json")
    stage.finish()


def _write(folder: Path, draw: np.random.Generator, rows: int, side: str) -> None:
    folder.mkdir(parents=True)
    np.save(folder / "ids.npy", draw.integers(-(2**62), 2**62, (rows, len(COLUMNS[side]))))
    np.save(folder / "numbers.npy", np.zeros((rows, 0), np.float32))


def _write_split(folder: Path, draw: np.random.Generator, rows: int, requests: int) -> None:
    _write(folder, draw, rows, "pair")
    _write(folder / "requests", draw, requests, "request")
    position = np.arange(rows) % LIST + 1
    columns = {
        "item": (ITEMS * draw.random(rows) ** 3).astype(np.int32),
        "request": (np.arange(rows) // LIST).astype(np.int32),
        "clicked": (draw.random(rows) < 0.1).astype(np.uint8),
        "ordered": (draw.random(rows) < 0.02).astype(np.uint8),
        "position": position.astype(np.float32),
        "stage": np.zeros(rows, np.uint8),
        "price": np.ones(rows, np.float32),
        "rank_score": -position.astype(np.float32),
    }
    for name, values in columns.items():
        np.save(folder / f"{name}.npy", values)
    np.save(folder / "requests" / "list_length.npy", np.full(requests, LIST, np.int32))
    pq.write_table(pa.table({"request_id": np.arange(requests)}), folder / "requests" / "requests.parquet")


def open_work(name: str, folder: Path, place: Path, *overrides: str) -> Work:
    """What a system of ``configs/model`` is fitted from; ψ is noise, for half of the items."""
    sizes = [f"model.item.hash_vocabulary={VOCABULARY}", f"model.buckets={BUCKETS}", f"pretrain.dimension={DIMENSION}"]
    training = [f"prerank.batch_size={BATCH}", "prerank.max_epochs=1", "prerank.patience=1000"]
    config: Config = parse([f"model={name}", *sizes, *training, *overrides], remember=False).config
    encoded = EncodedLog.open(folder)
    vectors = np.random.default_rng(1).normal(size=(ITEMS // 2, DIMENSION)).astype(np.float32)
    needs_psi = systems.find(config.model).NEEDS_PSI
    psi = EmbeddingTable(encoded.item_ids[: ITEMS // 2], vectors, "noise", "psi") if needs_psi else None
    return Work(system_keys(config.model).view(config), encoded, psi, place)


def fit(name: str, folder: Path, *overrides: str) -> dict[str, Any]:
    """Fit a system as the command does; what it says of its training, and its peak memory in bytes."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        train(open_work(name, folder / "encoded", Path(place), *overrides))
        return {**read_json(Path(place) / "training.json"), "peak": _peak()}


def sketch(folder: Path) -> dict[str, Any]:
    """One epoch of the sketch over tensors in memory."""
    torch.set_num_threads(2)
    torch.sparse.check_sparse_tensor_invariants.disable()
    torch.manual_seed(0)
    split = EncodedLog.open(folder / "encoded").split("train")
    batch = split.batch(np.arange(split.rows))
    ids = torch.cat([side.ids for side in batch.sides.values()], dim=1)
    module = Sketch(VOCABULARY)
    optimizer = torch.optim.Adagrad(module.parameters(), lr=0.02)
    started = time.perf_counter()
    for rows in torch.randperm(split.rows).split(BATCH):
        optimizer.zero_grad()
        click, order = module(batch.item_hash[rows], ids[rows])
        loss = F.binary_cross_entropy_with_logits(click, batch.clicked[rows])
        (loss + F.binary_cross_entropy_with_logits(order, batch.ordered[rows])).backward()
        optimizer.step()
    seconds = time.perf_counter() - started
    return {"rows": split.rows, "seconds": {"fit": seconds}, "peak": _peak()}


class Products(TorchDispatchMode):
    """Notes the operands' shapes of every matrix product."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[tuple[int, ...], tuple[int, ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.bmm, torch.ops.aten.baddbmm):
            left, right = [argument for argument in args if isinstance(argument, Tensor)][-2:]
            self.shapes.append((tuple(left.shape), tuple(right.shape)))
        return func(*args, **(kwargs or {}))


def products_rate(network: nn.Module, batch: Batch, passes: int = 30) -> float:
    """Floating-point operations a second of the largest of the network's own matrix products, at its best."""
    with Products() as products:
        backward(network, batch)
    flops = {shapes: 2 * int(np.prod(shapes[0])) * shapes[1][-1] for shapes in products.shapes}
    left, right = (torch.randn(shape) for shape in max(flops, key=lambda shapes: flops[shapes]))
    seconds = []
    for _ in range(passes):
        started = time.perf_counter()
        torch.matmul(left, right)
        seconds.append(time.perf_counter() - started)
    return max(flops.values()) / min(seconds)


def ceiling(name: str, folder: Path) -> dict[str, Any]:
    """Operations of a training row's matrix products, and what the largest of these does a second."""
    torch.set_num_threads(2)
    work = open_work(name, folder / "encoded", folder, "model.item.hash_vocabulary=1000", "model.buckets=100")
    module: Any = systems.find(work.config.model)(work)  # type: ignore[operator]
    batch = next(iter(BatchLoader(work.encoded.split("train"), BATCH, seed=0)))
    return {"flops": training_flops(module.network, batch), "rate": products_rate(module.network, batch)}


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def part(arguments: list[str]) -> None:
    """What the command's processes run: one measurement, written as JSON."""
    kind, name, folder, result, *overrides = arguments
    measured = {"fit": fit, "sketch": lambda _, place: sketch(place), "ceiling": ceiling}[kind](
        name, Path(folder), *overrides
    )
    write_json(Path(result), measured)


def measure(folder: Path, names: list[str], rounds: int, overrides: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Every round's measurements by name; those that the folder has are read."""
    kinds = {"ceiling": "ceiling", **dict.fromkeys(names, "fit"), SKETCH: "sketch"}
    measured: dict[str, list[dict[str, Any]]] = {name: [] for name in kinds}
    for number in range(rounds):
        for name, kind in kinds.items():
            result = folder / f"{name}-{number}.json"
            if not result.exists():
                system = "ple" if name == "ceiling" else name
                command = [sys.executable, __file__, "part", kind, system, str(folder), str(result), *overrides]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            measured[name].append(json.loads(result.read_text()))
    return measured


def report(measured: dict[str, list[dict[str, Any]]]) -> None:
    """Print the medians, their spread, and the ratios beside their targets."""
    rates = {
        name: [each["rows"] / each["seconds"]["fit"] for each in rounds]
        for name, rounds in measured.items()
        if name != "ceiling"
    }
    limits = [each["rate"] / each["flops"] for each in measured["ceiling"]]
    medians = {name: statistics.median(values) for name, values in rates.items()}
    top = statistics.median(limits)
    lines = []
    for name, values in rates.items():
        seconds = measured[name][0]["seconds"]
        shares = [
            f"{statistics.median(each['seconds'].get(key, 0) / each['seconds']['fit'] for each in measured[name]):.1%}"
            for key in ("validation", "checkpoints")
        ]
        peak = statistics.median(each["peak"] for each in measured[name]) / 1e9
        spread = f"{min(values):,.0f}-{max(values):,.0f}"
        lines.append((name, f"{medians[name]:,.0f}", spread, *(shares if len(seconds) > 1 else "--"), f"{peak:.2f}"))
    first = measured["ceiling"][0]
    table(
        f"an epoch of {next(iter(measured.values()))[0].get('rows', measured[SKETCH][0]['rows']):,} rows, "
        f"{len(limits)} round(s)",
        ("", "rows/s", "spread", "validation", "checkpoints", "peak GB"),
        lines,
    )
    rate = statistics.median(each["rate"] for each in measured["ceiling"])
    say(f"PLE: {first['flops']:,.0f} FLOPs a row in training, at {rate / 1e9:.0f} GFLOP/s {top:,.0f} rows/s at most")
    if "ple" in medians:
        say(f"PLE / ceiling {medians['ple'] / top:.2f} (at least {TARGETS['ceiling']})")
        say(f"PLE / sketch {medians['ple'] / medians[SKETCH]:.2f} (at least {TARGETS['sketch']})")
        for name in ("grace", "copr", "rankflow"):
            if name in medians:
                say(f"{name}'s time / PLE's {medians['ple'] / medians[name]:.2f} (at most {TARGETS[name]})")


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["part"]:
        part(arguments[1:])
        return
    options = {"systems": "ple,grace,copr,rankflow", "rows": "300000", "rounds": "2", "folder": ""}
    own = [argument for argument in arguments if argument.split("=", 1)[0] in options]
    options |= dict(argument.split("=", 1) for argument in own)
    overrides = [argument for argument in arguments if argument not in own]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options["folder"] or temporary)
        write_encoded(folder / "encoded", int(options["rows"]))
        report(measure(folder, options["systems"].split(","), int(options["rounds"]), overrides))


if __name__ == "__main__":
    main(sys.argv[1:])
