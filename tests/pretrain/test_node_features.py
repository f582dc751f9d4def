"""Node features: what is hashed, what is shared between node types, and that no id is among it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from configs.schema import DataConfig, FeatureConfig, FeatureKind, PretrainConfig, Side
from graph.hashing import hash_ngrams
from graph.logs.log import SearchLog
from graph.store import Graph, Relation, write_graph
from pretrain.node_features import NodeFeatures, node_features

BUCKETS = 100_000
ITEMS = {
    "item_id": [11, 12, 13, 14],
    "title": ["red shoe", "blue hat", None, "red hat"],
    "brand": ["acme", "zeta", "acme", None],
    "tags": [["x", "y"], [], None, ["y"]],
    "price": [1.0, 2.0, float("nan"), 1.0],
    "stars": [3, 3, 4, None],
}


def world(folder: Path, items: dict[str, list[object]], queries: pa.Table | None = None) -> tuple[SearchLog, Graph]:
    """A log's tables and nodes; every item but the fifth and later ones has an edge, so that training knows it."""
    logs = folder / "logs"
    logs.mkdir(parents=True)
    pq.write_table(pa.table(items), logs / "items.parquet")
    if queries is not None:
        pq.write_table(queries, logs / "queries.parquet")
    nodes = {
        "item": pa.table({"key": items["item_id"]}),
        "query": pa.table({"key": ["red shoe", "green"]}),
        "brand": pa.table({"key": ["acme", "zeta"]}),
        "stars": pa.table({"key": [3, 4]}),
    }
    indptr = np.minimum(np.arange(len(items["item_id"]) + 1), len(ITEMS["item_id"]))
    known = Relation(
        "brand", "brand_of", "item", indptr, np.zeros(indptr[-1], np.int64), np.ones(indptr[-1], np.float32)
    )
    return SearchLog(logs, {"catalogue": "c"}, "log"), write_graph(folder / "graph", nodes, [known], {})


def rows(features: NodeFeatures, node: int) -> tuple[set[int], set[int]]:
    """The table rows of a node's text and of its values."""
    first, second, third = features.indptr[2 * node : 2 * node + 3].tolist()
    buckets = features.buckets[features.indices]
    return set(buckets[first:second].tolist()), set(buckets[second:third].tolist())


def made(folder: Path, data: DataConfig | None = None, **items: list[object]) -> dict[str, NodeFeatures]:
    log, graph = world(folder, {**ITEMS, **items})
    return node_features(graph, log, data or DataConfig(), PretrainConfig(text_buckets=BUCKETS))


def test_text_is_shared_by_titles_queries_and_attribute_values(tmp_path: Path) -> None:
    features = made(tmp_path)
    expected = {h % BUCKETS for h in hash_ngrams(pa.array(["red shoe"]), 24)[0] if h}
    assert rows(features["query"], 0) == (expected, set())
    assert expected <= rows(features["item"], 0)[0]
    acme = rows(features["brand"], 0)[0]
    assert acme
    assert acme <= rows(features["item"], 2)[0]
    assert not acme & rows(features["item"], 1)[0]


def test_equal_values_share_a_row_and_columns_are_apart(tmp_path: Path) -> None:
    features = made(tmp_path, stars=[3, 3, 4, None], size=[3, 4, 3, 3])["item"]
    first, second, third = (rows(features, node)[1] for node in range(3))
    assert len(first & second) == 1, "stars 3, and not the size of 3"
    assert len(first & third) == 2, "brand acme and size 3"
    assert rows(made(tmp_path / "again")["stars"], 0)[1] <= first


def test_missing_values_are_padding_and_prices_are_buckets(tmp_path: Path) -> None:
    features = made(tmp_path)["item"]
    assert rows(features, 2)[0] == {h % BUCKETS for h in hash_ngrams(pa.array(["acme"]), 24)[0] if h}
    assert len(rows(features, 2)[1]) == 2, "brand and stars; no tags, no price"
    assert len(rows(features, 3)[1] & rows(features, 0)[1]) == 2, "the price of 1 and the tag y"


def test_items_that_training_does_not_know_move_no_bucket(tmp_path: Path) -> None:
    few = made(tmp_path / "few")["item"]
    later = {name: [*values, *values] for name, values in ITEMS.items()}
    later |= {"item_id": list(range(11, 19)), "price": [*ITEMS["price"], 0.1, 0.2, 0.3, 900.0]}
    more = made(tmp_path / "more", **later)["item"]
    for item in range(4):
        assert rows(more, item) == rows(few, item)


def test_the_item_id_plays_no_part(tmp_path: Path) -> None:
    features, renumbered = made(tmp_path), made(tmp_path / "other", item_id=[91, 92, 93, 94])
    assert all(rows(features["item"], node) == rows(renumbered["item"], node) for node in range(4))


def test_named_features_only(tmp_path: Path) -> None:
    named = [
        FeatureConfig(column="brand", kind=FeatureKind.id, side=Side.item),
        FeatureConfig(column="query", kind=FeatureKind.text, side=Side.request),
    ]
    features = made(tmp_path, DataConfig(features=named))["item"]
    acme = {h % BUCKETS for h in hash_ngrams(pa.array(["acme"]), 24)[0] if h}
    assert rows(features, 0) == rows(features, 2) == (acme, rows(features, 2)[1])
    assert len(rows(features, 0)[1]) == 1
    assert rows(features, 3) == (set(), set())


def test_query_attributes_are_joined_by_query(tmp_path: Path) -> None:
    queries = pa.table({"query": ["green", "unseen", "red shoe"], "season": ["spring", "spring", "winter"]})
    log, graph = world(tmp_path, ITEMS, queries)
    features = node_features(graph, log, DataConfig(), PretrainConfig(text_buckets=BUCKETS))["query"]
    without = made(tmp_path / "plain")["query"]
    for node in range(2):
        assert len(rows(features, node)[1]) == 1
        assert rows(without, node)[0] < rows(features, node)[0]
    assert rows(features, 0)[1] != rows(features, 1)[1]


def test_means_over_the_table(tmp_path: Path) -> None:
    import torch

    features = NodeFeatures(np.array([[1, 3, 0], [0, 0, 0]]), np.array([[2], [4]]), 5)
    table = torch.arange(10.0).view(5, 2)
    found = features.take(np.array([1, 0, 0])) @ table
    assert found.tolist() == [[0, 0], [6, 7], [2, 3], [2, 3], [2, 3], [2, 3]], "node by node, its text and its values"
    assert len(features) == 2
    assert not features.empty
    assert NodeFeatures(np.zeros((2, 3), np.int64), np.zeros((2, 0), np.int64), 5).empty
    del tmp_path
