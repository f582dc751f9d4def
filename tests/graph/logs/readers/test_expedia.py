"""The Expedia reader on made-up searches in the published schema."""

from __future__ import annotations

import csv
import math

import duckdb
import pyarrow.parquet as pq
import pytest

from configs.errors import InputError
from graph.logs.prepare import prepare_log
from graph.logs.readers.expedia import COLUMNS, NIGHTS


def hotel(search, day, position, prop, **others):
    row = dict.fromkeys(COLUMNS, "NULL") | {
        "srch_id": search,
        "date_time": f"2013-05-{day:02} 08:15:30",
        "site_id": 5,
        "visitor_location_country_id": 219,
        "prop_country_id": 219,
        "prop_id": prop,
        "prop_starrating": 3,
        "prop_review_score": 4.5,
        "prop_brand_bool": 1,
        "prop_location_score1": 2.5,
        "prop_location_score2": 0.25,
        "prop_log_historical_price": 4.0,
        "position": position,
        "price_usd": 100.0,
        "promotion_flag": 0,
        "srch_destination_id": 77,
        "srch_length_of_stay": 2,
        "srch_booking_window": 10,
        "srch_adults_count": 2,
        "srch_children_count": 0,
        "srch_room_count": 1,
        "srch_saturday_night_bool": 1,
        "random_bool": 0,
        "click_bool": int(position == 1),
        "booking_bool": int(position == 1),
        "gross_bookings_usd": 210.5 if position == 1 else "NULL",
    }
    return row | others


def searches(count=6):
    """One search a day, of five hotels at the positions 1 to 4 and 6."""
    return [hotel(100 + s, 1 + s, p, 10 * s + p) for s in range(count) for p in (1, 2, 3, 4, 6)]


@pytest.fixture
def read(tmp_path, request_for):
    def run(rows, *overrides):
        path = tmp_path / "train.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        log = prepare_log(request_for(tmp_path / "runs" / "x", "expedia", path, *overrides))
        return log, {(row["request_id"], row["item_id"]): row for row in log.dataset().to_table().to_pylist()}

    return run


def test_a_search_is_a_request_and_a_booking_the_order(read):
    log, rows = read(searches())
    row = rows[100, 1]
    assert (row["query"], row["destination"], row["position"]) == ("destination 77 | 2 nights", "destination 77", 1)
    assert (row["clicked"], row["ordered"], row["booking_value"]) == (True, True, 210.5)
    assert (row["length_of_stay"], row["visitor_stars"], row["saturday_night"]) == (2.0, None, 1.0)
    assert row["timestamp"].isoformat() == "2013-05-01T08:15:30+00:00"
    assert sorted(rows[100, item]["position"] for item in (1, 2, 3, 4, 6)) == [1, 2, 3, 4, 6]
    assert log.facts["split_by"] == "day"
    assert [len(log.facts["splits"][name]["days"]) for name in ("train", "validation", "test")] == [4, 1, 1]
    assert all(task["available"] for task in log.facts["tasks"].values())


def test_hotels_have_brand_stars_country_and_price_band(read):
    rows = searches()
    rows[1] |= {"prop_brand_bool": 0, "prop_starrating": 0, "prop_review_score": 0, "price_usd": 50}
    log, _ = read(rows)
    items = {row["item_id"]: row for row in log.items().to_pylist()}
    assert len(items) == 30
    assert (items[1]["brand"], items[1]["stars"], items[1]["country"]) == ("chain", "3 stars", "country 219")
    assert (items[2]["brand"], items[2]["stars"], items[2]["review_score"]) == ("independent", None, None)
    assert (items[2]["price_band"], items[2]["price"]) == (1, 50.0)
    assert items[1]["listed_at"].isoformat() == "2013-05-01T08:15:30+00:00"


def test_in_random_order_the_position_is_unknown(read, capsys):
    rows = [row | {"random_bool": 1} if row["srch_id"] == 100 else row for row in searches()]
    log, found = read(rows)
    assert {row["position"] for (search, _), row in found.items() if search == 100} == {None}
    assert {row["random_bool"] for (search, _), row in found.items() if search == 100} == {1}
    assert log.facts["stages"] == {"exposed": 30}
    assert "5 of 30 rows were shown in random order" in capsys.readouterr().out


def test_absurd_prices_are_unknown(read, capsys):
    rows = searches()
    rows[0] |= {"price_usd": 944349.11}
    rows[1] |= {"price_usd": 0}
    _, found = read(rows)
    assert (found[100, 1]["price"], found[100, 1]["price_rank"], found[100, 1]["log_relative_price"]) == (None,) * 3
    assert found[100, 2]["price"] is None
    assert found[100, 3]["price_rank"] == 1
    assert "2 prices are not above 0 or above 10,000 USD a night" in capsys.readouterr().out


def test_features_of_the_hotel_in_its_list(read):
    rows = searches()
    rows[0] |= {"price_usd": 200, "prop_starrating": 5, "prop_review_score": 5, "visitor_hist_adr_usd": 100}
    rows[0] |= {"visitor_hist_starrating": 3.5, "comp2_rate": 1, "comp5_rate": 1, "comp8_rate": -1, "comp3_inv": 1}
    _, found = read(rows)
    row = found[100, 1]
    assert (row["price_rank"], found[100, 2]["price_rank"]) == (5, 1)
    assert row["log_relative_price"] == pytest.approx(math.log(2))
    assert row["price_to_historical"] == pytest.approx(math.log(200) - 4)
    assert row["price_to_visitor"] == pytest.approx(math.log(2))
    assert row["stars_to_visitor"] == 1.5
    assert row["stars_to_list"] == pytest.approx(5 - (5 + 4 * 3) / 5)
    assert (row["cheaper_than"], row["dearer_than"], row["only_here"]) == (2, 1, 1)
    assert (found[100, 2]["cheaper_than"], found[100, 2]["stars_to_visitor"]) == (0, None)


@pytest.mark.parametrize(("nights", "said"), [(1, "1"), (3, "3"), (4, "4-6"), (6, "4-6"), (7, "7+"), (30, "7+")])
def test_the_stay_in_the_query(nights, said):
    ((found,),) = duckdb.sql(f"SELECT {NIGHTS} FROM (SELECT {nights}::FLOAT AS length_of_stay)").fetchall()
    assert found == said


def test_rows_without_date_or_id_are_rejected(read):
    rows = searches()
    rows[3] |= {"date_time": "soon"}
    rows[4] |= {"prop_id": "NULL"}
    log, _ = read(rows, "data.rejected_share=0.1")
    assert log.facts["rejected"] == {"date_time is not a date": 1, "item_id is null or empty": 1}
    rejected = pq.read_table(log.folder / "rejected.parquet").to_pylist()
    assert {(row["source"], row["row"]) for row in rejected} >= {("train.csv", 3)}


def test_a_file_of_another_schema(read):
    rows = [{name: value for name, value in row.items() if name != "booking_bool"} for row in searches()]
    with pytest.raises(InputError, match=r"train.csv lacks the columns booking_bool of the published schema"):
        read(rows)
