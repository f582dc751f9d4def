"""Which rows are one request, and when: rows with times of their own, ids that start again, folders of a local day.

A request's moment is the time of its first row. Rows of one id that follow each other by `PAUSE` at most belong
together, also over midnight; an id that comes again on another day is another request, and both get the key
``id@YYYY-MM-DD``. Folders may be named by a local day: times say which UTC day a request belongs to, and ids start
again with the folder's day, two of which have hours in each UTC day.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any

import duckdb

from configs.console import say
from graph.logs.database import text

PAUSE, LONGEST = "INTERVAL 30 MINUTE", "INTERVAL 6 HOUR"
"""Between two rows of a request at most, and from its first to its last; beyond, rows belong to their own days."""
QUARTER, DAY, FURTHEST = 15, 96, 56
"""Minutes of a step between offsets from UTC, steps of a day, and steps of the furthest zone (14 hours)."""
DATE = "'%Y-%m-%d'"
SUFFIX = "@\\d{4}-\\d{2}-\\d{2}$"


@dataclass(frozen=True)
class Identity:
    """How rows make requests, where their own ids and folders do not say it all.

    Args:
        offsets: from UTC to the folders' days, in steps of `QUARTER` minutes; two where summer time changes.
        wandering: whether ids lie in several folders or UTC days (the table ``visits``).
        repeated: number of ids that come again on another day.
    """

    offsets: tuple[int, ...] = (0,)
    wandering: bool = False
    repeated: int = 0

    @property
    def plain(self) -> bool:
        """Whether a row's folder and id say all."""
        return self.offsets == (0,) and not self.wandering

    @property
    def derived(self) -> dict[str, int]:
        """What ``log.json`` says of it: minutes from UTC to the folders' days, ids that come again."""
        return {"folders_minutes_from_utc": QUARTER * self.offsets[0], "repeated_request_ids": self.repeated}

    def rows(self, rows: str, days: list[str], family: str) -> str:
        """The SQL of the rows of some UTC days: ``request_id`` unique, ``day`` in UTC, ``__begin``, ``__misplaced``.

        Args:
            rows: SQL of canonical rows with the folder's ``day``, of those days and their neighbours.
            days: wanted.
            family: of the request ids' type.
        """
        nothing = "CAST(NULL AS TIMESTAMP) AS __begin, CAST(NULL AS VARCHAR) AS __home, false AS __again"
        joined = f"SELECT *, {nothing} FROM ({rows})"
        if self.wandering:
            joined = (
                "SELECT source.*, visits.begin AS __begin, visits.home AS __home, "
                f"coalesce(visits.again, false) AS __again FROM ({rows}) AS source LEFT JOIN visits "
                "ON source.request_id = visits.request_id AND source.timestamp = visits.timestamp"
            )
        key = "request_id"
        if self.repeated:
            ended = f"OR regexp_matches(request_id, {text(SUFFIX)})" if family == "string" else ""
            home = f"coalesce(__home, strftime(timestamp, {DATE}))"
            key = f"CAST(request_id AS VARCHAR) || CASE WHEN __again {ended} THEN '@' || {home} ELSE '' END"
        placed = f"coalesce({self.named('timestamp')}, false) OR coalesce({self.named('__begin')}, false)"
        day = f"CASE WHEN __placed THEN strftime(coalesce(__begin, timestamp), {DATE}) ELSE day END"
        return (
            f"SELECT * EXCLUDE (__home, __again) REPLACE ({key} AS request_id, {day} AS day), "
            "NOT __placed AND timestamp IS NOT NULL AS __misplaced "
            f"FROM (SELECT *, {placed} AS __placed FROM ({joined})) "
            f"WHERE {day} IN ({', '.join(text(wanted) for wanted in days)})"
        )

    def named(self, moment: str) -> str:
        """SQL: whether the folder ``day`` is named by the day of a moment."""
        tests = (f"strftime({moment} + to_minutes({QUARTER * offset}), {DATE}) = day" for offset in self.offsets)
        return f"({' OR '.join(tests)})"

    def day_of_row(self) -> str:
        """SQL: the folder's day where a row's time lies in it, else the day of its time at the same offset."""
        own = f"strftime(timestamp + to_minutes({QUARTER * self.offsets[0]}), {DATE})"
        return f"CASE WHEN {self.named('timestamp')} THEN day ELSE {own} END"

    def tell(self) -> None:
        """Say what was derived."""
        if self.offsets != (0,):
            zones = " and ".join(f"UTC{QUARTER * offset / 60:+g} h" for offset in self.offsets)
            say(f"the folders are named by days of {zones}: rows are taken by their own day in UTC")
        if self.repeated:
            say(f"{self.repeated:,} request ids come again on another day: their key is id@YYYY-MM-DD")


def identify(connection: duckdb.DuckDBPyConnection, rows: str, allowed: float) -> Identity:
    """Find out how rows make requests, and make the table ``visits`` where ids wander over folders or days.

    Args:
        rows: SQL of all canonical rows with the folder's ``day``.
        allowed: share of rows that may be rejected: folders are held for local days only if more lie outside.
    """
    near = (
        "request_id IS NOT NULL AND timestamp BETWEEN CAST(day AS TIMESTAMP) - INTERVAL 1 DAY "
        "AND CAST(day AS TIMESTAMP) + INTERVAL 2 DAY"
    )
    connection.execute(
        "CREATE TEMP TABLE spans AS SELECT request_id, day, min(timestamp) AS first, max(timestamp) AS last, "
        f"count(*) AS size FROM ({rows}) WHERE {near} GROUP BY request_id, day"
    )
    offsets = _offsets(connection, allowed)
    connection.execute(
        f"CREATE TEMP TABLE wandering AS SELECT request_id FROM spans GROUP BY request_id "
        f"HAVING count(*) > 1 OR strftime(min(first), {DATE}) <> strftime(max(last), {DATE})"
    )
    wandering = connection.sql("SELECT count(*) FROM wandering").fetchall()[0][0] > 0
    repeated, folders = 0, Identity(offsets)
    if wandering:
        connection.execute(f"""
            CREATE TABLE visits AS
            WITH moments AS (
                SELECT DISTINCT request_id, timestamp, day, {folders.day_of_row()} AS own
                FROM ({rows}) SEMI JOIN wandering USING (request_id) WHERE {near}
            ), breaks AS (
                SELECT *, coalesce(timestamp - lag(timestamp) OVER (PARTITION BY request_id ORDER BY timestamp)
                    > {PAUSE}, true) AS breaks FROM moments
            ), chains AS (
                SELECT *, sum(CAST(breaks AS INTEGER)) OVER (PARTITION BY request_id ORDER BY timestamp) AS chain
                FROM breaks
            ), homes AS (
                SELECT request_id, timestamp, day, CASE WHEN max(timestamp) OVER together - min(timestamp) OVER together
                    <= {LONGEST} THEN arg_min(own, timestamp) OVER together ELSE own END AS home
                FROM chains WINDOW together AS (PARTITION BY request_id, chain)
            ), starts AS (
                SELECT *, min(timestamp) OVER (PARTITION BY request_id, home) AS __begin FROM homes
            ), placed AS (
                SELECT *, {folders.named("timestamp")} OR {folders.named("__begin")} AS placed FROM starts
            ), counted AS (
                SELECT *, count(DISTINCT CASE WHEN placed THEN home END) OVER (PARTITION BY request_id) > 1 AS again
                FROM placed
            )
            SELECT request_id, timestamp, min(home) AS home, min(__begin) AS begin, bool_or(again) AS again
            FROM counted GROUP BY request_id, timestamp
        """)
        repeated = connection.sql("SELECT count(DISTINCT request_id) FROM visits WHERE again").fetchall()[0][0]
    connection.execute("DROP TABLE spans; DROP TABLE wandering")
    return Identity(offsets, wandering, repeated)


def _offsets(connection: duckdb.DuckDBPyConnection, allowed: float) -> tuple[int, ...]:
    """The nearest offset from UTC that puts the rows on their folders' days, all but a share that may be rejected."""
    counted = dict(
        connection.sql(
            f"SELECT CAST(floor((epoch(first) - epoch(CAST(day AS TIMESTAMP))) / {60 * QUARTER}) AS BIGINT), sum(size) "
            "FROM spans GROUP BY 1"
        ).fetchall()
    )
    rows = sum(counted.values())
    # A log that is quiet at night fits several zones; those of whole hours are the likelier ones.
    nearest = sorted(range(-FURTHEST, FURTHEST + 1), key=lambda step: (step % 4 != 0, step % 2 != 0, abs(step)))
    for offsets in chain(((offset,) for offset in nearest), ((offset, offset + 4) for offset in nearest)):
        inside = sum(n for step, n in counted.items() if any(0 <= step + offset < DAY for offset in offsets))
        if rows - inside <= allowed * rows:
            return offsets
    return (0,)


def unite_sessions(connection: duckdb.DuckDBPyConnection) -> int:
    """Make sessions of ``requests`` unique by their user where users share ids; return how many are shared."""
    shared = connection.sql(
        "SELECT count(*) FROM (SELECT session_id FROM requests WHERE session_id IS NOT NULL GROUP BY session_id "
        "HAVING count(DISTINCT user_id) > 1)"
    ).fetchall()[0][0]
    if shared:
        example: Any = connection.sql(
            "SELECT session_id, min(user_id), max(user_id) FROM requests WHERE session_id IS NOT NULL GROUP BY "
            "session_id HAVING count(DISTINCT user_id) > 1 ORDER BY 1 LIMIT 1"
        ).fetchall()[0]
        say(
            f"{shared:,} session ids are shared by several users, e.g. {example[0]} by {example[1]} and {example[2]}: "
            "a session is a user's, its key user_id/session_id"
        )
        connection.execute(f"UPDATE requests SET session_id = {SESSION.format(table='requests')}")
    return int(shared)


SESSION = (
    "replace(replace(CAST({table}.user_id AS VARCHAR), '%', '%25'), '/', '%2F') || '/' || "
    "CAST({table}.session_id AS VARCHAR)"
)
"""SQL of a session's key that no other user's session has."""
