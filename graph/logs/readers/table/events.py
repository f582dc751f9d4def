"""Clicks, carts and orders, an event a row: joined to the impressions that they belong to.

An event that names its request belongs to that request's impression of its item. Any other belongs to the latest
request of its session, else of its user, that showed the item, if that was at most ``window_minutes`` before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from configs.console import say, warn
from configs.schema import EventsConfig
from graph.logs.contract import IMPRESSION_COLUMNS, ContractColumn, Kind
from graph.logs.database import text, texts
from graph.logs.readers.table.mapping import Mapped

EVENT = ContractColumn("event", Kind.stage, required=True)
KEYS = ("request_id", "session_id", "user_id")
EVENT_COLUMNS = (EVENT, *(c for c in IMPRESSION_COLUMNS if c.name in (*KEYS, "item_id", "timestamp")))
"""Columns of events where the impressions are another table."""
OUTCOMES = {"click": "clicked", "cart": "carted", "order": "ordered"}
"""Kind of event → the impressions' column."""
SHOWN_KINDS = 12


@dataclass(frozen=True)
class Joined:
    """What became of the events.

    Attributes:
        outcomes: column of the impressions → SQL over the table ``outcomes``, which names rows of ``shown``.
        joined: events that became an outcome; they are told by the impressions' columns.
        left_out: reason → events.
    """

    outcomes: dict[str, str]
    joined: int
    left_out: dict[str, int]


def named_kinds(config: EventsConfig) -> dict[str, list[str]]:
    """Kind → the values of the column ``event`` that stand for it, where there are any."""
    kinds = vars(config.kinds)
    return {kind: list(values) for kind, values in kinds.items() if values}


def check_kinds(
    connection: duckdb.DuckDBPyConnection, table: Mapped, config: EventsConfig, shows: bool, problems: list[str]
) -> None:
    """Compare the named kinds with the values that there are.

    Args:
        shows: whether the impressions are events too.
    """
    kinds = named_kinds(config)
    if "event" not in table.columns:
        return
    counts = connection.sql(
        f"SELECT CAST({table.columns['event']} AS VARCHAR) AS event, count(*) FROM {table.view} GROUP BY ALL "
        "ORDER BY count(*) DESC, event"
    ).fetchall()
    shown = ", ".join(f"{event} ({count:,})" for event, count in counts[:SHOWN_KINDS])
    there = {event for event, _ in counts}
    key = "data.table.events.kinds"
    if shows and not there & set(kinds.get("impression", [])):
        problems.append(
            f"{key}.impression must name the values of event that mean an item was shown; there are: {shown}"
        )
        return
    if not kinds.keys() & OUTCOMES.keys():
        problems.append(f"{key} must name the values of event that are a click, a cart or an order; there are: {shown}")
        return
    absent = [f"{kind} {values}" for kind, values in kinds.items() if not there & set(values)]
    if not there & {value for kind, values in kinds.items() if kind in OUTCOMES for value in values}:
        problems.append(f"{key}: none of {', '.join(absent)} is a value of event; there are: {shown}")
    elif absent:
        warn(f"{key}: no event is {', '.join(absent)}; there are: {shown}")


def is_kind(kind: str, config: EventsConfig, column: str = "event") -> str:
    """SQL: whether an event is of a kind."""
    return f"coalesce(list_contains({texts(named_kinds(config).get(kind, []))}, {column}), false)"


def join_events(
    connection: duckdb.DuckDBPyConnection, table: Mapped, config: EventsConfig, shown: Sequence[str], shows: bool
) -> Joined:
    """Make the table ``outcomes`` (shown, kind): which rows of the table ``shown`` were clicked, carted and ordered.

    Args:
        shown: columns of the table ``shown``.
        shows: whether the impressions are events too, and no event to be joined.
    """
    kinds = [kind for kind in named_kinds(config) if kind in OUTCOMES]
    cases = " ".join(f"WHEN {is_kind(kind, config)} THEN {text(kind)}" for kind in kinds)
    others = [column for column in KEYS if column not in table.columns]
    missing = "".join(f", NULL AS {column}" for column in others)
    wanted = [column for column in ("event", *KEYS, "item_id", "timestamp") if column in table.columns]
    chosen = ", ".join(f"{table.columns[column]} AS {column}" for column in wanted)
    connection.execute(
        f"CREATE TABLE done AS SELECT *, CASE {cases} END AS kind FROM (SELECT {chosen}{missing} FROM {table.view}) "
        f"WHERE NOT {is_kind('impression', config) if shows else 'false'}"
    )
    connection.execute("CREATE TABLE matched (kind VARCHAR, shown BIGINT)")
    whole = "kind IS NOT NULL AND item_id IS NOT NULL AND timestamp IS NOT NULL"
    by_session = "session_id" in table.columns and "session_id" in shown
    in_session = "session_id IS NOT NULL" if by_session else "false"
    nobody = f"{whole} AND request_id IS NULL AND NOT {in_session} AND user_id IS NULL"
    left_out = _counts(
        connection,
        {
            "events of kinds that are not named": "kind IS NULL",
            "events without item_id or timestamp": f"kind IS NOT NULL AND NOT ({whole})",
            "events without request, session or user": nobody,
        },
    )
    asked = {"request": f"{whole} AND request_id IS NOT NULL"}
    asked["session"] = f"{whole} AND request_id IS NULL AND {in_session}"
    asked["user"] = f"{whole} AND request_id IS NULL AND NOT {in_session} AND user_id IS NOT NULL"
    window = f"within {config.window_minutes:g} minutes"
    reasons = {
        "request": "events whose request did not show their item",
        "session": f"events whose session was not shown their item {window} before",
        "user": f"events whose user was not shown their item {window} before",
    }
    for by, condition in asked.items():
        events = _counts(connection, {by: condition}).get(by, 0)
        if events:
            matched = _match(connection, by, condition, config.window_minutes, "user_id" in table.columns)
            left_out |= {reasons[by]: events - matched} if matched < events else {}
    ((matched, distinct),) = connection.sql(
        "SELECT count(*), (SELECT count(*) FROM (SELECT DISTINCT kind, shown FROM matched)) FROM matched"
    ).fetchall()
    if matched > distinct:
        left_out["events that repeat on one item of a request"] = matched - distinct
    flags = ", ".join(f"bool_or(kind = {text(kind)}) AS {OUTCOMES[kind]}" for kind in kinds)
    connection.execute(f"CREATE TABLE outcomes AS SELECT shown, {flags} FROM matched GROUP BY shown")
    say(f"events: {distinct:,} are outcomes of impressions" + "".join(f"; {n:,} {why}" for why, n in left_out.items()))
    return Joined({OUTCOMES[kind]: f"outcomes.{OUTCOMES[kind]}" for kind in kinds}, distinct, left_out)


def _counts(connection: duckdb.DuckDBPyConnection, conditions: dict[str, str]) -> dict[str, int]:
    """Events of the table ``done`` that meet each condition, where there are any."""
    tests = ", ".join(f"count_if({condition})" for condition in conditions.values())
    (counts,) = connection.sql(f"SELECT {tests} FROM done").fetchall()
    return {reason: count for reason, count in zip(conditions, counts, strict=True) if count}


def _match(connection: duckdb.DuckDBPyConnection, by: str, condition: str, window_minutes: float, users: bool) -> int:
    """Add the events of a condition to ``matched``; return how many belong to an impression."""
    if by == "request":
        query = (
            f"SELECT kind, first.shown FROM (FROM done WHERE {condition}) AS done JOIN (SELECT request_id, item_id, "
            "min(__shown) AS shown FROM shown GROUP BY ALL) AS first USING (request_id, item_id)"
        )
    else:
        keys = [f"{by}_id", "item_id"]
        if by == "session" and users and _shared_sessions(connection):
            keys.append("user_id")
        same = " AND ".join(f"done.{key} = first.{key}" for key in keys)
        query = (
            f"SELECT kind, first.shown FROM (FROM done WHERE {condition}) AS done ASOF JOIN (SELECT {', '.join(keys)}, "
            f"timestamp, min(__shown) AS shown FROM shown WHERE timestamp IS NOT NULL GROUP BY ALL) AS first ON {same} "
            "AND done.timestamp >= first.timestamp WHERE done.timestamp - first.timestamp <= "
            f"to_microseconds({round(window_minutes * 60_000_000)})"
        )
    ((before,),) = connection.sql("SELECT count(*) FROM matched").fetchall()
    connection.execute(f"INSERT INTO matched {query}")
    ((after,),) = connection.sql("SELECT count(*) FROM matched").fetchall()
    return int(after - before)


def _shared_sessions(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether users share session ids, as where they count a user's sessions."""
    ((shared,),) = connection.sql(
        "SELECT count(*) FROM (SELECT session_id FROM shown GROUP BY ALL HAVING min(user_id) <> max(user_id))"
    ).fetchall()
    if shared:
        warn(f"{shared:,} session ids are shared by several users: events join the sessions of their own user")
    return bool(shared)
