"""Tiny graphs and logs for the tests of psi."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graph.logs.log import SearchLog, catalogue_fingerprint
from graph.store import Graph, Key, Relation, write_graph

Edges = Mapping[tuple[int, int], float]
"""(source, target) → weight."""


def relation(key: Key, edges: Edges, targets: int) -> Relation:
    """CSR by target from a plain dictionary."""
    ordered = sorted(edges, key=lambda edge: (edge[1], edge[0]))
    counts = np.bincount([target for _, target in ordered], minlength=targets) if ordered else np.zeros(targets, int)
    return Relation(
        *key,
        indptr=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        indices=np.array([source for source, _ in ordered], dtype=np.int64),
        weight=np.array([edges[edge] for edge in ordered], dtype=np.float32),
    )


def random_edges(sources: int, targets: int, count: int, seed: int) -> dict[tuple[int, int], float]:
    random = np.random.default_rng(seed)
    pairs = zip(random.integers(0, sources, count).tolist(), random.integers(0, targets, count).tolist(), strict=True)
    return {pair: float(random.uniform(0.1, 2.0)) for pair in pairs}


def shop_relations(queries: int, items: int, categories: int, seed: int) -> list[Relation]:
    """A random graph with every kind of relation; each item has one category."""
    engaged = random_edges(queries, items, 4 * items, seed)
    together = random_edges(items, items, 2 * items, seed + 1)
    together = {pair: w for (a, b), w in together.items() if a < b for pair in ((a, b), (b, a))}
    category = {(item, item % categories): 1.0 for item in range(items)}
    interest = {(query, item % categories): 0.5 for query, item in engaged}
    pairs: list[tuple[Key, Edges, str]] = [
        (("query", "engaged", "item"), engaged, "engaged_by"),
        (("item", "has_category", "category"), category, "category_of"),
        (("query", "in_category", "category"), interest, "category_of_query"),
    ]
    counts = {"query": queries, "item": items, "category": categories}
    made = [relation(("item", "co_engaged", "item"), together, items)]
    for key, edges, back in pairs:
        made.append(relation(key, edges, counts[key[2]]))
        made.append(relation((key[2], back, key[0]), {(b, a): w for (a, b), w in edges.items()}, counts[key[0]]))
    return made


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """40 queries, 60 items, 5 categories, random edges."""
    nodes = {
        "query": pa.table({"key": [f"query {n}" for n in range(40)]}),
        "item": pa.table({"key": list(range(60))}),
        "category": pa.table({"key": [f"category {n}" for n in range(5)]}),
    }
    return write_graph(tmp_path_factory.mktemp("shop") / "graph", nodes, shop_relations(40, 60, 5, 0), {})


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[SearchLog, Graph]:
    """A log and its graph in which a query engages items of its own topic, and titles name the topic."""
    folder = tmp_path_factory.mktemp("planted")
    random = np.random.default_rng(0)
    topics, items, queries = 8, 160, 96
    titles = [f"topic{item % topics} thing{item}" for item in range(items)]
    item_table = pa.table({"item_id": [f"i{n}" for n in range(items)], "title": titles})
    rows = [
        (query, int(random.integers(items // topics)) * topics + query % topics)
        for query in range(queries)
        for _ in range(8)
    ]
    keys = [f"topic{query % topics} wish{query}" for query in range(queries)]
    log = write_log(folder / "logs", item_table, [(keys[q], f"i{i}") for q, i in rows])
    engaged: dict[tuple[int, int], float] = {}
    for query, item in rows:
        engaged[query, item] = engaged.get((query, item), 0.0) + 1.0
    relations = [
        relation(("query", "engaged", "item"), engaged, items),
        relation(("item", "engaged_by", "query"), {(b, a): w for (a, b), w in engaged.items()}, queries),
    ]
    nodes = {"query": pa.table({"key": keys}), "item": pa.table({"key": item_table["item_id"]})}
    facts = {"days": ["2024-01-01"], "end": "2024-01-02 00:00:00+00:00", "catalogue": log.catalogue}
    return log, write_graph(folder / "graph", nodes, relations, facts)


def write_log(folder: Path, items: pa.Table, clicks: Sequence[tuple[str, str]]) -> SearchLog:
    """A checked log of one training day in which every row was clicked."""
    day = folder / "impressions" / "day=2024-01-01"
    day.mkdir(parents=True)
    count = len(clicks)
    rows = pa.table(
        {
            "request_id": pa.array(range(count)),
            "query": [query for query, _ in clicks],
            "item_id": [item for _, item in clicks],
            "timestamp": pa.array([1_704_100_000_000] * count, pa.timestamp("ms", tz="UTC")),
            "clicked": [True] * count,
            "ordered": [False] * count,
            "split": ["train"] * count,
        }
    )
    pq.write_table(rows, day / "part-0.parquet")
    pq.write_table(items, folder / "items.parquet")
    facts = {"catalogue": catalogue_fingerprint(items["item_id"])}
    (folder / "log.json").write_text(json.dumps(facts))
    (folder / "manifest.json").write_text(json.dumps({"identity": "log"}))
    return SearchLog.open(folder)


@pytest.fixture(scope="session")
def make_relation() -> Callable[[Key, Edges, int], Relation]:
    return relation
