"""Keys of the room ``graph``: which log is read and how, and how it becomes a graph."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from configs.schema.fields import key
from configs.schema.table import TableConfig
from configs.schema.ubi import UbiConfig


class SplitBy(StrEnum):
    auto = "auto"
    day = "day"
    session = "session"


class FeatureKind(StrEnum):
    id = "id"
    number = "number"
    text = "text"
    list = "list"


class Side(StrEnum):
    item = "item"
    request = "request"
    pair = "pair"


@dataclass
class FeatureConfig:
    """One column that the models may see."""

    column: str = key("", "name of the column in the log or in the items, users or queries table")
    kind: FeatureKind = key(FeatureKind.id, "id (hashed), number, text (hashed n-grams), list (of ids, mean-pooled)")
    side: Side = key(Side.item, "item, request (query, user, context) or pair (of this item in this request)")
    table: str | None = key(None, "share the embedding table of this other column (a list of items: item_id)")
    sql: str | None = key(
        None, "computed: an SQL expression of the row's columns, of items.COLUMN, users.COLUMN and queries.COLUMN"
    )


@dataclass
class SplitConfig:
    """Which requests train, validate and test: by time, never at random."""

    by: SplitBy = key(SplitBy.auto, "day (whole days), session (whole sessions by their start), or auto: days if >= 3")
    shares: list[float] = key([0.7, 0.1, 0.2], "shares of requests for train, validation, test, in order of time")
    train: list[str] = key([], "explicit days, e.g. [2024-01-01..2024-01-14]; overrides shares")
    validation: list[str] = key([], "explicit days for validation")
    test: list[str] = key([], "explicit days for test")


@dataclass
class DataConfig:
    """Which log is read and how its columns are used."""

    name: str = key(
        "marketplace",
        "marketplace, contract, table, ubi, trivago, expedia, jdsearch, aliexpress, aliccp: a file of configs/data",
    )
    path: str | None = key(None, "file or folder of the log; not used by the marketplace")
    world: str = key("default", "marketplace only: a file of configs/world")
    rejected_share: float = key(0.01, "share of bad rows above which reading stops with an error", between=(0, 1))
    table: TableConfig = key(TableConfig, "table only: what your files and their columns are")
    split: SplitConfig = key(SplitConfig, "train, validation, test")
    ubi: UbiConfig = key(UbiConfig, "data=ubi: User Behavior Insights")
    features: list[FeatureConfig] = key(
        [], "the columns models may see; empty: ids, and every attribute column of items, users and queries"
    )
    add_features: list[FeatureConfig] = key([], "columns that models may see besides, written as data.features")
    remove_features: list[str] = key([], "columns of them that models may not see: a name, or side:name")
    attributes: list[str] = key(
        [], "item columns that become nodes where graph.attributes is empty; empty: brand, shop, category"
    )
    cutoffs: list[int] = key(
        [10, 30, 50, 100], "K of eq. 6: page size and browsing depth of this platform", ascending=True
    )


class GraphEngine(StrEnum):
    duckdb = "duckdb"
    spark = "spark"


@dataclass
class GraphConfig:
    """Logs to the query-item-attribute co-engagement graph."""

    days: list[str] = key([], "training days to use, as in data.split.train; empty: all training days")
    weight_click: float = key(1.0, "weight of a clicked impression", at_least=0, at_most=1e6)
    weight_order: float = key(4.0, "weight of an ordered impression, in place of the click's", at_least=0, at_most=1e6)
    weight_touch: float = key(
        0.5, "weight of an item touched in the session before the request (history)", at_least=0, at_most=1e6
    )
    half_life_days: float = key(14.0, "days after which an event's weight halves", above=0)
    degree_cap: int = key(100, "heaviest edges kept per node and relation", above=0)
    item_item_window: int = key(20, "engaged items of one session that are paired with each other at most", at_least=2)
    attributes: list[str] = key(
        [], "item columns that become nodes; empty: brand, shop, category where the log has them"
    )
    memory_limit_gb: float = key(4.0, "memory DuckDB may use before it spills to disk, in GB", above=0, at_most=1e6)
