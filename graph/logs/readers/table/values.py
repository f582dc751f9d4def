"""What the values of a mapped expression become: the contract's types, and what is said of values that do not fit."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from configs.console import say, warn
from graph.logs.checking.columns import INTEGERS
from graph.logs.contract import Kind

TRUE = "('1', 'true', 't', 'yes', 'y')"
FALSE = "('0', 'false', 'f', 'no', 'n')"
EPOCHS = {"seconds": (1e8, 1e11, 1_000_000.0), "milliseconds": (1e11, 1e14, 1_000.0), "microseconds": (1e14, 1e17, 1.0)}
"""Unit → the numbers that it is taken for (1973 to 5138), and microseconds in it."""
PLAIN_TEXT = ("UUID", "DATE", "TIME", "JSON", "ENUM", "TIMESTAMP", "BOOLEAN", "INTERVAL", "BIT")
"""Beginnings of the names of types that an id, or a column of one's own, has as text."""


@dataclass(frozen=True)
class Value:
    """A mapped column: its expression over a view, and its canonical form.

    Attributes:
        target: the column's name in the log.
        sql: of the source's value.
        type: of DuckDB.
        kind: of the contract's column; None for any other.
    """

    target: str
    sql: str
    type: str
    kind: Kind | None


def canonical(connection: duckdb.DuckDBPyConnection, view: str, value: Value) -> str:
    """The SQL of the canonical value; values that have none are null there, and said.

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
        return f"CAST({value.sql} AS VARCHAR)"
    else:
        sql = f"TRY_CAST({value.sql} AS DOUBLE)"
    _tell_misfits(connection, view, value, sql)
    return sql


def _own(value: Value) -> str:
    if value.type.startswith(("UUID", "JSON", "ENUM", "INTERVAL", "BIT", "UNION", "TIME ", '"NULL"')):
        return f"CAST({value.sql} AS VARCHAR)"
    return value.sql


def _identifier(connection: duckdb.DuckDBPyConnection, view: str, value: Value) -> str:
    """A whole number of 64 bits, or text."""
    if value.type in INTEGERS or value.type.startswith("DECIMAL"):
        whole = f"{value.sql} = TRY_CAST({value.sql} AS BIGINT)"
        ((misfits,),) = connection.sql(
            f"SELECT count_if(NOT coalesce({whole}, false)) FROM {view} WHERE {value.sql} IS NOT NULL"
        ).fetchall()
        return f"CAST({value.sql} AS {'VARCHAR' if misfits else 'BIGINT'})"
    if value.type in ("FLOAT", "DOUBLE"):
        whole = f"{value.sql} = floor({value.sql}) AND abs({value.sql}) <= 9007199254740992"
        ((misfits, example),) = connection.sql(
            f"SELECT count(*), any_value({value.sql}) FROM {view} WHERE NOT ({whole}) AND NOT isnan({value.sql})"
        ).fetchall()
        if misfits:
            raise ValueError(f"is an id, and {misfits:,} of its values are no whole numbers, e.g. {example}")
        return f"TRY_CAST(nullif({value.sql}, 'NaN') AS BIGINT)"
    return f"CAST({value.sql} AS VARCHAR)"


def _moment(connection: duckdb.DuckDBPyConnection, view: str, value: Value) -> str:
    """A time in UTC; numbers are taken as epochs by their size."""
    if value.type.startswith(("TIMESTAMP WITH", "TIMESTAMPTZ")):
        return f"timezone('UTC', {value.sql})"
    if value.type.startswith(("TIMESTAMP", "DATE")):
        return f"CAST({value.sql} AS TIMESTAMP)"
    if value.type in INTEGERS or value.type.startswith(("DOUBLE", "FLOAT", "DECIMAL")):
        unit, microseconds = _epoch(connection, view, value)
        say(f"{value.target}: numbers, taken as {unit} since 1970")
        number = f"CAST({value.sql} AS DOUBLE) * {microseconds}"
        return f"CASE WHEN abs({number}) < 9e18 THEN make_timestamp(CAST({number} AS BIGINT)) END"
    return f"timezone('UTC', TRY_CAST({value.sql} AS TIMESTAMPTZ))"


def _epoch(connection: duckdb.DuckDBPyConnection, view: str, value: Value) -> tuple[str, float]:
    number = f"abs(CAST({value.sql} AS DOUBLE))"
    ((middle, least, most),) = connection.sql(
        f"SELECT median({number}), min({value.sql}), max({value.sql}) FROM {view} WHERE {value.sql} IS NOT NULL"
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
        return value.sql
    if value.type in INTEGERS or value.type.startswith(("DOUBLE", "FLOAT", "DECIMAL")):
        return f"CASE {value.sql} WHEN 0 THEN false WHEN 1 THEN true END"
    word = f"lower(trim(CAST({value.sql} AS VARCHAR)))"
    return f"CASE WHEN {word} IN {TRUE} THEN true WHEN {word} IN {FALSE} THEN false END"


def _tell_misfits(connection: duckdb.DuckDBPyConnection, view: str, value: Value, sql: str) -> None:
    """Say how many values are no such thing; where none is one, the mapping is wrong."""
    ((values, misfits, example),) = connection.sql(
        f"SELECT count({value.sql}), count_if({value.sql} IS NOT NULL AND ({sql}) IS NULL), "
        f"min(CAST({value.sql} AS VARCHAR)) FILTER ({value.sql} IS NOT NULL AND ({sql}) IS NULL) FROM {view}"
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
