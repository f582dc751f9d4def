"""From the mapping and the loaded sources to the tables of the log, with every problem at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import duckdb

from configs.schema import EventsConfig, SourceConfig, TableConfig
from graph.logs.checking.columns import LABELS
from graph.logs.contract import IMPRESSION_COLUMNS, ITEM_COLUMNS, QUERY_COLUMNS, USER_COLUMNS, ContractColumn
from graph.logs.readers.table.events import EVENT, EVENT_COLUMNS, KEYS, check_kinds, named_kinds
from graph.logs.readers.table.expressions import column_named, columns_of
from graph.logs.readers.table.loading import Loaded
from graph.logs.readers.table.mapping import Mapped, mapped, require, selected, unified
from graph.logs.readers.table.nested import ORDINAL, TakenApart, take_apart

BESIDE = {"items": ITEM_COLUMNS, "users": USER_COLUMNS, "queries": QUERY_COLUMNS}
"""Tables beside the impressions; the first contract column is the key."""


@dataclass
class Plan:
    """How the log is made.

    Attributes:
        main: the section whose rows are the impressions: impressions, or events where there are none.
        tables: section → its columns.
        of_rows: tables beside the impressions that are made of the impressions' rows.
        left_out: reason → rows of the main section, and of the events, that are left out.
        excluded: rows of the main section for which its ``where`` does not hold.
        apart: of nested impressions.
    """

    main: str
    tables: dict[str, Mapped] = field(default_factory=dict)
    of_rows: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    excluded: int = 0
    apart: TakenApart | None = None


def planned(
    connection: duckdb.DuckDBPyConnection, table: TableConfig, loaded: Mapping[str, Loaded], problems: list[str]
) -> Plan:
    """Settle every table of the log; what is wrong with the mapping is added to ``problems``."""
    plan = Plan("impressions" if "impressions" in loaded else "events")
    if plan.main not in loaded:
        return plan
    rows = {}
    for called, source in loaded.items():
        rows[called], left_out = selected(connection, source, problems)
        if called in (plan.main, "events"):
            plan.left_out |= left_out
        if called == plan.main:
            plan.excluded = sum(left_out.values())
    if plan.main == "impressions" and table.impressions.unnest:
        plan.apart = take_apart(connection, rows["impressions"], problems)
        if plan.apart is None:
            return plan
        plan.left_out |= plan.apart.left_out
        rows["impressions"] = plan.apart.loaded
    plan.of_rows = [called for called in BESIDE if called not in loaded and getattr(table, called).columns]
    _map_main(connection, table, plan, rows[plan.main], problems)
    if plan.main == "impressions" and "events" in rows:
        _map_events(connection, table, plan, rows["events"], problems)
    for called, columns in BESIDE.items():
        config = getattr(table, called)
        if called in plan.of_rows:
            plan.tables[called] = _of_rows(connection, config, called, columns, plan, rows[plan.main], problems)
        elif called in rows:
            plan.tables[called] = mapped(connection, rows[called], config, called, columns, problems)
            require(plan.tables[called], [columns[0].name], called, rows[called], problems)
    plan.tables = unified(plan.tables)
    return plan


def _map_main(
    connection: duckdb.DuckDBPyConnection, table: TableConfig, plan: Plan, rows: Loaded, problems: list[str]
) -> None:
    """The columns of the impressions."""
    beside = [expression for called in plan.of_rows for expression in getattr(table, called).columns.values()]
    columns: tuple[ContractColumn, ...] = IMPRESSION_COLUMNS
    ours = {column.name for column in columns}
    elsewhere = {column for each in beside if (column := column_named(each, list(rows.columns))) is not None}
    elsewhere = {column for column in elsewhere if column.lower() not in ours}
    if plan.main == "events":
        columns = (EVENT, *columns)
    config = getattr(table, plan.main)
    if plan.apart is not None:
        named = {each for text in config.columns.values() for each in columns_of(text, list(rows.columns))}
        elsewhere |= {ORDINAL, *(named & set(table.impressions.unnest))}
    main = mapped(connection, rows, config, plan.main, columns, problems, elsewhere=elsewhere)
    clicks = (plan.main == "events" or _reads(table.events)) and "click" in named_kinds(table.events)
    required = [column.name for column in columns if column.required and not (clicks and column.name == "clicked")]
    require(main, required, plan.main, rows, problems)
    plan.tables[plan.main] = main
    if plan.main == "events":
        check_kinds(connection, main, table.events, True, problems)


def _map_events(
    connection: duckdb.DuckDBPyConnection, table: TableConfig, plan: Plan, rows: Loaded, problems: list[str]
) -> None:
    """The columns of events that are joined to other impressions."""
    events = mapped(connection, rows, table.events, "events", EVENT_COLUMNS, problems, others=False)
    require(events, ["event", "item_id", "timestamp"], "events", rows, problems)
    shown = plan.tables["impressions"].columns
    if not any(key in events.columns and key in shown for key in KEYS):
        problems.append(
            "data.table.events.columns: request_id, session_id or user_id must be there, and in the impressions too: "
            f"by them events find the impression that they belong to; found {', '.join(events.columns) or 'none'}"
        )
    check_kinds(connection, events, table.events, False, problems)
    plan.tables["events"] = events


def _of_rows(
    connection: duckdb.DuckDBPyConnection,
    config: SourceConfig,
    called: str,
    columns: tuple[ContractColumn, ...],
    plan: Plan,
    rows: Loaded,
    problems: list[str],
) -> Mapped:
    """The columns of a table that is made of the impressions' rows; its key is theirs."""
    key, main = columns[0].name, plan.tables[plan.main]
    named = mapped(connection, rows, config, called, columns, problems, own=False)
    if key in main.columns:
        return Mapped({key: main.columns[key]} | named.columns, {key: main.types[key]} | named.types, named.view)
    return named


def mapping_without_labels(table: TableConfig) -> TableConfig:
    """The mapping of rows that are only scored: nothing is clicked or ordered, and nobody joins events to them."""
    if _reads(table.events) and not _reads(table.impressions):  # the events are the impressions
        return table
    columns = {name: sql for name, sql in table.impressions.columns.items() if name not in LABELS}
    impressions = replace(table.impressions, columns=columns | {"clicked": "false"})
    return replace(table, impressions=impressions, events=EventsConfig())


def _reads(config: SourceConfig) -> bool:
    return bool(config.files) or config.database is not None
