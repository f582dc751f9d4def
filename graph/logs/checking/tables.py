"""The tables beside the impressions: items, users, queries. Keys are unique; the order of the file is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from configs.console import warn
from graph.logs.checking.columns import SourceTable, inspect
from graph.logs.checking.encoding import not_utf8_checks
from graph.logs.checking.footers import FILE, ROW
from graph.logs.contract import ContractColumn, parquet_files
from graph.logs.database import name, reading, text, write_table
from graph.logs.problems import Problems


@dataclass(frozen=True)
class KeyedTable:
    """A table with one row a key, checked and ready to be written."""

    source: SourceTable
    key: str


def inspect_table(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    columns: Sequence[ContractColumn],
    problems: Problems,
    replaced: bool = False,
) -> KeyedTable | None:
    """Settle how a table is read, as `inspect` does; None where ``problems`` were added to."""
    key = columns[0].name
    if not path.exists():
        problems.add(f"{path} is missing: the contract expects one row for each {key} there")
        return None
    source = None
    with problems.collecting():
        source = inspect(connection, parquet_files(path), columns, path.parent, problems, replaced)
    return KeyedTable(source, key) if source is not None else None


def check_table(connection: duckdb.DuckDBPyConnection, table: KeyedTable, called: str) -> None:
    """Check the keys of a table and make the DuckDB table ``called`` of good keys in the file's order.

    Rows without a key and repeated keys (the first is kept) go to the table ``rejected``.
    """
    source, key = table.source, table.key
    with reading(source.root / called):
        connection.execute(
            f"CREATE TABLE {called} AS SELECT {source.contract[key]} AS {key}, {FILE} AS file, {ROW} AS row, "
            f"row_number() OVER (PARTITION BY {source.contract[key]} ORDER BY {FILE}, {ROW}) AS occurrence "
            f"FROM {source.scan()}"
        )
    reasons = [
        *((reason, where) for reason, where in not_utf8_checks(source, "file", "row")),
        (f"{key} is null or empty in {called}", f"{key} IS NULL"),
        (f"{key} repeats in {called}", "occurrence > 1"),
    ]
    cases = " ".join(f"WHEN {condition} THEN {text(reason)}" for reason, condition in reasons)
    connection.execute(
        f"INSERT INTO rejected SELECT file, row, reason FROM (SELECT *, CASE {cases} END AS reason FROM {called}) "
        "WHERE reason IS NOT NULL"
    )
    connection.execute(f"DELETE FROM {called} WHERE {' OR '.join(f'({condition})' for _, condition in reasons)}")


def write_keyed(connection: duckdb.DuckDBPyConnection, table: KeyedTable, called: str, path: Path) -> None:
    """Write the good rows of a checked table in the source's order, contract columns first."""
    source = table.source
    _tell_bad_prices(connection, source, called)
    columns = dict(source.contract)
    if "price" in columns:
        columns["price"] = f"CASE WHEN {columns['price']} BETWEEN 0 AND 3.4e38 THEN {columns['price']} END"
    columns |= source.extra
    chosen = ", ".join(f"{expression} AS {name(column)}" for column, expression in columns.items())
    with reading(source.root):
        relation = connection.sql(
            f"SELECT raw.* EXCLUDE ({FILE}, {ROW}) FROM (SELECT {chosen}, {FILE}, {ROW} FROM {source.scan()}) AS raw "
            f"JOIN {called} AS good ON raw.{FILE} = good.file AND raw.{ROW} = good.row ORDER BY good.file, good.row"
        )
        reader = relation.to_arrow_reader(10_000)
        write_table(reader, path, canonical_schema(reader.schema, source))


def canonical_schema(schema: pa.Schema, source: SourceTable) -> pa.Schema:
    """The types of the checked log for the contract's columns; other columns keep theirs."""
    kinds = {"price": pa.float32(), "listed_at": pa.timestamp("ms", tz="UTC")}
    return pa.schema(
        [pa.field(f.name, kinds[f.name]) if f.name in kinds and f.name in source.contract else f for f in schema]
    )


def _tell_bad_prices(connection: duckdb.DuckDBPyConnection, source: SourceTable, called: str) -> None:
    """An item whose list price is absurd still is an item: the price becomes null, out loud."""
    if "price" not in source.contract:
        return
    price = source.contract["price"]
    bad = f"SELECT count(*) FROM {source.scan()} WHERE ({price}) IS NOT NULL AND NOT ({price}) BETWEEN 0 AND 3.4e38"
    with reading(source.root):
        count = connection.sql(bad).fetchall()[0][0]
    if count:
        warn(f"{count:,} rows of {called} have a negative or infinite price: taken as unknown")
