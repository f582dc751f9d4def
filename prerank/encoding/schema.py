"""What the encoded columns of a log are: names, kinds and statistics, kept in ``schema.json`` beside the arrays."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from configs.stages import read_json, write_json

# STAGES is also the order of the codes in ``stage.npy``.
from graph.logs.contract import SPLITS as SPLITS
from graph.logs.contract import STAGES as STAGES

SIDES = ("item", "request", "pair")
LIST_LENGTH = 20
"""Values kept of a list column: the first ones, which are the most recent."""
TEXT_LENGTH = 16
"""Hashed n-grams kept of a text."""
LONGEST_QUOTED = 150
"""Characters of a column's name that its file has; the name of a file, also while it is written, has 255 at most."""
ITEM_TABLE = "item_id"
"""Name of the embedding table that a list of items shares with the item's own hash id."""


@dataclass(frozen=True)
class Column:
    """A column of the log that models see.

    Attributes:
        name: of the column.
        kind: id, number, text or list (see ``configs.schema.FeatureKind``).
        side: item, request or pair.
        source: the table that holds it: items, impressions, users or queries.
        table: the embedding table that its hashes look up; columns with the same one share it.
        type: that values are hashed in, as :func:`prerank.encoding.types.type_name` calls it; empty in encodings that
            were made before types were kept.
        sql: expression that it is computed by (:mod:`prerank.encoding.computed`); empty: the log has it.
    """

    name: str
    kind: str
    side: str
    source: str
    table: str
    type: str = ""
    sql: str = ""


@dataclass(frozen=True)
class NumberStatistics:
    """A number and its statistics over training rows only.

    Attributes:
        name: of the column.
        mean: 0 where the training rows hold no value.
        std: standard deviation (population); 1 where it would be 0 or there is no value, so it can be divided by.
        edges: at most 31 inner quantile edges, ascending and distinct; ``searchsorted(edges, value, side="right")`` is
            the bucket, 0 to ``len(edges)``.
        missing_share: share of training rows without a value.
        rows: training rows; 0 in encodings that were made before they were counted.
    """

    name: str
    mean: float
    std: float
    edges: tuple[float, ...]
    missing_share: float
    rows: int = 0


@dataclass(frozen=True)
class ListColumn:
    """A padded list of hashes (0 = padding): ids of a list column, or n-grams of a text."""

    name: str
    length: int
    table: str


@dataclass(frozen=True)
class SideSchema:
    """The columns of one side, in the order of the arrays' columns; ``id_tables`` runs beside ``ids``."""

    ids: tuple[str, ...] = ()
    id_tables: tuple[str, ...] = ()
    numbers: tuple[NumberStatistics, ...] = ()
    lists: tuple[ListColumn, ...] = ()


@dataclass(frozen=True)
class EncodedSchema:
    """Everything that a model or an evaluation needs to know about encoded columns.

    Attributes:
        columns: the log's columns behind the features, to encode another log in the same way.
        sides: the features of the sides item, request and pair.
        n_items: rows of the items' arrays.
        catalogue: fingerprint of the item ids in order.
        tasks: click, order, rank → ``{"available": bool, "reason": str}``.
        cutoffs: K of eq. 6, those that the training lists can tell; empty where the log has no positions.
        log: identity of the checked log.
        splits: split → ``{"rows": int, "requests": int}``.
    """

    columns: tuple[Column, ...]
    sides: Mapping[str, SideSchema]
    n_items: int
    catalogue: str
    tasks: Mapping[str, Mapping[str, Any]]
    cutoffs: tuple[int, ...]
    log: str
    splits: Mapping[str, Mapping[str, int]]

    def save(self, path: Path) -> None:
        """Write as JSON."""
        write_json(path, dataclasses.asdict(self))

    @classmethod
    def load(cls, path: Path) -> EncodedSchema:
        """Read what ``save`` wrote.

        Raises:
            InputError: if the file is missing or is not JSON.
        """
        content = read_json(path)
        return cls(
            columns=tuple(Column(**column) for column in content.pop("columns")),
            sides={side: _side(columns) for side, columns in content.pop("sides").items()},
            cutoffs=tuple(content.pop("cutoffs")),
            **content,
        )


def list_file(name: str) -> str:
    """The file of a list column; a name may hold characters that a file's may not, and more of them."""
    quoted = quote(name, safe="")
    if len(quoted) > LONGEST_QUOTED:
        quoted = f"{quoted[:LONGEST_QUOTED]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return f"lists_{quoted}.npy"


def of_side(columns: tuple[Column, ...], side: str, *kinds: str) -> list[Column]:
    """The columns of a side, of any of the given kinds, in order."""
    return [column for column in columns if column.side == side and column.kind in kinds]


def side_schema(columns: tuple[Column, ...], side: str, numbers: tuple[NumberStatistics, ...]) -> SideSchema:
    """The features that a side's columns become; ``numbers`` are the statistics of its number columns in order."""
    ids = of_side(columns, side, "id")
    lists = of_side(columns, side, "text", "list")
    return SideSchema(
        ids=tuple(column.name for column in ids),
        id_tables=tuple(column.table for column in ids),
        numbers=numbers,
        lists=tuple(
            ListColumn(column.name, TEXT_LENGTH if column.kind == "text" else LIST_LENGTH, column.table)
            for column in lists
        ),
    )


def _side(content: dict[str, Any]) -> SideSchema:
    return SideSchema(
        ids=tuple(content["ids"]),
        id_tables=tuple(content["id_tables"]),
        numbers=tuple(
            NumberStatistics(**{**number, "edges": tuple(number["edges"])})  # JSON has no tuples
            for number in content["numbers"]
        ),
        lists=tuple(ListColumn(**entry) for entry in content["lists"]),
    )
