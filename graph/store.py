"""The graph on disk: node tables in Parquet, edges as memory-mapped CSR arrays, facts in ``graph.json``.

::

    graph/
      nodes/<type>.parquet                      key, degree; the row number is the node's index
      edges/<source>__<relation>__<target>/     indptr.npy, indices.npy, weight.npy
      graph.json                                counts, degrees, components, days, settings
      manifest.json                             written last: without it the graph is unfinished

CSR is **by target**: row ``t`` of a relation holds the indices of the source nodes whose messages reach target ``t``,
ascending and unique.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from configs.errors import InputError
from configs.stages import Stage, identity_of, read_json, replacing, write_json

Key = tuple[str, str, str]
"""(source type, relation, target type)."""
EdgeBatch = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]
"""Targets, sources and weights of some edges of one relation."""
ARRAYS = {"indptr": np.int64, "indices": np.int64, "weight": np.float32}


@dataclass(frozen=True)
class Relation:
    """The edges of one type, as CSR by target.

    Shapes: ``indptr`` int64 [targets + 1], ``indices`` int64 [edges], ``weight`` float32 [edges]; weights are above 0.
    """

    source: str
    name: str
    target: str
    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float32]

    @property
    def key(self) -> Key:
        return self.source, self.name, self.target

    @property
    def edges(self) -> int:
        return len(self.indices)

    @property
    def targets(self) -> npt.NDArray[np.int64]:
        """The target of every edge, int64 [edges], in the order of ``indices``."""
        return np.repeat(np.arange(len(self.indptr) - 1, dtype=np.int64), np.diff(self.indptr))

    def batches(self, targets: int = 1 << 18) -> Iterator[EdgeBatch]:
        """The edges of ``targets`` nodes at a time, so that a graph larger than memory can be walked."""
        for first in range(0, len(self.indptr) - 1, targets):
            bounds = self.indptr[first : first + targets + 1]
            rows = np.repeat(np.arange(first, first + len(bounds) - 1, dtype=np.int64), np.diff(bounds))
            edges = slice(int(bounds[0]), int(bounds[-1]))
            yield rows, np.asarray(self.indices[edges]), np.asarray(self.weight[edges])


class Graph:
    """A finished graph, its arrays memory-mapped: opening costs nothing and processes share the pages.

    Attributes:
        node_counts: node type → number of nodes.
        relations: (source, relation, target) → :class:`Relation`.
        facts: the content of ``graph.json``.
        identity: of the stage that made it, to be named as an input by later stages.

    Examples:
        >>> from configs import parse
        >>> from graph import Graph
        >>> graph = Graph.open(parse(["run=notebook"]).run.graph)
        >>> engaged = graph.relations["query", "engaged", "item"]
        >>> engaged.edges == len(engaged.indices)
        True
    """

    def __init__(self, folder: Path, identity: str, facts: dict[str, Any], relations: dict[Key, Relation]) -> None:
        self.folder = folder
        self.identity = identity
        self.facts = facts
        self.node_counts: dict[str, int] = dict(facts["nodes"])
        self.relations = relations

    @classmethod
    def open(cls, folder: Path) -> Graph:
        """Open a finished graph.

        Raises:
            InputError: if it is unfinished, or a file is missing or of another length than ``graph.json`` says.
        """
        folder = Path(folder)
        identity = identity_of(folder, made_by="python -m graph.build run=...")
        facts = read_json(folder / "graph.json")
        relations = {}
        for text, edges in facts["edges"].items():
            source, name, target = text.split("__")
            relation = open_relation(folder, (source, name, target))
            _check_lengths(folder, relation, facts["nodes"][target], edges)
            relations[relation.key] = relation
        return cls(folder, identity, facts, relations)

    def nodes(self, node_type: str) -> pa.Table:
        """The node table of a type: ``key`` and ``degree``, a row per node, in the order of the indices."""
        return pq.read_table(_node_file(self.folder, node_type))

    def __repr__(self) -> str:
        edges = {"__".join(key): relation.edges for key, relation in self.relations.items()}
        return f"Graph(nodes={self.node_counts}, edges={edges})"


def write_graph(
    folder: Path, nodes: Mapping[str, pa.Table], relations: Iterable[Relation], facts: Mapping[str, Any]
) -> Graph:
    """Write a whole graph that is held in memory.

    Args:
        folder: of the graph; what it held is replaced.
        nodes: node type → table with the column ``key``; ``degree`` is added.
        relations: CSR by target, sources ascending and unique within a row.
        facts: what ``graph.json`` says besides the counts.

    Raises:
        ValueError: if a relation names an unknown node type, an index out of range, or its rows are not ascending.
    """
    stage = Stage(Path(folder), {"facts": dict(facts)}, overwrite=True)
    if stage.start():
        shutil.rmtree(stage.folder / "edges", ignore_errors=True)
    counts = {node_type: table.num_rows for node_type, table in nodes.items()}
    for relation in relations:
        write_relation(stage.folder, relation.key, counts, relation.edges, relation.batches())
    return finish_graph(stage, nodes, facts)


def finish_graph(stage: Stage, nodes: Mapping[str, pa.Table], facts: Mapping[str, Any]) -> Graph:
    """Write the node tables, ``graph.json`` and the manifest beside relations that are written already."""
    edges: dict[str, int] = {}
    degrees = {node_type: np.zeros(table.num_rows, dtype=np.int64) for node_type, table in nodes.items()}
    for key, relation in stored_relations(stage.folder).items():
        edges["__".join(key)] = relation.edges
        degrees[relation.target] += np.diff(relation.indptr)
    for node_type, table in nodes.items():
        table = table.select(["key"]).append_column("degree", pa.array(degrees[node_type]))
        with replacing(_node_file(stage.folder, node_type)) as temporary:
            pq.write_table(table, temporary)
    counts = {node_type: table.num_rows for node_type, table in nodes.items()}
    write_json(stage.folder / "graph.json", {**facts, "nodes": counts, "edges": edges})
    stage.finish()
    return Graph.open(stage.folder)


def write_relation(
    folder: Path, key: Key, nodes: Mapping[str, int], edges: int | None, batches: Iterable[EdgeBatch]
) -> None:
    """Stream one relation to disk; only ``indptr`` is held in memory.

    Args:
        folder: of the graph.
        key: (source type, relation, target type).
        nodes: number of nodes of each type.
        edges: how many there should be; ``None``: as many as come.
        batches: targets, sources and weights, sorted by (target, source), each pair once.

    Raises:
        ValueError: if the edges are unsorted, repeated, out of range or not as many as ``edges``.
    """
    if not {key[0], key[2]} <= nodes.keys():
        raise ValueError(f"relation {key} joins node types that are not among {sorted(nodes)}")
    sources, targets = nodes[key[0]], nodes[key[2]]
    degrees = np.zeros(targets, dtype=np.int64)
    last, written = -1, 0
    with replacing(_edge_folder(folder, key)) as temporary:
        temporary.mkdir(parents=True)
        with (temporary / "indices.npy").open("wb") as indices, (temporary / "weight.npy").open("wb") as weights:
            _header(indices, ARRAYS["indices"], 0)
            _header(weights, ARRAYS["weight"], 0)
            for target, source, weight in batches:
                last = _check_batch(key, target, source, sources, targets, last)
                if len(target):
                    degrees[target[0] : target[-1] + 1] += np.bincount(target - target[0])
                indices.write(np.ascontiguousarray(source, dtype="<i8").data)
                weights.write(np.ascontiguousarray(weight, dtype="<f4").data)
                written += len(source)
            # NumPy leaves room in a header for the length to grow.
            for file, name in ((indices, "indices"), (weights, "weight")):
                file.seek(0)
                _header(file, ARRAYS[name], written)
        if edges is not None and written != edges:
            raise ValueError(f"relation {key}: {edges} edges were announced, {written} came")
        np.save(temporary / "indptr.npy", np.concatenate([[0], np.cumsum(degrees)]).astype(np.int64))


def stored_relations(folder: Path) -> dict[Key, Relation]:
    """Every relation that lies in a graph's folder, finished or not, memory-mapped, by name."""
    names = sorted(path.name for path in (folder / "edges").glob("*__*__*"))
    relations = [
        open_relation(folder, (source, name, target)) for source, name, target in (n.split("__") for n in names)
    ]
    return {relation.key: relation for relation in relations}


def open_relation(folder: Path, key: Key) -> Relation:
    """One stored relation, memory-mapped.

    Raises:
        InputError: if a file is missing or not readable.
    """
    return Relation(*key, **{array: _map(folder, key, array) for array in ARRAYS})


def _check_batch(
    key: Key, target: npt.NDArray[np.int64], source: npt.NDArray[np.int64], sources: int, targets: int, last: int
) -> int:
    """Ranges and strictly ascending (target, source) pairs; returns the last pair as one number."""
    if not len(target):
        return last
    if target.min() < 0 or target.max() >= targets or source.min() < 0 or source.max() >= sources:
        raise ValueError(f"relation {key}: an index is outside {sources} sources and {targets} targets")
    pairs = target * sources + source
    if pairs[0] <= last or (np.diff(pairs) <= 0).any():
        raise ValueError(f"relation {key}: edges must be ascending by (target, source) and unique")
    return int(pairs[-1])


def _header(file: BinaryIO, kind: Any, length: int) -> None:
    descr = np.lib.format.dtype_to_descr(np.dtype(kind).newbyteorder("<"))
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": (length,)})


def _map(folder: Path, key: Key, array: str) -> Any:
    path = _edge_folder(folder, key) / f"{array}.npy"
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read ({error}): delete {folder} and run `python -m graph.build run=...`"
        ) from None


def _check_lengths(folder: Path, relation: Relation, targets: int, edges: int) -> None:
    lengths = (len(relation.indptr) - 1, int(relation.indptr[-1]), len(relation.indices), len(relation.weight))
    if lengths != (targets, edges, edges, edges):
        raise InputError(
            f"{_edge_folder(folder, relation.key)}: graph.json says {targets} targets and {edges} edges, the arrays "
            f"hold {lengths}: delete {folder} and run `python -m graph.build run=...`"
        )


def _node_file(folder: Path, node_type: str) -> Path:
    return folder / "nodes" / f"{node_type}.parquet"


def _edge_folder(folder: Path, key: Key) -> Path:
    return folder / "edges" / "__".join(key)
