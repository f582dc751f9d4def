"""Splits go forward in time and never cut a day or a session."""

from __future__ import annotations

import datetime

import duckdb
import pytest

from configs.errors import InputError
from configs.schema import SplitBy, SplitConfig
from graph.logs.split import assign_splits, days_of

DAYS = [f"2024-01-{day:02}" for day in range(1, 17)]


def split_of(requests, split=None, sessions=True):
    """Assign requests given as (request, user, session, moment); return (request → split, split by)."""
    connection = duckdb.connect()
    connection.execute(
        "CREATE TABLE requests "
        "(request_id BIGINT, user_id BIGINT, session_id VARCHAR, timestamp TIMESTAMP, day VARCHAR)"
    )
    rows = [(r, u, s, t, t.date().isoformat()) for r, u, s, t in requests]
    if rows:
        connection.executemany("INSERT INTO requests VALUES (?, ?, ?, ?, ?)", rows)
    by = assign_splits(connection, split or SplitConfig(), sessions)
    return dict(connection.sql("SELECT request_id, split FROM assigned").fetchall()), by


def at(day, hour=0, minute=0):
    return datetime.datetime(2024, 1, day, hour, minute)


def days_of_requests(counts):
    """One request after another on the first days of January."""
    made, key = [], 0
    for day, count in enumerate(counts, start=1):
        for minute in range(count):
            made.append((key, key, f"session {key}", at(day, 0, minute)))
            key += 1
    return made


def by_day(requests, split):
    return {
        name: sorted({t.day for r, _, _, t in requests if split.get(r) == name})
        for name in ("train", "validation", "test")
    }


@pytest.mark.parametrize(
    ("counts", "shares", "expected"),
    [
        ([5] * 16, [0.875, 0.0625, 0.0625], ([*range(1, 15)], [15], [16])),
        ([1, 1, 1], [0.7, 0.1, 0.2], ([1], [2], [3])),
        ([7, 1, 2], [0.7, 0.1, 0.2], ([1], [2], [3])),
        ([1, 1, 1, 50], [0.7, 0.1, 0.2], ([1, 2], [3], [4])),
        ([50, 1, 1, 1], [0.7, 0.1, 0.2], ([1], [2], [3, 4])),
        ([10] * 10, [0.7, 0.1, 0.2], ([*range(1, 8)], [8], [9, 10])),
        ([10] * 10, [0.4, 0.4, 0.2], ([*range(1, 5)], [*range(5, 9)], [9, 10])),
        ([1, 50, 1, 1], [0.7, 0.1, 0.2], ([1, 2], [3], [4])),
    ],
)
def test_whole_days_nearest_to_the_shares(counts, shares, expected):
    requests = days_of_requests(counts)
    split, by = split_of(requests, SplitConfig(shares=shares))
    assert by == "day"
    assert tuple(by_day(requests, split).values()) == expected
    assert len(split) == len(requests)


def test_three_days_are_enough_for_days():
    split, by = split_of(days_of_requests([5, 5, 5]), SplitConfig(by=SplitBy.day))
    assert by == "day"
    assert set(split.values()) == {"train", "validation", "test"}


def test_sessions_are_whole_and_in_order_of_their_start():
    requests = []
    for session in range(10):
        requests += [(session * 10 + n, session, f"s{session}", at(1 + n // 2, session, n)) for n in range(4)]
    split, by = split_of(requests)
    assert by == "session"
    of_session = {s: {split[r] for r, _, session, _ in requests if session == s} for s in {q[2] for q in requests}}
    assert all(len(found) == 1 for found in of_session.values())
    assert [of_session[f"s{session}"].pop() for session in range(10)] == ["train"] * 7 + ["validation"] + ["test"] * 2


def test_a_sessions_name_says_nothing_of_its_time():
    requests = [(key, key, f"session {9 - key}", at(1, key)) for key in range(10)]
    split, _ = split_of(requests, SplitConfig(by=SplitBy.session, shares=[0.7, 0.1, 0.2]))
    assert [split[key] for key in range(10)] == ["train"] * 7 + ["validation"] + ["test"] * 2


def test_a_request_without_its_session_is_a_session_of_its_own():
    requests = [(0, 1, None, at(1, 0)), (1, 1, None, at(1, 1)), (2, 1, None, at(1, 2))]
    split, _ = split_of(requests)
    assert split == {0: "train", 1: "validation", 2: "test"}


def test_without_sessions_a_users_day_is_kept_together(capsys):
    requests = [(r, r % 5, None, at(1 + r // 20, r % 20)) for r in range(40)]
    split, by = split_of(requests, sessions=False)
    assert by == "session"
    units = {(u, t.day): {split[r] for r, v, _, s in requests if (v, s.day) == (u, t.day)} for _, u, _, t in requests}
    assert all(len(found) == 1 for found in units.values())
    assert "all requests of a user on one day are kept together" in capsys.readouterr().out


def test_three_user_days_are_enough_to_keep_them_together(capsys):
    split, _ = split_of([(r, r % 3, None, at(1, r)) for r in range(6)], sessions=False)
    assert split[0] == split[3] == "train"
    assert split[2] == split[5] == "test"
    assert "on one day are kept together" in capsys.readouterr().out


def test_one_user_without_sessions_is_split_by_request(capsys):
    split, _ = split_of([(r, 1, None, at(1, r)) for r in range(10)], sessions=False)
    assert [split[r] for r in range(10)] == ["train"] * 7 + ["validation"] + ["test"] * 2
    assert "each request is split by itself" in capsys.readouterr().out


def test_too_little_to_split():
    with pytest.raises(InputError, match="2 days or sessions to split"):
        split_of([(0, 1, "a", at(1)), (1, 1, "b", at(1, 1)), (2, 1, "b", at(1, 2))])
    with pytest.raises(InputError, match=r"data.split.by=day needs at least 3 days, the log has 2"):
        split_of(days_of_requests([5, 5]), SplitConfig(by=SplitBy.day))
    with pytest.raises(InputError, match="no request is left"):
        split_of([])


@pytest.mark.parametrize(("last", "said"), [(8, "01-06, 2024-01-07\n"), (9, "01-06, 2024-01-07, ...\n")])
def test_five_days_that_are_left_out_are_named(last, said, capsys):
    asked = explicit(["2024-01-01"], ["2024-01-02"], [f"2024-01-{last:02}..2024-01-16"])
    split_of(days_of_requests([1] * 16), asked)
    printed = " ".join(capsys.readouterr().out.split()) + "\n"
    assert f"{last - 3} days are in no split and are left out: 2024-01-03, 2024-01-04, 2024-01-05, 2024-" in printed
    assert said in printed


def explicit(train, validation, test, by=SplitBy.auto):
    return SplitConfig(by=by, train=train, validation=validation, test=test)


def test_explicit_days_and_ranges(capsys):
    requests = days_of_requests([2] * 16)
    test = ["2024-01-14", "2024-01-15..2025-01-01"]
    split, by = split_of(requests, explicit(["2024-01-01..2024-01-10"], ["2024-01-12"], test))
    assert by == "day"
    assert by_day(requests, split) == {"train": [*range(1, 11)], "validation": [12], "test": [14, 15, 16]}
    assert "2 days are in no split and are left out: 2024-01-11, 2024-01-13" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (explicit(["2024-01-01..2024-01-10"], ["2024-01-10"], ["2024-01-12"]), "1 days occur in data.split.train and "),
        (explicit(["2024-01-01"], ["2024-01-02..2024-01-05"], ["2024-01-05"]), "e.g. 2024-01-05: a day belongs"),
        (explicit(["2024-01-05"], ["2024-01-02"], ["2024-01-06"]), "or the future leaks into training"),
        (explicit(["2024-01-01"], [], ["2024-01-06"]), "data.split.validation is empty"),
        (
            explicit(["2024-01-01"], ["2024-02-01"], ["2024-01-06"]),
            "2024-02-01 is not in the log, which runs from 2024-01-01 to 2024-01-16",
        ),
        (explicit(["2024-01-03..2024-01-01"], ["2024-01-04"], ["2024-01-06"]), "runs backwards"),
        (explicit(["1.1.2024"], ["2024-01-04"], ["2024-01-06"]), "data.split.train: expected a day as YYYY-MM-DD"),
        (explicit(["2024-01-01"], ["2024-01-04"], ["2024-01-06"], SplitBy.session), "contradict each other"),
    ],
)
def test_explicit_days_that_cannot_be(split, message):
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        split_of(days_of_requests([1] * 16), split)


def test_a_range_may_have_gaps():
    assert days_of(["2024-01-01..2024-01-05"], ["2024-01-01", "2024-01-04"], "here") == ["2024-01-01", "2024-01-04"]
