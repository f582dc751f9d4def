"""A log that goes on from yesterday's: what is taken over, left out, carried, and refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.command import parse
from configs.errors import InputError
from graph.logs.log import SearchLog
from graph.logs.prepare import prepare_log

Run = Callable[..., SearchLog]
START = datetime(2024, 1, 1, 12, tzinfo=UTC)


def requests(first: int, last: int, day: int, **columns: Any) -> list[dict[str, Any]]:
    """Requests of a day, an hour apart, each of two items; the lower id is clicked."""
    return [
        {
            "request_id": number,
            "user_id": number % 3,
            "session_id": f"s{number}",
            "query": "shoes",
            "timestamp": START + timedelta(days=day, minutes=number),
            "item_id": item,
            "clicked": item == 0,
            **columns,
        }
        for number in range(first, last)
        for item in (0, 1)
    ]


def write(folder: Path, rows: Sequence[Mapping[str, Any]], items: pa.Table) -> Path:
    """A log in the contract's form."""
    table = pa.Table.from_pylist(list(rows))
    table = table.set_column(
        table.column_names.index("timestamp"), "timestamp", table["timestamp"].cast(pa.timestamp("ms", tz="UTC"))
    )
    days = [row["timestamp"].date().isoformat() for row in rows]
    for day in sorted(set(days)):
        path = folder / "impressions" / f"day={day}" / "a.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.filter([of_row == day for of_row in days]), path)
    pq.write_table(items, folder / "items.parquet")
    return folder


ITEMS = pa.table({"item_id": [0, 1], "brand": ["acme", "zeta"], "price": [1.0, 2.0]})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A function (name, folder of the source, overrides) → the checked log of a run, with its configuration settled."""

    def make(name: str, source: Path, *overrides: str) -> SearchLog:
        common = [f"runs_folder={tmp_path / 'runs'}", f"run={name}", "data=contract", f"data.path={source}"]
        invocation = parse([*common, *overrides])
        log = prepare_log(invocation)
        invocation.save(invocation.run.config)
        return log

    return make


def rows_of(log: SearchLog) -> list[dict[str, Any]]:
    return log.dataset().to_table().to_pylist()


@pytest.fixture
def monday(tmp_path: Path, run: Run) -> SearchLog:
    """Twenty requests of one day: 14 of training, 2 of validation, 4 of test."""
    return run("monday", write(tmp_path / "monday", requests(0, 20, 0), ITEMS))


def test_every_row_is_trained_on_once(tmp_path: Path, run: Run, monday: SearchLog) -> None:
    taught = {row["request_id"] for row in rows_of(monday) if row["split"] == "train"}
    log = run("tuesday", write(tmp_path / "tuesday", requests(20, 60, 1), ITEMS), "from=monday")
    rows = rows_of(log)
    assert log.facts["since"]["carried"] == 40 - 2 * len(taught) > 0
    assert {name: facts["rows"] for name, facts in log.facts["splits"].items()} == {
        "train": 12 + 72,
        "validation": 4,
        "test": 4,
    }
    carried = [row for row in rows if row["day"] == "2024-01-01"]
    assert {row["split"] for row in carried} == {"train"}
    assert len({row["session_id"] for row in carried}) == 6
    assert len({row["request_id"] for row in rows}) == log.facts["requests"] == 46


def test_ids_that_restart_each_day_are_of_other_requests_and_sessions(
    tmp_path: Path, run: Run, monday: SearchLog
) -> None:
    del monday
    log = run("tuesday", write(tmp_path / "tuesday", requests(0, 20, 1), ITEMS), "from=monday")
    assert log.facts["requests"] == 26 == len({row["session_id"] for row in rows_of(log)})
    assert log.facts["splits"]["test"]["requests"] == 1
    texts = [{**row, "request_id": f"r{row['request_id']}"} for row in requests(0, 20, 2)]
    assert run("wednesday", write(tmp_path / "wednesday", texts, ITEMS), "from=tuesday").facts["requests"] == 22


def test_rows_seen_before_are_left_out_and_counted(tmp_path: Path, run: Run, monday: SearchLog) -> None:
    del monday
    earlier = requests(100, 103, -5)  # days long gone are not even read
    source = write(tmp_path / "all", [*earlier, *requests(0, 20, 0), *requests(20, 40, 1)], ITEMS)
    account = run("tuesday", source, "from=monday").facts["accounts"]["impressions"]
    assert (account["read"], account["kept"], sum(account["left_out"].values())) == (86, 40, 46)


@pytest.mark.parametrize("day", [0, -5])
def test_a_log_without_a_new_row_is_refused(tmp_path: Path, run: Run, monday: SearchLog, day: int) -> None:
    del monday
    source = write(tmp_path / "old", requests(0, 20, day), ITEMS)
    with pytest.raises(InputError, match=r"no new row: all 40 lie at or before 2024-01-01 12:19.*monday"):
        run("tuesday", source, "from=monday")


def test_the_catalogue_grows_in_its_order_with_the_newest_attributes(
    tmp_path: Path, run: Run, monday: SearchLog
) -> None:
    del monday
    items = pa.table({"item_id": [7, 1], "brand": ["new", "renamed"], "colour": ["red", "blue"]})
    rows = [{**row, "item_id": row["item_id"] or 7} for row in requests(20, 40, 1)]
    rows += requests(40, 42, 1)  # of item 0, which today's table lacks and yesterday's has
    log = run("tuesday", write(tmp_path / "tuesday", rows, items), "from=monday")
    assert log.items().to_pylist() == [
        {"item_id": 0, "brand": "acme", "price": 1.0, "colour": None},
        {"item_id": 1, "brand": "renamed", "price": 2.0, "colour": "blue"},
        {"item_id": 7, "brand": "new", "price": None, "colour": "red"},
    ]
    assert not log.facts["rejected"]


@pytest.mark.parametrize(
    ("rows", "items", "said"),
    [
        ({"item_id": str}, {"item_id": ["0", "1"]}, "item_id is string in the new log and integer in that of monday"),
        ({"user_id": str}, {}, "column user_id is string in the new log and int64 in that of monday"),
        ({}, {"brand": [1, 2]}, "items: column brand is int64 in the new log and string in that of monday"),
    ],
)
def test_other_types_are_refused(
    tmp_path: Path, run: Run, monday: SearchLog, rows: dict[str, Any], items: dict[str, Any], said: str
) -> None:
    del monday
    table = pa.table(ITEMS.to_pydict() | items)
    day = [{**row, **{name: kind(row[name]) for name, kind in rows.items()}} for row in requests(20, 40, 1)]
    with pytest.raises(InputError, match=said):
        run("tuesday", write(tmp_path / "tuesday", day, table), "from=monday")


def test_numbers_that_a_null_has_made_floats_go_on(tmp_path: Path, run: Run, tmp_path_factory) -> None:
    del tmp_path_factory
    stars = ITEMS.append_column("stars", pa.array([3, 4]))
    run("monday", write(tmp_path / "monday", requests(0, 20, 0, page=1), stars))
    later = pa.table({"item_id": [0, 5], "brand": ["acme", "b"], "stars": [5.0, None]})
    log = run("tuesday", write(tmp_path / "tuesday", requests(20, 40, 1, page=None), later), "from=monday")
    assert log.items()["stars"].to_pylist() == [5, 4, None]
    assert log.items().schema.field("stars").type == pa.int64()


def test_a_run_of_its_own_does_not_become_one_that_goes_on(tmp_path: Path, run: Run, monday: SearchLog) -> None:
    del monday
    source = write(tmp_path / "tuesday", requests(20, 60, 1), ITEMS)
    run("tuesday", source)
    with pytest.raises(InputError, match=r"was made without from=, asked for from=monday"):
        run("tuesday", source, "from=monday")
    run("other", source, "from=monday")
    with pytest.raises(InputError, match=r"from=monday, asked for tuesday"):
        run("other", source, "from=tuesday")


def test_texts_that_are_digits_today_are_read_as_the_texts_they_were(tmp_path, capsys):
    common = [f"runs_folder={tmp_path / 'runs'}", "data.table.items.columns={item_id: item_id, brand: brand}"]
    for name, day, items in (("monday", 0, {0: "A0", 1: "11"}), ("tuesday", 1, {0: "10", 1: "11"})):
        rows = [
            f"{row['request_id']},{row['user_id']},shoes,{row['timestamp']:%Y-%m-%d %H:%M},{items[row['item_id']]},"
            f"{row['clicked']},{items[row['item_id']]},{items[row['item_id']]}"
            for row in requests(0, 20, day)
        ]
        source = tmp_path / f"{name}.csv"
        source.write_text("\n".join(["request_id,user_id,query,timestamp,item_id,clicked,brand,shown", *rows]))
        start = ["data=table", *common[1:]] if name == "monday" else ["from=monday"]
        asked = parse([common[0], f"run={name}", f"data.path={source}", *start])
        log = prepare_log(asked)
        asked.save(asked.run.config)
    assert log.items()["item_id"].to_pylist() == ["11", "A0", "10"]
    assert log.items()["brand"].to_pylist() == ["11", "A0", "10"]
    assert set(log.dataset().to_table()["shown"].to_pylist()) == {"A0", "10", "11"}
    assert "impressions: shown, item_id read as text, as in monday's log: all their values are digits" in " ".join(
        capsys.readouterr().out.split()
    )
