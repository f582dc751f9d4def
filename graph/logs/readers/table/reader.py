"""``data=table``: read what the mapping names, settle its columns, write the log in the contract's form."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb

from configs.console import progress, say, warn
from configs.errors import InputError
from configs.schema import DataConfig, TableConfig
from graph.logs.contract import IMPRESSION_COLUMNS, Kind, RawLog
from graph.logs.database import batches_of_days, name, scratch_database, text, write_days, write_table
from graph.logs.readers.published import READER_MEMORY_GB, write_rejected
from graph.logs.readers.table.events import Joined, is_kind, join_events
from graph.logs.readers.table.loading import FILE, ROW, Loaded, load
from graph.logs.readers.table.mapping import Mapped, refuse
from graph.logs.readers.table.plan import BESIDE, Plan, planned
from graph.logs.readers.table.sources import Source, named_sources
from graph.logs.readers.table.texts import IDS

CHUNK_ROWS = 1_000_000
DAY, SHOWN = "__day", "__shown"
"""Columns of the table ``shown``: the day, and the row's number; a source may have a ``rowid`` of its own."""


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
        loaded = load_all(connection, sources, folder / "scratch", problems)
        plan = planned(connection, data.table, loaded, problems)
        refuse(problems)
        shown = _make_shown(connection, data.table, plan)
        joined = _join(connection, data.table, plan, shown)
        rejected = write_rejected(connection, _rejected(connection, plan, loaded), folder / "rejected.parquet")
        left_out = plan.left_out | joined.left_out
        _write_impressions(connection, shown, joined, left_out, folder / "impressions")
        beside = {called: _write_beside(connection, called, plan, folder) for called in BESIDE if called in plan.tables}
        if "items" not in beside:
            beside["items"] = _write_distinct_items(connection, folder)
        broken = sum(_rows(connection, source.broken) for source in loaded.values())
    return RawLog(
        folder / "impressions",
        beside["items"],
        users=beside.get("users"),
        queries=beside.get("queries"),
        rejected=rejected,
        left_out=left_out,
        read=_read_rows(plan, loaded) + broken - joined.joined,
    )


def load_all(
    connection: duckdb.DuckDBPyConnection, sources: Mapping[str, Source], scratch: Path, problems: list[str]
) -> dict[str, Loaded]:
    """Bring the rows of every source into DuckDB; what cannot be read is added to ``problems``."""
    loaded = {}
    for called, source in sources.items():
        try:
            loaded[called] = load(connection, source, scratch, _only(source))
        except InputError as error:
            problems.append(str(error))
    return loaded


def _only(source: Source) -> dict[str, tuple[str, ...]]:
    """Columns of a CSV file that are ids as they stand, or lists: they are no decimals and no times."""
    ids = [column.name for column in IMPRESSION_COLUMNS if column.kind is Kind.id]
    lists: list[str] = getattr(source.config, "unnest", [])
    return {source.config.columns.get(column, column): IDS for column in ids} | dict.fromkeys(lists, ())


def _make_shown(connection: duckdb.DuckDBPyConnection, table: TableConfig, plan: Plan) -> list[str]:
    """The table ``shown``: the impressions with their day, the order task's and the click task's events aside."""
    main = plan.tables[plan.main]
    rows = f"(SELECT {FILE}, {ROW}, {main.chosen} FROM {main.view})"
    if plan.main == "events":
        rows = f"(SELECT * EXCLUDE (event) FROM {rows} WHERE {is_kind('impression', table.events)})"
    connection.execute(
        f"CREATE TABLE shown AS SELECT row_number() OVER () AS {SHOWN}, *, strftime(timestamp, '%Y-%m-%d') AS {DAY} "
        f"FROM {rows}"
    )
    return [column for column in main.columns if column != "event"]


def _join(connection: duckdb.DuckDBPyConnection, table: TableConfig, plan: Plan, shown: list[str]) -> Joined:
    if "events" not in plan.tables:
        return Joined({}, 0, {})
    return join_events(connection, plan.tables["events"], table.events, shown, shows=plan.main == "events")


def _rejected(connection: duckdb.DuckDBPyConnection, plan: Plan, loaded: Mapping[str, Loaded]) -> str:
    """The SQL of source rows that cannot become impressions."""
    undated = f"SELECT {FILE}, {ROW}, 'timestamp is null or no time' AS reason FROM shown WHERE {DAY} IS NULL"
    uneven = "" if plan.apart is None else f" UNION ALL {plan.apart.uneven}"
    connection.execute(f"CREATE TABLE bad AS {undated}{uneven}")
    parts = [f"SELECT source, row, reason, content FROM {source.broken}" for source in loaded.values()]
    if _rows(connection, "bad"):
        raw = loaded[plan.main].raw
        parts.append(
            f"SELECT {FILE} AS source, {ROW} AS row, reason, CAST(to_json({raw}) AS VARCHAR) AS content "
            f"FROM {raw} JOIN bad USING ({FILE}, {ROW})"
        )
    return " UNION ALL ".join(parts)


def _write_impressions(
    connection: duckdb.DuckDBPyConnection,
    shown: list[str],
    joined: Joined,
    left_out: Mapping[str, int],
    folder: Path,
) -> None:
    """Write the impressions with their outcomes, some days at a time.

    Raises:
        InputError: if there is none.
    """
    counts = dict(connection.sql(f"SELECT {DAY}, count(*) FROM shown WHERE {DAY} IS NOT NULL GROUP BY ALL").fetchall())
    if not counts:
        raise InputError(_nothing_left(connection, left_out, folder.parent / "rejected.parquet"))
    columns = {column: f"shown.{name(column)}" for column in shown}
    for column, outcome in joined.outcomes.items():
        columns[column] = f"coalesce({outcome}, false)" + (f" OR {columns[column]}" if column in columns else "")
    chosen = ", ".join(f"{sql} AS {name(column)}" for column, sql in columns.items())
    outcomes = f"LEFT JOIN outcomes ON outcomes.shown = shown.{SHOWN}" if joined.outcomes else ""
    with progress() as bar:
        for days in bar.track(batches_of_days(counts, CHUNK_ROWS), description="reading days"):
            query = (
                f"SELECT {chosen}, shown.{DAY} AS day FROM shown {outcomes} WHERE shown.{DAY} BETWEEN {text(days[0])} "
                f"AND {text(days[-1])} ORDER BY shown.{DAY}, shown.timestamp, shown.request_id, shown.{SHOWN}"
            )
            write_days(connection.sql(query).to_arrow_reader(65_536), folder)


def _nothing_left(connection: duckdb.DuckDBPyConnection, left_out: Mapping[str, int], rejected: Path) -> str:
    reasons = connection.sql(f"SELECT reason, count(*) FROM read_parquet({text(rejected)}) GROUP BY ALL ORDER BY ALL")
    counts = {**left_out, **dict(reasons.fetchall())}
    return "no impression is left: " + "; ".join(f"{count:,} rows: {reason}" for reason, count in counts.items())


def _write_beside(connection: duckdb.DuckDBPyConnection, called: str, plan: Plan, folder: Path) -> Path:
    """Write a table beside the impressions: as it stands, or the first known values of the impressions' rows."""
    table = plan.tables[called]
    query = f"SELECT {table.chosen} FROM {table.view} ORDER BY {FILE}, {ROW}"
    if called in plan.of_rows:
        query = _first_known(table, BESIDE[called][0].name, plan.tables[plan.main].columns["timestamp"])
    rows = write_table(connection.sql(query).to_arrow_reader(65_536), folder / f"{called}.parquet")
    say(f"{called}: {rows:,} rows" + (" of the impressions' own rows" if called in plan.of_rows else ""))
    return folder / f"{called}.parquet"


def _first_known(table: Mapped, key: str, timestamp: str) -> str:
    """The SQL of one row a key: each column's first value that is not null, in order of time."""
    others = [column for column in table.columns if column != key]
    firsts = "".join(f", arg_min({name(c)}, (__moment, {FILE}, {ROW})) AS {name(c)}" for c in others)
    rows = f"SELECT {FILE}, {ROW}, {timestamp} AS __moment, {table.chosen} FROM {table.view}"
    return f"SELECT {key}{firsts} FROM ({rows}) WHERE {key} IS NOT NULL GROUP BY {key} ORDER BY {key}"


def _write_distinct_items(connection: duckdb.DuckDBPyConnection, folder: Path) -> Path:
    query = "SELECT DISTINCT item_id FROM shown WHERE item_id IS NOT NULL ORDER BY item_id"
    items = write_table(connection.sql(query).to_arrow_reader(65_536), folder / "items.parquet")
    warn(f"no items table: {items:,} items are made of the item ids alone, without attributes")
    return folder / "items.parquet"


def _read_rows(plan: Plan, loaded: Mapping[str, Loaded]) -> int:
    """Rows of the impressions and events, lists taken apart."""
    main = loaded[plan.main].rows
    if plan.apart is not None:
        main = plan.apart.read + plan.excluded
    return main + (loaded["events"].rows if "events" in plan.tables and plan.main != "events" else 0)


def _rows(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    return int(connection.sql(f"SELECT count(*) FROM {table}").fetchall()[0][0])
