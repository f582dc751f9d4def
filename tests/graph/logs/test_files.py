"""Which files of a log are read: all of them, or the command says which are not."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.errors import InputError
from graph.building import build_graph
from graph.logs.contract import existing, parquet_files
from graph.logs.prepare import prepare_log

ODD_NAMES = [
    "a[1]",
    "a*b",
    "q?",
    "it's",
    'a"b',
    "two words",
    "h#sh",
    "100%41",
    "new\nline",
    "größe",
    "{a,b}",
    "~x",
    "$x",
]


def spread(folder, table):
    """A day's rows in four files, as different engines name and nest them."""
    table = table.slice(0, 24)
    for number, name in enumerate(["part-0.parquet", "hour=05/part-1.parquet", "part-2.parq", "part-00003"]):
        (folder / name).parent.mkdir(exist_ok=True)
        pq.write_table(table.slice(number * 6, 6), folder / name)


def test_every_file_below_a_day_is_read(prepare, written_log, good_rows, capsys):
    folder = written_log(good_rows)
    for day in (folder / "impressions").iterdir():
        spread(day, pq.read_table(day / "part-0.parquet", partitioning=None))
        (day / "_SUCCESS").write_text("")
        (day / ".part-0.parquet.crc").write_bytes(b"x")
    log = prepare(folder)
    assert log.facts["accounts"]["impressions"] == {"read": 72, "kept": 72, "rejected": 0, "left_out": {}}
    printed = " ".join(capsys.readouterr().out.split())
    assert "the folders hour=... below the days are read, but hour is no column" in printed
    assert "not read" not in printed


def test_a_file_that_would_not_be_read_stops_the_command(prepare, written_log, good_rows):
    folder = written_log(good_rows)
    for name in ("part-1.csv", "hour=5/part-2"):
        path = folder / "impressions" / "day=2024-01-02" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"day=2024-01-02 holds 2 files that are not Parquet \(hour=5/part-2, part-1"):
        prepare(folder)


def test_what_lies_beside_the_tables_is_said(prepare, written_log, good_rows, capsys):
    folder = written_log(good_rows)
    (folder / "users").mkdir()
    (folder / "user.parquet").write_bytes(b"")
    (folder / "_delta_log").mkdir()
    prepare(folder)
    assert "not read: user.parquet, users/ (a log is impressions, items.parquet" in capsys.readouterr().out


def test_links_are_followed_and_circles_left(prepare, written_log, good_rows, tmp_path):
    folder = written_log(good_rows)
    day = folder / "impressions" / "day=2024-01-02"
    elsewhere = tmp_path / "elsewhere"
    day.rename(elsewhere)
    day.symlink_to(elsewhere)
    (elsewhere / "again").symlink_to(elsewhere)
    assert prepare(folder).facts["rows"] == 72


def test_a_link_to_nothing_is_told(tmp_path):
    (tmp_path / "part-0").symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match=r"holds 1 files that are not Parquet \(part-0\)"):
        parquet_files(tmp_path)


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000, "~nobody-of-this-name/log"])
def test_a_path_that_cannot_be_one_does_not_exist(path):
    assert existing(path) is None


@pytest.mark.parametrize("odd", ODD_NAMES)
def test_folders_of_any_name_are_read_and_written(request_for, written_log, good_rows, tmp_path, odd):
    source = written_log(good_rows)
    (tmp_path / odd).mkdir()
    (tmp_path / (odd + "2")).mkdir()  # a pattern might match it
    source.rename(tmp_path / odd / "log")
    invocation = request_for(tmp_path / odd / "runs" / "r", "contract", tmp_path / odd / "log")
    log = prepare_log(invocation)
    assert (log.facts["rows"], log.facts["rejected"]) == (72, {})
    assert build_graph(invocation, log).facts["events"] == {"click": 2, "order": 2}


@pytest.mark.parametrize(
    "above", ["weight=4", "kind=order", "split=time", "target=click", "item=all", "day=2024-03-01", "clicked=1"]
)
def test_names_above_the_run_and_the_log_are_no_data(request_for, written_log, good_rows, tmp_path, above):
    source = written_log(good_rows)
    (tmp_path / above).mkdir()
    graphs = {}
    for runs, path in ((tmp_path / "plain", source), (tmp_path / above, tmp_path / above / "log")):
        if not path.exists():
            source.rename(path)
        invocation = request_for(runs / "r", "contract", path)
        log = prepare_log(invocation)
        graph = build_graph(invocation, log)
        edges = sorted((graph.folder / "edges").rglob("*.npy"))
        contents = {str(edge.relative_to(graph.folder)): np.load(edge).tolist() for edge in edges}
        graphs[runs.name] = (contents, graph.facts["events"], log.facts["rows"], log.items().column_names)
    assert graphs["plain"] == graphs[above]


def test_everything_wrong_with_the_columns_is_told_at_once(prepare, good_rows):
    rows = [{("item" if name == "item_id" else name): value for name, value in row.items()} for row in good_rows]
    rows = [{**row, "timestamp": 1, "Session_ID": 1, "clicked": "yes"} for row in rows]
    for row, day in zip(rows, [1, 2, 3] * 24, strict=True):
        row["_day"] = f"2024-01-0{day}"
    types = {"timestamp": pa.int64()}
    with pytest.raises(InputError, match=r"8 problems of .*source") as error:
        prepare(rows, types=types, items=pa.table({"item_id": [1.5], "listed_at": ["now"]}))
    for problem in (
        "the required column 'item_id' is missing; found .*did you mean 'item'",
        "column 'timestamp' has type int64; write it as timestamp.*so in 3 files",
        "column 'Session_ID' is not read as 'session_id': write it in lower case",
        "column 'clicked' has type string; write it as bool",
        "items.parquet: column 'item_id' has type double",
        "items.parquet: column 'listed_at' has type string",
    ):
        assert re.search(problem, str(error.value)), problem
