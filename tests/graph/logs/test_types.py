"""Every Parquet type in every column: it is read, or one error names the column and says what to write."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.errors import InputError
from graph.logs.checking.columns import inspect, with_history
from graph.logs.contract import IMPRESSION_COLUMNS
from graph.logs.problems import Problems


def not_utf8(rows):
    raw = pa.array([b"caf\xe9" if row == 0 else b"tea" for row in range(rows)], pa.binary())
    return pa.StringArray.from_buffers(rows, raw.buffers()[1], raw.buffers()[2])


def times(unit, first, zone=None):
    return lambda rows: pa.array([first + row for row in range(rows)], pa.timestamp(unit, zone))


def same(value, type_=None):
    return lambda rows: pa.array([value] * rows, type_)


TYPES = {
    "bool": same(True),
    "uint8": same(3, pa.uint8()),
    "uint64": same(2**63 - 1, pa.uint64()),
    "uint64 beyond int64": same(2**63, pa.uint64()),
    "int64 beyond 2^53": same(2**60 + 1),
    "float16": same(np.float16(1.5), pa.float16()),
    "nan": same(float("nan")),
    "inf": same(float("inf")),
    "1e300": same(1e300),
    "decimal128": same(Decimal("1.50"), pa.decimal128(12, 2)),
    "decimal256": same(Decimal("1.50"), pa.decimal256(50, 2)),
    "string": same("v"),
    "large_string": same("v", pa.large_string()),
    "string_view": same("v", pa.string_view()),
    "dictionary of strings": lambda rows: pa.array(["v"] * rows).dictionary_encode(),
    "dictionary of integers": lambda rows: pa.array([7] * rows).dictionary_encode(),
    "not utf-8": not_utf8,
    "null character": same("a\0b"),
    "binary": same(b"\xff\x00"),
    "fixed binary": same(b"0123456789abcdef", pa.binary(16)),
    "date": same(datetime.date(2024, 1, 1)),
    "date beyond microseconds": same(2**31 - 2, pa.date32()),
    "nanoseconds": times("ns", 1_704_067_200 * 10**9, "Europe/Berlin"),
    "before 1970": times("ms", -(10**12)),
    "year 10000": times("ms", 253_402_300_800_000, "UTC"),
    "milliseconds beyond microseconds": times("ms", 2**62),
    "time": same(5, pa.time64("ns")),
    "duration": same(5, pa.duration("us")),
    "null": pa.nulls,
    "list of integers": same([1, 2]),
    "list of strings": same(["a", None]),
    "list of nothing": same([], pa.list_(pa.null())),
    "list of uint64 beyond int64": same([2**63], pa.list_(pa.uint64())),
    "list of decimals": same([Decimal("1.5")], pa.list_(pa.decimal128(5, 1))),
    "list of dates": same([datetime.date(2024, 1, 1)]),
    "list of floats": same([1.5]),
    "list of lists": same([[1]]),
    "list of structs": same([{"item": 1, "time": 5}]),
    "list not utf-8": lambda rows: pa.ListArray.from_arrays(pa.array(range(rows + 1), pa.int32()), not_utf8(rows)),
    "large_list": same([1], pa.large_list(pa.int64())),
    "fixed_size_list": same([1, 2], pa.list_(pa.int64(), 2)),
    "struct": same({"a": 1}),
    "map": same([("a", 1)], pa.map_(pa.string(), pa.int64())),
    "uuid": lambda rows: pa.ExtensionArray.from_storage(
        pa.uuid(), pa.array([b"0123456789abcdef"] * rows, pa.binary(16))
    ),
    "json": lambda rows: pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": 1}'] * rows)),
}
TEXT = {"string", "large_string", "string_view", "dictionary of strings", "not utf-8", "null character"}
INTEGER = {"uint8", "uint64", "int64 beyond 2^53", "dictionary of integers"}
NUMBER = {"float16", "nan", "inf", "1e300", "decimal128", "decimal256"} | INTEGER | {"uint64 beyond int64"}
TIME = {"date", "date beyond microseconds", "nanoseconds", "before 1970", "year 10000"}
NEVER = {"uint64 beyond int64", "milliseconds beyond microseconds", "date beyond microseconds"}
"""Of the right family, but no engine can hold the values."""
LISTS = {"list of integers", "list of nothing", "large_list", "fixed_size_list"}
READ = {
    "request_id": TEXT | INTEGER,
    "user_id": TEXT | INTEGER,
    "query": TEXT | INTEGER,
    "session_id": TEXT | INTEGER | {"null"},
    "timestamp": TIME,
    "stage": TEXT | {"null"},
    "position": (NUMBER - {"decimal128", "decimal256"}) | {"null"},
    "rank_score": NUMBER | {"null"},
    "clicked": INTEGER | {"bool", "uint64 beyond int64"},
    "ordered": INTEGER | {"bool", "null", "uint64 beyond int64"},
    "price": NUMBER | {"null"},
    "propensity": NUMBER | {"null"},
    "history": LISTS | {"null"},
}
IDS = ("request_id", "user_id", "query", "session_id")
UNREADABLE = {"milliseconds beyond microseconds", "list of uint64 beyond int64"}
"""In any column."""


def is_read(column, kind):
    if kind in UNREADABLE or (kind == "uint64 beyond int64" and column in IDS):
        return False
    if kind == "date beyond microseconds" and column in ("timestamp", "listed_at"):
        return False
    return column not in READ or kind in READ[column]


@pytest.fixture
def typed_log(written_log, rows_of):
    """A small log of one day or three, with some columns of a type: a folder."""

    def write(columns, days=1, table="impressions"):
        rows = [{**row, "user_id": 1} for row in rows_of([f"2024-01-0{day + 1}" for day in range(days)], requests=1)]
        folder = written_log(rows)
        pq.write_table(pa.table({"user_id": [1]}), folder / "users.parquet")
        files = sorted((folder / "impressions").rglob("*.parquet"))
        for file in files if table == "impressions" else [folder / f"{table}.parquet"]:
            written = pq.read_table(file, partitioning=None)
            for column, kind in columns.items():
                written = written.drop_columns([column]) if column in written.column_names else written
                written = written.append_column(column, TYPES[kind](len(written)))
            pq.write_table(written, file)
        return folder

    return write


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect() as opened:
        yield opened


@pytest.mark.parametrize("column", READ)
def test_a_column_of_the_contract_is_read_or_refused_by_name(connection, as_table, rows_of, tmp_path, column):
    """Only the file is inspected here: what is refused is refused before a row is read."""
    file, rows = tmp_path / "part-0.parquet", as_table(rows_of(["2024-01-01"], requests=1))
    rows = rows.drop_columns([column]) if column in rows.column_names else rows
    for kind in TYPES:
        problems = Problems("the log")
        pq.write_table(rows.append_column(column, TYPES[kind](len(rows))), file)
        table = inspect(connection, [file], IMPRESSION_COLUMNS, tmp_path, problems)
        if table is not None:
            with_history(table, problems)
        assert (not problems) == is_read(column, kind), (kind, problems.told)
        for problem in problems.told:
            assert repr(column) in problem
            assert str(file) in problem
            assert "write" in problem or "holds only nulls" in problem


@pytest.mark.parametrize("kind", sorted(set[str]().union(*READ.values()) - {"bool"}))
def test_every_row_of_a_type_that_is_read_is_kept_or_rejected(prepare, typed_log, kind):
    columns = {column: kind for column in READ if is_read(column, kind)}
    folder = typed_log(columns, days=3)
    if {"user_id", "query"} & set(columns):
        (folder / "users.parquet").unlink()
    try:
        log = prepare(folder, "data.rejected_share=1")
    except InputError as error:
        if "no request is left after the checks" not in str(error) and "to split, train" not in str(error):
            raise
        return
    account = log.facts["accounts"]["impressions"]
    assert account["read"] == account["kept"] + account["rejected"] == 18
    assert account["rejected"] == sum(log.facts["rejected"].values())


@pytest.mark.parametrize("table", ["impressions", "items", "users"])
def test_other_columns_of_every_type_are_kept(prepare, typed_log, table):
    folder = typed_log({f"is {kind}": kind for kind in TYPES if kind not in UNREADABLE}, days=3, table=table)
    log = prepare(folder)
    schemas = {"impressions": log.dataset().schema, "items": log.items().schema, "users": log.users().schema}
    assert {f"is {kind}" for kind in TYPES if kind not in UNREADABLE} <= set(schemas[table].names)
    assert log.facts["accounts"][table]["rejected"] == 0


@pytest.mark.parametrize("table", ["impressions", "items", "users"])
def test_other_columns_that_no_engine_can_hold_are_all_named(prepare, typed_log, table):
    with pytest.raises(InputError, match="problems of") as error:
        prepare(typed_log({f"is {kind}": kind for kind in UNREADABLE}, days=3, table=table))
    assert all(f"'is {kind}'" in str(error.value) for kind in UNREADABLE)


def test_an_interval_cannot_be_written_again_and_is_left_out_loud(prepare, written_log, good_rows, capsys):
    folder = written_log(good_rows)
    path = folder / "items.parquet"
    duckdb.sql(f"COPY (SELECT *, INTERVAL 1 DAY AS wait FROM '{path}') TO '{path}.new' (FORMAT parquet)")
    Path(f"{path}.new").replace(path)
    assert "wait" not in prepare(folder).items().column_names
    assert "'wait' has type INTERVAL, which cannot be written again: left out" in " ".join(
        capsys.readouterr().out.split()
    )


def test_rows_that_are_not_utf8_are_rejected_and_other_columns_marked(prepare, written_log, good_rows, capsys):
    titles = pa.array([b"\xff tea", *[b"a title"] * 29], pa.binary()).buffers()
    items = pa.table({"item_id": range(1, 31), "title": pa.StringArray.from_buffers(30, titles[1], titles[2])})
    folder = written_log(good_rows, items=items)
    path = folder / "impressions" / "day=2024-01-01" / "part-0.parquet"
    table = pq.read_table(path, partitioning=None)
    queries = pa.array([b"caf\xe9"] * 6 + [b"query"] * 18, pa.binary()).buffers()
    place = table.column_names.index("query")
    pq.write_table(table.set_column(place, "query", pa.StringArray.from_buffers(24, queries[1], queries[2])), path)
    log = prepare(folder, "data.rejected_share=0.1")
    assert log.facts["rejected"] == {"query is no valid UTF-8": 6}
    assert log.facts["rows"] == 66
    assert log.items()["title"].to_pylist()[0] == "? tea"
    printed = " ".join(capsys.readouterr().out.split())
    assert "1 values of title in items are not UTF-8, e.g. '? tea'" in printed


def test_unsigned_ids_beyond_int64_are_named_before_a_row_is_read(prepare, typed_log):
    folder = typed_log({"item_id": "uint64 beyond int64"}, table="items")
    with pytest.raises(InputError, match=r"column 'item_id' is uint64 and holds 9223372036854775808, above 2\^63 - 1"):
        prepare(folder)


def test_types_of_a_column_that_no_engine_unites_are_named(prepare, written_log, good_rows):
    folder = written_log([{**row, "extra": 1} for row in good_rows])
    path = folder / "impressions" / "day=2024-01-02" / "part-0.parquet"
    table = pq.read_table(path, partitioning=None).drop_columns(["extra"])
    pq.write_table(table.append_column("extra", pa.array([{"a": 1}] * len(table))), path)
    with pytest.raises(
        InputError, match=r"column 'extra' is int64 in .* and struct<a: int64> in .*: write one type in all"
    ):
        prepare(folder)
