"""What a training step costs: of each system, beside a plain sketch of the same work and the machine's matrix products.

    python benchmarks/training_step.py

Batch 1024 with 12 id columns, one of them hashed to 3,000,000 rows of 32 and eleven of 16; 2 shared and 2 own experts a
task [128, 64], towers [64]; 2 threads. All kinds of step run in turns, in bursts of a few, so that whatever
else the machine does falls on all alike; of each, the median and the 10th and 90th percentile.

The sketch is PLE's very work in the fewest lines of torch: ``nn.Embedding(sparse=True)``, one table for the eleven
columns, batched experts, ``torch.optim.Adagrad``. *Ceiling* is the time that PLE's matrix products, forward and
backward, would take at the rate of the best square product. GRACE is held against its own network (three heads) under
feedback losses. No item occurs twice in a batch, which is the worst case. The last two rows show that the step does not
depend on the rows of the hash table.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import configs  # noqa: F401  sets how OpenMP threads wait, before torch loads the library

# isort: split

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from configs.command import parse
from configs.schema import Config
from prerank import systems
from prerank.encoding.batches import Batch, SideFeatures
from prerank.encoding.schema import EncodedSchema, SideSchema
from prerank.systems.ple import PLE
from prerank.training.contracts import Work
from prerank.training.network_system import NetworkSystem

BATCH, DIMENSION, CATALOGUE, LIST = 1024, 32, 100_000, 120
ROWS, FEW_ROWS = 3_000_000, 30_000
COLUMNS = {"item": ("brand", "shop", "category"), "request": ("user", "query", "city", "age"), "pair": tuple("abcd")}
ROUNDS, BURST, WARM_UP, SQUARE = 12, 4, 2, 1024

Step = Callable[[Batch], object]


class Feedback(PLE):
    """Feedback losses alone, on the network of another system."""


class Sketch(nn.Module):
    """PLE's work, written as anybody would."""

    def __init__(self, rows: int = ROWS) -> None:
        super().__init__()
        self.item_id = nn.Embedding(rows, DIMENSION, sparse=True)
        self.columns = nn.Embedding(11 * 20_000, 16, sparse=True)
        for table in (self.item_id, self.columns):
            nn.init.normal_(table.weight, std=0.01)
        self.register_buffer("starts", torch.arange(11) * 20_000)
        self.phi = nn.Sequential(nn.Linear(DIMENSION + 3 * 16, 64), nn.ReLU(), nn.Linear(64, DIMENSION))
        inputs = DIMENSION + 8 * 16
        self.first = nn.Parameter(torch.randn(inputs, 6 * 128) * inputs**-0.5)
        self.second = nn.Parameter(torch.randn(6, 128, 64) * 128**-0.5)
        self.biases = nn.ParameterList([torch.zeros(6 * 128), torch.zeros(6, 1, 64)])
        self.gates = nn.ModuleList(nn.Linear(inputs, 4) for _ in range(2))
        self.towers = nn.ModuleList(nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)) for _ in range(2))

    def forward(self, item_hash: Tensor, ids: Tensor) -> list[Tensor]:
        columns = self.columns(ids.remainder(20_000) + self.starts).flatten(1)
        phi = self.phi(torch.cat([self.item_id(item_hash.remainder(len(self.item_id.weight))), columns[:, :48]], dim=1))
        inputs = torch.cat([phi, columns[:, 48:]], dim=1)
        hidden = torch.relu(inputs @ self.first + self.biases[0]).view(-1, 6, 128).transpose(0, 1)
        experts = torch.relu(torch.baddbmm(self.biases[1], hidden, self.second))
        logits = []
        for task, (gate, tower) in enumerate(zip(self.gates, self.towers, strict=True)):
            chosen = torch.cat([experts[2 * task : 2 * task + 2], experts[4:]])
            logits.append(tower(torch.einsum("be,ebh->bh", gate(inputs).softmax(dim=1), chosen)).squeeze(1))
        return logits


def sketch_step(rows: int = ROWS) -> Step:
    module = Sketch(rows)
    optimizer = torch.optim.Adagrad(module.parameters(), lr=0.02)

    def step(batch: Batch) -> None:
        optimizer.zero_grad()
        click, order = module(batch.item_hash, torch.cat([side.ids for side in batch.sides.values()], dim=1))
        loss = F.binary_cross_entropy_with_logits(click, batch.clicked)
        (loss + F.binary_cross_entropy_with_logits(order, batch.ordered)).backward()
        optimizer.step()

    return step


def make_schema() -> EncodedSchema:
    """Eleven id columns besides the item's own, none of which decides anything."""
    tasks = {task: {"available": True, "reason": ""} for task in ("click", "order", "rank")}
    sides = {side: SideSchema(ids=columns, id_tables=columns) for side, columns in COLUMNS.items()}
    return EncodedSchema((), sides, CATALOGUE, "", tasks, (10, 30, 50, 100), "", {})


def random_batch(generator: torch.Generator, size: int = BATCH) -> Batch:
    """Whole ranked lists of 120; the labels and ids are noise, and no item occurs twice."""

    def hashes(*shape: int) -> Tensor:
        return torch.randint(-(2**62), 2**62, shape, generator=generator)

    def flags(share: float) -> Tensor:
        return (torch.rand(size, generator=generator) < share).float()

    sides = {name: SideFeatures(hashes(size, len(ids)), torch.empty(size, 0), {}) for name, ids in COLUMNS.items()}
    rows = torch.arange(size)
    position = (rows % LIST + 1).float()
    return Batch(
        item=torch.randperm(CATALOGUE, generator=generator)[:size], item_hash=hashes(size), sides=sides,
        clicked=flags(0.1), ordered=flags(0.01), position=position, list_length=torch.full((size,), float(LIST)),
        stage=torch.zeros(size, dtype=torch.int64), request=rows // LIST, rank_score=-position, row=rows,
    )  # fmt: skip


def system_step(
    name: str,
    kind: type[NetworkSystem] | None = None,
    rows: int = ROWS,
    keys: Sequence[str] = (),
    share_in_p: float = 0.5,
) -> tuple[NetworkSystem, Step]:
    """A step as Lightning takes it, without Lightning.

    Args:
        name: of the model.
        kind: whose losses are taken; None for the system's own.
        rows: of the hash table.
        keys: others, ``key=value``.
        share_in_p: of the catalogue that has a ψ.
    """
    config = parse([f"model={name}", f"model.item.hash_vocabulary={rows}", *keys], remember=False).config
    module = make_module(config, kind or systems.find(config.model), share_in_p)  # type: ignore[arg-type]
    return module, make_step(module)


def make_module(config: Config, kind: type[NetworkSystem], share_in_p: float = 0.5) -> NetworkSystem:
    """A system on the benchmark's columns, with a trainer that answers what a step asks."""
    torch.manual_seed(0)
    encoded: Any = SimpleNamespace(schema=make_schema(), item_ids=None)
    # Of each hundred items the first few are in P.
    in_p = np.arange(CATALOGUE) % 100 < 100 * share_in_p
    vectors = np.random.default_rng(0).normal(size=(max(in_p.sum(), 1), DIMENSION)).astype(np.float32)
    psi: Any = SimpleNamespace(vectors=vectors, rows_of=lambda _: np.where(in_p, in_p.cumsum() - 1, -1))
    module = kind(Work(config, encoded, psi, Path()))
    trainer: Any = SimpleNamespace(is_last_batch=False, global_step=0)
    module._trainer = trainer
    return module


def make_step(module: NetworkSystem) -> Callable[[Batch], Tensor]:
    """A training step of a module on the device where it is; its loss stays there."""
    optimizer, trainer = module.configure_optimizers(), module.trainer

    def step(batch: Batch) -> Tensor:
        optimizer.zero_grad()
        loss = torch.stack(list(module.training_terms(batch).values())).sum()
        loss.backward()
        optimizer.step()
        trainer.global_step += 1
        return loss.detach()

    return step


def matrix_flops(module: NetworkSystem, batch: Batch) -> int:
    """Operations of the matrix products of a step, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        torch.stack(list(module.training_terms(batch).values())).sum().backward()
    module.zero_grad()
    return int(counter.get_total_flops())


def timed(call: Callable[[Batch], object], batch: Batch) -> float:
    started = time.perf_counter()
    call(batch)
    return (time.perf_counter() - started) * 1000


def measure(steps: dict[str, Step], batches: Sequence[Batch]) -> dict[str, list[float]]:
    """Milliseconds of every step and of the square product, in turns.

    A turn is a burst of steps whose first is not counted: it finds the caches full of another's tables.
    """
    square = torch.randn(SQUARE, SQUARE), torch.randn(SQUARE, SQUARE)
    calls: dict[str, Callable[[Batch], object]] = {"gemm": lambda _: torch.mm(*square), **steps}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(WARM_UP + ROUNDS):
        for name, call in calls.items():
            durations = [timed(call, batches[(turn * BURST + number) % len(batches)]) for number in range(BURST)]
            times[name] += durations[1:] if turn >= WARM_UP else []
    return times


def main() -> int:
    torch.set_num_threads(2)
    torch.sparse.check_sparse_tensor_invariants.disable()
    generator = torch.Generator().manual_seed(1)
    batches = [random_batch(generator) for _ in range(16)]
    kinds = {
        "ple": ("ple", None, ROWS),
        "grace, feedback losses": ("grace", Feedback, ROWS),
        "grace": ("grace", None, ROWS),
        "copr": ("copr", None, ROWS),
        "rankflow": ("rankflow", None, ROWS),
        "grace, 30,000 rows": ("grace", None, FEW_ROWS),
    }
    made = {name: system_step(*kind) for name, kind in kinds.items()}
    flops = matrix_flops(made["ple"][0], batches[0])
    times = measure({"sketch": sketch_step(), **{name: step for name, (_, step) in made.items()}}, batches)
    rate = 2 * SQUARE**3 / np.percentile(times["gemm"], 10) / 1e6
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, values in times.items():
        low, high = np.percentile(values, [10, 90])
        print(f"{name:24} {medians[name]:6.2f} ms (p10 {low:.2f}, p90 {high:.2f}) {BATCH / medians[name]:8.1f}k rows/s")
    ceiling = flops / rate / 1e6
    print(
        f"threads spin for {os.environ['GOMP_SPINCOUNT']} rounds before they sleep (0 where the machine was not idle)"
    )
    print(f"matrix products: {rate:.0f} GFLOP/s; PLE {flops / BATCH / 1e6:.2f} MFLOP a row, ceiling {ceiling:.2f} ms")
    return report(medians, ceiling)


def report(medians: dict[str, float], ceiling: float) -> int:
    """Say each ratio beside its target; 1 where one is missed."""
    ple, grace = medians["ple"], medians["grace"]
    ratios = [
        ("ceiling / PLE", ceiling / ple, 0.6, True),
        ("sketch / PLE", medians["sketch"] / ple, 1.3, True),
        ("GRACE / its network under feedback losses", grace / medians["grace, feedback losses"], 1.15, False),
        ("COPR / PLE", medians["copr"] / ple, 1.4, False),
        ("RankFlow / PLE", medians["rankflow"] / ple, 1.4, False),
        ("GRACE, 3,000,000 / 30,000 rows", grace / medians["grace, 30,000 rows"], 1.2, False),
    ]
    missed = 0
    for name, ratio, target, at_least in ratios:
        passed = ratio >= target if at_least else ratio <= target
        missed += not passed
        print(
            f"{name}: {ratio:.2f}, target at {'least' if at_least else 'most'} {target}{'' if passed else ', MISSED'}"
        )
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
