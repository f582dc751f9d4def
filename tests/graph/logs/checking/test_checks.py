"""Each check of the contract: which row it rejects, with which words, and what is kept."""

from __future__ import annotations

import datetime
import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.errors import InputError


def moment(day, hour=12):
    return datetime.datetime.fromisoformat(f"{day}T{hour:02}:00:00+00:00")


LENIENT = "data.rejected_share=0.9"


def spoil(rows, **changes):
    """The rows with their second one changed."""
    return [rows[0], {**rows[1], **changes}, *rows[2:]]


ROW_CASES = [
    ({"request_id": None}, "request_id is null or empty"),
    ({"user_id": None}, "user_id is null or empty"),
    ({"query": None}, "query is null"),
    ({"item_id": None}, "item_id is null or empty"),
    ({"timestamp": None}, "timestamp is null"),
    ({"timestamp": moment("2024-01-02")}, "timestamp is not of its folder's day"),
    ({"clicked": None}, "clicked is neither true nor false"),
    ({"ordered": None}, "ordered is neither true nor false"),
    ({"stage": "shown"}, "stage is none of exposed, ranked, passed, recalled, random"),
    ({"stage": None}, "stage is none of exposed, ranked, passed, recalled, random"),
    ({"position": 0}, "position is below 1"),
    ({"position": -3}, "position is below 1"),
    ({"stage": "recalled"}, "position without rank (stage is passed, recalled or random)"),
    ({"price": -0.5}, "price is negative"),
    ({"price": math.inf}, "price is not finite"),
    ({"price": -math.inf}, "price is not finite"),
    ({"item_id": 99}, "item_id is not in the items table"),
    ({"position": 1}, "position repeats in the request"),
    ({"user_id": 77}, "user_id differs within the request"),
    ({"query": "another"}, "query differs within the request"),
]


def test_each_bad_row_is_rejected_with_its_reason(prepare, rejected_file, rows_of):
    """One log whose every request has one fault."""
    rows = [{"_day": row["timestamp"].date().isoformat(), **row} for row in rows_of(requests=len(ROW_CASES))]
    for number, (changes, _) in enumerate(ROW_CASES):
        rows[number * 6 + 1] |= changes
    expected = [(number * 6 + 1, reason) for number, (_, reason) in enumerate(ROW_CASES)]

    log = prepare(rows, LENIENT)

    rejected = sorted(pq.read_table(rejected_file).to_pylist(), key=lambda row: row["row"])
    assert [(row["row"], row["reason"]) for row in rejected] == expected
    assert {row["source"] for row in rejected} == {"impressions/day=2024-01-01/part-0.parquet"}
    assert [json.loads(row["content"])["price"] for row in rejected][:3] == [12.0, 12.0, 12.0]
    assert sum(log.facts["rejected"].values()) == len(ROW_CASES)
    assert log.facts["rows"] == len(rows) - len(ROW_CASES)


def test_above_the_share_the_error_names_file_column_count_and_example(prepare, rejected_file, good_rows):
    rows = [{**row, "position": 0} if row["position"] == 1 else row for row in good_rows]

    with pytest.raises(InputError) as error:
        prepare(rows)

    message = str(error.value)
    assert "12 of 102 rows" in message
    assert "12 rows: position is below 1" in message
    assert "impressions/day=2024-01-01/part-0.parquet row 0" in message
    assert '"position":0' in message
    assert "data.rejected_share=0.01" in message
    assert str(rejected_file) in message
    assert pq.read_table(rejected_file).num_rows == 12


def test_positions_that_start_at_0_are_told(prepare, good_rows):
    rows = [{**row, "position": None if row["position"] is None else row["position"] - 1} for row in good_rows]
    with pytest.raises(InputError, match="position is below 1"):
        prepare(rows)


def test_of_rows_that_repeat_an_item_the_first_is_kept(prepare, good_rows):
    rows = good_rows
    rows.insert(3, {**rows[0], "position": 9, "clicked": False})

    log = prepare(rows, LENIENT)

    assert log.facts["rejected"] == {"item_id repeats in the request": 1}
    kept = log.dataset().to_table().to_pylist()
    (first,) = [r for r in kept if r["request_id"] == 0 and r["item_id"] == rows[0]["item_id"]]
    assert first["position"] == 1
    assert first["clicked"]


def test_a_row_rejected_by_itself_does_not_make_others_duplicates(prepare, good_rows):
    rows = good_rows
    rows.insert(0, {**rows[0], "price": -1.0})
    assert prepare(rows, LENIENT).facts["rejected"] == {"price is negative": 1}


def test_a_request_on_two_days_is_two_requests(prepare, good_rows):
    rows = good_rows
    rows.append({**rows[0], "item_id": 30, "position": 8, "timestamp": moment("2024-01-02")})
    log = prepare(rows, LENIENT)
    assert log.facts["rejected"] == {}
    assert log.facts["requests"] == 13
    assert {"0@2024-01-01", "0@2024-01-02", "1"} < set(log.dataset().to_table()["request_id"].to_pylist())


def test_random_negatives_have_no_position_and_may_be_many(prepare, good_rows):
    rows = good_rows
    rows.append({**rows[5], "item_id": 2})
    log = prepare(rows)
    assert log.facts["rejected"] == {}
    assert log.facts["stages"] == {"exposed": 60, "random": 13}


def test_positions_may_have_gaps(prepare, good_rows):
    rows = [{**row, "position": row["position"] and row["position"] * 3} for row in good_rows]
    assert prepare(rows).facts["rejected"] == {}


def test_nan_is_a_missing_price_and_infinity_a_bad_one(prepare, good_rows):
    log = prepare(spoil(good_rows, price=math.nan), LENIENT)
    assert log.facts["rejected"] == {}
    assert log.dataset().to_table()["price"].null_count == 1


def test_positions_as_floats_with_nan_are_read(prepare, good_rows):
    rows = [{**row, "position": math.nan if row["position"] is None else float(row["position"])} for row in good_rows]
    log = prepare(rows, types={"position": pa.float64()})
    assert log.facts["rejected"] == {}
    assert log.dataset().schema.field("position").type == pa.int32()
    assert log.facts["longest_list"] == 5


def test_a_fractional_position_is_rejected(prepare, good_rows):
    rows = [{**row, "position": row["position"] and float(row["position"])} for row in good_rows]
    log = prepare(spoil(rows, position=2.5), LENIENT, types={"position": pa.float64()})
    assert log.facts["rejected"] == {"position is not a whole number": 1}


def test_propensity_is_a_probability(prepare, good_rows):
    rows = [{**row, "propensity": 0.5} for row in good_rows]
    rows[1]["propensity"], rows[2]["propensity"], rows[3]["propensity"] = 0.0, 1.5, None
    log = prepare(rows, LENIENT)
    assert log.facts["rejected"] == {"propensity is outside of (0, 1]": 2}


def test_ordered_without_clicked_is_a_warning(prepare, capsys, good_rows):
    log = prepare(spoil(good_rows, ordered=True))
    assert log.facts["rejected"] == {}
    assert "1 rows are ordered without clicked" in capsys.readouterr().out


def test_clicked_without_being_exposed_is_a_warning(prepare, capsys, good_rows):
    log = prepare(spoil(good_rows, stage="ranked", clicked=True))
    assert log.facts["rejected"] == {}
    assert "clicked or ordered without being exposed" in capsys.readouterr().out


def test_stages_are_read_whatever_their_case(prepare, good_rows):
    log = prepare(spoil(good_rows, stage=" Exposed "))
    assert log.facts["stages"]["exposed"] == 60


def test_flags_may_be_0_and_1_but_not_2(prepare, good_rows):
    rows = [{**row, "clicked": int(row["clicked"]), "ordered": int(row["ordered"])} for row in good_rows]
    log = prepare(spoil(rows, clicked=2), LENIENT)
    assert log.facts["rejected"] == {"clicked is neither true nor false": 1}
    assert sum(split["clicks"] for split in log.facts["splits"].values()) == 12


def test_bad_rows_of_items_are_rejected_and_the_first_is_kept(prepare, good_rows):
    items = [{"item_id": item, "title": f"item {item}"} for item in range(1, 31)]
    items += [{"item_id": 1, "title": "again"}, {"item_id": None, "title": "nameless"}]
    log = prepare(good_rows, LENIENT, items=items)
    assert log.facts["rejected"] == {"item_id is null or empty in items": 1, "item_id repeats in items": 1}
    assert log.items()["item_id"].to_pylist() == list(range(1, 31))
    assert log.items()["title"][0].as_py() == "item 1"


def test_nothing_left_is_an_error(prepare, good_rows):
    rows = [{**row, "item_id": 1000} for row in good_rows]
    with pytest.raises(InputError, match="no request is left"):
        prepare(rows, "data.rejected_share=1.0")
