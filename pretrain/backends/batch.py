"""What a training step sees, whichever graph library made it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Int64
from torch import Tensor

from pretrain.encoder import Block
from pretrain.sparse import RowMeans

AHEAD = 2
"""Batches made while one is learnt: enough to hide that some take longer than others."""
Item = TypeVar("Item")


@dataclass(frozen=True)
class TargetBatch:
    """Target pairs with the sampled graph around them.

    Args:
        features: of the first block's sources.
        blocks: one per layer, the seeds' own last.
        query_at: place of each pair's query among the encoded queries.
        item_at: place of each pair's item, then of each pair's negatives, among the encoded items.
        queries: node index of each pair's query.
        items: node index of each pair's item, then of each pair's negatives.
    """

    features: dict[str, RowMeans]
    blocks: Sequence[Block]
    query_at: Int64[Tensor, " pairs"]
    item_at: Int64[Tensor, "pairs one_plus_negatives"]
    queries: Int64[np.ndarray, " pairs"]
    items: Int64[np.ndarray, "pairs one_plus_negatives"]


@runtime_checkable
class Batches(Protocol):
    """All training pairs once an epoch, in an order that the seed and the epoch determine."""

    def __len__(self) -> int: ...

    def epoch(self, number: int) -> Iterator[TargetBatch]:
        """The batches of one epoch; the same number gives the same batches."""
        ...


def epoch_order(pairs: int, seed: int, epoch: int) -> Int64[np.ndarray, " pairs"]:
    """The order of the pairs in an epoch."""
    return np.random.default_rng([seed, epoch]).permutation(pairs)


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items in the same order, made by another thread while the last ones are in use; none may be None."""
    coming = deque(_maker().submit(next, items, None) for _ in range(AHEAD))
    while (item := coming.popleft().result()) is not None:
        coming.append(_maker().submit(next, items, None))
        yield item


@cache
def _maker() -> ThreadPoolExecutor:
    # One thread for the whole process: DGL adds the number of a thread, by first use, to the seeds of its draws.
    return ThreadPoolExecutor(1, thread_name_prefix="batches")
