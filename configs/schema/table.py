"""Keys of ``data=table``: the mapping from the files or tables that people have to the search-log contract."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from configs.schema.fields import key


@dataclass
class SourceConfig:
    """One table of the log: where its rows lie and what its columns are."""

    files: list[str] = key(
        [], "files, folders or patterns, relative to data.path; Parquet, CSV, JSON or JSON lines; s3://... too"
    )
    database: str | None = key(None, "in place of files: a DuckDB file, or postgresql://user@host/name")
    table: str | None = key(None, "of the database: a table's name, or a SELECT")
    options: dict[str, Any] = key(
        {}, "of CSV files: delim, quote, escape, nullstr, encoding, decimal_separator, header, names, skip, comment"
    )
    columns: dict[str, str] = key(
        {}, "contract column, or a name of your own: source column, or SQL expression of them"
    )
    where: str | None = key(None, "SQL condition; other rows are left out, and counted")
    leave: list[str] = key([], "source columns that are not taken over; any other keeps its name")


@dataclass
class ImpressionsConfig(SourceConfig):
    """Impressions: a row for each item of a request, or a row for each request with its items as lists."""

    unnest: list[str] = key([], "list columns, taken apart side by side into a row an item; ordinal counts from 1")
    separator: str | None = key(None, "of lists that are text: what stands between two entries")


@dataclass
class KindsConfig:
    """The values of the events' column ``event``, by what they stand for; rows of other values are left out."""

    impression: list[str] = key([], "an item was shown: these events are the impressions where there is no such table")
    click: list[str] = key(["click"], "the impression was clicked")
    cart: list[str] = key([], "the item was put into the cart: becomes the column carted, which is no feature")
    order: list[str] = key([], "the item was ordered")


@dataclass
class EventsConfig(SourceConfig):
    """Clicks, carts and orders to be joined to impressions; also the impressions, where there is no other table."""

    kinds: KindsConfig = key(KindsConfig, "what the values of the column event stand for")
    window_minutes: float = key(
        30.0,
        "minutes for which an event without request_id belongs to the request that showed its item",
        above=0,
        at_most=525_600,
    )


@dataclass
class TableConfig:
    """The mapping of ``data=table``."""

    impressions: ImpressionsConfig = key(ImpressionsConfig, "what was shown")
    events: EventsConfig = key(EventsConfig, "what was done")
    items: SourceConfig = key(SourceConfig, "a row an item; without files, of the impressions' first row of each item")
    users: SourceConfig = key(SourceConfig, "a row a user; without files, of the impressions' first row of each user")
    queries: SourceConfig = key(SourceConfig, "a row a query; without files, of the impressions' first row of each")
