"""Golden requests: raw values of the checked log's test rows, as a caller would send them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from configs.errors import InputError
from graph.logs.log import SearchLog
from prerank.encoding.batches import EncodedSplit
from prerank.encoding.computed import KEYS, Preparation, columns_read
from prerank.encoding.lookup import Lookup
from prerank.encoding.schema import Column, of_side

GOLDEN_REQUESTS = 100


@dataclass(frozen=True)
class GoldenRequest:
    """One request of the log.

    Attributes:
        rows: of the encoded split, int64 [candidates].
        body: as JSON: ``request``, ``candidates`` and perhaps ``items``.
    """

    rows: Int64[np.ndarray, " candidates"]
    body: dict[str, Any]


def golden_requests(
    log: SearchLog, split: EncodedSplit, columns: tuple[Column, ...], count: int = GOLDEN_REQUESTS
) -> list[GoldenRequest]:
    """Requests of the test split, spread evenly over it.

    Args:
        log: the checked log.
        split: its encoded test split.
        columns: the features.
        count: of requests at most.

    Raises:
        InputError: if the log's rows are not those that were encoded.
    """
    starts = np.flatnonzero(np.diff(split.request, prepend=-1))
    ends = np.append(starts[1:], split.rows)
    chosen = np.unique(np.linspace(0, len(starts) - 1, min(count, len(starts))).astype(np.int64))
    ids = split.requests["request_id"].take(pa.array(chosen))
    raw = _raw_rows(log, ids, columns)
    preparation = Preparation.of(columns)
    tables = {"items": log.items(), "users": log.users(), "queries": log.queries()}
    tables = {name: None if table is None else preparation.table(table, name) for name, table in tables.items()}
    lookups = {name: Lookup(table.combine_chunks(), KEYS[name]) for name, table in tables.items() if table is not None}
    raw = preparation.impressions(raw, lookups)
    golden, at = [], 0
    for number in chosen:
        rows = np.arange(starts[number], ends[number])
        of_request = raw.slice(at, len(rows))
        at += len(rows)
        expected = split.items.item_id.take(pa.array(split.item[rows]))
        if not of_request["item_id"].combine_chunks().equals(pa.chunked_array([expected]).combine_chunks()):
            raise InputError(
                f"{log.folder}: the rows of request {split.requests['request_id'][int(number)]} are not those that "
                "were encoded: the checked log was changed; delete its folder and run the commands again"
            )
        golden.append(GoldenRequest(rows, body_of(of_request, columns, tables)))
    return golden


def describe_first_items(
    requests: Sequence[GoldenRequest], items: pa.Table, split: EncodedSplit, columns: tuple[Column, ...]
) -> None:
    """Let each request say what its first candidate is, as of an item that the catalogue lacks.

    The scores stay: but for this, nothing would compare what a bundle makes of attributes, since the catalogue's
    vectors are ready.

    Args:
        requests: to be added to.
        items: the catalogue, raw.
        split: whose rows the requests are.
        columns: the features.
    """
    names = dict.fromkeys(column.name for column in of_side(columns, "item", "id", "number", "text", "list"))
    for request in requests:
        row = int(split.item[request.rows[0]])
        item_id = str(request.body["candidates"]["item_id"][0])
        request.body["items"] = {item_id: {name: _plain(items[name][row].as_py()) for name in names}}


def body_of(rows: pa.Table, columns: tuple[Column, ...], tables: dict[str, pa.Table | None]) -> dict[str, Any]:
    """The rows of one request as its caller would send them.

    Args:
        rows: raw impressions.
        columns: the features.
        tables: users and queries, where the log has them.
    """
    request = {}
    for column in columns:
        if column.side != "request" or column.name in request:
            continue
        if column.source == "impressions":
            request[column.name] = _plain(rows[column.name][0].as_py())
        else:
            request[column.name] = _looked_up(tables[column.source], KEYS[column.source], column.name, rows)
    candidates = {"item_id": rows["item_id"].to_pylist()}
    for column in columns:
        if column.side == "pair":
            candidates[column.name] = [_plain(value) for value in rows[column.name].to_pylist()]
    return {"request": request, "candidates": candidates}


def some_rows(split: EncodedSplit, rows: Int64[np.ndarray, " rows"]) -> EncodedSplit:
    """A split of some of the rows of another one, in the given order."""
    of_rows = ("item", "request", "clicked", "ordered", "position", "stage", "price", "rank_score")
    return dataclasses.replace(
        split,
        **{name: getattr(split, name).take(rows) for name in of_rows},
        pair_features=split.pair_features.map(lambda values: values.take(rows, axis=0)),
    )


def _raw_rows(log: SearchLog, ids: pa.ChunkedArray, columns: tuple[Column, ...]) -> pa.Table:
    """The test rows of some requests, in the log's order, with the columns that a request is made of."""
    keys = [KEYS[column.source] for column in columns if column.source in ("users", "queries")]
    own = columns_read(columns, "impressions")
    wanted = (pc.field("split") == "test") & pc.field("request_id").isin(ids.combine_chunks())
    return log.dataset().to_table(columns=list(dict.fromkeys(["item_id", "request_id", *keys, *own])), filter=wanted)


def _looked_up(table: pa.Table | None, key: str, name: str, rows: pa.Table) -> Any:
    if table is None:
        return None
    place = pc.index_in(rows[key].slice(0, 1), value_set=table[key].combine_chunks())[0].as_py()
    return None if place is None else _plain(table[name][place].as_py())


def _plain(value: Any) -> Any:
    """A value as JSON has it: what is no number is missing."""
    if isinstance(value, Decimal):
        value = float(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
