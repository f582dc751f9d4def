"""Target edges: split by seed, kept out of message passing with everything that derives from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from configs.errors import InputError
from configs.schema import Backend
from graph.store import Graph, Key, Relation, write_graph
from pretrain.backends import batches
from pretrain.backends.batch import TargetBatch
from pretrain.node_features import NodeFeatures
from pretrain.sampling import Pairs, Sample
from pretrain.targets import (
    ENGAGED,
    ENGAGED_BY,
    TargetExclusions,
    engaged_pairs,
    split_pairs,
    without,
    without_engagement_of,
)

TOGETHER: Key = ("item", "co_engaged", "item")
INTEREST: Key = ("query", "in_category", "category")
INTEREST_OF: Key = ("category", "category_of_query", "query")


def edges(graph: Graph, key: Key) -> set[tuple[int, int]]:
    """(source, target) of every edge."""
    relation = graph.relations[key]
    return set(zip(relation.indices.tolist(), relation.targets.tolist(), strict=True))


def naive_exclusions(graph: Graph, targets: set[tuple[int, int]]) -> dict[Key, set[tuple[int, int]]]:
    """What may carry no message, from the definition; targets are (query, item)."""
    of_query: dict[int, set[int]] = {}
    for item, query in edges(graph, ENGAGED_BY):
        of_query.setdefault(query, set()).add(item)
    of_item: dict[int, set[int]] = {}
    for query, item in edges(graph, ENGAGED) - targets:
        of_item.setdefault(item, set()).add(query)
    of_item |= {item: set() for item in range(graph.node_counts["item"]) if item not in of_item}
    category = {item: c for c, item in edges(graph, ("category", "category_of", "item"))}
    gone: dict[Key, set[tuple[int, int]]] = {key: set() for key in graph.relations}
    for query, item in targets:
        gone[ENGAGED].add((query, item))
        gone[ENGAGED_BY].add((item, query))
        for other in of_query.get(query, set()) - {item}:
            if not (of_item[item] & of_item[other]) - {query}:
                gone[TOGETHER] |= {(item, other), (other, item)}
        support = {o for o in of_query.get(query, set()) if category[o] == category[item] and (query, o) not in targets}
        if not support - {item}:
            gone[INTEREST].add((query, category[item]))
            gone[INTEREST_OF].add((category[item], query))
    return {key: found & edges(graph, key) for key, found in gone.items()}


def test_exclusions_agree_with_the_definition(shop: Graph) -> None:
    pairs = engaged_pairs(shop)
    exclusions = TargetExclusions(shop.relations)
    excluded_something: set[Key] = set()
    for seed in range(10):
        chosen = pairs.take(np.random.default_rng(seed).permutation(len(pairs))[: 5 + 5 * seed])
        expected = naive_exclusions(shop, set(zip(chosen.queries.tolist(), chosen.items.tolist(), strict=True)))
        found = exclusions(chosen.queries, chosen.items)
        for key, relation in shop.relations.items():
            positions = found.get(key, np.zeros(0, np.int64))
            assert (np.diff(positions) > 0).all()
            pairs_found = zip(relation.indices[positions].tolist(), relation.targets[positions].tolist(), strict=True)
            assert set(pairs_found) == expected[key], key
            if expected[key]:
                excluded_something.add(key)
        assert {key: edges(without(shop, found), key) for key in shop.relations} == {
            key: edges(shop, key) - expected[key] for key in shop.relations
        }
    assert excluded_something == {ENGAGED, ENGAGED_BY, TOGETHER, INTEREST, INTEREST_OF}


def message_edges(batch: TargetBatch, backend: Backend, graph: Graph) -> dict[Key, set[tuple[int, int]]]:
    """Every edge that carries a message in a batch, whichever layer, in the graph's own indices."""
    found: dict[Key, set[tuple[int, int]]] = {key: set() for key in graph.relations}
    if backend is Backend.dgl:
        import dgl

        for block in batch.blocks:
            for key in block._block.canonical_etypes:  # type: ignore[attr-defined]
                positions = block._block.edges[key].data[dgl.EID].numpy()  # type: ignore[attr-defined]
                relation = graph.relations[key]
                found[key] |= set(
                    zip(relation.indices[positions].tolist(), relation.targets[positions].tolist(), strict=True)
                )
        return found
    return found


@pytest.mark.parametrize("backend", list(Backend))
def test_no_target_edge_carries_a_message(shop: Graph, backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    if backend is Backend.dgl:
        pytest.importorskip("dgl")
    pairs = engaged_pairs(shop)
    features = {kind: bare(count) for kind, count in shop.node_counts.items()}
    sampled: list[dict[Key, set[tuple[int, int]]]] = []
    if backend is Backend.pyg:
        from pretrain.backends import pyg

        make = pyg.sparse_blocks

        def remember(sample: Sample) -> object:
            held: dict[Key, set[tuple[int, int]]] = {key: set() for key in sample.edges}
            for key, hops in sample.edges.items():
                sources = np.concatenate(sample.nodes[key[0]])
                for hop, targets in zip(hops, sample.nodes[key[2]], strict=False):
                    of = np.repeat(targets, np.diff(hop.indptr))
                    held[key] |= set(zip(sources[hop.sources].tolist(), of.tolist(), strict=True))
            sampled.append(held)
            return make(sample)

        monkeypatch.setattr(pyg, "sparse_blocks", remember)
    made = batches(backend, shop, pairs, features, [], [-1, -1], 24, 0.0, seed=0)
    targets_seen = 0
    for batch in made.epoch(0):
        held = sampled[-1] if backend is Backend.pyg else message_edges(batch, backend, shop)
        targets = set(zip(batch.queries.tolist(), batch.items[:, 0].tolist(), strict=True))
        targets_seen += len(targets)
        assert not held[ENGAGED] & targets
        assert not held[ENGAGED_BY] & {(item, query) for query, item in targets}
        for key, gone in naive_exclusions(shop, targets).items():
            assert not held[key] & gone, key
        assert held[ENGAGED], "other edges do carry messages"
    assert targets_seen == len(pairs)


def test_cold_items_show_no_engagement(shop: Graph) -> None:
    pairs = engaged_pairs(shop).take(np.arange(40))
    with pytest.raises(InputError, match="cold_share"):
        TargetExclusions(shop.relations, 1.5)
    everything = without(shop, TargetExclusions(shop.relations, 1.0)(pairs.queries, pairs.items, 0))
    hidden = without_engagement_of(shop, np.unique(pairs.items))
    for key in (ENGAGED, ENGAGED_BY, TOGETHER):
        assert edges(everything, key) == edges(hidden, key)
    half = TargetExclusions(shop.relations, 0.5)
    kept = [
        {item for _, item in edges(without(shop, half(pairs.queries, pairs.items, stream)), ENGAGED)}
        for stream in (1, 1, 2)
    ]
    assert kept[0] == kept[1] != kept[2]
    cold = set(pairs.items.tolist()) - kept[0]
    assert 0.2 < len(cold) / len(set(pairs.items.tolist())) < 0.9


def bare(count: int) -> NodeFeatures:
    return NodeFeatures(np.zeros((count, 0), np.int64), np.arange(1, count + 1)[:, None], 100)


def test_the_split_is_complete_and_the_seed_decides(shop: Graph) -> None:
    pairs = engaged_pairs(shop)
    training, held_out = split_pairs(pairs, 0.1, seed=1)
    assert len(held_out) == round(0.1 * len(pairs))
    assert np.isin(held_out.queries, training.queries).all()
    assert np.isin(held_out.items, training.items).all()

    def codes(some: Pairs) -> list[int]:
        return (some.queries * 1000 + some.items).tolist()

    assert sorted(codes(training) + codes(held_out)) == codes(pairs)
    assert codes(split_pairs(pairs, 0.1, seed=1)[1]) == codes(held_out) != codes(split_pairs(pairs, 0.1, seed=2)[1])
    two = Pairs(np.array([0, 1]), np.array([0, 1]))
    assert [len(part) for part in split_pairs(two, 0.01, 0)] == [1, 1]
    crossing = Pairs(np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 2]))
    training, held_out = split_pairs(crossing, 0.9, 0)
    assert [len(training), len(held_out)] == [1, 4], "too few can be spared, others fill up"
    block = Pairs(*(part.ravel() for part in np.indices((30, 30))))
    _, held_out = split_pairs(Pairs(np.append(block.queries, 30), np.append(block.items, 30)), 0.9, 0)
    assert 400 < len(held_out) <= 450, "half of the pairs that can be spared"
    assert 30 not in held_out.queries
    with pytest.raises(InputError, match="at least 2"):
        split_pairs(two.take(np.array([0])), 0.1, 0)
    for share in (0.0, 1.0):
        with pytest.raises(InputError, match="validation_share"):
            split_pairs(two, share, 0)


def test_pairs_of_either_direction_count(
    tmp_path: Path, make_relation: Callable[[Key, dict[tuple[int, int], float], int], Relation]
) -> None:
    """The degree cap may drop an edge in one direction only."""
    relations = [make_relation(ENGAGED, {(0, 0): 1.0, (1, 1): 1.0}, 2), make_relation(ENGAGED_BY, {(1, 0): 1.0}, 2)]
    nodes = {"query": pa.table({"key": ["a", "b"]}), "item": pa.table({"key": [1, 2]})}
    graph = write_graph(tmp_path / "graph", nodes, relations, {})
    pairs = engaged_pairs(graph)
    assert list(zip(pairs.queries.tolist(), pairs.items.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 1)]
    found = TargetExclusions(graph.relations)(pairs.queries, pairs.items)
    assert [found[ENGAGED].tolist(), found[ENGAGED_BY].tolist()] == [[0, 1], [0]]


def test_exclusions_forget_the_last_batch(shop: Graph) -> None:
    pairs = engaged_pairs(shop)
    exclusions = TargetExclusions(shop.relations, 0.3)
    first, other = pairs.take(np.arange(30)), pairs.take(np.arange(30, 90))
    expected = exclusions(first.queries, first.items, 5)
    exclusions(other.queries, other.items, 6)
    again = exclusions(first.queries, first.items, 5)
    assert expected.keys() == again.keys()
    assert all(np.array_equal(expected[key], again[key]) for key in expected)
    unsorted = exclusions.barred(first.queries, first.items, 5)
    assert all(np.array_equal(expected[key], np.sort(unsorted[key])) for key in expected)


def test_a_graph_without_engagement_is_refused(
    tmp_path: Path, make_relation: Callable[[Key, dict[tuple[int, int], float], int], Relation]
) -> None:
    nodes = {"item": pa.table({"key": [1, 2]})}
    graph = write_graph(tmp_path / "graph", nodes, [make_relation(TOGETHER, {(0, 1): 1.0, (1, 0): 1.0}, 2)], {})
    with pytest.raises(InputError, match="nothing was engaged"):
        engaged_pairs(graph)


def test_hidden_items_keep_their_attributes_only(shop: Graph) -> None:
    hidden = np.array([3, 17])
    seen = without_engagement_of(shop, hidden)
    for key in shop.relations:
        before, after = edges(shop, key), edges(seen, key)
        engagement = {ENGAGED, ENGAGED_BY, TOGETHER}
        lost = {
            (s, t)
            for s, t in before
            if key in engagement and ((key[0] == "item" and s in hidden) or (key[2] == "item" and t in hidden))
        }
        assert after == before - lost
    assert (3 % 5, 3) in edges(seen, ("category", "category_of", "item"))
