"""Degrees, components and isolated nodes against networkx and by hand."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest

from graph.store import Graph, Relation, write_graph
from graph.summary import component_facts, degree_facts, isolated_facts
from graph.views import to_networkx


def random_graph(folder: Path, seed: int, density: float) -> Graph:
    draw = np.random.default_rng(seed)
    counts = {"query": 15, "item": 40, "brand": 6}
    relations = []
    for key in (("query", "engaged", "item"), ("brand", "brand_of", "item"), ("item", "co_engaged", "item")):
        matrix = draw.random((counts[key[2]], counts[key[0]])) < density
        indptr = np.concatenate([[0], np.cumsum(matrix.sum(axis=1))]).astype(np.int64)
        indices = np.nonzero(matrix)[1].astype(np.int64)
        relations.append(Relation(*key, indptr, indices, np.ones(len(indices), dtype=np.float32)))
    nodes = {node_type: pa.table({"key": list(range(count))}) for node_type, count in counts.items()}
    return write_graph(folder, nodes, relations, {})


@pytest.mark.parametrize(("seed", "density"), [(0, 0.0), (1, 0.005), (2, 0.01), (3, 0.02), (4, 0.2)])
def test_components_and_isolated_nodes_agree_with_networkx(tmp_path: Path, seed: int, density: float) -> None:
    graph = random_graph(tmp_path / "graph", seed, density)
    view = to_networkx(graph)
    sizes = [len(component) for component in nx.weakly_connected_components(view)]
    facts = component_facts(graph.node_counts, graph.relations)
    assert (facts["count"], facts["largest"]) == (len(sizes), max(sizes))
    assert facts["sizes"] == [[size, sizes.count(size)] for size in sorted(set(sizes), reverse=True)]
    alone = [node_type for (node_type, _), degree in view.degree() if degree == 0]
    assert isolated_facts(graph.node_counts, graph.relations) == {t: alone.count(t) for t in graph.node_counts}


def test_degrees_of_both_sides() -> None:
    indices = np.array([0, 1, 2, 0, 0], dtype=np.int64)
    made = Relation("query", "engaged", "item", np.array([0, 3, 4, 5, 5]), indices, np.ones(5, dtype=np.float32))
    facts = degree_facts(made, sources=4)
    assert facts["target"] == {
        "min": 0, "q25": 0, "q50": 1, "q75": 1, "q90": 1, "q99": 1, "max": 3, "mean": 1.25, "connected": 3,
    }  # fmt: skip
    assert facts["source"]["max"] == 3
    assert facts["source"]["connected"] == 3
    assert degree_facts(made, sources=4)["source"]["min"] == 0


def test_degrees_without_nodes() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    made = Relation("query", "engaged", "item", np.zeros(1, dtype=np.int64), nothing, np.zeros(0, dtype=np.float32))
    assert degree_facts(made, sources=0)["target"]["max"] == 0
