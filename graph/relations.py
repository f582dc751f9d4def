"""Training rows to stored relations: index the nodes, evaluate the edge expressions, stream each relation to disk."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Never

import ibis
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.console import say, warn
from configs.errors import InputError
from configs.schema import GraphConfig
from graph import coengagement
from graph.adjacency import BYTES_OF_EDGE, StrengthBatch, Strengths, capped, mutually_capped
from graph.engines import Workbench
from graph.increment import (
    ITEM_ITEM,
    QUERY_ITEM,
    Past,
    Sums,
    places_in,
    write_engaged,
    write_item_events,
    write_sums,
)
from graph.store import EdgeBatch, Key, write_relation

DEFAULT_ATTRIBUTES = ("brand", "shop", "category")
LONGEST_NAME = 100
"""Bytes of a node type's name: a relation's folder is called by two of them, and a file's name has 255."""
LAID_OUT_TOGETHER = 2
"""Relations that are laid out at a time, in threads: the kernels hold no interpreter lock."""


@dataclass
class Built:
    """What building found, for ``graph.json`` and the summary."""

    nodes: dict[str, pa.Table] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)
    unknown_items: dict[str, int] = field(default_factory=dict)
    edges_before_cap: dict[str, int] = field(default_factory=dict)


def attributes_of(items: pa.Table, wanted: Sequence[str]) -> list[str]:
    """The item columns that become node types: those wanted, or brand, shop and category where they exist.

    Raises:
        InputError: for a column that is not in the items table, is a list, or whose name no node type may have.
    """
    if not wanted:
        return [name for name in DEFAULT_ATTRIBUTES if name in items.column_names and _is_single(items, name)]
    for name in wanted:
        if name not in items.column_names or name == "item_id":
            raise InputError(
                f"graph.attributes names {name!r}; the items table has the attributes "
                f"{[c for c in items.column_names if c != 'item_id']}"
            )
        if pa.types.is_nested(items.schema.field(name).type):
            raise InputError(
                f"graph.attributes names {name!r} of type {items.schema.field(name).type}; nodes are made of single "
                "values: write one column per value that should be a node"
            )
        if name in ("item", "query") or "__" in name or not re.fullmatch(r"\w+", name):
            raise InputError(f"graph.attributes: {name!r} cannot name a node type; rename the column")
        if len(name.encode()) > LONGEST_NAME:
            raise InputError(
                f"graph.attributes: {name!r} has {len(name.encode())} bytes; a node type, which names files, has "
                f"{LONGEST_NAME} at most: rename the column"
            )
    return list(dict.fromkeys(wanted))


def _is_single(items: pa.Table, name: str) -> bool:
    """Whether a column holds single values, as nodes need; another one is left out of the graph out loud."""
    type_ = items.schema.field(name).type
    if pa.types.is_nested(type_):
        warn(f"items: column {name} has type {type_}: nodes are made of single values, so it is left out of the graph")
    return not pa.types.is_nested(type_)


def build_relations(
    folder: Path,
    bench: Workbench,
    rows: Any,
    items: pa.Table,
    config: GraphConfig,
    end: datetime,
    past: Past | None = None,
) -> Built:
    """Write every relation of the graph.

    Args:
        folder: of the graph.
        bench: the engine.
        rows: training rows of the days used, as an expression.
        items: the checked log's items table, in catalogue order.
        config: weights, decay, caps.
        end: the end of the days used.
        past: the graph that this one goes on from.

    Raises:
        InputError: if nothing was engaged at all.
    """
    built = Built()
    attributes = attributes_of(items, config.attributes)
    item_table = _index_items(bench, rows, items, attributes, end, built, past)
    query_table = _index_queries(bench, rows, built, past)
    earlier = None if past is None else past.engaged(bench)
    events = _index_events(bench, rows, item_table, query_table, config, end, built, earlier)
    if not built.events and past is None:
        _refuse_unengaged()
    _keep_state(folder, bench, rows, events, config, built, past)

    since = _Since(bench, config, built, past)
    query_items = since.joined(coengagement.query_item(events), QUERY_ITEM)
    pairs = {("query", "engaged", "item"): ("engaged_by", "query_item")}
    for name in attributes:
        bench.keep(coengagement.item_attribute(item_table, name), f"item_{name}")
        pairs["item", f"has_{name}", name] = (f"{name}_of", f"item_{name}")
    if "category" in attributes:
        bench.keep(coengagement.query_category(query_items, item_table), "query_category")
        pairs["query", "in_category", "category"] = ("category_of_query", "query_category")
    since.joined(coengagement.item_item(events, config.item_item_window), ITEM_ITEM)
    stored: dict[Key, Iterator[EdgeBatch]] = {}
    for key, (reverse, name) in pairs.items():
        edges = _strengths(bench, name, key, config, built)
        if name == "query_item":
            edges = replace(edges, beyond=since.beyond(QUERY_ITEM))
            write_sums(folder, QUERY_ITEM, edges)
        stored |= _pair(edges, bench.rows(name), key, reverse, config, built)
    edges = _strengths(bench, "item_item", ITEM_ITEM[0], config, built).both_ways()
    edges = replace(edges, beyond=since.beyond(ITEM_ITEM))
    write_sums(folder, ITEM_ITEM, edges)
    stored |= _symmetric(edges, 2 * bench.rows("item_item"), ITEM_ITEM[0], config, built)
    for name in attributes:
        if not bench.rows(f"item_{name}"):
            del built.nodes[name]
    counts = {node_type: table.num_rows for node_type, table in built.nodes.items()}
    with ThreadPoolExecutor(LAID_OUT_TOGETHER) as pool:
        # The last one is the largest by far: the others are laid out beside it.
        list(pool.map(lambda key: write_relation(folder, key, counts, None, stored[key]), reversed(stored)))
    return built


@dataclass(frozen=True)
class _Since:
    """Today's strengths of a relation together with what is left of yesterday's, where there is a yesterday."""

    bench: Workbench
    config: GraphConfig
    built: Built
    past: Past | None

    @cached_property
    def numbers(self) -> dict[str, npt.NDArray[np.int64]]:
        """Today's index of each of yesterday's items and queries."""
        assert self.past is not None
        items = np.arange(self.past.graph.node_counts["item"], dtype=np.int64)
        return {"item": items, "query": places_in(self.built.nodes["query"]["key"], self.past.queries)}

    def joined(self, strengths: Any, keys: tuple[Key, ...]) -> Any:
        """Both, added up, as the engine's table of the relation's name."""
        name = f"{keys[0][0]}_{keys[0][2]}"
        if self.past is None:
            return self.bench.keep(strengths, name)
        before = self.past.keep_strengths(self.bench, f"{name}_stored", keys, self.numbers)
        before = self.bench.keep(before, f"{name}_before")
        today = self.bench.keep(strengths, f"{name}_today")
        both = ibis.union(before.select("source", "target", "strength"), today.select("source", "target", "strength"))
        return self.bench.keep(both.group_by(["source", "target"]).agg(strength=both.strength.sum()), name)

    def beyond(self, keys: tuple[Key, ...]) -> Sums | None:
        """What lies beyond yesterday's caps."""
        if self.past is None:
            return None
        before = _strengths(self.bench, f"{keys[0][0]}_{keys[0][2]}_before", keys[0], self.config, self.built)
        return self.past.beyond(keys, before.both_ways() if keys == ITEM_ITEM else before, self.numbers)


def _keep_state(
    folder: Path, bench: Workbench, rows: Any, events: Any, config: GraphConfig, built: Built, past: Past | None
) -> None:
    """What a later graph that goes on from this one needs besides edges."""
    counted = events.group_by("item").agg(events=events.count()).to_pyarrow()
    count = np.zeros(len(built.nodes["item"]), np.int64)
    count[counted["item"].to_numpy()] = counted["events"].to_numpy()
    write_item_events(folder, count if past is None else count + past.item_events)
    earlier = None if past is None else past.engaged(bench)
    if config.weight_touch > 0 and ("history" in rows.columns or earlier is not None):
        write_engaged(folder, bench, coengagement.engaged(rows, earlier))


def _index_items(
    bench: Workbench,
    rows: Any,
    items: pa.Table,
    attributes: Sequence[str],
    end: datetime,
    built: Built,
    past: Past | None,
) -> Any:
    """item_id, item (its row number), known, and a column of node indices for each attribute."""
    built.nodes["item"] = pa.table({"key": items["item_id"]})
    indexed = pa.table({"item_id": items["item_id"], "item": np.arange(len(items), dtype=np.int64)})
    for name in attributes:
        values = _values(items[name])
        keys = pc.unique(values.drop_null()).sort()
        built.nodes[name] = pa.table({"key": keys})
        indexed = indexed.append_column(name, pc.index_in(values, keys).cast(pa.int64()))
    listed = _listed(items, end)
    indexed = indexed.append_column("listed", listed if past is None else pc.or_(listed, pa.array(past.known)))
    table = bench.put(indexed, "items_by_id")
    seen = coengagement.distinct(rows, item_id=rows.item_id).mutate(seen=True)
    joined = table.left_join(seen, "item_id")
    known = joined.listed | joined.seen.notnull()
    return bench.keep(joined.select("item_id", "item", *attributes, known=known), "items")


def _values(column: pa.ChunkedArray) -> pa.Array:
    """An attribute's values as one array; NaN is a missing value, not a node."""
    values = column.combine_chunks()
    return pc.if_else(pc.is_nan(values), None, values) if pa.types.is_floating(values.type) else values


def _listed(items: pa.Table, end: datetime) -> pa.Array:
    """Whether an item was on sale by the end of training, as far as ``listed_at`` says."""
    if "listed_at" not in items.column_names:
        return pa.array(np.zeros(len(items), dtype=bool))
    listed_at = items["listed_at"].combine_chunks().cast(pa.timestamp("ms", tz="UTC"))
    return pc.fill_null(pc.less_equal(listed_at, pa.scalar(end, pa.timestamp("ms", tz="UTC"))), False)


def _index_queries(bench: Workbench, rows: Any, built: Built, past: Past | None) -> Any:
    """query_value, query (its index): the distinct training queries, yesterday's too, ascending."""
    bench.keep(coengagement.distinct(rows, key=rows.query).order_by("key"), "query_keys")
    keys = bench.read("query_keys")
    if past is not None:
        both = pa.chunked_array([*keys["key"].chunks, *past.queries.cast(keys["key"].type).chunks], keys["key"].type)
        bench.put(pa.table({"key": both}), "all_queries")
        table = bench.table("all_queries")
        bench.keep(coengagement.distinct(table, key=table.key).order_by("key"), "query_keys")
        keys = bench.read("query_keys")
    built.nodes["query"] = keys
    return bench.put(
        pa.table({"query_value": keys["key"], "query": np.arange(len(keys), dtype=np.int64)}), "queries_by_value"
    )


def _index_events(
    bench: Workbench,
    rows: Any,
    items: Any,
    queries: Any,
    config: GraphConfig,
    end: datetime,
    built: Built,
    earlier: Any | None,
) -> Any:
    """session, query and item (indices), kind, weight: all events whose item the catalogue knows."""
    by_id = coengagement.engagement(rows, config, end, earlier)
    by_id = bench.keep(by_id.rename(query_value="query"), "events_by_id")
    indexed = by_id.join(items.select("item_id", "item"), "item_id").join(queries, "query_value")
    events = bench.keep(indexed.select("session", "query", "item", "kind", "weight"), "events")
    event_counts = _counts(by_id)
    built.events = _counts(events)
    built.unknown_items = {
        k: n - built.events.get(k, 0) for k, n in event_counts.items() if n != built.events.get(k, 0)
    }
    if built.unknown_items:
        warn(f"events on items that are not in items.parquet, left out of the graph: {built.unknown_items}")
    return events


def _refuse_unengaged() -> Never:
    raise InputError(
        "the training days hold no click, no order and no history item of weight above 0 (graph.weight_click, "
        "weight_order, weight_touch): there is nothing to build a graph from; check the columns clicked, ordered "
        "and history of the log, and graph.days"
    )


def _counts(events: Any) -> dict[str, int]:
    counted = events.group_by("kind").agg(events=events.count()).to_pyarrow().to_pylist()
    return {row["kind"]: row["events"] for row in sorted(counted, key=lambda row: row["kind"])}


def _pair(
    edges: Strengths, count: int, key: Key, reverse: str, config: GraphConfig, built: Built
) -> dict[Key, Iterator[EdgeBatch]]:
    """A relation and its reverse, each with at most ``degree_cap`` edges per target of its own."""
    back = (key[2], reverse, key[0])
    if not _has_edges(count, [key, back], built):
        return {}
    return {key: capped(edges, config.degree_cap), back: capped(edges.reversed(), config.degree_cap)}


def _symmetric(
    edges: Strengths, count: int, key: Key, config: GraphConfig, built: Built
) -> dict[Key, Iterator[EdgeBatch]]:
    """A relation that is its own reverse: an edge stays if it is among the heaviest of both its ends."""
    if not _has_edges(count, [key], built):
        return {}
    return {key: mutually_capped(edges, config.degree_cap)}


def _has_edges(edges: int, keys: Sequence[Key], built: Built) -> bool:
    if edges:
        built.edges_before_cap.update({"__".join(key): edges for key in keys})
    else:
        say(f"graph: no edge joins {keys[0][0]} and {keys[0][2]}: the relation {keys[0][1]} is left out")
    return edges > 0


def _strengths(bench: Workbench, name: str, key: Key, config: GraphConfig, built: Built) -> Strengths:
    """The kept edges of a relation, read a batch at a time."""

    def read() -> Iterator[StrengthBatch]:
        for batch in bench.batches(name):
            # DuckDB takes a literal 1.0 for a decimal.
            strength = batch["strength"].cast(pa.float64())
            yield batch["source"].to_numpy(), batch["target"].to_numpy(), strength.to_numpy()

    # A quarter of the engine's limit, whose own memory is idle meanwhile.
    most = int(config.memory_limit_gb * 1e9 / 4 / BYTES_OF_EDGE / LAID_OUT_TOGETHER)
    return Strengths(read, built.nodes[key[0]].num_rows, built.nodes[key[2]].num_rows, most)
