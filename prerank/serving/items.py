"""The catalogue: an item's place by the hash of its id, its precomputed vector, and what training days told of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from prerank.serving.hashing import Hashes
from prerank.serving.tables import Table, map_tensors, tensor

if TYPE_CHECKING:
    from jaxtyping import Int32, Int64, UInt8

HASH_BITS = 63
UNSEEN = -1


class HashIndex:
    """Finds hashes among sorted ones, several times faster than by binary search.

    Hashes are spread evenly, so their first bits say nearly where one lies: of about as many runs as there are hashes,
    the right one is looked through. Its cost beside the hashes is 4 to 8 bytes for each.

    Args:
        hashes: in ascending order.
    """

    def __init__(self, hashes: Int64[np.ndarray, " hashes"]) -> None:
        self.hashes = hashes
        bits = max(len(hashes) - 1, 0).bit_length()
        self.shift = HASH_BITS - bits
        starts = hashes.searchsorted(np.arange(2**bits, dtype=np.int64) << self.shift)
        self.starts = np.append(starts, len(hashes)).astype(np.int32)

    def find(self, asked: Hashes) -> Int64[np.ndarray, " asked"]:
        """The place of each asked hash, the first one of equal hashes; ``UNSEEN`` where there is none."""
        run = asked >> self.shift
        place, stop = self.starts.take(run), self.starts.take(run + 1)
        places = np.full(len(asked), UNSEEN, np.int64)
        left = np.flatnonzero(place < stop)
        while len(left):
            equal = self.hashes.take(place.take(left)) == asked.take(left)
            hit = left[equal]
            places[hit] = place[hit]
            left = left[~equal]
            place[left] += 1
            left = left[place[left] < stop[left]]
        return places


@dataclass(frozen=True)
class Catalogue:
    """The items that a bundle holds, by place.

    Attributes:
        index: of their hashes.
        rows: place in the hashes' order → row of the arrays below; None where they lie in this order themselves.
        vectors: the item side, precomputed; None for a system without one.
        impressions, clicks, orders: of each item on training days.
        in_p: whether ψ has a row for the item; None for a run without ψ.
    """

    index: HashIndex
    rows: Int32[np.ndarray, " items"] | None
    vectors: Table | None
    impressions: Int32[np.ndarray, " items"]
    clicks: Int32[np.ndarray, " items"]
    orders: Int32[np.ndarray, " items"]
    in_p: UInt8[np.ndarray, " items"] | None

    @classmethod
    def open(cls, path: Path) -> Catalogue:
        """Map items.safetensors.

        Raises:
            InputError: if it is damaged or lacks an array.
        """
        tensors = map_tensors(path)
        return cls(
            index=HashIndex(tensor(tensors, "hash")),
            rows=tensors.get("row"),
            vectors=Table.of(tensors, "vectors") if "vectors" in tensors else None,
            impressions=tensor(tensors, "impressions"),
            clicks=tensor(tensors, "clicks"),
            orders=tensor(tensors, "orders"),
            in_p=tensors.get("in_p"),
        )

    def __len__(self) -> int:
        return len(self.index.hashes)

    def find(self, item_hash: Hashes) -> Int64[np.ndarray, " asked"]:
        """The row of each item; ``UNSEEN`` where the catalogue lacks it."""
        places = self.index.find(item_hash)
        if self.rows is None:
            return places
        rows: npt.NDArray[np.int64] = np.where(places == UNSEEN, UNSEEN, self.rows.take(places, mode="clip"))
        return rows
