"""Checked logs written by hand, and the commands' requests on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.command import Invocation, parse
from configs.stages import Stage, write_json
from graph.logs.log import SearchLog, catalogue_fingerprint

Row = Mapping[str, Any]
TYPES = {
    "timestamp": pa.timestamp("ms", tz="UTC"),
    "position": pa.int32(),
    "rank_score": pa.float32(),
    "price": pa.float32(),
    "clicked": pa.bool_(),
    "ordered": pa.bool_(),
    "listed_at": pa.timestamp("ms", tz="UTC"),
}


def _impression(row: Row) -> dict[str, Any]:
    made = {
        "user_id": "u",
        "query": "q",
        "timestamp": datetime(2024, 1, 1, 12, tzinfo=UTC),
        "stage": "exposed",
        "position": None,
        "rank_score": None,
        "clicked": False,
        "ordered": False,
        "price": None,
        "split": "train",
        **row,
    }
    return {"request_id": f"{made['user_id']} {made['query']} {made['timestamp']}", **made}


def _table(rows: Iterable[Row]) -> pa.Table:
    given = list(rows)
    names = dict.fromkeys(name for row in given for name in row)
    table = pa.table({name: [row.get(name) for row in given] for name in names})
    for name in set(table.column_names) & TYPES.keys():
        place = table.column_names.index(name)
        table = table.set_column(place, name, table[name].cast(TYPES[name]))
    return table


@pytest.fixture
def make_log() -> Callable[..., SearchLog]:
    """A function (folder, impression rows, item rows, split_by) → the checked log, written as the logs' stage would."""

    def make(folder: Path, rows: Iterable[Row], items: Iterable[Row], split_by: str = "day") -> SearchLog:
        stage = Stage(folder, {"made": "by hand"})
        stage.start()
        folder = stage.folder
        full = [_impression(row) for row in rows]
        days = [row["timestamp"].date().isoformat() for row in full]
        table = _table(full)
        for day in sorted(set(days)):
            path = folder / "impressions" / f"day={day}" / "part-0.parquet"
            path.parent.mkdir(parents=True)
            pq.write_table(table.filter([of_row == day for of_row in days]), path)
        item_table = _table(items)
        pq.write_table(item_table, folder / "items.parquet")
        write_json(folder / "log.json", _facts(full, item_table, split_by))
        stage.finish()
        return SearchLog.open(stage.folder)

    return make


def _facts(rows: list[dict[str, Any]], items: pa.Table, split_by: str) -> dict[str, Any]:
    splits = {}
    for split in ("train", "validation", "test"):
        of_split = [row for row in rows if row["split"] == split]
        days = sorted({row["timestamp"].date().isoformat() for row in of_split})
        splits[split] = {"rows": len(of_split), "days": days}
    return {
        "rows": len(rows),
        "items": items.num_rows,
        "catalogue": catalogue_fingerprint(items["item_id"]),
        "splits": splits,
        "split_by": split_by,
        "simulated": False,
    }


@pytest.fixture
def make_request(tmp_path: Path) -> Callable[..., Invocation]:
    """A function (overrides) → the request of a command in a run folder of this test."""

    def make(*overrides: str, run: str = "test") -> Invocation:
        return parse([f"runs_folder={tmp_path / 'runs'}", f"run={run}", "graph.memory_limit_gb=0.5", *overrides])

    return make
