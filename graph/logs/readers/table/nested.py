"""Requests whose items are lists, a row a request: taken apart side by side into a row an item."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import duckdb

from configs.console import warn
from configs.schema import ImpressionsConfig
from graph.logs.database import name, text
from graph.logs.readers.table.expressions import column_named, near
from graph.logs.readers.table.loading import FILE, ROW, Loaded
from graph.logs.readers.table.texts import exact_types, typed

ORDINAL = "ordinal"
"""The column that counts the items of a request from 1."""
TAKEN, VIEW = "taken_apart", "rows_taken_apart"
MISREAD = "__misread"


@dataclass(frozen=True)
class TakenApart:
    """Impressions whose lists were taken apart.

    Attributes:
        loaded: a row an item.
        left_out: reason → requests that are left out.
        uneven: SQL of the requests whose lists are not equally long, as (source, row, reason).
        read: items of the requests, a request without good lists counted as one.
    """

    loaded: Loaded
    read: int
    left_out: dict[str, int]
    uneven: str


def take_apart(connection: duckdb.DuckDBPyConnection, loaded: Loaded, problems: list[str]) -> TakenApart | None:
    """Make the table of the requests' items; None, and a problem added, where ``unnest`` names no lists.

    The first list says which items there are; another one is as long, or missing. Entries of a list that is text are
    typed by all of them where the file holds nothing but text, and are text elsewhere.
    """
    lists = _lists(loaded, problems)
    if not lists:
        return None
    first, *others = (name(column) for column in lists)
    connection.execute(f"CREATE VIEW listed AS {_with_lists(loaded, lists)}")
    empty = f"coalesce(len({first}), 0) = 0"
    uneven = " OR ".join(f"coalesce(len({other}) <> len({first}), false)" for other in others) or "false"
    items = f"sum(CASE WHEN {empty} OR {uneven} THEN 1 ELSE len({first}) END)"
    counted = connection.sql(f"SELECT count_if({empty}), count_if({MISREAD}), {items} FROM listed")
    ((without, misread, read),) = counted.fetchall()
    if misread:
        problems.append(
            f"data.table.impressions.unnest: {misread:,} values of {', '.join(lists)} are text that is no list such as "
            "[1, 2]: say separator, as in separator: '|'"
        )
        return None
    if ORDINAL in {column.lower() for column in loaded.columns}:
        warn(f"the column {ORDINAL} of {loaded.source.shown} is not taken over: it counts the items of a request")
    rest = [column for column in loaded.columns if column not in lists and column.lower() != ORDINAL]
    entries = ", ".join(f"unnest({name(column)}) AS {name(column)}" for column in lists)
    connection.execute(
        f"CREATE TABLE {TAKEN} AS SELECT {FILE}, {ROW}, unnest(range(1, len({first}) + 1)) AS {ORDINAL}, {entries}"
        f"{''.join(f', {name(column)}' for column in rest)} FROM listed WHERE NOT {empty} AND NOT ({uneven})"
    )
    columns, rows = _view(connection, loaded, lists)
    reason = text(f"the lists {', '.join(lists)} are not equally long")
    return TakenApart(
        replace(loaded, columns=columns, rows=rows, view=VIEW),
        int(read or 0),
        {f"{lists[0]} is null or empty, so nothing was shown": without} if without else {},
        f"SELECT {FILE}, {ROW}, {reason} AS reason FROM listed WHERE NOT {empty} AND ({uneven})",
    )


def _lists(loaded: Loaded, problems: list[str]) -> list[str]:
    """The list columns as the source spells them; none where one is no such, and the problem added."""
    config = loaded.source.config
    assert isinstance(config, ImpressionsConfig)
    lists = []
    for asked in config.unnest:
        column = column_named(asked, list(loaded.columns))
        type_ = "" if column is None else loaded.columns[column]
        if column is None:
            problems.append(f"data.table.impressions.unnest: {asked!r} is no column{near(asked, list(loaded.columns))}")
        elif not type_.endswith("]") and type_ != "VARCHAR":
            problems.append(f"data.table.impressions.unnest: {asked} has type {type_}, expected a list, or text")
        else:
            lists.append(column)
    return lists if len(lists) == len(config.unnest) else []


def _with_lists(loaded: Loaded, lists: Sequence[str]) -> str:
    """The rows with text split into lists, and whether some text could not be."""
    config = loaded.source.config
    assert isinstance(config, ImpressionsConfig)
    replaced, misread = [], ["false"]
    for column in lists:
        quoted, type_ = name(column), loaded.columns[column]
        if type_ == "VARCHAR" and config.separator:
            entries = f"string_split(nullif({quoted}, ''), {text(config.separator)})"
            replaced.append(f"list_transform({entries}, lambda entry: nullif(trim(entry), '')) AS {quoted}")
        elif type_ == "VARCHAR":
            replaced.append(f"TRY_CAST(nullif({quoted}, '') AS VARCHAR[]) AS {quoted}")
            misread.append(f"({quoted} <> '' AND TRY_CAST({quoted} AS VARCHAR[]) IS NULL)")
        elif array := re.fullmatch(r"(.*)\[\d+\]", type_):
            replaced.append(f"CAST({quoted} AS {array[1]}[]) AS {quoted}")
    changed = f" REPLACE ({', '.join(replaced)})" if replaced else ""
    return f"SELECT *{changed}, coalesce({' OR '.join(misread)}, false) AS {MISREAD} FROM {loaded.view}"


def _view(connection: duckdb.DuckDBPyConnection, loaded: Loaded, lists: Sequence[str]) -> tuple[dict[str, str], int]:
    """Make the view of the items with exact types; its columns with their types, and its rows."""
    described = connection.sql(f"DESCRIBE {TAKEN}").fetchall()
    columns = {column: type_ for column, type_, *_ in described if column not in (FILE, ROW)}
    split = [column for column in lists if loaded.columns[column] == "VARCHAR" and loaded.source.format == "csv"]
    point = loaded.source.options.get("decimal_separator", ".")
    types = exact_types(connection, TAKEN, split, {}, point)
    changed = ", ".join(f"{typed(column, type_, point)} AS {name(column)}" for column, type_ in types.items())
    connection.execute(f"CREATE VIEW {VIEW} AS SELECT *{f' REPLACE ({changed})' if changed else ''} FROM {TAKEN}")
    ((rows,),) = connection.sql(f"SELECT count(*) FROM {TAKEN}").fetchall()
    return columns | types, int(rows)
