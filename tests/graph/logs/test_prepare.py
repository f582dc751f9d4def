"""The stage from a source folder to the checked log."""

from __future__ import annotations

import datetime
import json

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.errors import InputError
from configs.schema import DataConfig
from graph.logs import prepare as prepare_module
from graph.logs.checking import checks
from graph.logs.log import catalogue_fingerprint, impressions_pattern
from graph.logs.prepare import check_new_log
from graph.logs.readers import reader


def test_the_checked_log_has_the_contracts_types_and_order(prepare, good_rows):
    rows = [dict(row) for row in reversed(good_rows)]
    log = prepare(rows)

    assert log.facts["columns"] == {
        "request_id": "int64",
        "user_id": "int64",
        "query": "string",
        "item_id": "int64",
        "timestamp": "timestamp[ms, tz=UTC]",
        "stage": "string",
        "position": "int32",
        "rank_score": "float",
        "clicked": "bool",
        "ordered": "bool",
        "price": "float",
        "split": "string",
    }
    files = sorted((log.folder / "impressions").glob("*/*.parquet"))
    assert [str(f.relative_to(log.folder)) for f in files] == [
        f"impressions/day=2024-01-0{day}/part-0.parquet" for day in (1, 2, 3)
    ]
    written = [row for file in files for row in pq.read_table(file, partitioning=None).to_pylist()]
    unranked = 2**31
    order = [(r["timestamp"], r["request_id"], r["position"] or unranked, r["item_id"]) for r in written]
    assert order == sorted(order)
    kept = {(r["request_id"], r["item_id"]): r for r in written}
    assert len(kept) == len(good_rows)
    for row in good_rows:
        found = kept[row["request_id"], row["item_id"]]
        assert {name: found[name] for name in row} == row


def test_log_json_counts_what_was_written(prepare, good_rows):
    facts = prepare(good_rows).facts
    assert (facts["rows"], facts["requests"], facts["users"], facts["queries"], facts["items"]) == (72, 12, 3, 2, 30)
    assert facts["catalogue"] == catalogue_fingerprint(pa.array(range(1, 31)))
    assert facts["split_by"] == "day"
    assert facts["longest_list"] == 5
    assert facts["stages"] == {"exposed": 60, "random": 12}
    assert facts["rejected"] == {}
    assert facts["simulated"] is False
    assert facts["splits"]["train"] == {
        "rows": 24,
        "requests": 4,
        "clicks": 4,
        "orders": 2,
        "days": ["2024-01-01"],
        "first": "2024-01-01 10:00:00.000",
        "last": "2024-01-01 10:03:00.000",
    }
    assert all(task["available"] for task in facts["tasks"].values())
    json.dumps(facts, allow_nan=False)


def test_duckdb_and_pyarrow_read_the_same_rows(prepare, good_rows):
    log = prepare(good_rows)
    source = f"read_parquet('{impressions_pattern(log.folder)}', hive_partitioning = true)"
    counted = duckdb.sql(f"SELECT split, count(*) FROM {source} GROUP BY split").fetchall()
    assert dict(counted) == {"train": 24, "validation": 24, "test": 24}
    table = log.dataset().to_table(columns=["day", "split"])
    assert sorted(set(zip(table["day"].to_pylist(), table["split"].to_pylist(), strict=True))) == [
        ("2024-01-01", "train"),
        ("2024-01-02", "validation"),
        ("2024-01-03", "test"),
    ]


def test_tasks_of_one_class_are_switched_off_out_loud(prepare, good_rows, capsys):
    facts = prepare([{**row, "clicked": False, "ordered": False} for row in good_rows]).facts
    assert not facts["tasks"]["click"]["available"]
    assert "0 of 20 exposed rows of train are clicked: one class" in facts["tasks"]["click"]["reason"]
    assert "the click task is switched off" in capsys.readouterr().out


def test_a_single_day_is_split_by_session(prepare, rows_of):
    rows = [{**row, "session_id": f"s{row['request_id'] // 2}"} for row in rows_of(["2024-01-01"], requests=20)]
    facts = prepare(rows).facts
    assert facts["split_by"] == "session"
    assert [facts["splits"][name]["requests"] for name in ("train", "validation", "test")] == [14, 2, 4]


def test_a_finished_log_is_not_read_again_unless_something_changed(prepare, written_log, good_rows, monkeypatch):
    folder = written_log(good_rows)
    first = prepare(folder)
    with monkeypatch.context() as patched:
        patched.setattr(prepare_module, "reader", lambda _: pytest.fail("read again"))
        assert prepare(folder, "data.cutoffs=[1,2]").identity == first.identity
    pq.write_table(pa.table({"user_id": [0]}), folder / "users.parquet")
    with pytest.raises(InputError, match="made from data that have changed since"):
        prepare(folder)
    assert prepare(folder, "overwrite=true").identity != first.identity


def test_an_interrupted_log_is_written_anew(prepare, written_log, good_rows, monkeypatch):
    folder = written_log(good_rows)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(prepare_module, "write_keyed", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare(folder)
    assert prepare(folder).facts["rows"] == 72


def test_after_an_error_nothing_counts_as_finished(prepare, written_log, good_rows):
    folder = written_log([{**row, "price": -1.0} for row in good_rows])
    for _ in range(2):
        with pytest.raises(InputError, match="price is negative"):
            prepare(folder)


def test_no_scratch_files_are_left(prepare, good_rows):
    log = prepare(good_rows)
    assert sorted(path.name for path in log.folder.iterdir()) == [
        "impressions",
        "items.parquet",
        "log.json",
        "manifest.json",
        "rejected.parquet",
    ]


def test_days_in_several_batches_give_the_same_log(prepare, written_log, rows_of, monkeypatch):
    folder = written_log(rows_of([f"2024-01-0{day}" for day in range(1, 8)]))
    whole = prepare(folder).dataset().to_table()
    monkeypatch.setattr(checks, "BATCH_ROWS", 50)
    monkeypatch.setattr(prepare_module, "FORMAT", -1)
    again = prepare(folder, "overwrite=true")
    assert again.dataset().to_table().equals(whole)
    assert again.facts["requests"] == 28


def test_a_new_log_for_a_fitted_model_is_all_test(written_log, good_rows, tmp_path):
    folder = written_log([row for row in good_rows if row["request_id"] == 0])
    log = check_new_log(DataConfig(name="contract", path=str(folder)), tmp_path / "new")
    assert list(log.facts["splits"]) == ["test"]
    assert set(log.dataset().to_table()["split"].to_pylist()) == {"test"}
    assert log.facts["tasks"]["click"]["available"]


def test_an_unknown_reader(prepare, good_rows):
    with pytest.raises(InputError, match=r"data=mystery is unknown; there are: aliccp, aliexpress, contract"):
        prepare(good_rows, "data.name=mystery")
    with pytest.raises(InputError, match=r"data.name='mystery' has no reader; there are: contract"):
        reader("mystery")


# A row with any mix of faults. Few different ids, so that rows collide within and across requests and days.
ROWS = st.fixed_dictionaries(
    {
        "request_id": st.sampled_from([None, "", "r1", "r2", "r3", "r4"]),
        "user_id": st.sampled_from(["u1", "u1", "u1", "u2", None]),
        "query": st.sampled_from(["q", "q", "q", "", None]),
        "item_id": st.sampled_from(["1", "2", "3", "4", "unknown", None]),
        "timestamp": st.sampled_from([datetime.datetime(2024, 1, day, 1, tzinfo=datetime.UTC) for day in (1, 1, 2)]),
        "stage": st.sampled_from(["exposed", "exposed", "RANKED", "random", "shown", None]),
        "position": st.sampled_from([None, 0, 1, 2, 3, 4]),
        "clicked": st.sampled_from([True, False, None]),
        "price": st.sampled_from([None, 1.0, -1.0, float("inf"), float("nan")]),
        "_day": st.sampled_from(["2024-01-01", "2024-01-01", "2024-01-02"]),
    }
)


def key_of(row):
    return (row["request_id"], row["item_id"])


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.lists(ROWS, min_size=1, max_size=20))
def test_every_row_is_kept_or_rejected_and_a_checked_log_passes_again(tmp_path_factory, written_folder, drawn):
    """Rows in == good rows out + rejected rows; the rows kept hold to the contract; checking twice changes nothing."""
    # Full columns keep the types from depending on the draw.
    folder = written_folder(tmp_path_factory.mktemp("drawn"), drawn)
    data = DataConfig(name="contract", path=str(folder / "source"), rejected_share=1.0)
    log = check_new_log(data, folder / "checked")
    kept = log.dataset().to_table().to_pylist()
    rejected = pq.read_table(folder / "checked" / "rejected.parquet").to_pylist()

    assert len(kept) + len(rejected) == len(drawn) + 1
    assert len({(r["source"], r["row"]) for r in rejected}) == len(rejected)
    assert len({key_of(row) for row in kept}) == len(kept)
    for row in kept:
        assert row["item_id"] in {"1", "2", "3", "4"}
        assert row["timestamp"].date().isoformat() == row["day"]
        assert row["stage"] in ("exposed", "ranked", "random")
        assert row["position"] is None or (row["position"] >= 1 and row["stage"] != "random")
        assert row["price"] in (None, 1.0)
    for request in {row["request_id"] for row in kept}:
        of_request = [row for row in kept if row["request_id"] == request]
        positions = [row["position"] for row in of_request if row["position"] is not None]
        assert len(set(positions)) == len(positions)
        assert len({(row["user_id"], row["query"], row["timestamp"]) for row in of_request}) == 1

    strict = DataConfig(name="contract", path=str(folder / "checked"), rejected_share=0.0)
    again = check_new_log(strict, folder / "twice")
    assert again.facts["rejected"] == {}
    assert again.dataset().to_table().equals(log.dataset().to_table())
