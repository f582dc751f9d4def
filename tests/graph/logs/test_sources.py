"""What a log's folder and files may look like, and what is said where they may not."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.errors import InputError
from graph.logs.contract import day_files, family_of, parse_day

DAY = "day=2024-01-02"


def column_as(folder, name, change):
    """Rewrite one column of the second day's file."""
    path = folder / "impressions" / DAY / "part-0.parquet"
    table = pq.read_table(path, partitioning=None)
    place = table.column_names.index(name)
    pq.write_table(table.set_column(place, name, change(table[name])), path)
    return folder


def every_column_as(folder, name, change):
    for path in sorted((folder / "impressions").glob("*/*.parquet")):
        table = pq.read_table(path, partitioning=None)
        place = table.column_names.index(name)
        pq.write_table(table.set_column(place, name, change(table[name])), path)
    return folder


def test_a_missing_folder(prepare, tmp_path):
    with pytest.raises(InputError, match=r"nowhere does not exist: expected a folder with impressions"):
        prepare(tmp_path / "nowhere")


def test_a_file_in_place_of_a_folder(prepare, tmp_path):
    (tmp_path / "log.csv").write_text("a,b\n")
    with pytest.raises(InputError, match=r"log.csv is a file: expected a folder with impressions"):
        prepare(tmp_path / "log.csv")


def test_a_folder_of_something_else(prepare, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "readme.txt").write_text("")
    with pytest.raises(InputError, match=r"impressions is missing.*found readme.txt"):
        prepare(tmp_path / "other")


def test_days_must_be_folders_with_a_date(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(InputError, match="holds no day"):
        day_files(tmp_path / "a")
    (tmp_path / "b" / "day=2024-02-30").mkdir(parents=True)
    with pytest.raises(InputError, match=r"expected a day as YYYY-MM-DD, found '2024-02-30'"):
        day_files(tmp_path / "b")
    (tmp_path / "c" / "date=2024-02-01").mkdir(parents=True)
    with pytest.raises(InputError, match=r"expected a folder named day=YYYY-MM-DD, found 'date=2024-02-01'"):
        day_files(tmp_path / "c")
    (tmp_path / "d" / "day=2024-02-01").mkdir(parents=True)
    with pytest.raises(InputError, match=r"day=2024-02-01 holds no \*.parquet file"):
        day_files(tmp_path / "d")
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "part-0.parquet").write_bytes(b"")
    with pytest.raises(InputError, match="lies outside of a day folder"):
        day_files(tmp_path / "e")


@pytest.mark.parametrize("text", ["2024-1-1", "20240101", "2024-13-01", "today", "2024-01-01 "])
def test_no_day(text):
    with pytest.raises(InputError, match="expected a day as YYYY-MM-DD"):
        parse_day(text, "here")


def test_missing_items(prepare, written_log, good_rows):
    folder = written_log(good_rows)
    (folder / "items.parquet").unlink()
    with pytest.raises(InputError, match=r"items.parquet is missing: the contract expects one row for each item_id"):
        prepare(folder)


@pytest.mark.parametrize("kept", [0, 100, -10])
def test_a_truncated_or_empty_file(prepare, written_log, good_rows, kept):
    folder = written_log(good_rows)
    path = folder / "impressions" / DAY / "part-0.parquet"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=rf"{DAY}/part-0.parquet is not a whole Parquet file \([\d,]+ bytes"):
        prepare(folder)


def test_a_file_whose_pages_are_damaged(prepare, written_log, good_rows):
    folder = written_log(good_rows)
    path = folder / "impressions" / DAY / "part-0.parquet"
    content = bytearray(path.read_bytes())
    content[4:300] = bytes(296)
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"cannot be read.*damaged"):
        prepare(folder)


def test_a_day_without_rows(prepare, written_log, good_rows):
    folder = written_log(good_rows)
    path = folder / "impressions" / DAY / "part-0.parquet"
    pq.write_table(pq.read_table(path, partitioning=None).slice(0, 0), path)
    with pytest.raises(InputError, match=r"part-0.parquet: day 2024-01-02 has no rows"):
        prepare(folder)


def test_an_empty_part_of_a_day_is_said(prepare, written_log, good_rows, capsys):
    folder = written_log(good_rows)
    path = folder / "impressions" / DAY / "part-0.parquet"
    pq.write_table(pq.read_table(path, partitioning=None).slice(0, 0), path.with_name("part-1.parquet"))
    assert prepare(folder).facts["rows"] == 72
    assert "1 files of the log have no rows" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("position", lambda c: c.cast(pa.string()), r"'position' has type string; write it as int32"),
        ("clicked", lambda c: c.cast(pa.float64()), r"'clicked' has type double; write it as bool"),
        ("price", lambda c: c.cast(pa.string()), r"'price' has type string; write it as float32"),
        ("item_id", lambda c: c.cast(pa.float64()), r"'item_id' has type double; write it as int64 or string"),
        ("timestamp", lambda c: c.cast(pa.int64()), r"'timestamp' has type int64; write it as timestamp\[ms, UTC\]"),
        ("timestamp", lambda c: c.cast(pa.string()), r"'timestamp' has type string; write it as timestamp\[ms, UTC\]"),
        ("stage", lambda c: pa.array([1] * len(c)), r"'stage' has type int64; write it as a string, one of exposed"),
        ("item_id", lambda c: c.cast(pa.string()), r"'item_id' is integer in .* and string in .*: one type"),
    ],
)
def test_a_wrong_type_names_file_column_and_advice(prepare, written_log, good_rows, name, change, message):
    folder = column_as(written_log(good_rows), name, change)
    with pytest.raises(InputError, match=message) as error:
        prepare(folder)
    assert f"{DAY}/part-0.parquet" in str(error.value)


def test_a_required_column_that_is_missing(prepare, good_rows):
    rows = [{("Item_ID" if name == "item_id" else name): value for name, value in row.items()} for row in good_rows]
    with pytest.raises(InputError, match=r"required column 'item_id' is missing; found .*did you mean 'Item_ID'"):
        prepare(rows)


def test_a_column_that_one_file_lacks(prepare, written_log, good_rows):
    folder = written_log(good_rows)
    path = folder / "impressions" / DAY / "part-0.parquet"
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns(["price"]), path)
    with pytest.raises(InputError, match=rf"{DAY}/part-0.parquet: column 'price' is missing here but is in"):
        prepare(folder)


def test_ids_of_items_and_impressions_must_be_of_one_type(prepare, good_rows):
    items = pa.table({"item_id": [str(item) for item in range(1, 31)]})
    with pytest.raises(InputError, match=r"item_id is string in items.parquet and integer in the impressions"):
        prepare(good_rows, items=items)


def test_other_types_that_mean_the_same_are_read(prepare, written_log, good_rows):
    folder = written_log(good_rows)
    every_column_as(folder, "query", lambda c: c.cast(pa.large_string()))
    every_column_as(folder, "stage", lambda c: c.dictionary_encode())
    every_column_as(folder, "item_id", lambda c: c.cast(pa.int32()))
    every_column_as(folder, "request_id", lambda c: c.cast(pa.uint64()))
    every_column_as(folder, "user_id", lambda c: c.cast(pa.int16()))
    every_column_as(folder, "price", lambda c: c.cast(pa.float64()).cast(pa.decimal128(20, 2)))
    every_column_as(folder, "position", lambda c: c.cast(pa.int8()))
    log = prepare(folder)
    schema = log.dataset().schema
    assert {name: str(schema.field(name).type) for name in ("query", "stage", "item_id", "request_id", "price")} == {
        "query": "string",
        "stage": "string",
        "item_id": "int64",
        "request_id": "int64",
        "price": "float",
    }
    assert log.facts["rejected"] == {}


@pytest.mark.parametrize(
    "kind",
    [
        pa.timestamp("ns"),
        pa.timestamp("us"),
        pa.timestamp("s"),
        pa.timestamp("us", "Europe/Berlin"),
        pa.timestamp("ns", "Europe/Berlin"),
    ],
)
def test_timestamps_of_any_unit_and_zone_are_the_same_moments(prepare, written_log, good_rows, kind):
    naive = (lambda c: c.cast(pa.timestamp("ms")).cast(kind)) if kind.tz is None else (lambda c: c.cast(kind))
    log = prepare(every_column_as(written_log(good_rows), "timestamp", naive))
    times = log.dataset().to_table()["timestamp"]
    assert times.type == pa.timestamp("ms", tz="UTC")
    assert min(times.to_pylist()) == datetime.datetime(2024, 1, 1, 10, tzinfo=datetime.UTC)


def test_string_ids_unicode_and_markup_stay_as_they_are(prepare, good_rows):
    title = "Ça <script>alert('é')</script> & \"日本\"\n\x07"
    rows = [{**row, "item_id": f"商品 {row['item_id']}", "query": f"<b>{row['query']}'\""} for row in good_rows]
    items = [{"item_id": f"商品 {item}", "title": title, "Größe": None, "brand": None} for item in range(1, 31)]
    log = prepare(rows, items=items)
    assert log.items()["title"].to_pylist() == [title] * 30
    assert set(log.dataset().to_table()["query"].to_pylist()) == {"<b>query 0'\"", "<b>query 1'\""}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ([[1], [2]], pa.list_(pa.list_(pa.int64()))),
        ([{"points": 1}], pa.list_(pa.struct([("points", pa.int64())]))),
        ({"INTEGER[": 1}, pa.struct([("INTEGER[", pa.int64())])),
    ],
)
def test_nested_columns_of_items_are_kept_as_they_are(prepare, good_rows, value, kind):
    items = pa.table({"item_id": range(1, 31), "nested": pa.array([value] * 30, kind)})
    assert prepare(good_rows, items=items).items()["nested"].to_pylist() == [value] * 30


def test_extra_columns_of_many_types_are_kept(prepare, good_rows):
    rows = [
        {
            **row,
            "history": [1, 2],
            "words": ["a"],
            "vector": [0.5, 1.0],
            "file": "f",
            "row": 7,
            "reason": "r",
            "nothing": None,
            "nested": {"a": 1},
        }
        for row in good_rows
    ]
    types = {"history": pa.list_(pa.int32(), 2), "vector": pa.large_list(pa.float64()), "nothing": pa.null()}
    log = prepare(rows, types=types)
    columns = log.facts["columns"]
    assert columns["history"].startswith("list<")
    assert columns["history"].endswith("int64>")
    assert columns["words"].endswith("string>")
    assert columns["vector"].endswith("float>")
    first = log.dataset().to_table().to_pylist()[0]
    assert (first["file"], first["row"], first["reason"], first["nothing"]) == ("f", 7, "r", None)
    assert first["history"] == [1, 2]
    assert first["nested"] == {"a": 1}


def test_columns_day_and_split_of_the_log_are_not_used_and_that_is_said(prepare, good_rows, capsys):
    log = prepare([{**row, "split": "mine", "day": "mine"} for row in good_rows])
    assert set(log.dataset().to_table()["split"].to_pylist()) == {"train", "validation", "test"}
    assert "columns day and split of the log are not used" in capsys.readouterr().out


def test_several_files_a_day_with_several_row_groups(prepare, written_log, good_rows):
    folder = written_log(good_rows)
    path = folder / "impressions" / DAY / "part-0.parquet"
    table = pq.read_table(path, partitioning=None)
    for number in range(4):
        pq.write_table(table.slice(number * 6, 6), path.with_name(f"part-{number}.parquet"), row_group_size=2)
    (folder / "impressions" / DAY / "_SUCCESS").write_text("")
    (folder / "impressions" / "_temporary").mkdir()
    log = prepare(folder)
    assert log.facts["rows"] == 72
    assert log.facts["rejected"] == {}


def test_a_table_may_be_a_folder_of_files(prepare, written_log, good_rows):
    folder = written_log(good_rows)
    items = pq.read_table(folder / "items.parquet")
    (folder / "items.parquet").unlink()
    (folder / "items.parquet").mkdir()
    pq.write_table(items.slice(0, 10), folder / "items.parquet" / "part-0.parquet")
    pq.write_table(items.slice(10), folder / "items.parquet" / "part-1.parquet")
    assert prepare(folder).items()["item_id"].to_pylist() == list(range(1, 31))


def test_stage_ordered_and_position_may_be_missing_and_what_is_assumed_is_said(prepare, good_rows, capsys):
    lacking = [
        {name: value for name, value in row.items() if name not in ("stage", "ordered", "position")}
        for row in good_rows
    ]
    log = prepare(lacking)
    out = capsys.readouterr().out
    assert "no column 'stage': every row is taken as exposed" in out
    assert "no column 'ordered': nothing is taken as ordered" in out
    assert "no column 'position': the position is unknown" in out
    assert {name: task["available"] for name, task in log.facts["tasks"].items()} == {
        "click": True,
        "order": False,
        "rank": False,
    }
    assert log.facts["stages"] == {"exposed": 72}
    assert log.facts["longest_list"] == 0


def test_a_column_of_nulls_counts_as_missing_unless_it_is_required(prepare, good_rows):
    log = prepare([{**row, "position": None} for row in good_rows], types={"position": pa.null()})
    assert not log.facts["tasks"]["rank"]["available"]
    with pytest.raises(InputError, match="'query' holds only nulls"):
        prepare([{**row, "query": None} for row in good_rows], "overwrite=true", types={"query": pa.null()})


def test_a_list_price_that_is_absurd_becomes_unknown(prepare, good_rows, capsys):
    prices = np.array([1.0, -5.0, np.inf, np.nan, *[2.0] * 26])
    log = prepare(good_rows, items=pa.table({"item_id": np.arange(1, 31), "price": prices}))
    assert log.items()["price"].to_pylist()[:5] == [1.0, None, None, None, 2.0]
    assert "2 rows of items have a negative or infinite price" in capsys.readouterr().out


def test_users_and_queries_are_kept_and_unknown_users_are_said(prepare, written_log, good_rows, capsys):
    folder = written_log(good_rows)
    pq.write_table(pa.table({"user_id": [0, 1], "age": [30, 40]}), folder / "users.parquet")
    pq.write_table(pa.table({"query": ["query 0", "query 1"], "words": [2, 2]}), folder / "queries.parquet")
    log = prepare(folder)
    assert log.users().to_pylist() == [{"user_id": 0, "age": 30}, {"user_id": 1, "age": 40}]
    assert log.queries().column_names == ["query", "words"]
    assert "1 users of the log are not in the users table" in capsys.readouterr().out


def test_families():
    assert family_of(pa.dictionary(pa.int8(), pa.large_string())) == "string"
    assert family_of(pa.uint8()) == "integer"
    assert family_of(pa.list_(pa.int8())) == str(pa.list_(pa.int8()))
