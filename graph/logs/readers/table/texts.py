"""Columns of text, as CSV files hold them, in the narrowest type that loses nothing.

A column becomes a number, a truth value or a time where every one of its values is written as one: ``007`` and whole
numbers beyond 64 bits stay text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb

from graph.logs.database import name, text

TYPES = ("BIGINT", "DOUBLE", "BOOLEAN", "DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE")
"""The narrowest first; what fits none is text."""
IDS = ("BIGINT",)
"""What an id may become: a code such as 1E5 is no number."""
SAMPLE = 1000
"""Values that rule out types before all of them are looked at."""


def exact_types(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    columns: Sequence[str],
    only: Mapping[str, Sequence[str]],
    point: str,
) -> dict[str, str]:
    """Column → type, by all values of the table.

    Args:
        only: column → the types that it may have beside text.
        point: what separates decimals.
    """
    types = {}
    for column in columns:
        quoted = name(column)
        some = f"(SELECT {quoted} FROM {table} WHERE {quoted} IS NOT NULL LIMIT {SAMPLE})"
        candidates = _fitting(connection, some, quoted, only.get(column, TYPES), point)
        fitting = _fitting(connection, f"{table} WHERE {quoted} IS NOT NULL", quoted, candidates, point)
        types[column] = fitting[0] if fitting else "VARCHAR"
    return types


def typed(column: str, type_: str, point: str) -> str:
    """The SQL of a text column in its type."""
    quoted = name(column)
    if type_ == "VARCHAR":
        return quoted
    return f"CAST({_with_point(quoted, point) if type_ == 'DOUBLE' else quoted} AS {type_})"


def _fitting(
    connection: duckdb.DuckDBPyConnection, source: str, quoted: str, types: Sequence[str], point: str
) -> list[str]:
    """Those of the types that every value is written as; none where there is no value."""
    if not types:
        return []
    tests = ", ".join(f"count_if({_fits(quoted, type_, point)})" for type_ in types)
    ((count, *fitting),) = connection.sql(f"SELECT count(*), {tests} FROM {source}").fetchall()
    return [type_ for type_, fits in zip(types, fitting, strict=True) if count and fits == count]


def _fits(quoted: str, type_: str, point: str) -> str:
    """SQL: whether a text is written as this type, with nothing lost."""
    if type_ == "BIGINT":
        return f"CAST(TRY_CAST({quoted} AS BIGINT) AS VARCHAR) = {quoted}"
    if type_ == "DOUBLE":
        plain = _with_point(quoted, point)
        # 007 is an id, and so is a whole number beyond 64 bits.
        whole = f"translate({plain}, '0123456789', '') IN ('', '-')"
        return (
            f"TRY_CAST({plain} AS DOUBLE) IS NOT NULL AND (NOT {whole} OR TRY_CAST({plain} AS BIGINT) IS NOT NULL) "
            f"AND ({plain} NOT LIKE '0_%' OR {plain} LIKE '0.%') AND {plain} NOT LIKE '+%'"
        )
    if type_ == "BOOLEAN":
        return f"lower({quoted}) IN ('true', 'false')"
    moment = f"{quoted} LIKE '____-__-__%' AND TRY_CAST({quoted} AS TIMESTAMPTZ) IS NOT NULL"
    return {
        "DATE": f"{moment} AND length({quoted}) = 10",
        "TIMESTAMP": f"{moment} AND NOT regexp_matches(substr({quoted}, 11), '(Z|[+-][0-9:]+|[A-Za-z/_]+)$')",
        "TIMESTAMP WITH TIME ZONE": moment,
    }[type_]


def _with_point(quoted: str, point: str) -> str:
    return quoted if point == "." else f"replace({quoted}, {text(point)}, '.')"
