"""The sampler against the graph it samples: only real edges, none twice, none excluded, every subset equally likely."""

from __future__ import annotations

from itertools import combinations

import numba
import numpy as np
import pytest
import torch
from scipy.stats import chi2
from torch_geometric.loader import LinkLoader, NodeLoader
from torch_geometric.sampler import EdgeSamplerInput, HeteroSamplerOutput

from graph.store import Graph, Key, Relation
from graph.views import to_pyg
from pretrain.sampling import NeighbourSampler, Pairs
from pretrain.targets import ENGAGED, engaged_pairs


def star(degree: int) -> dict[Key, Relation]:
    """One target with ``degree`` sources."""
    key = ("leaf", "of", "centre")
    return {
        key: Relation(
            *key,
            indptr=np.array([0, degree]),
            indices=np.arange(degree),
            weight=np.ones(degree, np.float32),
        )
    }


def draw(degree: int, fan_out: int, seed: int, excluded: list[int] | None = None) -> list[int]:
    sampler = NeighbourSampler({"leaf": degree, "centre": 1}, star(degree), [fan_out], seed)
    seeds = np.array([0])
    barred = {("leaf", "of", "centre"): np.array(excluded or [], dtype=np.int64)}
    output = sampler.sample({"centre": seeds}, barred, sampler.stream_of(seeds))
    return output.edge["leaf", "of", "centre"].tolist()


def check(output: HeteroSamplerOutput, graph: Graph, fan_out: list[int]) -> None:
    """Everything that a sample must be."""
    for kind, nodes in output.node.items():
        assert len(nodes) == len(nodes.unique()) == sum(output.num_sampled_nodes[kind])
    for key, relation in graph.relations.items():
        row, col, edge = output.row[key], output.col[key], output.edge[key].numpy()
        np.testing.assert_array_equal(output.node[key[0]][row], relation.indices[edge])
        np.testing.assert_array_equal(output.node[key[2]][col], relation.targets[edge])
        assert len(np.unique(edge)) == len(edge), "an edge was drawn twice"
        assert (np.diff(col) >= 0).all()
        starts = np.cumsum([0, *output.num_sampled_edges[key]])
        assert starts[-1] == len(edge)
        bounds = np.cumsum([0, *output.num_sampled_nodes[key[2]]])
        for hop, limit in enumerate(fan_out):
            taken = np.bincount(col[starts[hop] : starts[hop + 1]], minlength=len(output.node[key[2]]))
            frontier = output.node[key[2]][bounds[hop] : bounds[hop + 1]].numpy()
            degree = np.diff(relation.indptr)[frontier]
            np.testing.assert_array_equal(taken[bounds[hop] : bounds[hop + 1]], np.minimum(degree, limit))
            assert taken.sum() == np.minimum(degree, limit).sum(), "edges to nodes outside the hop's frontier"


@pytest.mark.parametrize("fan_out", [[3, 2], [1, 1], [100, 100], [2], [4, 3, 2]])
def test_samples_are_what_the_graph_allows(shop: Graph, fan_out: list[int]) -> None:
    sampler = NeighbourSampler(shop.node_counts, shop.relations, fan_out, seed=3)
    for batch in range(5):  # The stamps of earlier batches must not show.
        seeds = {"query": np.array([7, 0, 31 + batch]), "item": np.array([batch])}
        output = sampler.sample(seeds, {}, sampler.stream_of(*seeds.values()))
        np.testing.assert_array_equal(output.node["query"][:3], seeds["query"])
        check(output, shop, fan_out)


def test_minus_one_takes_every_neighbour(shop: Graph) -> None:
    sampler = NeighbourSampler(shop.node_counts, shop.relations, [-1, -1], seed=0)
    output = sampler.sample({"item": np.arange(60)}, {}, 0)
    check(output, shop, [10**9, 10**9])


def test_a_seed_without_neighbours_and_no_seeds_at_all() -> None:
    key = ("leaf", "of", "centre")
    empty = {key: Relation(*key, np.zeros(3, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))}
    sampler = NeighbourSampler({"leaf": 4, "centre": 2}, empty, [5, 5], seed=0)
    assert sampler.sample({"centre": np.array([1])}, {}, 0).num_sampled_nodes == {
        "leaf": [0, 0, 0],
        "centre": [1, 0, 0],
    }
    assert sampler.sample({}, {}, 0).edge[key].tolist() == []


def test_reproducible_whatever_came_before_and_however_many_threads(shop: Graph) -> None:
    def sample(sampler: NeighbourSampler) -> HeteroSamplerOutput:
        seeds = np.array([1, 2, 3])
        return sampler.sample({"item": seeds}, {}, sampler.stream_of(seeds))

    one, two = (NeighbourSampler(shop.node_counts, shop.relations, [2, 2], seed=5) for _ in range(2))
    expected = sample(one)
    for _ in range(3):
        two.sample({"query": np.arange(9)}, {}, 11)
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    found = sample(two)
    numba.set_num_threads(before)
    for key in shop.relations:
        assert torch.equal(expected.edge[key], found.edge[key])
    two.epoch = 1
    assert any(not torch.equal(expected.edge[key], sample(two).edge[key]) for key in shop.relations)
    other = NeighbourSampler(shop.node_counts, shop.relations, [2, 2], seed=6)
    assert any(not torch.equal(expected.edge[key], sample(other).edge[key]) for key in shop.relations)


@pytest.mark.parametrize(("degree", "fan_out"), [(6, 3), (5, 1), (5, 4), (70, 2)])
def test_every_subset_is_equally_likely(degree: int, fan_out: int) -> None:
    """Degrees up to 64 and above take different paths."""
    subsets = dict.fromkeys(combinations(range(degree), fan_out), 0)
    draws = max(1500, 4 * len(subsets))
    for seed in range(draws):
        subsets[tuple(sorted(draw(degree, fan_out, seed)))] += 1
    expected = draws / len(subsets)
    statistic = sum((count - expected) ** 2 / expected for count in subsets.values())
    assert statistic < chi2.ppf(1 - 1e-4, len(subsets) - 1)


@pytest.mark.parametrize("excluded", [[0], [5], [2, 3], [0, 1, 2, 3], [0, 2, 4], list(range(6))])
def test_excluded_edges_are_never_drawn_and_the_others_fill_up(excluded: list[int]) -> None:
    left = set(range(6)) - set(excluded)
    seen: set[int] = set()
    for seed in range(200):
        drawn = draw(6, 3, seed, excluded)
        assert len(set(drawn)) == len(drawn) == min(3, len(left))
        seen |= set(drawn)
    assert seen == left


def test_works_in_pygs_link_loader(shop: Graph) -> None:
    pairs = engaged_pairs(shop)
    ends = torch.from_numpy(np.stack([pairs.queries, pairs.items]))
    sampler = NeighbourSampler(shop.node_counts, shop.relations, [3, 2], seed=0)
    loader = LinkLoader(to_pyg(shop), sampler, (ENGAGED, ends), batch_size=32, shuffle=True)
    seen = []
    for batch in loader:
        target = batch[ENGAGED]
        found = torch.stack(
            [batch["query"].n_id[target.edge_label_index[0]], batch["item"].n_id[target.edge_label_index[1]]]
        )
        assert torch.equal(found, ends[:, target.input_id])
        for key, relation in shop.relations.items():
            np.testing.assert_array_equal(batch[key].edge_weight, relation.weight[batch[key].e_id.numpy()])
        seen.append(target.input_id)
    assert torch.equal(torch.cat(seen).sort().values, torch.arange(len(pairs)))


def test_works_in_pygs_node_loader_and_in_workers(shop: Graph) -> None:
    def load(workers: int) -> list[torch.Tensor]:
        sampler = NeighbourSampler(shop.node_counts, shop.relations, [3, 2], seed=0)
        loader = NodeLoader(to_pyg(shop), sampler, ("item", None), batch_size=20, num_workers=workers)
        return [batch["query"].n_id for batch in loader]

    alone, helped = load(0), load(1)
    assert len(alone) == 3
    assert all(torch.equal(a, b) for a, b in zip(alone, helped, strict=True))


def test_negatives_are_seeds_after_the_positives(shop: Graph) -> None:
    def negatives(positives: Pairs, _: int) -> Pairs:
        items = np.stack([positives.items, (positives.items + 1) % 60], axis=1)
        return Pairs(np.zeros_like(items), items)

    sampler = NeighbourSampler(shop.node_counts, shop.relations, [2], seed=0, negatives=[negatives])
    queries, items = torch.tensor([3, 3, 9]), torch.tensor([5, 59, 5])
    output = sampler.sample_from_edges(EdgeSamplerInput(None, queries, items, input_type=ENGAGED))
    _, pairs, label, _ = output.metadata
    assert label.tolist() == [1, 1, 1, 0, 0, 0, 0, 0, 0]
    assert output.node["query"][pairs[0]].tolist() == [3, 3, 9] * 3
    assert output.node["item"][pairs[1]].tolist() == [5, 59, 5, 5, 59, 5, 6, 0, 6]


def test_refuses_pygs_own_negatives(shop: Graph) -> None:
    sampler = NeighbourSampler(shop.node_counts, shop.relations, [2], seed=0)
    ends = torch.tensor([0])
    with pytest.raises(ValueError, match="its own negatives"):
        sampler.sample_from_edges(EdgeSamplerInput(None, ends, ends, input_type=ENGAGED), neg_sampling="binary")
    with pytest.raises(ValueError, match="two types"):
        sampler.sample_from_edges(EdgeSamplerInput(None, ends, ends, input_type=("item", "co_engaged", "item")))
