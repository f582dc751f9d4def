"""Parts of a side: what training's embedding modules make of encoded columns, in NumPy.

Each part says which columns it reads and gives one vector for each row; a side's vector is its parts side by side. The
arithmetic is float32 and row by row, so that a row's vector does not depend on the rows beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from configs.errors import InputError
from prerank.serving.features import Encoded
from prerank.serving.hashing import Hashes
from prerank.serving.tables import Table, Tensors, tensor

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64

SECOND_HASH = 0x9E3779B97F4A7C15 - (1 << 64)
"""Odd multiplier that makes a second hash of the first, as :mod:`prerank.network.hash_id` does."""
STANDARDISED_LIMIT = 5.0
"""Standard deviations at which a number is clipped, as :mod:`prerank.network.inputs` does."""

Vectors = npt.NDArray[np.float32]


class Part(Protocol):
    """Vectors of encoded rows."""

    @property
    def width(self) -> int: ...

    def __call__(self, encoded: Encoded, item_hash: Hashes, /) -> Vectors:
        """float32 [rows, width]; ``item_hash`` [rows] where the rows have items."""
        ...


@dataclass(frozen=True)
class IdColumns:
    """Columns of ids, each with rows of its own in a table: ``hash % rows + offset``.

    Shapes: ``rows`` and ``offsets`` int64 [columns].
    """

    table: Table
    columns: Sequence[str]
    rows: Int64[np.ndarray, " columns"]
    offsets: Int64[np.ndarray, " columns"]

    @property
    def width(self) -> int:
        return len(self.columns) * self.table.width

    def __call__(self, encoded: Encoded, _item_hash: Hashes) -> Vectors:
        hashes = np.stack([encoded.ids[column] for column in self.columns], axis=1)
        return self.table.take((hashes % self.rows + self.offsets).reshape(-1)).reshape(len(hashes), self.width)


@dataclass(frozen=True)
class ListColumn:
    """The mean embedding of a list's or text's hashes; zeros where there is none."""

    table: Table
    column: str
    rows: int
    offset: int

    @property
    def width(self) -> int:
        return self.table.width

    def __call__(self, encoded: Encoded, _item_hash: Hashes) -> Vectors:
        return pooled(encoded.lists[self.column], lambda hashes: self.table.take(hashes % self.rows + self.offset))


@dataclass(frozen=True)
class IdBuckets:
    """The embedding of hashed item ids: of one bucket, or the sum or product of two.

    Attributes:
        table: of all buckets.
        hashing: single, double or quotient_remainder (see :class:`configs.schema.Hashing`).
        counts: buckets of each part.
        starts: first row of each part.
    """

    table: Table
    hashing: str
    counts: Sequence[int]
    starts: Sequence[int]

    def __call__(self, hashes: Hashes) -> Vectors:
        first = self.table.take(hashes % self.counts[0] + self.starts[0])
        if self.hashing == "single":
            return first
        if self.hashing == "double":
            mixed = (hashes ^ (hashes >> 31)) * SECOND_HASH
            second = (mixed ^ (mixed >> 29)) % self.counts[1] + self.starts[1]
            summed: Vectors = first + self.table.take(second)
            return summed
        second = hashes // self.counts[0] % self.counts[1] + self.starts[1]
        product: Vectors = first * self.table.take(second)
        return product


@dataclass(frozen=True)
class KnownRows:
    """The row of each hash among known ones, which are sorted; the table's last row for any other."""

    table: Table
    known: Hashes

    def __call__(self, hashes: Hashes) -> Vectors:
        return self.table.take(place_among(self.known, hashes))


@dataclass(frozen=True)
class ItemIds:
    """Items by their hashed ids: the row's own item, a column of ids, or the mean over a list of them.

    Attributes:
        embed: vectors [hashes, width] of hashes.
        inner: their width.
        column: None for the item itself.
        is_list: whether the column is one of lists.
        projection: float32 [width, inner], applied last.
    """

    embed: Callable[[Hashes], Vectors]
    inner: int
    column: str | None
    is_list: bool
    projection: Float32[np.ndarray, "width inner"] | None = None

    @property
    def width(self) -> int:
        return self.inner if self.projection is None else len(self.projection)

    def __call__(self, encoded: Encoded, item_hash: Hashes) -> Vectors:
        if self.column is None:
            vectors = self.embed(item_hash)
        elif self.is_list:
            vectors = pooled(encoded.lists[self.column], self.embed)
        else:
            vectors = self.embed(encoded.ids[self.column])
        if self.projection is None:
            return vectors
        # Not a matrix product: BLAS adds in another order for another number of rows.
        return np.stack([(vectors * weights).sum(axis=1) for weights in self.projection], axis=1)


@dataclass(frozen=True)
class IsKnown:
    """One column: 1 where the item's hash is among the known ones, which are sorted, else 0."""

    known: Hashes

    @property
    def width(self) -> int:
        return 1

    def __call__(self, _encoded: Encoded, item_hash: Hashes) -> Vectors:
        known = place_among(self.known, item_hash) < len(self.known)
        return known[:, None].astype(np.float32)


@dataclass(frozen=True)
class Numbers:
    """All numbers standardised, then the embeddings of their quantile buckets; bucket 0 is that of a missing one.

    Shapes: ``mean`` and ``scale`` float32 [numbers], ``edges`` float32 [numbers, edges], padded with inf; the table has
    ``buckets`` rows for each number.
    """

    table: Table
    columns: Sequence[str]
    mean: Float32[np.ndarray, " numbers"]
    scale: Float32[np.ndarray, " numbers"]
    edges: Float32[np.ndarray, "numbers edges"]
    buckets: int

    @property
    def width(self) -> int:
        return len(self.columns) * (1 + self.table.width)

    def __call__(self, encoded: Encoded, _item_hash: Hashes) -> Vectors:
        vectors = np.empty((encoded.rows, self.width), np.float32)
        embedded = vectors[:, len(self.columns) :].reshape(encoded.rows, len(self.columns), self.table.width)
        for place, column in enumerate(self.columns):
            numbers = encoded.numbers[column]
            missing = np.isnan(numbers)
            filled = np.where(missing, self.mean[place], numbers)
            vectors[:, place] = ((filled - self.mean[place]) / self.scale[place]).clip(
                -STANDARDISED_LIMIT, STANDARDISED_LIMIT
            )
            # Of a few dozen edges, counting those that are not above costs a tenth of searching each number's place.
            bucket = np.add.reduce(filled >= self.edges[place][:, None], axis=0, dtype=np.int32) + 1
            bucket[missing] = 0
            embedded[:, place] = self.table.take(bucket + place * self.buckets)
        return vectors


def pooled(hashes: Int64[np.ndarray, "rows length"], embed: Callable[[Hashes], Vectors]) -> Vectors:
    """The mean embedding of each row's hashes; 0 is padding, a row of nothing else gives zeros."""
    present = hashes != 0
    count = present.sum(axis=1)
    embedded = embed(hashes[present])
    summed = np.zeros((len(hashes), embedded.shape[1]), np.float32)
    some = count > 0
    if some.any():
        summed[some] = np.add.reduceat(embedded, (np.cumsum(count) - count)[some], axis=0)
    mean: Vectors = summed / count.clip(min=1).astype(np.float32)[:, None]
    return mean


def place_among(known: Hashes, hashes: Hashes) -> Int64[np.ndarray, " hashes"]:
    """Place of each hash among known ones in ascending order; their number where it is none of them."""
    if not len(known):
        return np.zeros(len(hashes), np.int64)
    place = known.searchsorted(hashes).clip(max=len(known) - 1)
    return np.where(known[place] == hashes, place, len(known))


def id_buckets(entry: Mapping[str, Any], tensors: Tensors) -> IdBuckets:
    """What embeds hashed item ids, of an entry that names table, hashing, counts and starts."""
    table = Table.of(tensors, entry["table"])
    return IdBuckets(table, entry["hashing"], tuple(entry["counts"]), tuple(entry["starts"]))


def part_of(entry: Mapping[str, Any], tensors: Tensors) -> Part:
    """A part as features.json describes it.

    Args:
        entry: ``kind`` and what it says.
        tensors: of tables.safetensors.

    Raises:
        InputError: for a kind that this version does not know, or a tensor that is not there.
    """
    kind, column = entry["kind"], entry.get("column")
    if kind == "is_known":
        return IsKnown(tensor(tensors, entry["hashes"]))
    table = Table.of(tensors, entry["table"])
    if kind == "columns":
        columns = entry["columns"]
        rows, offsets = (np.array([each[key] for each in columns], np.int64) for key in ("rows", "offset"))
        return IdColumns(table, [each["column"] for each in columns], rows, offsets)
    if kind == "list":
        return ListColumn(table, entry["column"], entry["rows"], entry["offset"])
    if kind == "hash_id":
        projection = tensor(tensors, entry["projection"]) if entry.get("projection") else None
        return ItemIds(id_buckets(entry, tensors), table.width, column, bool(entry["list"]), projection)
    if kind == "known_rows":
        known = tensor(tensors, entry["hashes"])
        return ItemIds(KnownRows(table, known), table.width, column, bool(entry["list"]))
    if kind == "numbers":
        mean, scale, edges = (tensor(tensors, entry[key]) for key in ("mean", "scale", "edges"))
        return Numbers(table, entry["columns"], mean, scale, edges, entry["buckets"])
    raise InputError(f"features.json names a part of kind {kind!r}, which this version does not know: upgrade it")


def side_by_side(parts: Sequence[Part], encoded: Encoded, item_hash: Hashes) -> Vectors:
    """The vectors of all parts, float32 [rows, width]."""
    if len(parts) == 1:
        return parts[0](encoded, item_hash)
    vectors = np.empty((encoded.rows, sum(part.width for part in parts)), np.float32)
    start = 0
    for part in parts:
        vectors[:, start : start + part.width] = part(encoded, item_hash)
        start += part.width
    return vectors
