"""How item ids are hashed: the buckets that an id occupies, and the embedding that they make of it.

Whoever asks which items share an id (the ``collisions`` segment, the audit) asks here, so that the answer is the
network's own.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from configs.schema import Hashing, ItemNetworkConfig
from prerank.network.inputs import HashedTable
from prerank.network.parts import HashedId

SECOND_HASH = 0x9E3779B97F4A7C15 - (1 << 64)
"""Odd multiplier (2⁶⁴ divided by the golden ratio) that makes a second hash of the first."""

Hashes = TypeVar("Hashes", Tensor, np.ndarray)


def bucket_counts(config: ItemNetworkConfig) -> tuple[int, ...]:
    """Buckets of each part of a hashed id: one part, or two of half the vocabulary each."""
    if config.hashing is Hashing.single:
        return (config.hash_vocabulary,)
    half = max(config.hash_vocabulary // 2, 1)
    return (half, half)


def buckets_of(item_hash: Hashes, config: ItemNetworkConfig) -> tuple[Hashes, ...]:
    """The bucket of each id in each part; two ids are one to the network only where all their buckets are the same.

    Args:
        item_hash: 64-bit hashes, a tensor or an array of any shape.
        config: vocabulary and kind of hashing.
    """
    counts = bucket_counts(config)
    if config.hashing is Hashing.single:
        return (item_hash % counts[0],)
    if config.hashing is Hashing.double:
        mixed = (item_hash ^ (item_hash >> 31)) * SECOND_HASH
        second = mixed ^ (mixed >> 29)
    else:
        second = item_hash // counts[0]
    return item_hash % counts[0], second % counts[1]


def bucket_loads(item_hash: Int64[np.ndarray, " items"], config: ItemNetworkConfig) -> Int64[np.ndarray, " items"]:
    """How many items share each item's whole hashed id, itself included.

    Args:
        item_hash: 64-bit hash of the id of every item of a catalogue.
        config: of the item network.
    """
    cell = np.ravel_multi_index(buckets_of(item_hash, config), bucket_counts(config))
    _, inverse, count = np.unique(cell, return_inverse=True, return_counts=True)
    loads: Int64[np.ndarray, " items"] = count[inverse].astype(np.int64)
    return loads


class HashId(nn.Module):
    """The hashed item id: one bucket, the sum of two, or quotient and remainder of one hash.

    With n items in V buckets, one hash leaves an item alone with probability e^(−n/V). Two hashes make a full collision
    as rare as with V² buckets, and so do quotient and remainder, at the same memory: each takes half of the rows.

    Args:
        config: vocabulary, dimension and kind of hashing.
    """

    def __init__(self, config: ItemNetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.dimension = config.hash_dimension
        counts = bucket_counts(config)
        self.table = HashedTable(dict(zip(("item_id", "second"), counts, strict=False)), config.hash_dimension)
        self.starts = tuple(self.table.offsets.values())
        if config.hashing is Hashing.quotient_remainder:
            # The product of two parts starts as the first part alone.
            with torch.no_grad():
                self.table.weight[self.starts[1] :] = 1.0

    def forward(self, item_hash: Int64[Tensor, batch]) -> Float[Tensor, "batch dimension"]:
        buckets = buckets_of(item_hash, self.config)
        first, *second = (
            F.embedding(bucket + start, self.table.weight, sparse=True)
            for bucket, start in zip(buckets, self.starts, strict=True)
        )
        if not second:
            return first
        return first + second[0] if self.config.hashing is Hashing.double else first * second[0]

    def pool(self, _column: str, hashes: Int64[Tensor, "batch length"]) -> Float[Tensor, "batch dimension"]:
        """The mean hash-id embedding of a list of items, such as a user's history; 0 is padding."""
        present = hashes != 0
        counts = present.sum(dim=1)
        embedded = self.forward(hashes[present])
        owner = torch.repeat_interleave(torch.arange(hashes.shape[0], device=hashes.device), counts)
        summed = embedded.new_zeros(hashes.shape[0], self.dimension).index_add(0, owner, embedded)
        return summed / counts.clamp(min=1).unsqueeze(1)

    def part(self, column: str | None, pooled: bool) -> HashedId:
        """What is looked up: of the item's own id where the column is None."""
        counts = bucket_counts(self.config)
        return HashedId(self.table.weight, column, pooled, self.config.hashing, counts, self.starts)
