"""Small made-up logs in the contract's form, and the command that checks them."""

from __future__ import annotations

import dataclasses
import datetime
import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.command import Invocation, parse
from configs.stages import Run
from graph.logs.log import SearchLog
from graph.logs.prepare import prepare_log

Row = dict[str, Any]
TYPES = {
    "timestamp": pa.timestamp("ms", tz="UTC"),
    "position": pa.int32(),
    "rank_score": pa.float32(),
    "price": pa.float32(),
    "propensity": pa.float32(),
}
ITEMS = [{"item_id": item, "title": f"item {item}", "brand": "b", "price": 1.0} for item in range(1, 31)]


def moment(day: str, hour: int = 12, minute: int = 0) -> datetime.datetime:
    return datetime.datetime.combine(datetime.date.fromisoformat(day), datetime.time(hour, minute), tzinfo=datetime.UTC)


def make_rows(days: Iterable[str] = ("2024-01-01", "2024-01-02", "2024-01-03"), requests: int = 4) -> list[Row]:
    """Some requests a day of five ranked items and a random one; the first is clicked, in every second one ordered."""
    rows = []
    for number, day in enumerate(days):
        for request in range(requests):
            key = number * requests + request
            for position in range(1, 7):
                random = position == 6
                rows.append(
                    {
                        "request_id": key,
                        "user_id": key % 3,
                        "query": f"query {key % 2}",
                        "item_id": (key + position * 5) % 30 + 1,
                        "timestamp": moment(day, 10, request),
                        "stage": "random" if random else "exposed",
                        "position": None if random else position,
                        "clicked": position == 1,
                        "ordered": position == 1 and request % 2 == 0,
                        "price": 10.0 + position,
                    }
                )
    return rows


def table_of(rows: list[Row], types: dict[str, pa.DataType] | None = None) -> pa.Table:
    chosen = TYPES | (types or {})
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: pa.array([row.get(name) for row in rows], chosen.get(name)) for name in names})


def write_log(
    folder: Path,
    rows: list[Row],
    items: list[Row] | pa.Table | None = None,
    types: dict[str, pa.DataType] | None = None,
) -> Path:
    """Write rows into the folder of their own ``_day``, else of their timestamp's day."""
    by_day: dict[str, list[Row]] = {}
    for row in rows:
        day = row.get("_day") or row["timestamp"].date().isoformat()
        by_day.setdefault(day, []).append({key: value for key, value in row.items() if key != "_day"})
    for day, of_day in by_day.items():
        path = folder / "impressions" / f"day={day}" / "part-0.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table_of(of_day, types), path)
    table = items if isinstance(items, pa.Table) else pa.Table.from_pylist(ITEMS if items is None else items)
    pq.write_table(table, folder / "items.parquet")
    return folder


def requested(run: Path, data: str, path: Path, *overrides: str) -> Invocation:
    """The command ``data=... data.path=...`` on a run's folder, parsed once for all tests that differ in paths only."""
    parsed = _parsed(data, overrides)
    config = dataclasses.replace(parsed.config, data=dataclasses.replace(parsed.config.data, path=str(path)))
    return Invocation(config, Run(run), parsed.asked)


@functools.cache
def _parsed(data: str, overrides: tuple[str, ...]) -> Invocation:
    return parse([f"data={data}", *overrides], remember=False)


@pytest.fixture
def request_for() -> Callable[..., Invocation]:
    """`requested`."""
    return requested


@pytest.fixture
def good_rows() -> list[Row]:
    """A log without fault: three days, twelve requests, 72 rows."""
    return make_rows()


@pytest.fixture
def rows_of() -> Callable[..., list[Row]]:
    """`make_rows`, for other days and numbers of requests."""
    return make_rows


@pytest.fixture
def as_table() -> Callable[..., pa.Table]:
    """`table_of`."""
    return table_of


@pytest.fixture
def written_log(tmp_path: Path) -> Callable[..., Path]:
    """Write rows as a contract folder and return it."""

    def write(rows: list[Row], **written: Any) -> Path:
        return write_log(tmp_path / "source", rows, **written)

    return write


@pytest.fixture
def written_folder() -> Callable[[Path, list[Row]], Path]:
    """Write drawn rows and one good row as ``folder/source``, with the items 1 to 4 as strings."""

    def write(folder: Path, drawn: list[Row]) -> Path:
        good = {
            "request_id": "good",
            "user_id": "u1",
            "query": "q",
            "item_id": "1",
            "timestamp": moment("2024-01-01"),
            "stage": "exposed",
            "position": 1,
            "clicked": True,
            "price": 1.0,
            "_day": "2024-01-01",
        }
        types = {name: pa.string() for name in ("request_id", "user_id", "query", "item_id", "stage")}
        items = pa.table({"item_id": ["1", "2", "3", "4"]})
        write_log(folder / "source", [*drawn, good], items=items, types=types | {"clicked": pa.bool_()})
        return folder

    return write


@pytest.fixture
def prepare(tmp_path: Path) -> Callable[..., SearchLog]:
    """Check a log: a folder in the contract's form, or rows that are written first; with overrides."""

    def run(source: Path | list[Row], *overrides: str, **written: Any) -> SearchLog:
        folder = source if isinstance(source, Path) else write_log(tmp_path / "source", source, **written)
        return prepare_log(requested(tmp_path / "runs" / "checked", "contract", folder, *overrides))

    return run


@pytest.fixture
def rejected_file(tmp_path: Path) -> Path:
    """Where `prepare` leaves the rejected rows."""
    return tmp_path / "runs" / "checked" / "logs" / "rejected.parquet"
