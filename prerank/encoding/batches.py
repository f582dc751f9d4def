"""Encoded columns as batches: memory-mapped arrays, gathered by row number; no Python code runs per row."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from configs.errors import InputError
from configs.stages import identity_of
from graph.logs.log import read_table
from prerank.encoding.arrays import load_array
from prerank.encoding.schema import ITEM_TABLE, SIDES, STAGES, EncodedSchema, SideSchema, list_file

EXPOSED, RANDOM = STAGES.index("exposed"), STAGES.index("random")
Rows = npt.NDArray[np.int64]
"""Row numbers of a split, of its requests or of the items."""


QUERIES = "training_queries.parquet"
"""Of an encoding that goes on from another: the distinct queries of all training requests so far."""

Array = TypeVar("Array", np.ndarray[Any, Any], Tensor)
Mapped = TypeVar("Mapped", np.ndarray[Any, Any], Tensor)


# Not frozen, as the batch: Lightning's mixed precision copies dataclasses field by field and refuses frozen ones.
@dataclass
class Side(Generic[Array]):
    """The features of one side, in the order of :class:`~prerank.encoding.schema.SideSchema`: arrays or tensors.

    Shapes: ``ids`` int64 [rows, ids], ``numbers`` float32 [rows, numbers] (NaN = missing), ``lists`` name → int64
    [rows, length] (0 = padding).
    """

    ids: Int64[Array, "rows ids"]
    numbers: Float32[Array, "rows numbers"]
    lists: dict[str, Int64[Array, "rows length"]]

    def map(self, function: Callable[[Array], Mapped]) -> Side[Mapped]:
        """The side with a function of each array in its place: some of its rows, a copy on a device."""
        lists = {name: function(values) for name, values in self.lists.items()}
        return Side(function(self.ids), function(self.numbers), lists)


SideFeatures = Side[Tensor]
"""Of the rows of a batch."""
SideArrays = Side[np.ndarray[Any, Any]]
"""As they are written, memory-mapped where they lie on disk."""


def open_side(folder: Path, schema: SideSchema) -> SideArrays:
    """Map the files ``ids.npy``, ``numbers.npy`` and one per list, of a folder."""
    lists = {column.name: load_array(folder / list_file(column.name)) for column in schema.lists}
    return Side(load_array(folder / "ids.npy"), load_array(folder / "numbers.npy"), lists)


def gather(side: SideArrays, rows: Rows) -> SideFeatures:
    """The features of some rows, in their order."""
    return side.map(lambda values: torch.from_numpy(values.take(rows, axis=0)))


@dataclass
class Batch:
    """Some rows of a split: impressions with their labels and features.

    Attributes:
        item: row of the item in items.parquet.
        item_hash: 64-bit hash of the item id, what φ's hash table is looked up with.
        sides: features by side: item, request, pair.
        clicked, ordered: 0 or 1.
        position: 1-based position by the ranking model; inf for a random negative, NaN where unknown.
        list_length: ranked rows of the row's request.
        stage: index into ``prerank.encoding.schema.STAGES``.
        request: row of the request among the split's requests.
        rank_score: the ranking model's score; NaN where unknown.
        row: row number within the split.
    """

    item: Int64[Tensor, " batch"]
    item_hash: Int64[Tensor, " batch"]
    sides: dict[str, SideFeatures]
    clicked: Float32[Tensor, " batch"]
    ordered: Float32[Tensor, " batch"]
    position: Float32[Tensor, " batch"]
    list_length: Float32[Tensor, " batch"]
    stage: Int64[Tensor, " batch"]
    request: Int64[Tensor, " batch"]
    rank_score: Float32[Tensor, " batch"]
    row: Int64[Tensor, " batch"]

    def __len__(self) -> int:
        return self.row.shape[0]

    @property
    def has_feedback(self) -> Bool[Tensor, " batch"]:
        """Rows whose clicks are known: shown to the user, or a random negative (GRACE, section 3.1.1)."""
        return (self.stage == EXPOSED) | (self.stage == RANDOM)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """A copy on a device."""

        def moved(values: Tensor) -> Tensor:
            return values.to(device, non_blocking=non_blocking)

        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        sides = {name: side.map(moved) for name, side in fields.pop("sides").items()}
        return Batch(sides=sides, **{name: moved(values) for name, values in fields.items()})


@dataclass(frozen=True)
class TrainingCounts:
    """How often each item was exposed, clicked and ordered on training days. Shapes: int64 [items]."""

    impressions: npt.NDArray[np.int64]
    clicks: npt.NDArray[np.int64]
    orders: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class EncodedItems:
    """The item side: one row per item.

    Attributes:
        features: of every item.
        item_hash: 64-bit hash of each item id.
        counts: what training days told of each item.
        item_id: the item ids in the log's own type.
    """

    features: SideArrays
    item_hash: npt.NDArray[np.int64]
    counts: TrainingCounts
    item_id: pa.Array

    @classmethod
    def open(cls, folder: Path, schema: EncodedSchema) -> EncodedItems:
        """Map the arrays of ``prerank/encoded/items``, in the order of items.parquet."""
        return cls(
            features=open_side(folder, schema.sides["item"]),
            item_hash=load_array(folder / "item_hash.npy"),
            counts=TrainingCounts(
                load_array(folder / "training_impressions.npy"),
                load_array(folder / "training_clicks.npy"),
                load_array(folder / "training_orders.npy"),
            ),
            item_id=read_table(folder / "item_id.parquet").column(0).combine_chunks(),
        )

    def __len__(self) -> int:
        return len(self.item_hash)


@dataclass(eq=False, repr=False)
class EncodedSplit:
    """The rows of one split: of a log on disk, or of requests as they come in.

    Attributes:
        schema: of the encoded log.
        items: the item side that the rows refer to.
        item, request: row of the item among the items, and of the request among the split's requests.
        clicked, ordered, position, stage, price, rank_score: of each row, as in :class:`Batch`.
        list_length: ranked rows of each request.
        pair_features, request_features: the features of each row and of each request.
        requests: request_id, user_id, query, timestamp (and session_id if the log has it), a row per request.
    """

    schema: EncodedSchema
    items: EncodedItems
    item: npt.NDArray[np.int32]
    request: npt.NDArray[np.int32]
    clicked: npt.NDArray[np.uint8]
    ordered: npt.NDArray[np.uint8]
    position: npt.NDArray[np.float32]
    stage: npt.NDArray[np.uint8]
    price: npt.NDArray[np.float32]
    rank_score: npt.NDArray[np.float32]
    list_length: npt.NDArray[np.int32]
    pair_features: SideArrays
    request_features: SideArrays
    requests: pa.Table

    @classmethod
    def open(cls, folder: Path, schema: EncodedSchema, items: EncodedItems) -> EncodedSplit:
        """Map the arrays of ``prerank/encoded/<split>``."""
        rows = ("item", "request", "clicked", "ordered", "position", "stage", "price", "rank_score")
        return cls(
            schema=schema,
            items=items,
            **{name: load_array(folder / f"{name}.npy") for name in rows},
            list_length=load_array(folder / "requests" / "list_length.npy"),
            pair_features=open_side(folder, schema.sides["pair"]),
            request_features=open_side(folder / "requests", schema.sides["request"]),
            requests=read_table(folder / "requests" / "requests.parquet"),
        )

    @property
    def rows(self) -> int:
        return len(self.item)

    def __len__(self) -> int:
        return self.rows

    def feedback_rows(self) -> Rows:
        """Numbers of the rows whose clicks are known (see :attr:`Batch.has_feedback`)."""
        return np.flatnonzero((self.stage == EXPOSED) | (self.stage == RANDOM))

    def batch(self, rows: Rows) -> Batch:
        """Gather rows, in the given order.

        Raises:
            IndexError: for a row number outside the split.
        """
        item = self.item.take(rows).astype(np.int64)
        request = self.request.take(rows).astype(np.int64)
        return Batch(
            item=torch.from_numpy(item),
            item_hash=torch.from_numpy(self.items.item_hash.take(item)),
            sides={
                "item": gather(self.items.features, item),
                "request": gather(self.request_features, request),
                "pair": gather(self.pair_features, rows),
            },
            clicked=torch.from_numpy(self.clicked.take(rows).astype(np.float32)),
            ordered=torch.from_numpy(self.ordered.take(rows).astype(np.float32)),
            position=torch.from_numpy(self.position.take(rows)),
            list_length=torch.from_numpy(self.list_length.take(request).astype(np.float32)),
            stage=torch.from_numpy(self.stage.take(rows).astype(np.int64)),
            request=torch.from_numpy(request),
            rank_score=torch.from_numpy(self.rank_score.take(rows)),
            row=torch.from_numpy(rows),
        )

    def raw_ids(self, rows: Rows) -> dict[str, npt.NDArray[np.int64]]:
        """``side:column`` → hashes int64 [rows] of every id column, and of the item id itself."""
        hashes = {f"item:{ITEM_TABLE}": self.items.item_hash.take(self.item.take(rows))}
        for side, arrays, index in self._sides(rows):
            for place, name in enumerate(self.schema.sides[side].ids):
                hashes[f"{side}:{name}"] = arrays.ids[:, place].take(index)
        return hashes

    def raw_numbers(self, rows: Rows) -> dict[str, npt.NDArray[np.float32]]:
        """``side:column`` → values float32 [rows] of every number column; NaN where missing."""
        return {
            f"{side}:{number.name}": arrays.numbers[:, place].take(index)
            for side, arrays, index in self._sides(rows)
            for place, number in enumerate(self.schema.sides[side].numbers)
        }

    def raw_lists(self, rows: Rows) -> dict[str, npt.NDArray[np.int64]]:
        """``side:column`` → hashes int64 [rows, length] of every list and text column; 0 is padding."""
        return {
            f"{side}:{name}": values.take(index, axis=0)
            for side, arrays, index in self._sides(rows)
            for name, values in arrays.lists.items()
        }

    def _sides(self, rows: Rows) -> list[tuple[str, SideArrays, npt.NDArray[Any]]]:
        """Each side's arrays and the rows of them that the split's rows refer to."""
        arrays = (self.items.features, self.request_features, self.pair_features)
        return list(zip(SIDES, arrays, (self.item.take(rows), self.request.take(rows), rows), strict=True))


class EncodedLog:
    """A log's encoded columns on disk.

    Args:
        folder: ``runs/<run>/prerank/encoded``.
        schema: what lies there.
        identity: of the encoding, to be named as an input of later stages.
    """

    def __init__(self, folder: Path, schema: EncodedSchema, identity: str) -> None:
        self.folder = folder
        self.schema = schema
        self.identity = identity
        self.items = EncodedItems.open(folder / "items", schema)

    @classmethod
    def open(cls, folder: Path) -> EncodedLog:
        """Map the arrays of a finished encoding.

        Raises:
            InputError: if it has not finished or a file of it is damaged.
        """
        identity = identity_of(folder, "python -m prerank.fit")
        return cls(folder, EncodedSchema.load(folder / "schema.json"), identity)

    def split(self, name: str) -> EncodedSplit:
        """The rows of train, validation or test.

        Raises:
            InputError: if the log has no such split.
        """
        if name not in self.schema.splits:
            raise InputError(f"{self.folder} has no split {name!r}; it has: {', '.join(self.schema.splits)}")
        return EncodedSplit.open(self.folder / name, self.schema, self.items)

    @property
    def item_ids(self) -> pa.Array:
        """The item ids in the catalogue's order."""
        return self.items.item_id

    @property
    def training_counts(self) -> TrainingCounts:
        """Exposures, clicks and orders of each item on training days."""
        return self.items.counts

    @property
    def training_queries(self) -> pa.Array | pa.ChunkedArray:
        """The queries of training requests; of a log that goes on from others, also of theirs."""
        path = self.folder / QUERIES
        return read_table(path)["query"] if path.exists() else self.split("train").requests["query"]

    def item_features(self, items: Rows) -> tuple[Int64[Tensor, " items"], SideFeatures]:
        """Hash and item side of some items, the inputs of φ."""
        return torch.from_numpy(self.items.item_hash.take(items)), gather(self.items.features, items)
