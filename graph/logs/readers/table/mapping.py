"""What each column of a loaded source becomes, with every problem of the mapping at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import duckdb

from configs.console import warn
from configs.errors import InputError
from configs.schema import SourceConfig
from graph.logs.contract import RESERVED, ContractColumn
from graph.logs.database import name
from graph.logs.readers.table.expressions import column_named, listed, near, problem_with, sql_of
from graph.logs.readers.table.loading import OURS, Loaded
from graph.logs.readers.table.values import VALUE, Value, canonical

SHARED = ("request_id", "session_id", "user_id", "query", "item_id")
"""Columns by which tables are joined."""


@dataclass(frozen=True)
class Mapped:
    """The columns of a table of the log.

    Attributes:
        columns: column of the log → SQL over the view.
        types: of the columns, BIGINT or VARCHAR for ids.
        view: the source's rows.
    """

    columns: dict[str, str]
    types: dict[str, str]
    view: str

    @property
    def chosen(self) -> str:
        """The columns for a SELECT from the view."""
        return ", ".join(f"{sql} AS {name(column)}" for column, sql in self.columns.items())


def mapped(
    connection: duckdb.DuckDBPyConnection,
    loaded: Loaded,
    config: SourceConfig,
    called: str,
    contract: Sequence[ContractColumn],
    problems: list[str],
    elsewhere: Collection[str] = (),
    own: bool = True,
    others: bool = True,
) -> Mapped:
    """Settle every column of a table; what is wrong with the mapping is added to ``problems``.

    A source column that is not renamed keeps its name, unless it is in ``leave``.

    Args:
        loaded: the source's rows.
        config: of the table, which is the source's own or that of a table made of the source's rows.
        called: the table's section.
        contract: its contract columns.
        elsewhere: source columns that other tables take.
        own: whether columns that the mapping does not name are taken at all.
        others: whether such columns are taken that are none of the contract.
    """
    where, columns = f"data.table.{called}", list(loaded.columns)
    kinds = {column.name: column.kind for column in contract}
    asked = {target.strip(): expression for target, expression in config.columns.items()}
    for column in config.leave:
        if column_named(column, columns) is None:
            problems.append(f"{where}.leave: {column!r} is no column{near(column, columns)}")
    unnamed = _unnamed(asked, config, columns, elsewhere) if own else []
    sources = asked | {column.lower(): column for column in unnamed if column.lower() in kinds}
    sources |= {column: column for column in unnamed if others and column.lower() not in kinds}
    before = len(problems)
    sqls = {}
    for target, expression in sources.items():
        key = f"{where}.columns.{target}"
        if target.lower() in ("", *OURS, *RESERVED):
            problems.append(f"{key}: {target!r} is a name that is used here: take another")
        elif (sql := bound(connection, loaded, expression, key, problems)) is not None:
            computed = f"(SELECT {sql} AS {VALUE} FROM {loaded.view})"
            type_ = connection.sql(f"DESCRIBE {computed}").fetchall()[0][1]
            try:
                if column_named(expression, columns) is None:
                    connection.sql(f"SELECT bit_xor(hash({VALUE})) FROM {computed}").fetchall()
                form = canonical(connection, computed, Value(target, type_, kinds.get(target)))
                if target == "query" and loaded.source.format == "csv":
                    form = _with_empty(connection, form, computed)
                sqls[target] = form.replace(VALUE, sql)
            except ValueError as error:
                problems.append(f"{key}: {expression!r} {error}")
            except duckdb.Error as error:
                problems.append(f"{key}: {expression!r} fails on some rows: {_first_line(error)}")
    if len(problems) > before:
        problems[-1] += f"\n     (the columns of {loaded.source.shown} are {listed(columns)})"
    return Mapped(sqls, _types(connection, sqls, loaded.view), loaded.view)


def selected(
    connection: duckdb.DuckDBPyConnection, loaded: Loaded, problems: list[str]
) -> tuple[Loaded, dict[str, int]]:
    """The rows for which the source's ``where`` holds, and how many others there are."""
    where = loaded.source.config.where
    if where is None:
        return loaded, {}
    sql = bound(connection, loaded, where, f"data.table.{loaded.source.called}.where", problems)
    if sql is None:
        return loaded, {}
    try:
        holds = f"count_if(coalesce(CAST({sql} AS BOOLEAN), false))"
        ((rows,),) = connection.sql(f"SELECT {holds} FROM {loaded.view}").fetchall()
    except duckdb.Error as error:
        problems.append(f"data.table.{loaded.source.called}.where: {where!r} fails on some rows: {_first_line(error)}")
        return loaded, {}
    if not rows:
        problems.append(f"data.table.{loaded.source.called}.where: {where!r} holds for none of {loaded.rows:,} rows")
    view = f"(FROM {loaded.view} WHERE coalesce(CAST({sql} AS BOOLEAN), false))"
    reason = f"where of {loaded.source.called} does not hold"
    left_out = {reason: loaded.rows - rows} if rows < loaded.rows else {}
    return replace(loaded, view=view, rows=rows), left_out


def bound(
    connection: duckdb.DuckDBPyConnection, loaded: Loaded, expression: str, key: str, problems: list[str]
) -> str | None:
    """The SQL of an expression that DuckDB accepts for this table; None where it is no such, and the problem added."""
    columns = list(loaded.columns)
    reason = problem_with(expression, columns)
    if reason is None:
        sql = sql_of(expression, columns)
        try:
            connection.execute(f"EXPLAIN SELECT {sql} FROM {loaded.view}")
            return sql
        except duckdb.Error as error:
            reason = f"cannot be computed: {_first_line(error)}"
    problems.append(f"{key}: {expression!r} {reason}")
    return None


def require(table: Mapped, required: Sequence[str], called: str, loaded: Loaded, problems: list[str]) -> None:
    """Add to ``problems`` the columns that nothing is mapped to, and that no other problem is about."""
    reported = " ".join(problems)
    key = f"data.table.{called}.columns"
    missing = [column for column in required if column not in table.columns and f"{key}.{column}:" not in reported]
    if missing:
        columns = list(loaded.columns)
        hints = [(column, near(column, columns).removeprefix("; ")) for column in missing]
        named = ", ".join(f"{column} ({hint})" if hint else column for column, hint in hints)
        problems.append(f"{key} lacks {named}: say which column of {loaded.source.shown} it is ({listed(columns)})")


def unified(tables: Mapping[str, Mapped]) -> dict[str, Mapped]:
    """The tables with each id column of one type in all of them: text, where one of them has text."""
    text = {
        column
        for table in tables.values()
        for column, type_ in table.types.items()
        if column in SHARED and type_ == "VARCHAR"
    }
    return {called: _as_text(table, text) for called, table in tables.items()}


def refuse(problems: Sequence[str]) -> None:
    """Stop where there is a problem.

    Raises:
        InputError: naming all of them.
    """
    if len(problems) == 1:
        raise InputError(problems[0])
    if problems:
        numbered = "\n".join(f"  {number}. {problem}" for number, problem in enumerate(problems, start=1))
        raise InputError(f"{len(problems)} things to mend in the mapping of data=table:\n{numbered}")


def _unnamed(
    asked: Mapping[str, str], config: SourceConfig, columns: Sequence[str], elsewhere: Collection[str]
) -> list[str]:
    """The source columns that the mapping says nothing of."""
    renamed = {column_named(expression, columns) for expression in asked.values()}
    left = {column_named(column, columns) for column in config.leave}
    taken = {target.lower() for target in asked}
    gone = renamed | left | set(elsewhere)
    unnamed = [column for column in columns if column not in gone and column.lower() not in taken]
    ours = [column for column in unnamed if column.lower() in RESERVED]
    if ours:
        warn(f"the column {', '.join(ours)} is not taken over: days and splits are made here")
    return [column for column in unnamed if column not in ours]


def _with_empty(connection: duckdb.DuckDBPyConnection, sql: str, view: str) -> str:
    """The queries with the empty one where there is nothing: a CSV file cannot tell it from a missing one."""
    ((missing,),) = connection.sql(f"SELECT count_if(({sql}) IS NULL) FROM {view}").fetchall()
    if not missing:
        return sql
    warn(f"{missing:,} rows have nothing as their query: taken as the empty query")
    return f"coalesce(CAST({sql} AS VARCHAR), '')"


def _as_text(table: Mapped, text: Collection[str]) -> Mapped:
    numbers = [column for column in text if table.types.get(column) == "BIGINT"]
    columns = {column: f"CAST({table.columns[column]} AS VARCHAR)" for column in numbers}
    return replace(table, columns=table.columns | columns, types=table.types | dict.fromkeys(numbers, "VARCHAR"))


def _types(connection: duckdb.DuckDBPyConnection, columns: Mapping[str, str], view: str) -> dict[str, str]:
    if not columns:
        return {}
    chosen = ", ".join(f"{sql} AS {name(column)}" for column, sql in columns.items())
    described = connection.sql(f"DESCRIBE SELECT {chosen} FROM {view}").fetchall()
    return {column: type_ for column, type_, *_ in described}


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].removeprefix("Binder Error: ").removeprefix("Parser Error: ")
