"""Rows with times of their own, over midnight; ids that start again; folders of a local day; shared sessions."""

from __future__ import annotations

import datetime

import pytest

HOUR = datetime.timedelta(hours=1)
SECOND = datetime.timedelta(seconds=1)


def requests_of(log):
    """request_id → (time, day, rows, items)."""
    known = {}
    for row in log.dataset().to_table().to_pylist():
        time, day, items = known.setdefault(row["request_id"], (row["timestamp"], row["day"], []))
        assert (row["timestamp"], row["day"]) == (time, day)
        assert day == time.date().isoformat()
        items.append(row["item_id"])
    return {key: (time.strftime("%d %H:%M"), len(items)) for key, (time, _, items) in known.items()}


def test_a_request_has_the_time_of_its_first_row(prepare, good_rows, capsys):
    rows = [{**row, "timestamp": row["timestamp"] + (index % 6) * SECOND} for index, row in enumerate(good_rows)]
    log = prepare(list(reversed(rows)))
    plain = {row["request_id"]: (row["timestamp"].strftime("%d %H:%M"), 6) for row in good_rows}
    assert requests_of(log) == plain
    assert log.facts["derived"] == {"requests_of_own_times": 12}
    assert log.facts["accounts"]["impressions"]["kept"] == 72
    printed = " ".join(capsys.readouterr().out.split())
    assert "the rows of 12 requests have times of their own: a request's time is that of its first row" in printed


@pytest.mark.parametrize("folder", ["own", "first"])
def test_a_request_over_midnight_lies_in_its_first_rows_day(prepare, good_rows, capsys, folder):
    rows = []
    for index, row in enumerate(good_rows):
        if row["request_id"] == 3:  # the last of the first day
            time = datetime.datetime(2024, 1, 1, 23, 50, tzinfo=datetime.UTC) + (index % 6) * 4 * 60 * SECOND
            row = {**row, "timestamp": time, "_day": "2024-01-01" if folder == "first" else time.date().isoformat()}
        rows.append(row)
    log = prepare(rows)
    assert log.facts["accounts"]["impressions"] == {"read": 72, "kept": 72, "rejected": 0, "left_out": {}}
    assert requests_of(log)[3] == ("01 23:50", 6)
    assert log.facts["derived"] == {"requests_of_own_times": 1, "requests_over_midnight": 1}
    assert "1 requests have times of their own, 1 of them over midnight" in " ".join(capsys.readouterr().out.split())


def test_ids_that_start_again_each_day_get_a_key(prepare, good_rows, capsys):
    rows = [{**row, "request_id": row["request_id"] % 4} for row in good_rows]
    log = prepare(rows)
    assert log.facts["rows"] == 72
    assert requests_of(log) == {
        f"{request}@2024-01-0{day}": (f"0{day} 10:0{request}", 6) for day in (1, 2, 3) for request in range(4)
    }
    assert log.facts["derived"] == {"repeated_request_ids": 4}
    assert "4 request ids come again on another day: their key is id@YYYY-MM-DD" in capsys.readouterr().out


def test_only_ids_that_come_again_are_changed_and_none_becomes_another(prepare, good_rows):
    names = {0: "a", 4: "a", 5: "a@2024-01-02"}
    rows = [{**row, "request_id": names.get(row["request_id"], f"r{row['request_id']}")} for row in good_rows]
    keys = set(requests_of(prepare(rows)))
    assert {"a@2024-01-01", "a@2024-01-02", "a@2024-01-02@2024-01-02", "r1"} <= keys
    assert len(keys) == 12


@pytest.mark.parametrize("offset", [2, -8, 5.5])
def test_folders_of_a_local_day_are_read(prepare, rows_of, capsys, offset):
    rows = rows_of([f"2024-01-0{day}" for day in range(1, 5)], requests=24)
    for index, row in enumerate(rows):
        row["_day"] = row["timestamp"].date().isoformat()
        hour = index // 6 % 24
        local = row["timestamp"].replace(hour=hour, minute=59 if hour == 23 else 0)
        row["timestamp"] = local - offset * HOUR
    log = prepare(rows)
    assert log.facts["accounts"]["impressions"] == {"read": 576, "kept": 576, "rejected": 0, "left_out": {}}
    assert len(requests_of(log)) == 96
    assert log.facts["derived"] == {"folders_minutes_from_utc": offset * 60}
    printed = " ".join(capsys.readouterr().out.split())
    assert f"the folders are named by days of UTC{offset:+g} h: rows are taken by their own day in UTC" in printed


@pytest.mark.parametrize("offset", [8, -8])
def test_ids_that_start_again_with_each_local_day_get_its_key(prepare, rows_of, offset):
    rows = rows_of([f"2024-01-0{day}" for day in range(1, 5)], requests=6)
    for index, row in enumerate(rows):
        number = index // 6 % 6
        hour = (0, 5, 9, 13, 17, 23)[::-1][number]  # the later in a local day, the smaller the id
        row |= {"_day": row["timestamp"].date().isoformat(), "request_id": number}
        row["timestamp"] = row["timestamp"].replace(hour=hour) - offset * HOUR
        row["user_id"] = index // 6
    log = prepare(rows)
    assert log.facts["accounts"]["impressions"] == {"read": 144, "kept": 144, "rejected": 0, "left_out": {}}
    assert log.facts["derived"] == {"folders_minutes_from_utc": offset * 60, "repeated_request_ids": 6}
    assert {rows for _, rows in requests_of(log).values()} == {6}
    assert set(requests_of(log)) == {f"{number}@2024-01-0{day}" for number in range(6) for day in range(1, 5)}


def test_a_row_of_another_day_is_still_rejected(prepare, good_rows):
    rows = [{**row, "_day": row["timestamp"].date().isoformat()} for row in good_rows]
    rows[0]["timestamp"] += 24 * HOUR
    log = prepare(rows, "data.rejected_share=0.1")
    assert log.facts["rejected"] == {"timestamp is not of its folder's day": 1}
    assert log.facts["derived"] == {}


def test_a_session_is_a_users_where_users_share_ids(prepare, good_rows, capsys):
    log = prepare([{**row, "session_id": row["request_id"] % 2} for row in good_rows], "data.split.by=session")
    sessions = set(log.dataset().to_table()["session_id"].to_pylist())
    assert sessions == {f"{user}/{session}" for user in range(3) for session in range(2)}
    assert log.facts["derived"] == {"shared_sessions": 2}
    assert "2 session ids are shared by several users, e.g. 0 by 0 and 2" in " ".join(capsys.readouterr().out.split())


def test_no_two_users_make_one_session_key(prepare, good_rows):
    pairs = [("a", "b/c"), ("a/b", "c"), ("a", "c"), ("a%2Fb", "c")]
    rows = [
        {**row, "user_id": pairs[row["request_id"] % 4][0], "session_id": pairs[row["request_id"] % 4][1]}
        for row in good_rows
    ]
    assert len(set(prepare(rows).dataset().to_table()["session_id"].to_pylist())) == 4


def test_sessions_that_no_users_share_stay_as_they_are(prepare, good_rows):
    log = prepare([{**row, "session_id": row["request_id"]} for row in good_rows])
    assert str(log.dataset().schema.field("session_id").type) == "int64"
