"""SQL expressions of a mapping: an expression of columns and nothing else, by an allow-list on DuckDB's syntax tree."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import duckdb

from graph.logs.database import name

NODES = {
    *("COLUMN_REF", "CONSTANT", "FUNCTION", "CAST", "TYPE", "CASE", "COMPARISON", "CONJUNCTION", "OPERATOR"),
    *("BETWEEN", "LAMBDA", "WINDOW", "COLLATE"),
}
"""Classes of DuckDB's syntax tree that compute a value from columns: no subquery, no star, no parameter."""

MACROS = {
    *("array_append", "array_pop_back", "array_pop_front", "array_prepend", "array_reverse", "array_to_string"),
    *("date_add", "fdiv", "fmod", "if", "json", "list_append", "list_prepend", "list_reverse", "list_max", "list_min"),
    *("list_sum", "list_avg", "list_count", "list_first", "list_last", "list_any_value", "list_median"),
    *("nullif", "split_part"),
}
"""Functions that DuckDB itself defines by SQL."""

SYNTAX = {"coalesce", "ifnull", "struct_pack", "list_value", "row"}
"""Written like functions; the parser or the binder knows them by name."""

REFUSED = ("__", "json_serialize", "json_deserialize", "json_execute", "collate_", "icu_", "pg_", "st_")
"""Beginnings of names: internals, and functions that plan or run statements."""


def problem_with(expression: str, columns: Sequence[str]) -> str | None:
    """Why a text cannot be used as an expression of these columns; None where it can be tried.

    Args:
        expression: SQL, or a column's very name.
        columns: of the table.
    """
    if column_named(expression, columns) is not None:
        return None
    tree = _tree(expression)
    if isinstance(tree, str):
        return f"is no SQL expression ({tree})"
    for node in _nodes(tree):
        if node["class"] not in NODES:
            return f"may not hold a {node['class'].lower()}: write an expression of this table's columns"
        if node["class"] in ("FUNCTION", "WINDOW") and (reason := _refused(node)):
            return reason
    unknown = [column for column in _references(tree) if column_named(column, columns) is None]
    if unknown:
        return _unknown(unknown, columns)
    return None


def columns_of(expression: str, columns: Sequence[str]) -> set[str]:
    """The columns that an expression names; none where it is no expression."""
    column = column_named(expression, columns)
    tree = _tree(expression) if column is None else ""
    named = [column] if column is not None else [] if isinstance(tree, str) else _references(tree)
    return {each for name_ in named if (each := column_named(name_, columns)) is not None}


def references(expression: str) -> list[str]:
    """The columns that an expression names, of a path its first part; empty for what is no expression."""
    tree = _tree(expression)
    return [] if isinstance(tree, str) else _references(tree)


def partitions(expression: str) -> list[list[str]]:
    """The columns that each window of an expression is partitioned by."""
    tree = _tree(expression)
    windows = [] if isinstance(tree, str) else [node for node in _nodes(tree) if node["class"] == "WINDOW"]
    return [_references(window["partitions"]) for window in windows]


def sql_of(expression: str, columns: Sequence[str]) -> str:
    """The SQL of a column's very name, or of an expression that `problem_with` accepts."""
    column = column_named(expression, columns)
    return f"({expression}\n)" if column is None else name(column)


def column_named(text: str, columns: Sequence[str]) -> str | None:
    """The column of this name, else the one that differs only in case; None where there is none."""
    if text in columns:
        return text
    return next((column for column in columns if column.lower() == text.strip().lower()), None)


def near(text: str, columns: Sequence[str]) -> str:
    """The nearest column as a question, or nothing."""
    lowered = {column.lower(): column for column in columns}
    close = difflib.get_close_matches(text.lower(), list(lowered), n=1, cutoff=0.7)
    return f"; did you mean {lowered[close[0]]!r}?" if close else ""


def listed(columns: Sequence[str], most: int = 40) -> str:
    """Columns for a message."""
    return ", ".join(columns[:most]) + (f", and {len(columns) - most} more" if len(columns) > most else "")


def _unknown(unknown: Sequence[str], columns: Sequence[str]) -> str:
    what = "names no column that there is" if len(unknown) == 1 else "names columns that there are not"
    return f"{what}: {', '.join(repr(each) + near(each, columns) for each in unknown)}"


def _tree(expression: str) -> Any:
    """The syntax tree of one expression, or the parser's complaint."""
    # The line break ends a comment at the expression's end.
    statement = f"SELECT ({expression}\n) AS value"
    try:
        ((text,),) = _parser().execute("SELECT json_serialize_sql(?)", [statement]).fetchall()
    except duckdb.Error as error:
        return str(error).splitlines()[0]
    parsed = json.loads(text)
    if parsed["error"]:
        reason = parsed.get("error_message", "")
        return "a statement is none" if parsed["error_type"] == "not implemented" else reason.splitlines()[0]
    select = parsed["statements"][0]["node"] if len(parsed["statements"]) == 1 else {}
    plain = select.get("type") == "SELECT_NODE" and select["from_table"]["type"] == "EMPTY"
    clauses = ("where_clause", "having", "qualify", "sample", "group_expressions", "modifiers")
    if not plain or len(select["select_list"]) != 1 or any(select[clause] for clause in clauses):
        return "write one expression of this table's columns"
    value = select["select_list"][0]
    empty = value["class"] == "FUNCTION" and value["function_name"] == "row" and not value["arguments"]
    return "it is empty" if empty else value


def is_select(statement: str) -> bool:
    """Whether a text is one SELECT statement, rather than a table's name."""
    try:
        ((text,),) = _parser().execute("SELECT json_serialize_sql(?)", [statement]).fetchall()
    except duckdb.Error:
        return False
    return len(json.loads(text).get("statements", [])) == 1


@cache
def _parser() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every node of the tree that has a class."""
    if isinstance(tree, list):
        for each in tree:
            yield from _nodes(each)
    elif isinstance(tree, dict):
        if "class" in tree or "from_table" in tree:
            yield tree if "class" in tree else {"class": "SUBQUERY"}
        for each in tree.values():
            yield from _nodes(each)


def _references(tree: Any, bound: frozenset[str] = frozenset()) -> list[str]:
    """The columns that an expression names, without the parameters of its lambdas, each once."""
    if isinstance(tree, list):
        return list(dict.fromkeys(column for each in tree for column in _references(each, bound)))
    if not isinstance(tree, dict):
        return []
    if tree.get("class") == "COLUMN_REF":
        column = tree["column_names"][0]
        return [] if column.lower() in bound else [column]
    if tree.get("class") == "LAMBDA":
        parameters = [node["column_names"][0].lower() for node in _nodes(tree["lhs"]) if node["class"] == "COLUMN_REF"]
        return _references(tree["expr"], bound | set(parameters))
    return _references(list(tree.values()), bound)


def _refused(node: dict[str, Any]) -> str | None:
    function = node["function_name"].lower()
    if node.get("schema") or node.get("catalog"):
        return f"may not call {function} of another schema"
    scalar, aggregate, window = _functions()
    if node["class"] == "WINDOW":
        return None if function in aggregate | window else f"calls {function} OVER (...), which is no window function"
    if function in scalar:
        return None
    if function == "unnest":
        return "calls unnest: name the list column in the key unnest"
    if function in aggregate:
        return f"calls {function} of all rows: say of which, as in {function}(x) OVER (PARTITION BY request_id)"
    close = difflib.get_close_matches(function, scalar, n=1, cutoff=0.75)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"calls {function}, which is not among the functions that compute a value from a row{hint}"


@cache
def _functions() -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Names of scalar, aggregate and window functions whose value depends on their arguments alone."""
    rows = _parser().execute(
        "SELECT DISTINCT function_type, lower(function_name) FROM duckdb_functions() "
        "WHERE function_type IN ('scalar', 'aggregate', 'window') AND stability = 'CONSISTENT' AND internal"
    )
    of_type: dict[str, set[str]] = {"scalar": MACROS | SYNTAX, "aggregate": set(), "window": set()}
    for kind, function in rows.fetchall():
        if not function.startswith(REFUSED):
            of_type[kind] = of_type[kind] | {function}
    return frozenset(of_type["scalar"]), frozenset(of_type["aggregate"]), frozenset(of_type["window"])
