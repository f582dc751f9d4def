"""The contract's checks on impressions: set-based, in DuckDB, some days at a time.

Every bad row is named once, by the first check that it fails: first the checks of a row by itself, then those of a
row within its request, among the rows that are left. Rows of a request may have times of their own. Where rows of a
request contradict each other, the first in order of files and rows is kept. A checked log therefore passes again with
nothing rejected.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb

from configs.console import progress, say, warn
from graph.logs.checking.columns import SourceTable
from graph.logs.checking.encoding import not_utf8_checks
from graph.logs.checking.footers import FILE, ROW
from graph.logs.checking.requests import Identity, identify, unite_sessions
from graph.logs.contract import RANKED_STAGES, RESERVED, STAGES
from graph.logs.database import batches_of_days, name, reading, text

BATCH_ROWS = 2_000_000
"""Rows of whole days that are checked or written at a time."""


@dataclass(frozen=True)
class Check:
    """One reason to reject a row: ``bad`` is the SQL condition on the canonical columns."""

    reason: str
    bad: str


@dataclass(frozen=True)
class Impressions:
    """The impressions to be checked, and the files of each day."""

    table: SourceTable
    days: dict[str, list[Path]]
    identity: Identity = Identity()
    own_times: bool = False
    shared_sessions: int = 0
    derived: dict[str, int] = field(default_factory=dict)

    def batches(self) -> list[list[str]]:
        """Days in order, put together until they hold `BATCH_ROWS` rows."""
        rows_of_day = {day: sum(self.table.rows_of[file] for file in files) for day, files in self.days.items()}
        if not self.identity.plain:  # a folder's rows may lie on the days beside it
            rows_of_day = {day: rows_of_day.get(day, 0) for day in sorted(_beside(rows_of_day))}
        return batches_of_days(rows_of_day, BATCH_ROWS)

    def rows(self, days: Sequence[str], extra: bool = False) -> str:
        """The SQL of the canonical rows of some days, with day, file and row; the other columns where ``extra``."""
        columns = {**self.table.contract, **(self.extra if extra else {})}
        chosen = ", ".join(f"{expression} AS {name(column)}" for column, expression in columns.items())
        if self.identity.plain:
            return self._of_folders(chosen, days)
        folders = [folder for folder in _beside(days) if folder in self.days]
        return self.identity.rows(self._of_folders(chosen, folders), list(days), self.table.families["request_id"])

    def raw_rows(self) -> str:
        """The SQL of all canonical rows as their folders and own ids have them."""
        columns = {column: self.table.contract[column] for column in ("request_id", "timestamp")}
        chosen = ", ".join(f"{expression} AS {name(column)}" for column, expression in columns.items())
        return self._of_folders(chosen, sorted(self.days))

    def _of_folders(self, chosen: str, days: Sequence[str]) -> str:
        files = [file for day in days for file in self.days[day]]
        source = f"{self.table.scan(files)} JOIN (FROM day_of_file) AS day_of_file USING ({FILE})"
        return f"SELECT {chosen}, day_of_file.day AS day, {FILE}, {ROW} FROM {source}"

    @property
    def extra(self) -> dict[str, str]:
        """The columns beside the contract's, without those that we write ourselves."""
        return {column: sql for column, sql in self.table.extra.items() if column.lower() not in RESERVED}


def _beside(days: Iterable[str]) -> list[str]:
    """Days, and the one before and after each, in order."""
    numbers = {datetime.date.fromisoformat(day).toordinal() + step for day in days for step in (-1, 0, 1)}
    last = datetime.date.max.toordinal()
    return [datetime.date.fromordinal(number).isoformat() for number in sorted(numbers) if 1 <= number <= last]


def row_checks(table: SourceTable, identity: Identity) -> list[Check]:
    """The checks of a row by itself, for the columns that the log has."""
    has = table.contract
    checks = [Check(reason, condition) for reason, condition in not_utf8_checks(table)]
    checks += [
        Check(f"{column} is null" + ("" if column == "query" else " or empty"), f"{column} IS NULL")
        for column in ("request_id", "user_id", "query", "item_id")
    ]
    checks.append(Check("timestamp is null", "timestamp IS NULL"))
    misplaced = "strftime(timestamp, '%Y-%m-%d') <> day" if identity.plain else "__misplaced"
    checks.append(Check("timestamp is not of its folder's day", misplaced))
    for column in ("clicked", "ordered"):
        if column in has:
            checks.append(Check(f"{column} is neither true nor false", f"{column} IS NULL"))
    if "stage" in has:
        known = ", ".join(text(stage) for stage in STAGES)
        checks.append(Check(f"stage is none of {', '.join(STAGES)}", f"stage IS NULL OR stage NOT IN ({known})"))
    if "position" in has:
        checks.append(Check("position is below 1", "position < 1"))
        checks.append(Check("position is not a whole number", "NOT isfinite(position) OR position <> floor(position)"))
        checks.append(Check("position is above 2147483647", "position > 2147483647"))
        if "stage" in has:
            ranked = ", ".join(text(stage) for stage in RANKED_STAGES)
            checks.append(
                Check(
                    "position without rank (stage is passed, recalled or random)",
                    f"position IS NOT NULL AND stage NOT IN ({ranked})",
                )
            )
    if "price" in has:
        checks.append(Check("price is negative", "price < 0 AND isfinite(price)"))
    for column in ("price", "rank_score"):
        if column in has:
            checks.append(Check(f"{column} is not finite", f"abs({column}) > 3.4e38"))
    if "propensity" in has:
        checks.append(Check("propensity is outside of (0, 1]", "propensity <= 0 OR propensity > 1"))
    checks.append(Check("item_id is not in the items table", "item_id NOT IN (SELECT item_id FROM items)"))
    return checks


def request_checks(table: SourceTable) -> list[Check]:
    """The checks of a row against the first row of its request."""
    of_request = [c for c in OF_REQUEST if c in table.contract]
    return [Check(f"{c} differs within the request", f"{c} IS DISTINCT FROM first_{c}") for c in of_request]


OWN_TIMES, MIDNIGHT = "times of their own", "over midnight"
OF_REQUEST = ("user_id", "query", "session_id")
DUPLICATE = "item_id repeats in the request"
REPEATED_POSITION = "position repeats in the request"


def check(connection: duckdb.DuckDBPyConnection, impressions: Impressions, allowed: float) -> Impressions:
    """Add to the table ``rejected`` (file, row, reason) and make ``requests`` (one row a good request).

    The tables ``items`` and ``rejected`` must be there. Days are read in batches, so memory does not grow with the log.

    Args:
        allowed: share of rows that may be rejected (see `identify`).

    Returns:
        The impressions with what was derived of their requests and sessions.
    """
    connection.execute(f"CREATE TABLE day_of_file ({FILE} VARCHAR, day VARCHAR)")
    files = [(str(file), day) for day, files in impressions.days.items() for file in files]
    connection.executemany("INSERT INTO day_of_file VALUES (?, ?)", files)
    with reading(impressions.table.root):
        identity = identify(connection, impressions.raw_rows(), allowed)
    identity.tell()
    impressions = replace(impressions, identity=identity)
    id_type = {"integer": "BIGINT", "string": "VARCHAR"}
    families = impressions.table.families
    request = "VARCHAR" if identity.repeated else id_type[families["request_id"]]
    connection.execute(
        f"CREATE TABLE requests (request_id {request}, user_id {id_type[families['user_id']]}, session_id VARCHAR, "
        "timestamp TIMESTAMP, day VARCHAR, size BIGINT)"
    )
    counted = Counter({"ordered without clicked": 0, "clicked or ordered without being exposed": 0})
    batches = impressions.batches()
    with progress() as bar:
        task = bar.add_task("checking days", total=sum(len(days) for days in batches))
        for days in batches:
            _check_days(connection, impressions, days, counted)
            bar.advance(task, len(days))
    times, midnight = counted.pop(OWN_TIMES, 0), counted.pop(MIDNIGHT, 0)
    for contradiction, count in counted.items():
        if count:
            warn(f"{count:,} rows are {contradiction}: kept as they are")
    if times:
        over = f", {midnight:,} of them over midnight" if midnight else ""
        say(f"the rows of {times:,} requests have times of their own{over}: a request's time is that of its first row")
    (requests,) = connection.sql("SELECT count(*) FROM requests").fetchall()[0]
    say(f"checked {impressions.table.rows:,} rows of {len(impressions.days)} days: {requests:,} requests")
    shared = unite_sessions(connection) if "session_id" in impressions.table.contract else 0
    return replace(
        impressions,
        own_times=bool(times),
        shared_sessions=shared,
        derived=identity.derived
        | {"requests_of_own_times": times, "requests_over_midnight": midnight, "shared_sessions": shared},
    )


def _check_days(
    connection: duckdb.DuckDBPyConnection, impressions: Impressions, days: Sequence[str], counted: Counter[str]
) -> None:
    """Judge the rows of some days and add to ``rejected``, ``requests`` and the counts."""
    table = impressions.table
    begin = "timestamp" if impressions.identity.plain else "coalesce(__begin, timestamp)"
    first = [c for c in OF_REQUEST if c in table.contract]
    firsts = "".join(f", first_value({c}) OVER request AS first_{c}" for c in first)
    position = (
        "CASE WHEN position IS NOT NULL AND row_number() OVER "
        f"(PARTITION BY request_id, position ORDER BY {FILE}, {ROW}) > 1 THEN {text(REPEATED_POSITION)} END"
        if "position" in table.contract
        else "CAST(NULL AS VARCHAR)"
    )
    with reading(table.root):
        connection.execute(f"""
            CREATE OR REPLACE TEMP TABLE judged AS
            WITH alone AS (
                SELECT *, {begin} AS __moment, {_first_reason(row_checks(table, impressions.identity))} AS reason
                FROM ({impressions.rows(days)})
            ), beside AS (
                SELECT alone.* {firsts} FROM alone WHERE reason IS NULL
                WINDOW request AS (PARTITION BY request_id ORDER BY {FILE}, {ROW} ROWS UNBOUNDED PRECEDING)
            ), within AS (
                SELECT * REPLACE ({_first_reason(request_checks(table))} AS reason) FROM beside
            ), numbered AS (
                SELECT *, row_number() OVER (PARTITION BY request_id, item_id ORDER BY {FILE}, {ROW}) AS occurrence
                FROM within WHERE reason IS NULL
            ), placed AS (
                SELECT * REPLACE ({position} AS reason) FROM numbered WHERE occurrence = 1
            )
            SELECT {_kept(table)} FROM alone WHERE reason IS NOT NULL
            UNION ALL SELECT {_kept(table)} FROM within WHERE reason IS NOT NULL
            UNION ALL SELECT {_kept(table)}
                FROM (SELECT * REPLACE ({text(DUPLICATE)} AS reason) FROM numbered WHERE occurrence > 1)
            UNION ALL SELECT {_kept(table)} FROM placed
        """)
    connection.execute(f"INSERT INTO rejected SELECT {FILE}, {ROW}, reason FROM judged WHERE reason IS NOT NULL")
    connection.execute(
        "INSERT INTO requests SELECT request_id, any_value(user_id), any_value(session_id), min(__moment), "
        "any_value(day), count(*) FROM judged WHERE reason IS NULL GROUP BY request_id"
    )
    times, midnight = connection.sql(
        "SELECT count(*), count(*) FILTER (CAST(first AS DATE) <> CAST(last AS DATE)) FROM "
        "(SELECT min(timestamp) AS first, max(timestamp) AS last FROM judged WHERE reason IS NULL "
        "GROUP BY request_id HAVING min(timestamp) <> max(timestamp))"
    ).fetchall()[0]
    counted.update({OWN_TIMES: times, MIDNIGHT: midnight})
    for contradiction, condition in _contradictions(table).items():
        rows = f"SELECT count(*) FROM judged WHERE reason IS NULL AND {condition}"
        counted[contradiction] += connection.sql(rows).fetchall()[0][0]
    connection.execute("DROP TABLE judged")


def _kept(table: SourceTable) -> str:
    """The columns of a judged row that are needed once its reason is known."""
    defaults = {"session_id": "NULL", "stage": "'exposed'", "clicked": "false", "ordered": "false"}
    columns = [FILE, ROW, "reason", "day", "request_id", "user_id", "timestamp", "__moment"]
    return ", ".join(columns + [c if c in table.contract else f"{d} AS {c}" for c, d in defaults.items()])


def _contradictions(table: SourceTable) -> dict[str, str]:
    contradictions = {}
    if "ordered" in table.contract:
        contradictions["ordered without clicked"] = "ordered AND NOT clicked"
    if "stage" in table.contract:
        contradictions["clicked or ordered without being exposed"] = "(clicked OR ordered) AND stage <> 'exposed'"
    return contradictions


def _first_reason(checks: Sequence[Check]) -> str:
    cases = " ".join(f"WHEN {check.bad} THEN {text(check.reason)}" for check in checks)
    return f"CASE {cases} END"
