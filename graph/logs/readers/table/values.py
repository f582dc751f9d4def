"""What the values of a mapped expression become: the contract's types, and what is said of values that do not fit."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from configs.console import say, warn
from graph.logs.checking.columns import INTEGERS
from graph.logs.contract import Kind

VALUE = "__value"
"""The column of a view that holds the values; in the SQL of a canonical form it stands for the expression."""
TRUE = "('1', 'true', 't', 'yes', 'y')"
FALSE = "('0', 'false', 'f', 'no', 'n')"
EPOCHS = {"seconds": (1e8, 1e11, 1_000_000.0), "milliseconds": (1e11, 1e14, 1_000.0), "microseconds": (1e14, 1e17, 1.0)}
"""Unit → the numbers that it is taken for (1973 to 5138), and microseconds in it."""
PLAIN_TEXT = ("UUID", "DATE", "TIME", "JSON", "ENUM", "TIMESTAMP", "BOOLEAN", "INTERVAL", "BIT")
"""Beginnings of the names of types that an id, or a column of one's own, has as text."""


@dataclass(frozen=True)
class Value:
    """A mapped column.

    Attributes:
        target: its name in the log.
        type: of DuckDB.
        kind: of the contract's column; None for any other.
    """

    target: str
    type: str
    kind: Kind | None


def canonical(connection: duckdb.DuckDBPyConnection, view: str, value: Value) -> str:
    """The SQL of the canonical form of `VALUE`; values that have none are null there, and said.

    Raises:
        ValueError: if no value of the column can be one; the text says what to do.
    """
    if value.kind is None:
        return _own(value)
    if value.type.endswith("]") or value.type.startswith(("STRUCT", "MAP", "UNION", "BLOB")):
        raise ValueError(f"has type {value.type[:60]}, expected {_expected(value.kind)}: take a part of it by SQL")
    if value.kind is Kind.id:
        return _identifier(connection, view, value)
    if value.kind is Kind.timestamp:
        sql = _moment(connection, view, value)
        sql = f"CASE WHEN year({sql}) BETWEEN 1 AND 9999 THEN {sql} END"  # neither is an infinite time
    elif value.kind is Kind.flag:
        sql = _flag(value)
    elif value.kind is Kind.stage:
        return f"CAST({VALUE} AS VARCHAR)"
    else:
        sql = f"TRY_CAST({VALUE} AS DOUBLE)"
    _tell_misfits(connection, view, value, sql)
    return sql


def _own(value: Value) -> str:
    if value.type.startswith(("UUID", "JSON", "ENUM", "INTERVAL", "BIT", "UNION", "TIME ", '"NULL"')):
        return f"CAST({VALUE} AS VARCHAR)"
    return VALUE


def _identifier(connection: duckdb.DuckDBPyConnection, view: str, value: Value) -> str:
    """A whole number of 64 bits, or text."""
    if value.type in INTEGERS or value.type.startswith("DECIMAL"):
        whole = f"{VALUE} = TRY_CAST({VALUE} AS BIGINT)"
        ((misfits,),) = connection.sql(
            f"SELECT count_if(NOT coalesce({whole}, false)) FROM {view} WHERE {VALUE} IS NOT NULL"
        ).fetchall()
        return f"CAST({VALUE} AS {'VARCHAR' if misfits else 'BIGINT'})"
    if value.type in ("FLOAT", "DOUBLE"):
        whole = f"{VALUE} = floor({VALUE}) AND abs({VALUE}) <= 9007199254740992"
        ((misfits, example),) = connection.sql(
            f"SELECT count(*), any_value({VALUE}) FROM {view} WHERE NOT ({whole}) AND NOT isnan({VALUE})"
        ).fetchall()
        if misfits:
            raise ValueError(f"is an id, and {misfits:,} of its values are no whole numbers, e.g. {example}")
        return f"TRY_CAST(nullif({VALUE}, 'NaN') AS BIGINT)"
    return f"CAST({VALUE} AS VARCHAR)"


def _moment(connection: duckdb.DuckDBPyConnection, view: str, value: Value) -> str:
    """A time in UTC; numbers are taken as epochs by their size."""
    if value.type.startswith(("TIMESTAMP WITH", "TIMESTAMPTZ")):
        return f"timezone('UTC', {VALUE})"
    if value.type.startswith(("TIMESTAMP", "DATE")):
        return f"CAST({VALUE} AS TIMESTAMP)"
    if value.type in INTEGERS or value.type.startswith(("DOUBLE", "FLOAT", "DECIMAL")):
        unit, microseconds = _epoch(connection, view)
        say(f"{value.target}: numbers, taken as {unit} since 1970")
        number = f"CAST({VALUE} AS DOUBLE) * {microseconds}"
        return f"CASE WHEN abs({number}) < 9e18 THEN make_timestamp(CAST({number} AS BIGINT)) END"
    return f"timezone('UTC', TRY_CAST({VALUE} AS TIMESTAMPTZ))"


def _epoch(connection: duckdb.DuckDBPyConnection, view: str) -> tuple[str, float]:
    number = f"abs(CAST({VALUE} AS DOUBLE))"
    ((middle, least, most),) = connection.sql(
        f"SELECT median({number}), min({VALUE}), max({VALUE}) FROM {view} WHERE {VALUE} IS NOT NULL"
    ).fetchall()
    for unit, (low, high, microseconds) in EPOCHS.items():
        if middle is not None and low <= middle < high:
            return unit, microseconds
    raise ValueError(
        f"holds numbers from {least} to {most}, which are no seconds, milliseconds or microseconds since 1970: "
        "write an SQL expression that makes a timestamp of them"
    )


def _flag(value: Value) -> str:
    if value.type == "BOOLEAN":
        return VALUE
    if value.type in INTEGERS or value.type.startswith(("DOUBLE", "FLOAT", "DECIMAL")):
        return f"CASE {VALUE} WHEN 0 THEN false WHEN 1 THEN true END"
    word = f"lower(trim(CAST({VALUE} AS VARCHAR)))"
    return f"CASE WHEN {word} IN {TRUE} THEN true WHEN {word} IN {FALSE} THEN false END"


def _tell_misfits(connection: duckdb.DuckDBPyConnection, view: str, value: Value, sql: str) -> None:
    """Say how many values are no such thing; where none is one, the mapping is wrong."""
    ((values, misfits, example),) = connection.sql(
        f"SELECT count({VALUE}), count_if({VALUE} IS NOT NULL AND ({sql}) IS NULL), "
        f"min(CAST({VALUE} AS VARCHAR)) FILTER ({VALUE} IS NOT NULL AND ({sql}) IS NULL) FROM {view}"
    ).fetchall()
    if not misfits:
        return
    assert value.kind is not None
    shown = f"{misfits:,} of {values:,} values are not {_expected(value.kind)}, e.g. {example[:60]!r}"
    if misfits == values:
        raise ValueError(f"{shown}; {REMEDIES[value.kind]}")
    warn(f"{value.target}: {shown}; taken as missing ({REMEDIES[value.kind]})")


def _expected(kind: Kind) -> str:
    return {
        Kind.id: "an id (text or a whole number)",
        Kind.timestamp: "a time",
        Kind.flag: "true or false",
        Kind.stage: "a stage",
        Kind.whole: "a whole number",
        Kind.number: "a number",
    }[kind]


REMEDIES = {
    Kind.timestamp: "write strptime(x, '%d/%m/%Y %H:%M') for your format in place of x",
    Kind.flag: "write a condition, such as x > 0 or x = 'clicked' or coalesce(x, false)",
    Kind.whole: "write an SQL expression that makes a number of it, or say options.nullstr",
    Kind.number: "write an SQL expression that makes a number of it, or say options.nullstr or decimal_separator",
}
