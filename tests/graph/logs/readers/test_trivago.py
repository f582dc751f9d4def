"""The trivago reader on made-up sessions in the published schema."""

from __future__ import annotations

import csv
import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.command import parse
from configs.errors import InputError
from graph.logs.prepare import prepare_log
from graph.logs.readers.trivago import COLUMNS

START = 1_541_500_000


def event(session, step, action, reference, seconds=None, **others):
    """One published row; a session's steps are ten seconds apart."""
    moment = START + session * 1000 + step * 10 if seconds is None else seconds
    row = dict.fromkeys(COLUMNS) | {
        "user_id": f"U{session % 2}",
        "session_id": f"s{session}",
        "timestamp": str(moment),
        "step": str(step),
        "action_type": action,
        "reference": reference,
        "platform": "FR",
        "city": "Sampleville, Nowhere",
        "device": "mobile",
    }
    return row | others


def clickout(session, step, reference, shown="11|12|13|14", prices="80|40|60|100", **others):
    return event(session, step, "clickout item", reference, impressions=shown, prices=prices, **others)


SESSION = [
    event(0, 1, "interaction item image", "12"),
    event(0, 2, "interaction item info", "13"),
    event(0, 3, "interaction item image", "12"),
    event(0, 4, "search for poi", "Old Tower"),
    clickout(0, 5, "13", current_filters="Hotel|Sort by Price|4 Star"),
    event(0, 6, "interaction item deals", "99"),
    event(0, 7, "interaction item image", "14"),
    clickout(0, 8, "14"),
]
OTHERS = [clickout(session, 1, "11") for session in range(1, 10)]


def as_csv(path, rows, opener=open):
    with opener(path, "wt", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def as_parquet(path, rows):
    table = pa.table({name: [row[name] for row in rows] for name in COLUMNS})
    for name in ("timestamp", "step"):
        table = table.set_column(COLUMNS.index(name), name, table[name].cast(pa.int64()))
    pq.write_table(table, path)
    return path


@pytest.fixture
def read(tmp_path, request_for):
    """Read published rows; return the log and its rows by (request, item)."""

    def run(rows_or_path, *overrides, run="x"):
        path = as_csv(tmp_path / "train.csv", rows_or_path) if isinstance(rows_or_path, list) else rows_or_path
        log = prepare_log(request_for(tmp_path / "runs" / run, "trivago", path, *overrides))
        rows = log.dataset().to_table().to_pylist()
        return log, {(row["request_id"], row["item_id"]): row for row in rows}

    return run


def request(rows, session, step):
    return {item: row for (key, item), row in rows.items() if key == f"U{session % 2}/s{session}/{step}"}


def test_a_clickout_is_a_request_with_its_ranked_list(read):
    log, rows = read(SESSION + OTHERS)
    listed = request(rows, 0, 5)
    assert [(item, row["position"], row["price"], row["clicked"]) for item, row in listed.items()] == [
        (11, 1, 80.0, False),
        (12, 2, 40.0, False),
        (13, 3, 60.0, True),
        (14, 4, 100.0, False),
    ]
    assert {row["query"] for row in listed.values()} == {"Sampleville, Nowhere | 4 Star, Hotel | price only"}
    assert {row["query"] for row in request(rows, 0, 8).values()} == {"Sampleville, Nowhere"}
    assert listed[11]["filters"] == ["4 Star", "Hotel"]
    assert listed[11]["timestamp"].timestamp() == START + 50
    assert log.facts["requests"] == 11
    assert not log.facts["tasks"]["order"]["available"]
    assert log.facts["split_by"] == "session"


def test_touches_before_the_clickout_are_history_and_nothing_later_is(read):
    _, rows = read(SESSION + OTHERS)
    first, second = request(rows, 0, 5), request(rows, 0, 8)
    assert first[11]["history"] == [12, 13]
    assert second[11]["history"] == [14, 99, 13, 12]
    assert {item: row["touch_count"] for item, row in first.items()} == {11: 0, 12: 2, 13: 1, 14: 0}
    assert {item: row["touch_recency"] for item, row in first.items()} == {11: None, 12: 2, 13: 3, 14: None}
    assert {item: row["touch_rank"] for item, row in first.items()} == {11: None, 12: 1, 13: 2, 14: None}
    assert {item: row["seconds_since_touch"] for item, row in first.items()} == {11: None, 12: 20, 13: 30, 14: None}
    assert [item for item, row in first.items() if row["is_last_touched"]] == [12]
    assert first[13]["last_action"] == "interaction item info"
    # The click-out of step 5 itself is a touch of item 13 for step 8.
    assert second[13]["clickout_count"] == 1
    assert (second[13]["touch_count"], second[13]["last_action"]) == (2, "clickout item")
    assert {row["shown_count"] for row in first.values()} == {0}
    assert {row["shown_count"] for row in second.values()} == {1}
    assert request(rows, 1, 1)[11]["history"] == []


def test_price_features_come_from_the_list(read):
    _, rows = read(SESSION + OTHERS)
    first = request(rows, 0, 5)
    assert {item: row["price_rank"] for item, row in first.items()} == {11: 3, 12: 1, 13: 2, 14: 4}
    assert first[11]["relative_price"] == pytest.approx(80 / 70)
    assert first[12]["price_to_last_touched"] == 0.0
    assert {item: row["price_rank_to_last_touched"] for item, row in first.items()} == {11: 2, 12: 0, 13: 1, 14: 3}
    assert request(rows, 1, 1)[11]["price_to_last_touched"] is None


def test_popularity_counts_only_what_was_strictly_earlier(read):
    _, rows = read(SESSION + OTHERS)
    assert request(rows, 0, 5)[12]["all_touches"] == 2
    for session in range(1, 10):
        row = request(rows, session, 1)[11]
        assert (row["all_touches"], row["all_displays"]) == (session - 1, session + 1)
        assert row["click_rate"] == pytest.approx((session - 1 + 0.5) / (session + 1 + 10))
    assert {row["all_displays"] for row in request(rows, 0, 5).values()} == {0}
    # Session 2 is of the same user as session 0, session 1 is not.
    assert request(rows, 2, 1)[14]["user_touches"] == 2
    assert request(rows, 1, 1)[14]["user_touches"] == 0


def test_no_feature_depends_on_the_displayed_order(read, tmp_path):
    """The same sessions with every list reversed give the same features."""
    reversed_lists = [
        row | {name: row[name] and "|".join(reversed(row[name].split("|"))) for name in ("impressions", "prices")}
        for row in SESSION + OTHERS
    ]
    log, forward = read(SESSION + OTHERS)
    _, backward = read(as_csv(tmp_path / "reversed.csv", reversed_lists), run="y")
    for key, row in forward.items():
        other = backward[key]
        assert row["position"] == 5 - other["position"]
        assert {n: v for n, v in row.items() if n != "position"} == {n: v for n, v in other.items() if n != "position"}
    assert len(forward) == log.facts["rows"]


def test_events_of_one_second_are_ordered_by_their_step(read):
    same = START + 500
    session = [
        clickout(0, 3, "11", seconds=same),
        event(0, 2, "interaction item image", "12", seconds=same),
        event(0, 4, "interaction item image", "13", seconds=same),
    ]
    _, rows = read(session + OTHERS)
    (key,) = {key for key, _ in rows if key.startswith("U0/s0/")}
    assert key == "U0/s0/2"
    assert rows[key, 11]["history"] == [12]


def test_items_take_city_and_price_of_their_first_display(read):
    later = clickout(9, 5, "11", shown="11|15", prices="500|30", city="Elsewhere, Nowhere")
    log, _ = read([*SESSION, *OTHERS, later])
    items = {row["item_id"]: row for row in log.items().to_pylist()}
    assert sorted(items) == [11, 12, 13, 14, 15, 99]
    assert (items[11]["city"], items[11]["price"]) == ("Sampleville, Nowhere", 80.0)
    assert (items[15]["city"], items[15]["country"]) == ("Elsewhere, Nowhere", "Nowhere")
    assert (items[99]["city"], items[99]["price"], items[99]["price_band"]) == ("Sampleville, Nowhere", None, None)
    assert items[12]["listed_at"].timestamp() == START + 10
    assert [items[item]["price_band"] for item in (12, 13, 11, 14)] == [1, 2, 4, 5]


def test_a_clickout_outside_of_its_list_is_a_request_without_a_click(read, capsys):
    log, rows = read([*OTHERS, clickout(10, 1, "77")])
    assert not any(row["clicked"] for row in request(rows, 10, 1).values())
    assert log.facts["requests"] == 10
    assert "1 click-outs chose an item that is not in their list" in capsys.readouterr().out


def test_clickouts_that_cannot_be_read_are_rejected_with_their_row(read):
    bad = [
        clickout(20, 1, "not an id"),
        clickout(21, 1, "11", shown=None),
        clickout(22, 1, "11", prices="1|2"),
        clickout(23, 1, "11", shown="11|x|13|14"),
        clickout(24, 1, "11", timestamp="yesterday"),
        clickout(25, 1, "11", session_id=None),
        event(26, 1, "interaction item image", "no id"),
    ]
    log, _ = read(OTHERS + bad, "data.rejected_share=0.5")
    rejected = pq.read_table(log.folder / "rejected.parquet").to_pylist()
    assert [(row["row"], row["reason"]) for row in sorted(rejected, key=lambda row: row["row"])] == [
        (9, "reference of the click-out is not an item id"),
        (10, "impressions of the click-out are null"),
        (11, "prices are not as many as impressions"),
        (12, "impressions hold something that is not an item id"),
        (13, "timestamp is not in whole seconds"),
        (14, "user_id or session_id is null"),
    ]
    assert {row["source"] for row in rejected} == {"train.csv"}
    assert log.facts["requests"] == 9


def test_csv_gzip_parquet_and_folder_read_the_same(read, tmp_path):
    log, rows = read(SESSION + OTHERS)
    zipped = as_csv(tmp_path / "zipped.csv.gz", SESSION + OTHERS, gzip.open)
    (tmp_path / "folder").mkdir()
    as_parquet(tmp_path / "folder" / "train.parquet", SESSION + OTHERS)
    (tmp_path / "folder" / "notes.txt").write_text("")
    for run, path in (("y", zipped), ("z", tmp_path / "folder")):
        again, found = read(path, run=run)
        assert found == rows
        assert again.items().equals(log.items())


def test_files_that_cannot_be_read(read, tmp_path):
    with pytest.raises(InputError, match=r"needs data\.path"):
        prepare_log(parse(["data=trivago", f"runs_folder={tmp_path}", "run=n"], remember=False))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no train.csv"):
        read(tmp_path / "empty")
    (tmp_path / "train.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match="unpack archives first"):
        read(tmp_path / "train.zip")
    (tmp_path / "a.csv").write_text("user_id,session_id\n1,2\n")
    with pytest.raises(InputError, match=r"a.csv lacks the columns timestamp, step, .* of the published schema"):
        read(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("")
    with pytest.raises(InputError, match=r"b.csv is empty \(0 bytes\)"):
        read(tmp_path / "b.csv")
    as_csv(tmp_path / "c.csv", [])
    with pytest.raises(InputError, match=r"c.csv has no rows"):
        read(tmp_path / "c.csv")
    whole = as_parquet(tmp_path / "d.parquet", OTHERS).read_bytes()
    (tmp_path / "d.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"d.parquet is not a whole Parquet file"):
        read(tmp_path / "d.parquet")
    zipped = as_csv(tmp_path / "e.csv.gz", OTHERS * 50, gzip.open).read_bytes()
    (tmp_path / "e.csv.gz").write_bytes(zipped[: len(zipped) // 2])
    with pytest.raises(InputError, match=r"e.csv.gz"):
        read(tmp_path / "e.csv.gz")
