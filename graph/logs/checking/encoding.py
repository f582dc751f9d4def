"""Text that is not UTF-8, as old Hive tables and byte-limited columns hold it: which rows, and what becomes of them.

A log is read strictly at first. Only where that fails it is read again with ``?`` for each wrong byte: a row whose
contract column is not UTF-8 is rejected, other columns keep the ``?``, and all of it is counted.
"""

from __future__ import annotations

import duckdb

from configs.console import warn
from graph.logs.checking.columns import SourceTable
from graph.logs.checking.footers import FILE, ROW
from graph.logs.database import name, reading, text


def mark_not_utf8(connection: duckdb.DuckDBPyConnection, table: SourceTable, called: str) -> None:
    """Add the table's wrong values to the DuckDB table ``not_utf8`` (file, row, of); say those of other columns."""
    connection.execute("CREATE TABLE IF NOT EXISTS not_utf8 (file VARCHAR, row BIGINT, of VARCHAR)")
    for column, type_ in table.types.items():
        if "VARCHAR" not in type_:
            continue
        quoted = name(column)
        # A wrong byte becomes "?" or nothing: what differs between the two readings is not UTF-8.
        wrong = (
            f"SELECT marked.{FILE} AS file, marked.{ROW} AS row, CAST(marked.{quoted} AS VARCHAR) AS value "
            f"FROM {table.scan(not_utf8='replace')} AS marked JOIN {table.scan(not_utf8='ignore')} AS bare "
            f"USING ({FILE}, {ROW}) WHERE marked.{quoted} IS DISTINCT FROM bare.{quoted}"
        )
        with reading(table.root):
            if column in table.contract:
                connection.execute(f"INSERT INTO not_utf8 SELECT file, row, {text(column)} FROM ({wrong})")
                continue
            count, example = connection.sql(f"SELECT count(*), any_value(value) FROM ({wrong})").fetchall()[0]
        if count:
            warn(
                f"{count:,} values of {column} in {called} are not UTF-8, e.g. {example!r}: ? stands for each such byte"
            )


def not_utf8_checks(table: SourceTable, file: str = FILE, row: str = ROW) -> list[tuple[str, str]]:
    """Reason and SQL condition for each contract column that holds text, where the table was marked."""
    if not table.replaced:
        return []
    return [
        (
            f"{column} is no valid UTF-8",
            f"({file}, {row}) IN (SELECT (file, row) FROM not_utf8 WHERE of = {text(column)})",
        )
        for column, family in table.families.items()
        if family == "string"
    ]
