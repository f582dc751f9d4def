"""Which requests train, validate and test: whole days, or whole sessions by their start, always in order of time."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from itertools import combinations

import duckdb

from configs.console import say, warn
from configs.errors import InputError
from configs.schema import SplitBy, SplitConfig
from graph.logs.contract import SPLITS, parse_day

FEWEST = 3
"""Days or sessions that a split in three needs."""


def assign_splits(connection: duckdb.DuckDBPyConnection, split: SplitConfig, sessions: bool) -> str:
    """Make the table ``assigned`` (request_id, split) from the table ``requests``; return ``day`` or ``session``.

    Requests of days that explicit lists leave out get no row, and are said out loud.

    Args:
        sessions: whether the log has session ids.

    Raises:
        InputError: if days overlap, are not in the log or are out of order, or if there is too little to split.
    """
    days = [day for (day,) in connection.sql("SELECT DISTINCT day FROM requests ORDER BY day").fetchall()]
    if not days:
        raise InputError("no request is left after the checks: there is nothing to train on")
    explicit = {name: list(getattr(split, name)) for name in SPLITS}
    if any(explicit.values()):
        if split.by is SplitBy.session:
            raise InputError("data.split.by=session and explicit days contradict each other: give one of them")
        _assign_days(connection, explicit_days(explicit, days), days)
        return "day"
    if split.by is SplitBy.day and len(days) < FEWEST:
        raise InputError(
            f"data.split.by=day needs at least {FEWEST} days, the log has {len(days)} ({', '.join(days)}): "
            "use data.split.by=session"
        )
    by = split.by if split.by is not SplitBy.auto else SplitBy.day if len(days) >= FEWEST else SplitBy.session
    unit = "day" if by is SplitBy.day else _session_unit(connection, sessions)
    _assign_shares(connection, unit, split.shares)
    return by.value


def explicit_days(asked: dict[str, list[str]], days: Sequence[str]) -> dict[str, list[str]]:
    """Days of the log for each split from lists of days and of ranges ``2024-01-01..2024-01-14``.

    Raises:
        InputError: if a split is empty, a day occurs twice or is not in the log, or a later split holds earlier days.
    """
    chosen = {name: days_of(entries, days, f"data.split.{name}") for name, entries in asked.items()}
    for name, split_days in chosen.items():
        if not split_days:
            raise InputError(f"data.split.{name} is empty: explicit days are needed for {', '.join(SPLITS)}")
    for first, second in combinations(SPLITS, 2):
        shared = sorted(set(chosen[first]) & set(chosen[second]))
        if shared:
            raise InputError(
                f"{len(shared)} days occur in data.split.{first} and data.split.{second}, e.g. {shared[0]}: "
                "a day belongs to one split"
            )
        if max(chosen[first]) > min(chosen[second]):
            raise InputError(
                f"data.split.{first} holds {max(chosen[first])}, later than {min(chosen[second])} of "
                f"data.split.{second}: splits go forward in time, or the future leaks into training"
            )
    return chosen


def days_of(entries: Sequence[str], days: Sequence[str], where: str) -> list[str]:
    """Days of the log that a list of days and of ranges ``FIRST..LAST`` names; a range may have gaps.

    Raises:
        InputError: for text that is no day, a range that runs backwards, or a day or range that the log does not have.
    """
    chosen: set[str] = set()
    for entry in entries:
        first, dots, last = str(entry).partition("..")
        start = parse_day(first.strip(), where)
        end = parse_day(last.strip(), where) if dots else start
        if end < start:
            raise InputError(f"{where}: the range {entry} runs backwards")
        matching = {day for day in days if start <= datetime.date.fromisoformat(day) <= end}
        if not matching:
            raise InputError(f"{where}: {entry} is not in the log, which runs from {days[0]} to {days[-1]}")
        chosen |= matching
    return sorted(chosen)


def _session_unit(connection: duckdb.DuckDBPyConnection, sessions: bool) -> str:
    """The SQL key of what is kept whole: the session, else a user's day, else the request."""
    if sessions:
        return "coalesce('s' || session_id, 'r' || request_id)"
    user_days = connection.sql("SELECT count(DISTINCT (user_id, day)) FROM requests").fetchall()[0][0]
    if user_days >= FEWEST:
        say("the log has no session_id: all requests of a user on one day are kept together")
        return "day || ' ' || user_id"
    warn("the log has no session_id and hardly any users: each request is split by itself")
    return "CAST(request_id AS VARCHAR)"


def _assign_shares(connection: duckdb.DuckDBPyConnection, unit: str, shares: Sequence[float]) -> None:
    """Cut the units, in order of their start, where the requests so far come nearest to the shares."""
    connection.execute(f"""
        CREATE TEMP TABLE units AS
        SELECT *, sum(requests) OVER (ORDER BY number) / sum(requests) OVER () AS reached FROM (
            SELECT {unit} AS unit, count(*) AS requests, row_number() OVER (ORDER BY min(timestamp), unit) AS number
            FROM requests GROUP BY unit
        )
    """)
    (count,) = connection.sql("SELECT count(*) FROM units").fetchall()[0]
    if count < FEWEST:
        raise InputError(
            f"the log has {count} days or sessions to split, train, validation and test need at least {FEWEST}: "
            "give a longer log"
        )
    cuts: list[int] = []
    for target, least, most in ((shares[0], 1, count - 2), (shares[0] + shares[1], 2, count - 1)):
        least = max(least, cuts[-1] + 1) if cuts else least
        nearest = (
            f"SELECT number FROM units WHERE number BETWEEN {least} AND {most} "
            f"ORDER BY abs(reached - {target}), number LIMIT 1"
        )
        cuts.append(connection.sql(nearest).fetchall()[0][0])
    connection.execute(
        f"CREATE TABLE assigned AS SELECT request_id, CASE WHEN number <= {cuts[0]} THEN 'train' "
        f"WHEN number <= {cuts[1]} THEN 'validation' ELSE 'test' END AS split "
        f"FROM requests JOIN units ON ({unit}) = units.unit"
    )
    connection.execute("DROP TABLE units")


def _assign_days(connection: duckdb.DuckDBPyConnection, chosen: dict[str, list[str]], days: Sequence[str]) -> None:
    pairs = [(day, name) for name, split_days in chosen.items() for day in split_days]
    connection.execute("CREATE TEMP TABLE split_of_day (day VARCHAR, split VARCHAR)")
    connection.executemany("INSERT INTO split_of_day VALUES (?, ?)", pairs)
    connection.execute("CREATE TABLE assigned AS SELECT request_id, split FROM requests JOIN split_of_day USING (day)")
    left = sorted(set(days) - {day for day, _ in pairs})
    if left:
        warn(f"{len(left)} days are in no split and are left out: {', '.join(left[:5])}{', ...' * (len(left) > 5)}")
