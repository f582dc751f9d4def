"""PyG, DGL and networkx show the stored graph edge by edge, weights included."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from configs.errors import InputError
from graph.store import Graph, Key, Relation, write_graph
from graph.views import to_dgl, to_networkx, to_pyg

Edges = list[tuple[int, int, float]]


@pytest.fixture(params=range(3))
def graph(request: pytest.FixtureRequest, tmp_path: Path) -> Graph:
    """A random graph with an isolated node, a node type without edges and a relation without edges."""
    draw = np.random.default_rng(request.param)
    counts = {"query": 4, "item": 7, "brand": 3, "shop": 2}
    relations = []
    for key in (("query", "engaged", "item"), ("item", "engaged_by", "query"), ("item", "co_engaged", "item")):
        matrix = draw.random((counts[key[2]], counts[key[0]])) < 0.4
        matrix[-1] = False
        indptr = np.concatenate([[0], np.cumsum(matrix.sum(axis=1))]).astype(np.int64)
        indices = np.nonzero(matrix)[1].astype(np.int64)
        relations.append(Relation(*key, indptr, indices, draw.random(len(indices), dtype=np.float32) + 0.1))
    nothing = np.zeros(0, dtype=np.int64)
    relations.append(
        Relation("item", "has_brand", "brand", np.zeros(4, dtype=np.int64), nothing, nothing.astype(np.float32))
    )
    nodes = {node_type: pa.table({"key": list(range(count))}) for node_type, count in counts.items()}
    return write_graph(tmp_path / "graph", nodes, relations, {})


def stored(graph: Graph) -> dict[Key, Edges]:
    """(source, target, weight) by walking the CSR rows one by one."""
    edges: dict[Key, Edges] = {}
    for key, relation in graph.relations.items():
        edges[key] = sorted(
            (int(relation.indices[place]), target, float(relation.weight[place]))
            for target in range(graph.node_counts[key[2]])
            for place in range(relation.indptr[target], relation.indptr[target + 1])
        )
    return edges


@pytest.mark.filterwarnings("ignore:The node types")
def test_pyg_agrees(graph: Graph) -> None:
    view = to_pyg(graph)
    view.validate()
    assert {node_type: view[node_type].num_nodes for node_type in view.node_types} == graph.node_counts
    found = {
        key: sorted(zip(*view[key].edge_index.tolist(), view[key].edge_weight.tolist(), strict=True))
        for key in view.edge_types
    }
    assert found == stored(graph)


def test_dgl_agrees(graph: Graph) -> None:
    pytest.importorskip("dgl", reason="dgl 1.1.3 needs Python 3.11 on Linux x86-64")
    view = to_dgl(graph)
    assert {node_type: view.num_nodes(node_type) for node_type in view.ntypes} == graph.node_counts
    found = {}
    for key in view.canonical_etypes:
        source, target = view.edges(etype=key, order="eid")
        weight = view.edges[key].data["weight"]
        found[key] = sorted(zip(source.tolist(), target.tolist(), weight.tolist(), strict=True))
    assert found == stored(graph)
    assert str(view.idtype) == "torch.int64"


def test_networkx_agrees(graph: Graph) -> None:
    view = to_networkx(graph)
    assert sorted(view.nodes) == sorted((t, i) for t, count in graph.node_counts.items() for i in range(count))
    found: dict[Key, Edges] = {key: [] for key in graph.relations}
    for (source_type, source), (target_type, target), name, weight in view.edges(keys=True, data="weight"):
        found[source_type, name, target_type].append((source, target, weight))
    assert {key: sorted(edges) for key, edges in found.items()} == stored(graph)


def test_views_are_copies(graph: Graph) -> None:
    before = stored(graph)
    key = ("query", "engaged", "item")
    to_pyg(graph)[key].edge_weight.zero_()
    assert stored(graph) == before


def test_missing_dgl_is_explained(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dgl", None)
    with pytest.raises(InputError, match=r"Python 3\.11 on Linux x86-64"):
        to_dgl(graph)
