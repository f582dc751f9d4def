"""``data=table``: read what the mapping names, settle its columns, write the log in the contract's form."""

from __future__ import annotations

from pathlib import Path

import duckdb

from configs.console import progress, warn
from configs.schema import DataConfig
from graph.logs.contract import IMPRESSION_COLUMNS, ITEM_COLUMNS, QUERY_COLUMNS, USER_COLUMNS, Kind, RawLog
from graph.logs.database import batches_of_days, name, scratch_database, text, write_days, write_table
from graph.logs.readers.published import READER_MEMORY_GB, write_rejected
from graph.logs.readers.table.loading import FILE, ROW, load
from graph.logs.readers.table.mapping import Mapped, mapped, refuse, require, unify
from graph.logs.readers.table.sources import Source, named_sources

CHUNK_ROWS = 1_000_000
TABLES = {"impressions": IMPRESSION_COLUMNS, "items": ITEM_COLUMNS, "users": USER_COLUMNS, "queries": QUERY_COLUMNS}
"""Table of the log → its contract columns; the first of a table beside the impressions is its key."""


def read(data: DataConfig, seed: int, folder: Path) -> RawLog:
    """Write what the mapping ``data.table`` names in the contract's form under ``folder``; ``seed`` is not used.

    Raises:
        InputError: naming everything that is wrong with the mapping, or a file that cannot be read.
    """
    del seed
    problems: list[str] = []
    sources = named_sources(data, problems)
    refuse(problems)
    with scratch_database(folder / "scratch", READER_MEMORY_GB) as connection:
        loaded = {
            called: load(connection, source, folder / "scratch", _ids(source)) for called, source in sources.items()
        }
        tables = {called: mapped(connection, loaded[called], TABLES[called], problems) for called in loaded}
        for called, table in tables.items():
            require(table, TABLES[called], loaded[called], problems)
        refuse(problems)
        tables = unify(tables)
        left_out = _make_impressions(connection, tables["impressions"])
        rejected = write_rejected(connection, REJECTED, folder / "rejected.parquet")
        _write_impressions(connection, folder / "impressions")
        beside = {
            called: _write_table(connection, tables[called], called, folder)
            for called in tables
            if called != "impressions"
        }
        if "items" not in tables:
            beside["items"] = _write_distinct_items(connection, folder)
        read = loaded["impressions"].rows + loaded["impressions"].broken
    return RawLog(
        folder / "impressions",
        beside["items"],
        users=beside.get("users"),
        queries=beside.get("queries"),
        rejected=rejected,
        left_out=left_out,
        read=read,
    )


def _ids(source: Source) -> set[str]:
    """The source columns that are an id as they stand."""
    ids = {column.name for column in TABLES[source.called] if column.kind is Kind.id}
    return {source.config.columns.get(column, column) for column in ids}


def _make_impressions(connection: duckdb.DuckDBPyConnection, table: Mapped) -> dict[str, int]:
    """The table ``shown`` of the log's rows with their day; return the rows left out, by reason."""
    chosen = ", ".join(f"{sql} AS {name(column)}" for column, sql in table.columns.items())
    condition = table.where or "true"
    connection.execute(
        f"CREATE TABLE shown AS SELECT *, strftime(timestamp, '%Y-%m-%d') AS {DAY} "
        f"FROM (SELECT {FILE}, {ROW}, {chosen} FROM {table.view} WHERE {condition})"
    )
    ((left_out,),) = connection.sql(f"SELECT count(*) FROM {table.view} WHERE NOT {condition}").fetchall()
    return {"where does not hold": left_out} if left_out else {}


DAY = "__day"
REJECTED = f"""
    SELECT source, row, reason, content FROM broken WHERE called = 'impressions'
    UNION ALL
    SELECT {FILE} AS source, {ROW} AS row, 'timestamp is null or no time' AS reason,
        CAST(to_json(raw_impressions) AS VARCHAR) AS content
    FROM raw_impressions SEMI JOIN (FROM shown WHERE {DAY} IS NULL) AS undated USING ({FILE}, {ROW})
"""


def _write_impressions(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    counts = dict(connection.sql(f"SELECT {DAY}, count(*) FROM shown WHERE {DAY} IS NOT NULL GROUP BY ALL").fetchall())
    with progress() as bar:
        for days in bar.track(batches_of_days(counts, CHUNK_ROWS), description="reading days"):
            query = (
                f"SELECT * EXCLUDE ({FILE}, {ROW}, {DAY}), {DAY} AS day FROM shown WHERE {DAY} BETWEEN "
                f"{text(days[0])} AND {text(days[-1])} ORDER BY {DAY}, timestamp, request_id, {FILE}, {ROW}"
            )
            write_days(connection.sql(query).to_arrow_reader(65_536), folder)


def _write_table(connection: duckdb.DuckDBPyConnection, table: Mapped, called: str, folder: Path) -> Path:
    chosen = ", ".join(f"{sql} AS {name(column)}" for column, sql in table.columns.items())
    query = f"SELECT {chosen} FROM {table.view} WHERE {table.where or 'true'} ORDER BY {FILE}, {ROW}"
    write_table(connection.sql(query).to_arrow_reader(65_536), folder / f"{called}.parquet")
    return folder / f"{called}.parquet"


def _write_distinct_items(connection: duckdb.DuckDBPyConnection, folder: Path) -> Path:
    query = "SELECT DISTINCT item_id FROM shown WHERE item_id IS NOT NULL ORDER BY item_id"
    items = write_table(connection.sql(query).to_arrow_reader(65_536), folder / "items.parquet")
    warn(f"no items table: {items:,} items are made of the item ids alone, without attributes")
    return folder / "items.parquet"
