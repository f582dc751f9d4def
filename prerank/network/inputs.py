"""Columns to vectors: hashed embedding tables with sparse gradients, bucketed numbers, mean-pooled lists.

A dense gradient over a table of millions of rows makes a step hundreds of times slower, so every table here is sparse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from prerank.encoding.batches import SideFeatures
from prerank.encoding.schema import NumberStatistics, SideSchema
from prerank.network.parts import ColumnRows, Columns, Numbers, Part, PooledList

TABLE_SCALE = 0.01
"""Standard deviation of a fresh embedding: an id that was never trained should say next to nothing."""

STANDARDISED_LIMIT = 5.0
"""Standard deviations at which a number is clipped: one absurd price must not blow a batch up."""


class HashedTable(nn.Module):
    """One table for several hashed columns: column c owns the rows from its offset on.

    Args:
        rows: column name → number of buckets.
        dimension: length of an embedding.
    """

    def __init__(self, rows: Mapping[str, int], dimension: int) -> None:
        super().__init__()
        self.rows = dict(rows)
        self.offsets = dict(zip(rows, accumulate(rows.values(), initial=0), strict=False))
        self.dimension = dimension
        self.weight = nn.Parameter(torch.randn(sum(rows.values()), dimension) * TABLE_SCALE)

    def buckets(self, column: str, hashes: Int64[Tensor, "*shape"]) -> Int64[Tensor, "*shape"]:
        """Row of each hash; ``remainder`` is never negative for a positive divisor."""
        return hashes.remainder(self.rows[column]) + self.offsets[column]

    def lookup(self, columns: Sequence[str], hashes: Int64[Tensor, "batch columns"]) -> Float[Tensor, "batch width"]:
        """The embeddings of several columns, side by side."""
        sizes = hashes.new_tensor([self.rows[column] for column in columns])
        starts = hashes.new_tensor([self.offsets[column] for column in columns])
        return F.embedding(hashes.remainder(sizes) + starts, self.weight, sparse=True).flatten(1)

    def pool(self, column: str, hashes: Int64[Tensor, "batch length"]) -> Float[Tensor, "batch dimension"]:
        """The mean embedding of a list; hash 0 is padding, an empty list gives zeros."""
        present = hashes != 0
        counts = present.sum(dim=1)
        starts = counts.cumsum(dim=0) - counts
        return F.embedding_bag(self.buckets(column, hashes[present]), self.weight, starts, mode="mean", sparse=True)

    def rows_of(self, name: str, table: str) -> ColumnRows:
        """The rows that a column of the log looks up, as a part states them."""
        return ColumnRows(name, self.offsets[table], self.rows[table])


@runtime_checkable
class SharedTable(Protocol):
    """A table that belongs to another module: φ's hash-id table, which also embeds lists of items."""

    dimension: int

    def __call__(self, hashes: Int64[Tensor, batch]) -> Float[Tensor, "batch dimension"]: ...

    def pool(self, column: str, hashes: Int64[Tensor, "batch length"], /) -> Float[Tensor, "batch dimension"]: ...

    def part(self, column: str | None, pooled: bool) -> Part:
        """What is looked up of a column of item ids (None: of the item's own id), or of lists of them."""


class NumberEncoder(nn.Module):
    """Numbers as standardised values and as embeddings of their quantile bucket; missing is a bucket of its own.

    The statistics come from the training rows and are saved with the network, so that a new log is encoded alike.

    Args:
        numbers: statistics of each number.
        dimension: length of a bucket's embedding.
    """

    mean: Tensor
    scale: Tensor
    edges: Tensor

    def __init__(self, numbers: Sequence[NumberStatistics], dimension: int) -> None:
        super().__init__()
        longest = max((len(number.edges) for number in numbers), default=0)
        padded = [[*number.edges, *[torch.inf] * (longest - len(number.edges))] for number in numbers]
        self.register_buffer("mean", torch.tensor([number.mean for number in numbers]))
        self.register_buffer("scale", torch.tensor([number.std if number.std > 0 else 1.0 for number in numbers]))
        self.register_buffer("edges", torch.tensor(padded).reshape(len(numbers), longest))
        self.columns = tuple(number.name for number in numbers)
        self.buckets = longest + 2
        self.weight = nn.Parameter(torch.randn(len(numbers) * self.buckets, dimension) * TABLE_SCALE)
        self.width = len(numbers) * (1 + dimension)

    def forward(self, numbers: Float[Tensor, "batch numbers"]) -> Float[Tensor, "batch width"]:
        missing = numbers.isnan()
        filled = torch.where(missing, self.mean, numbers)
        standard = ((filled - self.mean) / self.scale).clamp(-STANDARDISED_LIMIT, STANDARDISED_LIMIT)
        bucket = torch.searchsorted(self.edges, filled.T.contiguous(), right=True).T + 1
        bucket = torch.where(missing, 0, bucket)
        start = torch.arange(numbers.shape[1], device=numbers.device) * self.buckets
        embedded = F.embedding(bucket + start, self.weight, sparse=True).flatten(1)
        return torch.cat([standard, embedded], dim=1)

    def part(self) -> Numbers:
        return Numbers(self.weight, self.mean, self.scale, self.edges, self.buckets, self.columns)


class SideEncoder(nn.Module):
    """All columns of one side (item, request or pair) as one vector.

    Args:
        schema: the side's columns.
        buckets: rows of each hashed column's table.
        dimension: length of each embedding.
        shared: tables of other modules that lists may share, by column name (``item_id``: the hash-id table of φ).
    """

    def __init__(
        self, schema: SideSchema, buckets: int, dimension: int, shared: Mapping[str, SharedTable] | None = None
    ) -> None:
        super().__init__()
        # A plain dict: a shared table's parameters belong to its owner, not to this module.
        self._shared = dict(shared or {})
        self.ids = list(schema.id_tables)
        self.names = list(schema.ids)
        self.lists = [(column.name, column.table) for column in schema.lists]
        used = [*self.ids, *(table for _, table in self.lists)]
        own = dict.fromkeys((table for table in used if table not in self._shared), buckets)
        self.table = HashedTable(own, dimension) if own else None
        self.numbers = NumberEncoder(schema.numbers, dimension) if schema.numbers else None
        embedded = sum(self._shared[table].dimension if table in self._shared else dimension for table in used)
        self.width = embedded + (self.numbers.width if self.numbers else 0)

    def forward(self, features: SideFeatures) -> Float[Tensor, "batch width"]:
        parts: list[Tensor] = []
        own = [position for position, table in enumerate(self.ids) if table not in self._shared]
        if self.table is not None and own:
            parts.append(self.table.lookup([self.ids[position] for position in own], features.ids[:, own]))
        for position, table in enumerate(self.ids):
            if table in self._shared:
                parts.append(self._shared[table](features.ids[:, position]))
        for name, table in self.lists:
            pooling = self._shared.get(table, self.table)
            assert pooling is not None
            parts.append(pooling.pool(table, features.lists[name]))
        if self.numbers is not None:
            parts.append(self.numbers(features.numbers))
        if not parts:
            return features.numbers.new_zeros(features.numbers.shape[0], 0)
        return torch.cat(parts, dim=1)

    def parts(self) -> list[Part]:
        """What is looked up, in the order of the output."""
        parts: list[Part] = []
        columns = list(zip(self.names, self.ids, strict=True))
        if self.table is not None:
            own = [self.table.rows_of(name, table) for name, table in columns if table not in self._shared]
            parts += [Columns(self.table.weight, tuple(own))] if own else []
        parts += [self._shared[table].part(name, False) for name, table in columns if table in self._shared]
        for name, table in self.lists:
            if table in self._shared:
                parts.append(self._shared[table].part(name, True))
            elif self.table is not None:
                parts.append(PooledList(self.table.weight, self.table.rows_of(name, table)))
        return parts if self.numbers is None else [*parts, self.numbers.part()]
