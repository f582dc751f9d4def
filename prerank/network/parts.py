"""What a network looks up in tables before its dense layers, stated so that whoever serves it can look it up alike.

Each module that looks up states its parts beside its forward, in the order of its output. A part names columns of the
log; which side's they are follows from the side that it belongs to (:class:`SideParts`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor

from configs.schema import Hashing


@dataclass(frozen=True)
class ColumnRows:
    """The rows of a table that a column of ids owns: row ``hash % rows + offset``."""

    column: str
    offset: int
    rows: int


@dataclass(frozen=True)
class Columns:
    """The rows of several columns of ids, side by side."""

    table: Float[Tensor, "rows dimension"]
    columns: tuple[ColumnRows, ...]

    @property
    def width(self) -> int:
        return len(self.columns) * self.table.shape[1]


@dataclass(frozen=True)
class PooledList:
    """The mean row of a list of hashes; 0 is padding, an empty list gives zeros."""

    table: Float[Tensor, "rows dimension"]
    rows: ColumnRows

    @property
    def width(self) -> int:
        return self.table.shape[1]


@dataclass(frozen=True)
class HashedId:
    """A hashed item id (:class:`~prerank.network.hash_id.HashId`).

    Attributes:
        table: of all parts of the hashed id.
        column: of ids, or of lists of them where ``pooled``; None: the item's own id.
        pooled: the mean over a list.
        hashing: how the parts are made and joined.
        counts, starts: buckets of each part, and its first row.
        projection: ``[width, dimension]``, that the joined embedding is multiplied by; None: by nothing.
    """

    table: Float[Tensor, "rows dimension"]
    column: str | None
    pooled: bool
    hashing: Hashing
    counts: tuple[int, ...]
    starts: tuple[int, ...]
    projection: Float[Tensor, "width dimension"] | None = None

    @property
    def width(self) -> int:
        return self.table.shape[1] if self.projection is None else self.projection.shape[0]


@dataclass(frozen=True)
class KnownRows:
    """The row at the hash's place among the sorted ``hashes``; the last row where it is none of them."""

    table: Float[Tensor, "known_and_1 dimension"]
    hashes: Int64[Tensor, " known"]
    column: str | None = None
    pooled: bool = False

    @property
    def width(self) -> int:
        return self.table.shape[1]


@dataclass(frozen=True)
class IsKnown:
    """1 where the item's hash is among the sorted ``hashes``, else 0."""

    hashes: Int64[Tensor, " known"]
    width = 1


@dataclass(frozen=True)
class Numbers:
    """Standardised numbers, and then the embeddings of their buckets (:class:`~prerank.network.inputs.NumberEncoder`).

    Attributes:
        table: number c's bucket b is row ``c · buckets + b``; bucket 0 is a missing value.
        mean, scale, edges: of each number; edges are padded with infinities.
        columns: in the order of the statistics.
    """

    table: Float[Tensor, "rows dimension"]
    mean: Float[Tensor, " numbers"]
    scale: Float[Tensor, " numbers"]
    edges: Float[Tensor, "numbers edges"]
    buckets: int
    columns: tuple[str, ...]

    @property
    def width(self) -> int:
        return len(self.columns) * (1 + self.table.shape[1])


Part = Columns | PooledList | HashedId | KnownRows | IsKnown | Numbers


@dataclass(frozen=True)
class SideParts:
    """One side of a network: look-ups side by side, and what their vector passes through.

    Attributes:
        parts: in the order of the vector.
        dense: from the vector ``[rows, width]`` to the side, a method of the module that has its weights; None: the
            vector is the side.
    """

    parts: tuple[Part, ...] = ()
    dense: Callable[[Tensor], Tensor] | None = None

    @property
    def width(self) -> int:
        """Of the look-ups."""
        return sum(part.width for part in self.parts)
