"""Columns that the log does not have: computed by an SQL expression wherever the log's columns are read.

``data.add_features=[{column: price_gap, kind: number, side: pair, sql: "price - avg(price) OVER (PARTITION BY
request_id)"}]``. The expression sees one row of impressions, and as ``items.COLUMN``, ``users.COLUMN`` and
``queries.COLUMN`` what the tables say of its item, user and query; on the item side, one row of items. What came of an
impression (clicks, positions) it does not see. A window over impressions lies within a request: nothing else is whole
where a log is read in parts. The expression is part of the encoding's schema, so a new log is given the same column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa

from configs.errors import InputError
from graph.logs.database import name as quoted
from graph.logs.readers.table.expressions import partitions, problem_with, references, sql_of
from prerank.encoding.schema import Column
from prerank.encoding.types import TrainedTypes

if TYPE_CHECKING:
    from prerank.encoding.lookup import Lookup  # loads torch, which graph.check does without

KEYS = {"items": "item_id", "users": "user_id", "queries": "query"}
"""Table → the column of impressions that names its row."""
OUTCOMES = ("clicked", "ordered", "position", "rank_score", "stage", "propensity", "split")
"""Columns of impressions that are known only after the item was ranked or shown."""
ROW = "__row"


@dataclass(frozen=True)
class Preparation:
    """What is done to a log's tables before they are encoded: types as in training, and columns that are computed."""

    columns: tuple[Column, ...]
    types: TrainedTypes

    @classmethod
    def of(cls, columns: tuple[Column, ...], keys: Mapping[str, pa.DataType] | None = None) -> Preparation:
        """For these features; ``keys`` as in :meth:`TrainedTypes.of`."""
        return cls(columns, TrainedTypes.of(columns, keys))

    def table(self, table: pa.Table, source: str) -> pa.Table:
        """Items, users or queries."""
        return self._computed(self.types.convert(table, source), source, {})

    def impressions(self, rows: pa.Table, lookups: Mapping[str, Lookup]) -> pa.Table:
        """Whole requests, and the tables that their keys name rows of."""
        return self._computed(self.types.convert(rows, "impressions"), "impressions", lookups)

    def _computed(self, table: pa.Table, source: str, lookups: Mapping[str, Lookup]) -> pa.Table:
        computed = {c.name: c for c in self.columns if c.source == source and c.sql}
        if not computed:
            return table
        seen = with_tables(table, lookups, references_of(computed.values()))
        for column in computed.values():
            table = table.append_column(column.name, compute(seen, column))
        return self.types.convert(table, source)


def columns_read(columns: Iterable[Column], source: str) -> list[str]:
    """The columns of a table that features need: their own, or those that they are computed from."""
    own = [column for column in columns if column.source == source]
    named = references_of(column for column in own if column.sql)
    computed_from = [KEYS.get(name, name) for name in named]  # of a table, the key that names its row
    return list(dict.fromkeys([*(column.name for column in own if not column.sql), *computed_from]))


def references_of(columns: Iterable[Column]) -> list[str]:
    """What the expressions of computed columns name."""
    return list(dict.fromkeys(name for column in columns for name in references(column.sql)))


def require_expression(column: Column, schema: pa.Schema, tables: Mapping[str, pa.Schema]) -> pa.DataType:
    """Check a computed column against the columns that there are, and return its type.

    Args:
        column: with its expression.
        schema: of the table that it is a column of.
        tables: items, users and queries, as far as an expression may name them.

    Raises:
        InputError: naming the column, the expression, what is wrong with it and the columns that there are.
    """
    where = f"data.add_features: {column.name}: sql={column.sql!r}"
    offered = [name for name in schema.names if name not in OUTCOMES or column.source == "items"]
    if column.name in schema.names:
        raise InputError(f"{where}: {column.source} have a column {column.name} already: give another name")
    outcomes = [name for name in references(column.sql) if name.lower() in OUTCOMES and name not in offered]
    if outcomes:
        raise InputError(f"{where} reads {', '.join(outcomes)}: what came of an impression is no feature")
    problem = problem_with(column.sql, [*offered, *tables])
    if problem is not None:
        there = ", ".join([*offered, *(f"{name}.COLUMN" for name in tables)])
        raise InputError(f"{where} {problem}; there are {there}")
    if column.source == "impressions" and any("request_id" not in columns for columns in partitions(column.sql)):
        raise InputError(f"{where}: a window must lie within a request: OVER (PARTITION BY request_id ...)")
    nothing = schema.empty_table()
    for name, of_table in tables.items():
        nothing = nothing.append_column(name, pa.array([], pa.struct(list(of_table))))
    kind: pa.DataType = compute(nothing, column).type
    return kind


def with_tables(rows: pa.Table, lookups: Mapping[str, Lookup], named: Sequence[str]) -> pa.Table:
    """The rows with a struct column for each table that is named: the row of it that the key names, or null."""
    for name, lookup in lookups.items():
        if name in named:
            place = lookup.rows(rows[KEYS[name]].combine_chunks())
            taken = lookup.table.take(place).combine_chunks()
            structs = pa.StructArray.from_arrays(
                [column.combine_chunks() for column in taken.columns], fields=list(taken.schema), mask=place.is_null()
            )
            rows = rows.append_column(name, structs)
    return rows


def compute(rows: pa.Table, column: Column) -> pa.ChunkedArray:
    """The values of a computed column, a row each, in their order.

    Raises:
        InputError: with the engine's reason.
    """
    named = [name for name in rows.column_names if name.lower() in {each.lower() for each in references(column.sql)}]
    table = _in_utc(rows.append_column(ROW, pa.array(np.arange(len(rows)))).select([*named, ROW]))
    expression = sql_of(column.sql, rows.column_names)
    if column.kind == "number":
        expression = f"CAST({expression} AS DOUBLE)"
    with _engine() as engine:
        try:
            engine.register("rows", table)
            result = engine.sql(f"SELECT {expression} AS value FROM rows ORDER BY {quoted(ROW)}").to_arrow_table()
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"data.add_features: {column.name}: sql={column.sql!r}: {reason}") from None
    return result["value"]


def _in_utc(rows: pa.Table) -> pa.Table:
    """Times without their zone, which is UTC in a checked log: the engine would ask for an extension for zones."""
    kinds = [f.with_type(pa.timestamp(f.type.unit)) if pa.types.is_timestamp(f.type) else f for f in rows.schema]
    return rows.cast(pa.schema(kinds))


def _engine() -> duckdb.DuckDBPyConnection:
    """An engine that reaches no file, and adds in one order: floats of two threads would not sum to the same bits."""
    return duckdb.connect(config={"enable_external_access": "false", "threads": "1"})
