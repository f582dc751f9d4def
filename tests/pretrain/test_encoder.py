"""The encoder against loops over nodes and edges, and both graph libraries against each other."""

from __future__ import annotations

import os

os.environ["DGLBACKEND"] = "pytorch"

import numpy as np
import pytest
import torch

from configs.errors import InputError
from configs.schema import Backend
from graph.store import Graph
from pretrain.backends import batches
from pretrain.encoder import GraphEncoder
from pretrain.inference import embed
from pretrain.node_features import NodeFeatures
from pretrain.sparse import RowMeans
from pretrain.targets import TargetExclusions, engaged_pairs, without

BUCKETS = 50


def random_features(graph: Graph, seed: int = 0) -> dict[str, NodeFeatures]:
    random = np.random.default_rng(seed)
    return {
        kind: NodeFeatures(
            random.integers(0, BUCKETS + 1, (count, 4)), random.integers(0, BUCKETS + 1, (count, 2)), BUCKETS
        )
        for kind, count in graph.node_counts.items()
    }


def make_encoder(graph: Graph, layers: int = 2) -> GraphEncoder:
    torch.manual_seed(1)
    return GraphEncoder(sorted(graph.node_counts), sorted(graph.relations), BUCKETS, 6, 7, 5, layers)


def naive(encoder: GraphEncoder, graph: Graph, features: dict[str, NodeFeatures]) -> dict[str, torch.Tensor]:
    """Node by node and edge by edge, in float64."""
    parameters = {name: value.double() for name, value in encoder.state_dict().items()}
    table = parameters["nodes.table.weight"]
    vectors: dict[str, torch.Tensor] = {}
    for kind, count in graph.node_counts.items():
        rows = []
        for node in range(count):
            bags = []
            for row in (2 * node, 2 * node + 1):
                members = features[kind].indices[slice(*features[kind].indptr[row : row + 2])]
                bags.append(sum((table[m] for m in members), torch.zeros(6).double()) / max(len(members), 1))
            own = parameters[f"nodes.project.{kind}.weight"] @ torch.cat(bags)
            rows.append(torch.relu(own + parameters[f"nodes.project.{kind}.bias"]))
        vectors[kind] = torch.stack(rows)
    layers = len(encoder.layers)
    for layer in range(layers):
        made = {}
        for kind, count in graph.node_counts.items():
            rows = []
            for node in range(count):
                prefix = f"layers.{layer}"
                row = parameters[f"{prefix}.own.{kind}.weight"] @ vectors[kind][node]
                row = row + parameters[f"{prefix}.own.{kind}.bias"]
                for key, relation in graph.relations.items():
                    start, stop = relation.indptr[node : node + 2] if key[2] == kind else (0, 0)
                    if stop > start:
                        weight = torch.from_numpy(np.array(relation.weight[start:stop])).double()
                        sources = vectors[key[0]][torch.from_numpy(np.array(relation.indices[start:stop]))]
                        mean = (weight[:, None] * sources).sum(0) / weight.sum()
                        row = row + parameters[f"{prefix}.neighbours.{'__'.join(key)}.weight"] @ mean
                rows.append(row / row.norm() if layer == layers - 1 else torch.relu(row))
            made[kind] = torch.stack(rows)
        vectors = made
    return vectors


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_inference_agrees_with_loops(shop: Graph, layers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretrain.inference.CHUNK", 7)
    encoder, features = make_encoder(shop, layers), random_features(shop)
    expected = naive(encoder, shop, features)
    for kind, vectors in embed(encoder, shop, features, ["query", "item", "category"]).items():
        torch.testing.assert_close(vectors.double(), expected[kind], atol=2e-6, rtol=1e-5)
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)))


@pytest.mark.parametrize("backend", list(Backend))
def test_full_neighbourhoods_give_the_same_vectors_on_both_backends(shop: Graph, backend: Backend) -> None:
    """A batch of full fan-out equals layer-wise inference on the graph less that batch's targets."""
    if backend is Backend.dgl:
        pytest.importorskip("dgl")
    encoder, features, pairs = make_encoder(shop), random_features(shop), engaged_pairs(shop)
    for batch in batches(backend, shop, pairs, features, [], [-1, -1], 50, 0.0, seed=4).epoch(2):
        targets = TargetExclusions(shop.relations)(batch.queries, batch.items[:, 0])
        expected = embed(encoder, without(shop, targets), features)
        found = encoder(batch.features, batch.blocks)
        torch.testing.assert_close(found["query"][batch.query_at], expected["query"][batch.queries])
        torch.testing.assert_close(found["item"][batch.item_at], expected["item"][batch.items])


def test_gradients_agree_between_the_backends(shop: Graph) -> None:
    pytest.importorskip("dgl")
    gradients = {}
    for backend in Backend:
        encoder = make_encoder(shop)
        made = batches(backend, shop, engaged_pairs(shop), random_features(shop), [], [-1, -1], 64, 0.0, seed=4)
        batch = next(iter(made.epoch(0)))
        vectors = encoder(batch.features, batch.blocks)
        (vectors["query"][batch.query_at] @ vectors["item"][batch.item_at[:, 0]].T).square().sum().backward()
        gradients[backend] = {name: p.grad for name, p in encoder.named_parameters() if p.grad is not None}
    assert gradients[Backend.pyg].keys() == gradients[Backend.dgl].keys()
    for name, gradient in gradients[Backend.pyg].items():
        torch.testing.assert_close(gradient, gradients[Backend.dgl][name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("backend", list(Backend))
def test_an_epoch_can_be_drawn_again(shop: Graph, backend: Backend) -> None:
    if backend is Backend.dgl:
        pytest.importorskip("dgl")
    encoder, features = make_encoder(shop), random_features(shop)

    def drawn(epoch: int) -> torch.Tensor:
        made = batches(backend, shop, engaged_pairs(shop), features, [], [2, 2], 64, 0.2, seed=4)
        return torch.cat([encoder(b.features, b.blocks)["query"][b.query_at] for b in made.epoch(epoch)])

    with torch.no_grad():
        assert torch.equal(drawn(1), drawn(1))
        assert not torch.equal(drawn(1), drawn(2))


def test_dgl_refuses_int32(shop: Graph) -> None:
    pytest.importorskip("dgl")
    from graph.views import to_dgl
    from pretrain.backends.dgl import require_int64

    require_int64(to_dgl(shop))
    with pytest.raises(InputError, match="int64"):
        require_int64(to_dgl(shop).int())


def test_dgl_missing_is_said_plainly(shop: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "dgl", None)
    with pytest.raises(InputError, match=r"Python 3\.11.*Linux x86-64"):
        batches(Backend.dgl, shop, engaged_pairs(shop), random_features(shop), [], [2], 8, 0.0, 0)


def test_row_means_against_dense() -> None:
    random = np.random.default_rng(0)
    for rows, columns, entries in [(5, 7, 12), (1, 1, 1), (4, 3, 0), (3, 9, 30)]:
        indptr = np.sort(random.integers(0, entries + 1, rows + 1))
        indptr[0], indptr[-1] = 0, entries
        indices = random.integers(0, columns, entries)
        weight = random.uniform(0.1, 1.0, entries).astype(np.float32)
        matrix = RowMeans(indptr, indices, weight, columns)
        dense = torch.zeros(rows, columns)
        for row in range(rows):
            part = slice(indptr[row], indptr[row + 1])
            for column, value in zip(indices[part], weight[part], strict=True):
                dense[row, column] += value / weight[part].sum()
        vectors = torch.randn(columns, 3, requires_grad=True)
        product = matrix @ vectors
        torch.testing.assert_close(product, dense @ vectors)
        gradient = torch.randn(rows, 3)
        (found,) = torch.autograd.grad(product, vectors, gradient)
        torch.testing.assert_close(found, dense.T @ gradient)


def test_an_empty_relation_sends_nothing() -> None:
    empty = RowMeans(np.zeros(4, np.int64), np.zeros(0, np.int64), None, 2)
    assert (empty @ torch.ones(2, 5)).tolist() == [[0.0] * 5] * 3
