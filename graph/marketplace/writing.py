"""Writes the log and its tables in the contract's form, from what is seen only: no class of this module is hidden."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from configs.stages import replacing
from graph.logs.contract import STAGES
from graph.marketplace.cascade.cascade import WaveLog
from graph.marketplace.cascade.retrieval import text_match
from graph.marketplace.world.catalogue import DAY_MS, Catalogue
from graph.marketplace.world.demand import Requests
from graph.marketplace.world.shoppers import AGE_BANDS, REGIONS
from graph.marketplace.world.state import Seen

MOMENT = pa.timestamp("ms", tz="UTC")
IMPRESSIONS = pa.schema(
    [
        ("request_id", pa.int64()),
        ("user_id", pa.int64()),
        ("query", pa.string()),
        ("item_id", pa.int64()),
        ("timestamp", MOMENT),
        ("stage", pa.string()),
        ("position", pa.int32()),
        ("rank_score", pa.float32()),
        ("clicked", pa.bool_()),
        ("ordered", pa.bool_()),
        ("price", pa.float32()),
        ("propensity", pa.float32()),
        ("session_id", pa.int64()),
        ("history", pa.list_(pa.int64())),
        ("text_match", pa.float32()),
    ]
)
ITEMS = pa.schema(
    [
        ("item_id", pa.int64()),
        ("title", pa.string()),
        ("category", pa.string()),
        ("brand", pa.string()),
        ("shop", pa.string()),
        ("price", pa.float32()),
        ("listed_at", MOMENT),
    ]
)
USERS = pa.schema([("user_id", pa.int64()), ("age_band", pa.string()), ("region", pa.string())])
QUERIES = pa.schema([("query", pa.string()), ("predicted_category", pa.string()), ("words", pa.int32())])


def items_table(seen: Seen) -> pa.Table:
    """``items.parquet`` of the whole catalogue, in its order: the items listed after the log too."""
    catalogue, shelves = seen.catalogue, seen.shelves
    columns = [
        catalogue.item_id,
        catalogue.titles(),
        _named(shelves.categories, catalogue.leaf),
        _named(shelves.brands, catalogue.brand),
        _named(shelves.shops, catalogue.shop),
        catalogue.price.astype(np.float32),
        catalogue.listed_at,
    ]
    return _table(ITEMS, columns)


def users_table(seen: Seen) -> pa.Table:
    """``users.parquet``, a row per user by number."""
    users = seen.users
    return _table(USERS, [users.user_id, _named(AGE_BANDS, users.age_band), _named(REGIONS, users.region)])


def queries_table(seen: Seen) -> pa.Table:
    """``queries.parquet``, a row per query by number."""
    queries, categories = seen.queries, seen.shelves.categories
    return _table(QUERIES, [queries.text, _named(categories, queries.predicted_leaf), queries.word_count])


def write_tables(seen: Seen, end: int, folder: Path) -> None:
    """Write ``items.parquet``, ``users.parquet`` and ``queries.parquet``, each sorted by its key.

    Args:
        seen: the tables.
        end: end of the log, ms since 1970; items listed later are left out.
        folder: where to write.
    """
    listed = int(seen.catalogue.on_sale(np.array([end - 1]))[0])
    tables = {"items": items_table(seen).slice(0, listed), "users": users_table(seen), "queries": queries_table(seen)}
    for name, table in tables.items():
        _write(table.take(pa.compute.sort_indices(table[0])), folder / f"{name}.parquet")


def write_day(
    seen: Seen,
    requests: Requests,
    waves: Sequence[tuple[np.ndarray, WaveLog]],
    prices: np.ndarray,
    folder: Path,
) -> int:
    """Write one day's impressions, ordered by time, request and position; unranked items come last, by id.

    Args:
        seen: the tables.
        requests: the day's, in order of time.
        waves: row numbers in ``requests``, and what happened there.
        prices: of every item on that day.
        folder: gets ``day=YYYY-MM-DD/part-0.parquet``.

    Returns:
        The number of rows.
    """
    parts = [_flat(rows, log) for rows, log in waves]
    flat = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    item_id = seen.catalogue.item_id[flat["item"]]
    last = np.where(flat["position"] > 0, flat["position"], np.iinfo(np.int64).max)
    order = np.lexsort((item_id, last, flat["request"]))
    flat = {name: values[order] for name, values in flat.items()}
    row, item = flat["request"], flat["item"]
    columns = [
        requests.request_id[row],
        seen.users.user_id[requests.user[row]],
        _named(seen.queries.text, requests.query[row]),
        seen.catalogue.item_id[item],
        requests.timestamp[row],
        _named(STAGES, flat["stage"]),
        pa.array(flat["position"].astype(np.int32), mask=flat["position"] == 0),
        pa.array(flat["score"].astype(np.float32), from_pandas=True),
        flat["clicked"],
        flat["ordered"],
        prices[item],
        pa.array(flat["propensity"].astype(np.float32), from_pandas=True),
        requests.session_id[row],
        _histories(seen.catalogue, len(requests), waves).take(pa.array(row)),
        text_match(seen.queries, seen.catalogue, requests.query[row], item),
    ]
    day = datetime.datetime.fromtimestamp(int(requests.timestamp[0]) // DAY_MS * DAY_MS / 1000, datetime.UTC).date()
    _write(_table(IMPRESSIONS, columns), folder / f"day={day.isoformat()}" / "part-0.parquet")
    return len(row)


def _flat(rows: np.ndarray, log: WaveLog) -> dict[str, np.ndarray]:
    """The logged cells of a wave, one row each."""
    at = np.nonzero(log.logged)
    return {
        "request": rows[at[0]],
        "item": log.items[at],
        "stage": log.stage[at],
        "position": log.position[at],
        "score": log.score[at],
        "clicked": log.clicked[at],
        "ordered": log.ordered[at],
        "propensity": log.propensity[at],
    }


def _histories(catalogue: Catalogue, count: int, waves: Sequence[tuple[np.ndarray, WaveLog]]) -> pa.ListArray:
    """Each request's history as item ids."""
    items = np.full((count, waves[0][1].history.shape[1]), -1, dtype=np.int64)
    for rows, log in waves:
        items[rows] = log.history
    there = items >= 0
    offsets = np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(catalogue.item_id[items[there]]))


def _named(names: Sequence[str], codes: np.ndarray) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(list(names))).cast(pa.string())


def _table(schema: pa.Schema, columns: Sequence[Any]) -> pa.Table:
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, type=field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _write(table: pa.Table, path: Path) -> None:
    with replacing(path) as temporary:
        pq.write_table(table, temporary)
