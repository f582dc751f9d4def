"""The graph's files: what goes in comes out, memory-mapped; nothing broken or half-written is ever opened."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from configs.errors import InputError
from configs.stages import Stage
from graph.store import Graph, Relation, write_graph, write_relation

NODES = {"query": pa.table({"key": ["x", "y"]}), "item": pa.table({"key": [30, 10, 20]})}


def relation(
    indptr: list[int], indices: list[int], key: tuple[str, str, str] = ("query", "engaged", "item")
) -> Relation:
    weight = np.arange(1, len(indices) + 1, dtype=np.float32) / 10
    return Relation(*key, np.array(indptr), np.array(indices, dtype=np.int64), weight)


def test_what_is_written_is_read_back_memory_mapped(tmp_path: Path) -> None:
    written = relation([0, 2, 2, 3], [0, 1, 1])
    back = relation([0, 1, 3], [0, 0, 2], ("item", "engaged_by", "query"))
    write_graph(tmp_path / "graph", NODES, [written, back], {"days": ["2024-01-01"]})
    graph = Graph.open(tmp_path / "graph")
    found = graph.relations[written.key]
    assert all(isinstance(array, np.memmap) for array in (found.indptr, found.indices, found.weight))
    for array in ("indptr", "indices", "weight"):
        np.testing.assert_array_equal(getattr(found, array), getattr(written, array), strict=True)
    assert found.targets.tolist() == [0, 0, 2]
    assert graph.node_counts == {"query": 2, "item": 3}
    assert graph.nodes("item").to_pydict() == {"key": [30, 10, 20], "degree": [2, 0, 1]}
    assert graph.nodes("query")["degree"].to_pylist() == [1, 2]
    assert graph.facts["days"] == ["2024-01-01"]
    assert repr(graph) == (
        "Graph(nodes={'query': 2, 'item': 3}, edges={'item__engaged_by__query': 3, 'query__engaged__item': 3})"
    )


def test_identity_follows_the_facts(tmp_path: Path) -> None:
    edges = [relation([0, 2, 2, 3], [0, 1, 1])]
    made = [write_graph(tmp_path / str(n), NODES, edges, {"seed": n % 2}).identity for n in range(4)]
    assert made[0] == made[2] != made[1] == made[3]


@pytest.mark.parametrize("targets", [1, 2, 100])
def test_batches_walk_every_edge_once(targets: int) -> None:
    made = relation([0, 2, 2, 3, 3], [0, 1, 1])
    batches = list(made.batches(targets))
    assert np.concatenate([batch[0] for batch in batches]).tolist() == made.targets.tolist()
    assert np.concatenate([batch[1] for batch in batches]).tolist() == made.indices.tolist()
    assert np.concatenate([batch[2] for batch in batches]).tolist() == made.weight.tolist()


def test_relation_without_edges(tmp_path: Path) -> None:
    graph = write_graph(tmp_path / "graph", NODES, [relation([0, 0, 0, 0], [])], {})
    assert graph.relations["query", "engaged", "item"].edges == 0
    assert graph.nodes("item")["degree"].to_pylist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("indptr", "indices", "message"),
    [
        ([0, 2, 2, 3], [1, 0, 1], "ascending"),
        ([0, 2, 2, 3], [1, 1, 1], "unique"),
        ([0, 2, 2, 3], [0, 2, 1], "outside"),
        ([0, 2, 2, 3], [-1, 0, 1], "outside"),
        ([0, 2, 2, 3, 4], [0, 1, 1, 1], "outside"),
    ],
)
def test_edges_that_are_no_csr_are_refused(tmp_path: Path, indptr: list[int], indices: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_graph(tmp_path / "graph", NODES, [relation(indptr, indices)], {})
    assert not list((tmp_path / "graph").glob("edges/*"))


def test_batches_are_checked_across_their_borders(tmp_path: Path) -> None:
    batch = (np.array([1]), np.array([0]), np.ones(1, dtype=np.float32))
    counts = {"query": 2, "item": 3}
    with pytest.raises(ValueError, match="ascending"):
        write_relation(tmp_path, ("query", "engaged", "item"), counts, 2, [batch, batch])
    with pytest.raises(ValueError, match="2 edges were announced, 1 came"):
        write_relation(tmp_path, ("query", "engaged", "item"), counts, 2, [batch])
    with pytest.raises(ValueError, match="node types"):
        write_relation(tmp_path, ("query", "engaged", "brand"), counts, 1, [batch])


def test_half_written_graph_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "graph"
    with pytest.raises(InputError, match="does not exist"):
        Graph.open(folder)
    stage = Stage(folder, {"facts": {}})
    stage.start()
    write_relation(folder, ("query", "engaged", "item"), {"query": 2, "item": 3}, 0, [])
    with pytest.raises(InputError, match="unfinished"):
        Graph.open(folder)
    graph = write_graph(folder, NODES, [relation([0, 2, 3], [0, 1, 1], ("item", "engaged_by", "query"))], {})
    assert set(graph.relations) == {("item", "engaged_by", "query")}


@pytest.mark.parametrize("array", ["indptr", "indices", "weight"])
def test_broken_arrays_are_refused(tmp_path: Path, array: str) -> None:
    folder = tmp_path / "graph"
    write_graph(folder, NODES, [relation([0, 2, 2, 3], [0, 1, 1])], {})
    path = folder / "edges" / "query__engaged__item" / f"{array}.npy"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InputError, match=f"{array}.npy cannot be read"):
        Graph.open(folder)
    np.save(path, np.zeros(2, dtype=np.int64))
    with pytest.raises(InputError, match=r"graph\.json says 3 targets and 3 edges"):
        Graph.open(folder)
    path.unlink()
    with pytest.raises(InputError, match=f"{array}.npy cannot be read"):
        Graph.open(folder)


def test_missing_facts_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "graph"
    write_graph(folder, NODES, [relation([0, 2, 2, 3], [0, 1, 1])], {})
    (folder / "graph.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"graph\.json is not readable JSON"):
        Graph.open(folder)
    shutil.rmtree(folder)
    with pytest.raises(InputError, match="does not exist"):
        Graph.open(folder)
