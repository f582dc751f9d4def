"""A log in memory, of each library: the same checks as a folder's, and an identity that follows from its content."""

from __future__ import annotations

import datetime
import decimal

import pyarrow as pa
import pytest

from configs.command import parse
from configs.errors import InputError
from graph.logs.frames import as_table
from graph.logs.prepare import prepare_log


@pytest.fixture
def tables(good_rows):
    """The good log as Arrow tables: impressions and items."""
    impressions = pa.Table.from_pylist(good_rows)
    return impressions, pa.table({"item_id": list(range(1, 31)), "brand": ["b", "c"] * 15})


@pytest.fixture
def check(tmp_path):
    """Check frames in a run."""

    def run(impressions, items=None, *arguments, run="frames", **others):
        asked = parse([f"runs_folder={tmp_path}", f"run={run}", *arguments])
        return prepare_log(asked, impressions=impressions, items=items, **others)

    return run


def rows(log):
    return log.dataset().to_table().to_pylist()


def to_pandas(table):
    return pytest.importorskip("pandas", reason="pandas is not installed") and table.to_pandas()


def to_polars(table):
    return pytest.importorskip("polars", reason="Polars is not installed").from_arrow(table)


@pytest.mark.parametrize(
    "library", [to_pandas, to_polars, lambda t: pa.RecordBatchReader.from_batches(t.schema, t.to_batches())]
)
def test_frames_of_every_library_are_the_log_of_a_folder(tables, check, prepare, good_rows, library):
    impressions, items = tables
    log = check(library(impressions), library(items))
    assert rows(log) == rows(prepare(good_rows, items=items))
    assert log.items().to_pylist() == items.to_pylist()


def test_the_same_content_is_the_same_log_and_other_content_is_refused(tables, check, tmp_path, capsys):
    impressions, items = tables
    first = check(impressions, items)
    again = pa.concat_tables([impressions.slice(0, 10), impressions.slice(10)])
    assert check(again, items).identity == first.identity
    assert "is up to date" in capsys.readouterr().out
    with pytest.raises(InputError, match="overwrite=true"):
        check(impressions.slice(6), items)
    assert check(impressions, items).identity == first.identity
    shorter = check(impressions.slice(6), items, "overwrite=true")
    assert shorter.facts["rows"] == 66
    assert len(list((tmp_path / "frames" / "frames").iterdir())) == 1
    assert first.identity not in {shorter.identity, check(impressions, items, run="other").identity}


def test_frames_are_read_as_a_log_of_the_contract_not_as_the_marketplace(tables, check, tmp_path):
    impressions, items = tables
    check(impressions, items, "data.cutoffs=[2, 4]", "data.world=tiny")
    data = parse([f"runs_folder={tmp_path}", "run=frames"]).config.data
    plain = parse(["data=contract", "data.cutoffs=[2, 4]", f"data.path={data.path}", "data.world=tiny"]).config.data
    assert data == plain
    assert (data.features, data.cutoffs) == ([], [2, 4])


def test_later_commands_of_the_run_read_the_log_from_it(tables, check, tmp_path):
    log = check(*tables, "data.split.shares=[0.4, 0.3, 0.3]")
    remembered = parse([f"runs_folder={tmp_path}", "run=frames"])
    assert remembered.config.data.name == "contract"
    assert prepare_log(remembered).identity == log.identity


def test_without_items_those_of_the_impressions_are_known_by_their_id(tables, check, capsys):
    log = check(tables[0])
    assert log.items().column_names == ["item_id"]
    assert "no items are given" in capsys.readouterr().out


def test_every_row_is_checked_also_one_without_a_time_or_beyond_the_calendar(tables, check):
    impressions, items = tables
    times = impressions["timestamp"].cast(pa.timestamp("s", "UTC")).cast(pa.int64()).to_pylist()
    times[0], times[7] = None, 10**12
    odd = impressions.set_column(
        impressions.column_names.index("timestamp"), "timestamp", pa.array(times, pa.timestamp("s", "UTC"))
    )
    log = check(odd, items, "data.rejected_share=0.5")
    account = log.facts["accounts"]["impressions"]
    assert (account["read"], account["rejected"]) == (72, 2)


def test_pandas_types_and_indexes(tables, check):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    impressions, items = (table.to_pandas() for table in tables)
    expected = rows(check(*tables, run="plain"))
    frame = impressions.assign(
        query=impressions["query"].astype("category"),
        position=impressions["position"].astype("Int64"),
        clicked=impressions["clicked"].astype("boolean"),
        timestamp=impressions["timestamp"].dt.tz_convert("Asia/Tokyo"),
        stage=impressions["stage"].astype(object),
    )
    frame.index = range(100, 172)
    frame.index.name = None
    log = check(frame, items.set_index("item_id"))
    assert rows(log) == expected
    assert log.items().column_names == ["item_id", "brand"]
    naive = frame.assign(timestamp=frame["timestamp"].dt.tz_convert("UTC").dt.tz_localize(None))
    assert rows(check(naive, items, run="naive")) == expected
    days = frame.assign(timestamp=[datetime.date(2024, 1, 1 + number // 24) for number in range(72)])
    assert check(days, items, run="days").facts["rows"] == 72
    assert pandas is not None


def bad(what):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame({"item_id": [1, 2], "timestamp": pandas.to_datetime(["2024-01-01", "2024-01-02"])})
    match what:
        case "mixed":
            return frame.assign(brand=["a", 1])
        case "twice":
            return pandas.concat([frame, frame[["item_id"]]], axis=1)
        case "numbers twice":
            return frame.set_axis([0, "0"], axis=1)
        case "text":
            return frame.assign(timestamp=["2024-01-01", "2024-01-02"])
        case "no time":
            return frame[["item_id"]]
        case "empty":
            return frame.iloc[:0]
        case "series":
            return frame["item_id"]
        case "huge":
            return frame.assign(item_id=[2**70, 1])
        case "complex":
            return frame.assign(brand=[1j, 2j])
        case "surrogate":
            return frame.assign(brand=pandas.Series(["\ud800", "a"], dtype=object))
        case "columns":
            return frame[["item_id", "timestamp"]]


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("mixed", "impressions cannot be read as a table: .*column brand.*one type"),
        ("twice", "several columns are called item_id: rename"),
        ("numbers twice", "several columns are called 0: rename"),
        ("text", "impressions: column 'timestamp' has type large_string; .*to_datetime"),
        ("no time", "required column 'timestamp' is missing; .*item_id"),
        ("empty", "impressions has no rows"),
        ("series", "impressions.* cannot be read as a table|expected a DataFrame"),
        ("huge", "impressions cannot be read as a table"),
        ("complex", "impressions cannot be"),
        ("surrogate", "impressions cannot be read as a table"),
        ("columns", "required column"),
    ],
)
def test_what_is_no_log_is_refused_in_words(check, what, message):
    with pytest.raises(InputError, match=message):
        check(bad(what))


@pytest.mark.parametrize("frame", [[{"item_id": 1}], 5, "log.csv"])
def test_what_is_no_frame_is_refused(frame):
    with pytest.raises(InputError, match="users: expected a DataFrame of pandas or Polars"):
        as_table(frame, "users")


def test_polars_lazy_frames_and_objects_are_refused():
    polars = pytest.importorskip("polars", reason="Polars is not installed")
    with pytest.raises(InputError, match="collect"):
        as_table(polars.LazyFrame({"item_id": [1]}), "items")
    with pytest.raises(InputError, match="column 'item_id' holds Python objects"):
        as_table(polars.DataFrame({"item_id": [object()]}), "items")


def test_types_that_parquet_lacks_are_named():
    table = pa.table(
        {"item_id": [1], "timestamp": [datetime.datetime(2024, 1, 1)], "gap": [pa.MonthDayNano([1, 2, 3])]}
    )
    with pytest.raises(InputError, match="column 'gap' has type month_day_nano_interval"):
        prepare_log(impressions=table)


def test_frames_and_another_log_contradict_each_other(tables, tmp_path):
    with pytest.raises(InputError, match="give impressions"):
        prepare_log(items=tables[1])
    for arguments in (["data=contract", "data.path=x"], ["data=trivago"]):
        with pytest.raises(InputError, match="are two logs"):
            prepare_log(parse([f"runs_folder={tmp_path}", *arguments]), impressions=tables[0])


def test_nulls_within_lists_and_structs_are_texts(tables, check):
    tags = pa.array([[None] * (number % 3) for number in range(72)], pa.list_(pa.null()))
    parts = pa.array([{"a": None, "b": [None]}] * 72, pa.struct([("a", pa.null()), ("b", pa.list_(pa.null()))]))
    sums = pa.array([[[decimal.Decimal("1.5")]]] * 72, pa.list_(pa.list_(pa.decimal128(5, 1))))
    impressions = tables[0].append_column("tags", tags).append_column("parts", parts).append_column("sums", sums)
    log = check(impressions, tables[1])
    assert {str(row["sums"]) for row in rows(log)} == {"[[Decimal('1.5')]]"}
    assert sorted(len(row["tags"]) for row in rows(log)) == sorted(number % 3 for number in range(72))
    assert {str(row["parts"]) for row in rows(log)} == {"{'a': None, 'b': [None]}"}


def test_a_path_that_nothing_reads_is_refused(tmp_path):
    with pytest.raises(InputError, match="say what it is"):
        prepare_log(parse([f"runs_folder={tmp_path}", f"data.path={tmp_path}", "data.world=tiny"]))
