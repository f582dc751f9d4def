"""What a bundle sees of a request, as ``features.json`` states it: columns, and the look-ups of each side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from graph.logs.contract import day_files
from graph.logs.log import SearchLog
from prerank.encoding.schema import LIST_LENGTH, TEXT_LENGTH, Column
from prerank.encoding.types import type_name
from prerank.exporting.tables import Tensors
from prerank.network.history import HistoryNetwork
from prerank.network.parts import Columns, HashedId, IsKnown, KnownRows, Numbers, Part, PooledList, SideParts

FORMAT = 1
"""Of the bundle; raised when an older reader would misread it."""


def schemas_of(log: SearchLog) -> dict[str, pa.Schema]:
    """The columns of each table of a log."""
    first_day = next(iter(day_files(log.folder / "impressions").values()))
    tables = {"items": log.items(), "users": log.users(), "queries": log.queries()}
    return {
        "impressions": pq.read_schema(first_day[0]),
        **{name: table.schema for name, table in tables.items() if table is not None},
    }


def describe_columns(columns: tuple[Column, ...], schemas: Mapping[str, pa.Schema]) -> list[dict[str, str]]:
    """Name, side, kind and type of each column; the type of a list is that of its values."""
    described = []
    for column in columns:
        kind = column.type or type_name(schemas[column.source].field(column.name).type)
        described.append({"name": column.name, "side": column.side, "kind": column.kind, "type": kind})
    return described


def lengths() -> dict[str, int]:
    """Hashes kept of a text, and values of a list."""
    return {"text": TEXT_LENGTH, "list": LIST_LENGTH}


def describe_side(side: SideParts, name: str, tensors: Tensors, output: int, graph: str | None) -> dict[str, Any]:
    """A side's look-ups, whose tensors are added.

    Args:
        side: as the network states it.
        name: item, request or pair.
        tensors: of ``tables.safetensors``.
        output: width of what the score takes of the side.
        graph: the file of what the look-ups pass through.
    """
    parts = [_described(part, f"{name}.{place}", tensors) for place, part in enumerate(side.parts)]
    return {"width": side.width, "parts": parts, "network": graph, "output": output}


def describe_history(network: object, tensors: Tensors) -> dict[str, Any] | None:
    """The history that a network attends to; None where there is none."""
    if not isinstance(network, HistoryNetwork) or network.pooling is None:
        return None
    hashed = _described(network.hash_id.part(None, False), "history", tensors)
    buckets = {key: hashed[key] for key in ("table", "hashing", "counts", "starts")}
    return {"columns": network.histories, "length": history_length(network), **buckets}


def history_length(network: HistoryNetwork) -> int:
    """Earlier items of a request, of all its lists."""
    return LIST_LENGTH * len(network.histories)


def _described(part: Part, place: str, tensors: Tensors) -> dict[str, Any]:
    match part:
        case Columns():
            columns = [vars(each) for each in part.columns]
            return {"kind": "columns", "table": tensors.table(part.table, f"{place}.table"), "columns": columns}
        case PooledList():
            return {"kind": "list", "table": tensors.table(part.table, f"{place}.table"), **vars(part.rows)}
        case HashedId():
            described = {
                "kind": "hash_id",
                "table": tensors.table(part.table, f"{place}.table"),
                "column": part.column,
                "list": part.pooled,
                "hashing": part.hashing.value,
                "counts": list(part.counts),
                "starts": list(part.starts),
                "projection": None,
            }
            if part.projection is not None:
                described["projection"] = tensors.exact(part.projection, f"{place}.projection")
            return described
        case KnownRows():
            return {
                "kind": "known_rows",
                "table": tensors.table(part.table, f"{place}.table"),
                "hashes": tensors.exact(part.hashes, f"{place}.hashes"),
                "column": part.column,
                "list": part.pooled,
            }
        case IsKnown():
            return {"kind": "is_known", "hashes": tensors.exact(part.hashes, f"{place}.hashes")}
        case Numbers():
            statistics = {
                key: tensors.exact(getattr(part, key), f"{place}.{key}") for key in ("mean", "scale", "edges")
            }
            return {
                "kind": "numbers",
                "table": tensors.table(part.table, f"{place}.table"),
                **statistics,
                "buckets": part.buckets,
                "columns": list(part.columns),
            }


def tables_of(sides: Mapping[str, SideParts]) -> Iterator[Any]:
    """The tables that the sides look up, some more than once."""
    for side in sides.values():
        for part in side.parts:
            if not isinstance(part, IsKnown):
                yield part.table


def tensors_of(sides: Mapping[str, SideParts]) -> list[Any]:
    """All tensors of the look-ups: what a dense network has no use for."""
    tensors = []
    for side in sides.values():
        for part in side.parts:
            tensors += [getattr(part, key, None) for key in ("table", "hashes", "projection", "mean", "scale", "edges")]
    return [tensor for tensor in tensors if tensor is not None]
