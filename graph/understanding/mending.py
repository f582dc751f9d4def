"""What a suggested mapping can only know from all rows: ids that two tables write differently, columns of the items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import duckdb

from graph.understanding.ids import SAME, Form, rewriting
from graph.understanding.names import is_outcome
from graph.understanding.suggest import ROLES, Mapped, Sample, Suggestion, assigned, with_levels
from graph.understanding.values import Column, parts_of, separator_of

TOGETHER = 100
"""Columns that are compared in one query."""
MOST_ITEMS, MOST_ROWS = 2_000_000, 1_000_000
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


def with_items(connection: duckdb.DuckDBPyConnection, mapping: Sequence[Suggestion]) -> list[Suggestion]:
    """The mapping with an items table of the impressions' own columns, where there is no other.

    A column is the item's where nearly every item that occurs twice has one value of it, and the items of a request
    have several.
    """
    tables = {suggestion.table: suggestion for suggestion in mapping}
    main = tables.get("impressions", tables.get("events"))
    if main is None or "items" in tables or main.unnest or not {"item_id", "request_id"} <= set(main.columns):
        return list(mapping)
    sample, left = main.sample, set(main.leave) | {mapped.source for mapped in main.columns.values()}
    free = [c for c in sample.columns if c.name not in left and not c.path and c.filled]
    free = [column for column in free if not column.type.endswith("]") and not column.type.startswith(("MAP", "UNION"))]
    free = [column for column in free if not is_outcome(column.name)]
    item, request = main.columns["item_id"].sql, main.columns["request_id"].sql
    if not free:
        return list(mapping)
    own = _shares(connection, sample.view, item, free, "=")
    varied = _shares(connection, sample.view, request, free, "<>")
    columns = [column for column, o, v in zip(free, own, varied, strict=True) if o >= OWN and v >= VARIED]
    if not columns:
        return list(mapping)
    made = Sample(sample.name, (), tuple(columns), f"the {main.table}' own columns")
    named = assigned(made, [role for role in ROLES["items"] if role not in ("item_id", "price")])
    if "category" in named:
        named = with_levels(named, sample.column(named["category"].source))
    used = {mapped.source for mapped in named.values()}
    others = {c.name: Mapped(c.sql, OF_ITEM, c.name) for c in columns if c.name not in used}
    return [*mapping, Suggestion("items", made, {**named, **others})]


OF_ITEM = "by values: each item has one, the items of a request several"
OWN, VARIED = 0.98, 0.3
"""Shares of items with one value of a column of theirs, and of requests whose items have several."""


def _shares(
    connection: duckdb.DuckDBPyConnection, view: str, by: str, columns: Sequence[Column], compared: str
) -> list[float]:
    """For each column, of the groups with two rows and more, the share whose lowest and highest values compare so."""
    shares: list[float] = []
    for start in range(0, len(columns), TOGETHER):
        some = [column.sql for column in columns[start : start + TOGETHER]]
        ends = ", ".join(f"min({sql}) AS low{n}, max({sql}) AS high{n}" for n, sql in enumerate(some))
        means = ", ".join(f"avg(CAST(low{n} {compared} high{n} AS DOUBLE))" for n in range(len(some)))
        groups = f"SELECT {ends} FROM (FROM {view} LIMIT {MOST_ROWS}) GROUP BY {by} HAVING count(*) > 1"
        shares += [share or 0.0 for share in connection.sql(f"SELECT {means} FROM ({groups})").fetchall()[0]]
    return shares
