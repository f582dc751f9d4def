"""``log.json``: what the checked log holds, counted from the files that were written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from configs.console import say, table, warn
from graph.logs.contract import SPLITS, STAGES
from graph.logs.database import text
from graph.logs.log import catalogue_fingerprint, impressions_rows

COUNTED = ("rows", "requests", "clicks", "orders")


def log_facts(
    connection: duckdb.DuckDBPyConnection, folder: Path, split_by: str, rejected: dict[str, int], simulated: bool
) -> dict[str, Any]:
    """Count the written log. See ``docs/reference/log_contract.md`` for the keys.

    Args:
        folder: holds ``impressions`` and ``items.parquet``.
        split_by: ``day`` or ``session``.
        rejected: rejected rows by reason.
        simulated: whether the log comes from a simulator.
    """
    source = impressions_rows(folder)
    (rows, requests, users, queries), *_ = connection.sql(
        f"SELECT count(*), count(DISTINCT request_id), count(DISTINCT user_id), count(DISTINCT query) FROM {source}"
    ).fetchall()
    (longest,), *_ = connection.sql(
        f"SELECT coalesce(max(n), 0) FROM (SELECT count(position) AS n FROM {source} GROUP BY request_id)"
    ).fetchall()
    stages = dict(connection.sql(f"SELECT stage, count(*) FROM {source} GROUP BY stage").fetchall())
    item_ids = pq.read_table(folder / "items.parquet", columns=["item_id"])["item_id"]
    first = min((folder / "impressions").glob("*/*.parquet"))
    splits = {name: _split_facts(connection, source, name) for name in SPLITS}
    return {
        "rows": rows,
        "requests": requests,
        "users": users,
        "queries": queries,
        "items": len(item_ids),
        "catalogue": catalogue_fingerprint(item_ids),
        "splits": {name: facts for name, facts in splits.items() if facts["rows"]},
        "split_by": split_by,
        "tasks": _tasks(connection, source, "train" if splits["train"]["rows"] else "test"),
        "longest_list": longest,
        "rejected": rejected,
        "columns": {field.name: str(field.type) for field in pq.read_schema(first)},
        "stages": {stage: stages[stage] for stage in STAGES if stage in stages},
        "simulated": simulated,
    }


def tell_facts(facts: dict[str, Any]) -> None:
    """Print the log's size, its splits and the tasks that are switched off."""
    say(
        f"log: {facts['rows']:,} rows, {facts['requests']:,} requests, {facts['users']:,} users, "
        f"{facts['queries']:,} queries, {facts['items']:,} items" + (" (simulated)" if facts["simulated"] else "")
    )
    table(
        f"split by {facts['split_by']}, in order of time",
        ("split", *COUNTED, "days", "from", "to (UTC)"),
        [
            (name, *(f"{s[key]:,}" for key in COUNTED), len(s["days"]), s["first"][:16], s["last"][:16])
            for name, s in facts["splits"].items()
        ],
    )
    for task, fact in facts["tasks"].items():
        if not fact["available"]:
            warn(f"the {task} task is switched off: {fact['reason']}")


def _split_facts(connection: duckdb.DuckDBPyConnection, source: str, name: str) -> dict[str, Any]:
    counted = connection.sql(
        "SELECT count(*), count(DISTINCT request_id), count_if(clicked), count_if(ordered), "
        "list_sort(list(DISTINCT CAST(day AS VARCHAR))), strftime(min(timestamp), '%Y-%m-%d %H:%M:%S.%g'), "
        f"strftime(max(timestamp), '%Y-%m-%d %H:%M:%S.%g') FROM {source} WHERE split = {text(name)}"
    ).fetchall()[0]
    return dict(zip((*COUNTED, "days", "first", "last"), counted, strict=True))


def _tasks(connection: duckdb.DuckDBPyConnection, source: str, split: str) -> dict[str, dict[str, Any]]:
    """Which tasks the rows of a split can teach: both classes among exposed rows, or known positions."""
    ((rows, clicks, orders, positions),) = connection.sql(
        "SELECT count_if(stage = 'exposed'), count_if(clicked AND stage = 'exposed'), "
        f"count_if(ordered AND stage = 'exposed'), count(position) FROM {source} WHERE split = {text(split)}"
    ).fetchall()
    return {
        "click": _two_classes("clicked", clicks, rows, split),
        "order": _two_classes("ordered", orders, rows, split),
        "rank": {
            "available": positions > 0,
            "reason": f"{positions:,} rows of {split} have a position"
            if positions
            else f"no row of {split} has a position",
        },
    }


def _two_classes(column: str, positives: int, rows: int, split: str) -> dict[str, Any]:
    reason = f"{positives:,} of {rows:,} exposed rows of {split} are {column}"
    return {
        "available": 0 < positives < rows,
        "reason": reason if 0 < positives < rows else f"{reason}: one class cannot be learnt or measured",
    }
