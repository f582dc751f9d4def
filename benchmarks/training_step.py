"""A training step's cost against the rows of the hash vocabulary: sparse gradients must make it independent.

    python benchmarks/training_step.py

GRACE on a simulated log of the documented size (12 id columns, 3 tasks, 2 shared + 2 own experts), batch 1024; the same
steps with 30,000 and with 3,000,000 rows of 32 in turns, and the median step of each. The target is a ratio of at most
1.2. The dense optimiser that it avoids is timed once beside it.
"""

from __future__ import annotations

import statistics
import sys
import time

import configs  # noqa: F401  sets how OpenMP threads wait, before torch loads the library

# isort: split

import numpy as np
import torch

from configs.schema import ContrastConfig, ExpertsConfig, ItemNetworkConfig, ModelConfig, RankConfig, RankHead
from prerank.encoding.batches import Batch, SideFeatures
from prerank.encoding.schema import EncodedSchema, SideSchema
from prerank.losses.consistency import rank_labels, rank_loss
from prerank.losses.feedback import masked_cross_entropy
from prerank.losses.generalisation import contrastive_loss, unique_items
from prerank.network.pre_ranking import PreRankingNetwork

BATCH, DIMENSION, ITEMS = 1024, 32, 30_000_000
ROWS = (30_000, 3_000_000)
STEPS, WARM_UP, TARGET = 60, 5, 1.2


def schema() -> EncodedSchema:
    """Eleven id columns besides the item's own, none of which decides anything."""
    names = {"item": ("brand", "shop", "category"), "request": ("user", "query", "city", "age"), "pair": tuple("abcd")}
    tasks = {task: {"available": True, "reason": ""} for task in ("click", "order", "rank")}
    sides = {side: SideSchema(ids=columns, id_tables=columns) for side, columns in names.items()}
    return EncodedSchema((), sides, ITEMS, "", tasks, (10, 30, 50, 100), "", {})


def random_batch(encoded: EncodedSchema, generator: torch.Generator) -> Batch:
    def hashes(*shape: int) -> torch.Tensor:
        return torch.randint(-(2**62), 2**62, shape, generator=generator)

    def flags(share: float) -> torch.Tensor:
        return (torch.rand(BATCH, generator=generator) < share).float()

    sides = {
        name: SideFeatures(hashes(BATCH, len(side.ids)), torch.empty(BATCH, 0), {})
        for name, side in encoded.sides.items()
    }
    item = torch.randint(0, ITEMS, (BATCH,), generator=generator)
    zeros = torch.zeros(BATCH, dtype=torch.int64)
    position = torch.randint(1, 120, (BATCH,), generator=generator).float()
    return Batch(
        item=item, item_hash=hashes(BATCH), sides=sides, clicked=flags(0.1), ordered=flags(0.01), position=position,
        list_length=torch.full((BATCH,), 120.0), stage=zeros, request=zeros, rank_score=position, row=zeros,
    )  # fmt: skip


def make_step(rows: int, encoded: EncodedSchema, dense: bool):  # type: ignore[no-untyped-def]
    """One training step of GRACE with a table of ``rows``."""
    torch.manual_seed(0)
    config = ModelConfig(
        item=ItemNetworkConfig(hash_vocabulary=rows),
        experts=ExpertsConfig(),
        rank=RankConfig(head=RankHead.shared),
        contrast=ContrastConfig(),
    )
    network = PreRankingNetwork(encoded, config, DIMENSION)
    optimizer = torch.optim.Adagrad(network.parameters(), lr=0.02)
    psi, weights = torch.randn(BATCH, DIMENSION), torch.full((4,), 0.25)

    def step(batch: Batch) -> None:
        optimizer.zero_grad(set_to_none=True)
        outputs = network(batch)
        labels, mask = rank_labels(batch.position, batch.list_length, encoded.cutoffs)
        first = unique_items(batch.item)
        known = torch.ones(BATCH, dtype=torch.bool)
        loss = masked_cross_entropy(outputs.click, batch.clicked, known)
        loss = loss + masked_cross_entropy(outputs.order, batch.ordered, known)
        loss = loss + 0.1 * rank_loss(outputs.rank, labels, mask, weights)
        loss = loss + 0.1 * contrastive_loss(
            outputs.phi[first], psi[: len(first)], known[: len(first)], config.contrast
        )
        loss.backward()
        if dense:
            for parameter in network.parameters():
                if parameter.grad is not None and parameter.grad.is_sparse:
                    parameter.grad = parameter.grad.to_dense()
        optimizer.step()

    return step


def timed(step, batch: Batch) -> float:  # type: ignore[no-untyped-def]
    started = time.perf_counter()
    step(batch)
    return (time.perf_counter() - started) * 1000


def main() -> int:
    torch.set_num_threads(2)
    torch.sparse.check_sparse_tensor_invariants.disable()
    generator = torch.Generator().manual_seed(1)
    encoded = schema()
    steps = {rows: make_step(rows, encoded, dense=False) for rows in ROWS}
    times: dict[int, list[float]] = {rows: [] for rows in ROWS}
    for number in range(WARM_UP + STEPS):
        batch = random_batch(encoded, generator)
        # In turns, so that whatever else the machine does falls on both alike.
        for rows, step in steps.items():
            duration = timed(step, batch)
            if number >= WARM_UP:
                times[rows].append(duration)
    medians = {rows: statistics.median(values) for rows, values in times.items()}
    for rows, value in medians.items():
        spread = np.percentile(times[rows], [10, 90])
        rate = f"{BATCH / value * 1000:,.0f} rows/s"
        print(f"{rows:>9,} rows x 32: {value:6.1f} ms a step (p10 {spread[0]:.1f}, p90 {spread[1]:.1f}), {rate}")
    ratio = medians[ROWS[1]] / medians[ROWS[0]]
    print(f"ratio {ratio:.2f}, target at most {TARGET}")
    dense = make_step(ROWS[1], encoded, dense=True)
    batch = random_batch(encoded, generator)
    slow = statistics.median([timed(dense, batch) for _ in range(4)][1:])
    print(f"the same with dense gradients over the tables: {slow:,.0f} ms a step, {slow / medians[ROWS[1]]:.0f} x")
    return int(ratio > TARGET)


if __name__ == "__main__":
    sys.exit(main())
