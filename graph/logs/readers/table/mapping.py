"""What each column of a loaded source becomes, with every problem of the mapping at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from configs.errors import InputError
from graph.logs.contract import ContractColumn, Kind
from graph.logs.database import name
from graph.logs.readers.table.expressions import column_named, listed, near, problem_with, sql_of
from graph.logs.readers.table.loading import FILE, ROW, Loaded
from graph.logs.readers.table.values import Value, canonical


@dataclass(frozen=True)
class Mapped:
    """The columns of a table of the log.

    Attributes:
        columns: column of the log → SQL over the view ``view``.
        types: of the columns, BIGINT or VARCHAR for ids.
        view: the rows.
        where: SQL condition of the rows that are taken; empty for all.
    """

    columns: dict[str, str]
    types: dict[str, str]
    view: str
    where: str = ""


def mapped(
    connection: duckdb.DuckDBPyConnection, loaded: Loaded, contract: Sequence[ContractColumn], problems: list[str]
) -> Mapped:
    """Settle every column of a source; what is wrong with the mapping is added to ``problems``.

    A source column that no expression renames keeps its name, unless it is in ``leave``.
    """
    config, columns = loaded.source.config, loaded.columns
    where = f"data.table.{loaded.source.called}"
    kinds = {column.name: column.kind for column in contract}
    asked = {target.strip(): expression for target, expression in config.columns.items()}
    renamed = {column for text in asked.values() if (column := column_named(text, list(columns))) is not None}
    left = {column_named(column, list(columns)) for column in config.leave}
    for column in config.leave:
        if column_named(column, list(columns)) is None:
            problems.append(f"{where}.leave: {column!r} is no column{near(column, list(columns))}")
    taken = {target.lower() for target in asked}
    own = [c for c in columns if c not in renamed and c not in left and c.lower() not in taken]
    sources = {**asked, **{(column.lower() if column.lower() in kinds else column): column for column in own}}
    before = len(problems)
    values = {}
    for target, expression in sources.items():
        value = _value(connection, loaded, target, expression, kinds.get(target), f"{where}.columns.{target}", problems)
        if value is not None:
            values[target] = value
    condition = _condition(connection, loaded, f"{where}.where", problems)
    if len(problems) > before:
        problems.append(f"{where}: the columns of {loaded.source.shown} are {listed(list(columns))}")
    sqls = {}
    for target, value in values.items():
        try:
            sqls[target] = canonical(connection, loaded.source.called, value)
        except ValueError as error:
            problems.append(f"{where}.columns.{target}: {sources[target]} {error}")
        except duckdb.Error as error:
            problems.append(f"{where}.columns.{target}: {sources[target]!r} fails: {_first_line(error)}")
    return Mapped(sqls, _types(connection, sqls, loaded.source.called), loaded.source.called, condition)


def require(
    table: Mapped, contract: Sequence[ContractColumn], loaded: Loaded, problems: list[str], but: Sequence[str] = ()
) -> None:
    """Add to ``problems`` the required contract columns that nothing is mapped to."""
    missing = [c.name for c in contract if c.required and c.name not in table.columns and c.name not in but]
    reported = " ".join(problems)
    missing = [column for column in missing if f".columns.{column}:" not in reported]
    if missing:
        columns = list(loaded.columns)
        hints = ", ".join(f"{column}{near(column, columns).replace('; ', ' (', 1)}".rstrip() for column in missing)
        hints = ", ".join(_with_hint(column, columns) for column in missing)
        problems.append(
            f"data.table.{loaded.source.called}.columns lacks {hints}; the columns of {loaded.source.shown} are "
            f"{listed(columns)}"
        )


def unify(tables: Mapping[str, Mapped]) -> dict[str, Mapped]:
    """The tables with each id column of one type in all of them: text, where one has text."""
    text = {
        column
        for table in tables.values()
        for column, type_ in table.types.items()
        if column in SHARED and type_ == "VARCHAR"
    }
    return {called: _as_text(table, text) for called, table in tables.items()}


SHARED = ("request_id", "session_id", "user_id", "query", "item_id")
"""Columns by which tables are joined."""


def refuse(problems: Sequence[str]) -> None:
    """Stop where there is a problem.

    Raises:
        InputError: naming all of them.
    """
    if len(problems) == 1:
        raise InputError(problems[0])
    if problems:
        listed_ = "\n".join(f"  {number}. {problem}" for number, problem in enumerate(problems, start=1))
        raise InputError(f"{len(problems)} things to mend in the mapping of data=table:\n{listed_}")


def _with_hint(column: str, columns: Sequence[str]) -> str:
    hint = near(column, columns)
    return f"{column} ({hint.removeprefix('; ')})" if hint else column


def _as_text(table: Mapped, text: set[str]) -> Mapped:
    numbers = {column for column in text if table.types.get(column) == "BIGINT"}
    columns = {c: f"CAST({sql} AS VARCHAR)" if c in numbers else sql for c, sql in table.columns.items()}
    return Mapped(columns, table.types | dict.fromkeys(numbers, "VARCHAR"), table.view, table.where)


def _value(
    connection: duckdb.DuckDBPyConnection,
    loaded: Loaded,
    target: str,
    expression: str,
    kind: Kind | None,
    where: str,
    problems: list[str],
) -> Value | None:
    if target.lower() in (FILE, ROW, ""):
        problems.append(f"{where}: {target!r} is a name of our own: take another")
        return None
    sql = _bound(connection, loaded, expression, where, problems)
    if sql is None:
        return None
    ((_, type_, *_),) = connection.sql(f"DESCRIBE SELECT {sql} AS value FROM {loaded.source.called}").fetchall()
    return Value(target, sql, type_, kind)


def _condition(connection: duckdb.DuckDBPyConnection, loaded: Loaded, where: str, problems: list[str]) -> str:
    text = loaded.source.config.where
    if text is None or (sql := _bound(connection, loaded, text, where, problems)) is None:
        return ""
    return f"coalesce(CAST({sql} AS BOOLEAN), false)"


def _bound(
    connection: duckdb.DuckDBPyConnection, loaded: Loaded, expression: str, where: str, problems: list[str]
) -> str | None:
    """The SQL of an expression that DuckDB accepts for this table; None where it is no such, and the problem added."""
    columns = list(loaded.columns)
    reason = problem_with(expression, columns)
    if reason is None:
        sql = sql_of(expression, columns)
        try:
            connection.sql(f"SELECT {sql} FROM {loaded.source.called} LIMIT 0").columns  # noqa: B018
            return sql
        except duckdb.Error as error:
            reason = f"cannot be computed: {_first_line(error)}"
    problems.append(f"{where}: {expression!r} {reason}")
    return None


def _types(connection: duckdb.DuckDBPyConnection, columns: Mapping[str, str], view: str) -> dict[str, str]:
    if not columns:
        return {}
    chosen = ", ".join(f"{sql} AS {name(column)}" for column, sql in columns.items())
    described = connection.sql(f"DESCRIBE SELECT {chosen} FROM {view}").fetchall()
    return {column: type_ for column, type_, *_ in described}


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].removeprefix("Binder Error: ").removeprefix("Parser Error: ")
