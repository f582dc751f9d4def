"""A suggested mapping whose tables write item ids differently, mended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import duckdb

from graph.understanding.ids import SAME, Form, rewriting
from graph.understanding.suggest import Mapped, Suggestion
from graph.understanding.values import parts_of, separator_of

MOST_ITEMS = 2_000_000
"""Ids of the items table that are compared."""


def agreeing(
    connection: duckdb.DuckDBPyConnection, mapping: Sequence[Suggestion]
) -> tuple[list[Suggestion], list[str]]:
    """The mapping with ids that the items know, and what was done, in words.

    Args:
        connection: in which the samples' views are.
    """
    tables = {suggestion.table: suggestion for suggestion in mapping}
    if "items" not in tables or "item_id" not in tables["items"].columns:
        return list(mapping), []
    of_items = tables["items"].columns["item_id"].sql
    query = f"SELECT DISTINCT CAST({of_items} AS VARCHAR) FROM {tables['items'].sample.view} LIMIT {MOST_ITEMS}"
    known = {value for (value,) in connection.sql(query).fetchall() if value is not None}
    told = []
    for called in ("impressions", "events"):
        if called not in tables or "item_id" not in tables[called].columns:
            continue
        mend = rewriting(_ids(tables[called]), known)
        if mend is None:
            continue
        shares = f"{mend.before:.0%} of the ids were known, {mend.after:.0%} are"
        told.append(f"{called}: {mend.why}: they are rewritten ({shares})")
        tables[called] = _rewritten(tables[called], mend.log, mend.why)
        if not mend.items.same:
            tables["items"] = _rewritten(tables["items"], mend.items, mend.why)
            known = {mend.items.python(each) for each in known}
    return [tables[suggestion.table] for suggestion in mapping], told


def _rewritten(suggestion: Suggestion, form: Form, why: str) -> Suggestion:
    if form is SAME:
        return suggestion
    mapped = suggestion.columns["item_id"]
    columns: Mapping[str, Mapped] = {
        **suggestion.columns,
        "item_id": replace(mapped, sql=form.sql.format(mapped.sql), why=f"{mapped.why}: {why}"),
    }
    leave = dict(suggestion.leave)
    if mapped.source and mapped.source not in suggestion.unnest and not suggestion.sample.column(mapped.source).path:
        leave.setdefault(mapped.source, "what it says stands in the columns above")
    return replace(suggestion, columns=columns, leave=leave)


def _ids(suggestion: Suggestion) -> set[str]:
    """The item ids of the rows that were looked at."""
    column = suggestion.sample.column(suggestion.columns["item_id"].source)
    if column.name in suggestion.unnest:
        return {part for parts in parts_of(column, separator_of(column) or "") for part in parts}
    return set(column.counts)
