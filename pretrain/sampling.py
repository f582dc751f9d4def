"""Neighbour sampling on memory-mapped CSR arrays, behind PyG's ``BaseSampler``.

Every row (a node and a relation) draws from its own random stream, keyed by the seed, the epoch, the batch's content
and the node. So a sample depends on nothing else: not on the number of loader workers, nor on how many batches came
before, and a resumed run draws what the interrupted one would have drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numba
import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float32, Int32, Int64
from torch_geometric.sampler import BaseSampler, EdgeSamplerInput, HeteroSamplerOutput, NodeSamplerInput

from graph.hashing import splitmix
from graph.store import Key, Relation

Nodes = Int64[np.ndarray, " pairs"]
Positions = Int64[np.ndarray, " edges"]
"""Places of edges in a relation's CSR arrays: what PyG and DGL call edge ids."""
NO_EDGES = np.zeros(0, dtype=np.int64)
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
LOCAL_BITS = 32


@dataclass(frozen=True)
class Pairs:
    """Query-item pairs, as node indices; some rows of pairs where the arrays are two-dimensional."""

    queries: Nodes
    items: Nodes

    def __len__(self) -> int:
        return len(self.queries)

    def take(self, chosen: npt.NDArray[np.int64] | Bool[np.ndarray, " pairs"]) -> Pairs:
        """Some of the pairs, by number or by mask."""
        return Pairs(self.queries[chosen], self.items[chosen])


@runtime_checkable
class Exclusions(Protocol):
    """Which edges may carry no message while some pairs are learnt: unique positions in any order, by relation."""

    def __call__(self, queries: Nodes, items: Nodes, stream: int) -> Mapping[Key, Positions]: ...


@runtime_checkable
class Negatives(Protocol):
    """Training pairs [positives, negatives] whose items are contrasted with each positive's."""

    def __call__(self, positives: Pairs, stream: int) -> Pairs: ...


@dataclass(frozen=True)
class SampledEdges:
    """The edges of one relation that a hop drew, target by target.

    Args:
        indptr: where the edges of each of the hop's targets begin and end.
        sources: the source of each, numbered within the batch.
        positions: of each in the relation's arrays.
        weight: of each.
    """

    indptr: Int64[np.ndarray, " targets_plus_1"]
    sources: Int32[np.ndarray, " edges"]
    positions: Positions
    weight: Float32[np.ndarray, " edges"]


@dataclass(frozen=True)
class Sample:
    """What a batch drew. A node's number within the batch counts the nodes of its type in the order of the hops.

    Args:
        nodes: of each type, those that each hop came upon first: the seeds, then hop by hop.
        edges: of each relation and hop; the targets of a hop are the nodes that the hop before it came upon first.
    """

    nodes: dict[str, list[Positions]]
    edges: dict[Key, list[SampledEdges]]


@dataclass(frozen=True)
class SampledPairs:
    """A sample around pairs, each with its negatives.

    Args:
        sample: whose seeds are the distinct queries and items.
        positives: the pairs.
        items: item of each pair, then of its negatives.
        query_at: place of each pair's query among the seeds.
        item_at: places of ``items`` among the seeds.
    """

    sample: Sample
    positives: Pairs
    items: Int64[np.ndarray, "pairs one_plus_negatives"]
    query_at: Nodes
    item_at: Int64[np.ndarray, "pairs one_plus_negatives"]


class NeighbourSampler(BaseSampler):  # type: ignore[misc]
    """Uniform sampling of a fixed number of neighbours per relation, without replacement.

    Args:
        node_counts: nodes of each type.
        relations: CSR by target, rows ascending.
        fan_out: neighbours per relation and hop, the seeds' own hop first; -1 takes all of them.
        seed: of all draws.
        exclusions: edges that ``sample_from_edges`` keeps out of a batch; None for none.
        negatives: items that ``sample_from_edges`` adds to a batch as negatives, side by side.
    """

    def __init__(
        self,
        node_counts: Mapping[str, int],
        relations: Mapping[Key, Relation],
        fan_out: Sequence[int],
        seed: int,
        exclusions: Exclusions | None = None,
        negatives: Sequence[Negatives] = (),
    ) -> None:
        # Compiled code takes plain arrays, not memory maps' own class; the pages stay mapped all the same.
        self._arrays = {
            key: (np.asarray(r.indptr), np.asarray(r.indices), np.asarray(r.weight)) for key, r in relations.items()
        }
        # True for the edges that a batch may not draw; set and unset again one by one.
        self._barred = {key: np.zeros(relation.edges, dtype=np.bool_) for key, relation in relations.items()}
        self.fan_out = list(fan_out)
        self.seed = seed
        self.epoch = 0
        self.exclusions = exclusions
        self.negatives = list(negatives)
        # One word per node, ``stamp << 32 | local index``: a new stamp forgets the last batch, nothing is cleared.
        self._known = {kind: np.zeros(count, dtype=np.int64) for kind, count in node_counts.items()}
        self._stamp = 0

    def sample_from_nodes(self, index: NodeSamplerInput, **_: Any) -> HeteroSamplerOutput:
        """Sample around seed nodes of one type.

        Returns:
            PyG's output: unique nodes by hop with the seeds first, in their own order; ``metadata`` is
            ``(input_id, time)``.
        """
        seeds = np.ascontiguousarray(index.node.numpy())
        output = self.sample({index.input_type: seeds}, {}, self.stream_of(seeds))
        output.metadata = (index.input_id, index.time)
        return output

    def sample_from_edges(self, index: EdgeSamplerInput, neg_sampling: object = None) -> HeteroSamplerOutput:
        """Sample around the two ends of target edges, and around the negatives.

        Returns:
            PyG's output; ``metadata`` is ``(input_id, edge_label_index, edge_label, time)`` with the positives first,
            then the first negative of every positive, the second of every positive, and so on.

        Raises:
            ValueError: if PyG is asked to draw negatives of its own, or the edges do not run between two node types.
        """
        if neg_sampling is not None:
            raise ValueError("this sampler draws its own negatives: leave the loader's neg_sampling out")
        if index.input_type is None or index.input_type[0] == index.input_type[2]:
            raise ValueError(f"target edges must run between two types of node, got {index.input_type}")
        sampled = self.sample_pairs(Pairs(index.row.numpy(), index.col.numpy()))
        output = _output(sampled.sample)
        pairs = np.stack([np.tile(sampled.query_at, sampled.items.shape[1]), sampled.item_at.T.ravel()])
        label = torch.zeros(pairs.shape[1])
        label[: len(sampled.positives)] = 1.0
        output.metadata = (index.input_id, torch.from_numpy(pairs), label, index.time)
        return output

    def sample_pairs(self, positives: Pairs) -> SampledPairs:
        """Sample around the ends of query-item pairs and around their negatives."""
        stream = self.stream_of(positives.queries, positives.items)
        drawn = draw_negatives(self.negatives, positives, stream)
        excluded = excluded_edges(self.exclusions, positives, drawn, stream)
        items = np.hstack([positives.items[:, None], drawn.items])
        query_seeds, query_at = np.unique(positives.queries, return_inverse=True)
        item_seeds, item_at = np.unique(items, return_inverse=True)
        sample = self.draw({"query": query_seeds, "item": item_seeds}, excluded, stream)
        return SampledPairs(sample, positives, items, query_at, item_at.reshape(items.shape))

    def stream_of(self, *seeds: Int64[np.ndarray, " seeds"]) -> int:
        """The random stream of a batch: a digest of the seed, the epoch and what the batch holds."""
        state = _word(self.seed * int(GOLDEN) + self.epoch)
        for values in seeds:
            # Compiled code hands an unsigned word back as a plain int.
            state = _word(int(_digest(state, np.ascontiguousarray(values))))
        return int(state)

    def sample(
        self, seeds: Mapping[str, Int64[np.ndarray, " seeds"]], excluded: Mapping[Key, Positions], stream: int
    ) -> HeteroSamplerOutput:
        """What :meth:`draw` draws, as PyG's loaders take it."""
        return _output(self.draw(seeds, excluded, stream))

    def draw(
        self, seeds: Mapping[str, Int64[np.ndarray, " seeds"]], excluded: Mapping[Key, Positions], stream: int
    ) -> Sample:
        """Sample all hops around unique seeds.

        Args:
            seeds: unique nodes of each type.
            excluded: positions of edges that may not be sampled.
            stream: of ``stream_of``.
        """
        self._stamp += 1
        nodes = {kind: [seeds.get(kind, NO_EDGES)] for kind in self._known}
        for kind, (first,) in nodes.items():
            _mark(first, self._known[kind], self._stamp << LOCAL_BITS)
        counts = {kind: len(first) for kind, (first,) in nodes.items()}
        edges: dict[Key, list[SampledEdges]] = {key: [] for key in self._arrays}
        for key, positions in excluded.items():
            self._barred[key][positions] = True
        for hop, fan_out in enumerate(self.fan_out):
            fresh: dict[str, list[Positions]] = {kind: [] for kind in nodes}
            for number, (key, arrays) in enumerate(self._arrays.items()):
                salt = _word(stream + (hop * len(self._arrays) + number + 1) * int(GOLDEN))
                barred = self._barred[key] if len(excluded.get(key, NO_EDGES)) else None
                known, stamp = self._known[key[0]], self._stamp << LOCAL_BITS
                *drawn, new = _sample_hop(
                    *arrays, barred, nodes[key[2]][hop], fan_out, salt, known, stamp, counts[key[0]]
                )
                counts[key[0]] += len(new)
                fresh[key[0]].append(new)
                edges[key].append(SampledEdges(*drawn))
            for kind, sources in fresh.items():
                nodes[kind].append(np.concatenate(sources) if sources else NO_EDGES)
        for key, positions in excluded.items():
            self._barred[key][positions] = False
        return Sample(nodes, edges)


def draw_negatives(negatives: Sequence[Negatives], positives: Pairs, stream: int) -> Pairs:
    """The negatives of every kind, side by side; no columns where there are no kinds."""
    none = np.zeros((len(positives), 0), dtype=np.int64)
    drawn = [Pairs(none, none), *(draw(positives, stream + kind) for kind, draw in enumerate(negatives))]
    return Pairs(np.hstack([pairs.queries for pairs in drawn]), np.hstack([pairs.items for pairs in drawn]))


def excluded_edges(
    exclusions: Exclusions | None, positives: Pairs, drawn: Pairs, stream: int
) -> Mapping[Key, Positions]:
    """What a batch's positives and negatives keep out of message passing."""
    if exclusions is None:
        return {}
    return exclusions(
        np.concatenate([positives.queries, drawn.queries.ravel()]),
        np.concatenate([positives.items, drawn.items.ravel()]),
        stream,
    )


def _word(number: int) -> np.uint64:
    return np.uint64(number & 0xFFFFFFFFFFFFFFFF)


def _output(sample: Sample) -> HeteroSamplerOutput:
    """As PyG's loaders take it."""
    row, col, edge = {}, {}, {}
    for key, hops in sample.edges.items():
        row[key] = torch.from_numpy(np.concatenate([hop.sources for hop in hops]).astype(np.int64))
        edge[key] = torch.from_numpy(np.concatenate([hop.positions for hop in hops]))
        degrees = np.concatenate([np.diff(hop.indptr) for hop in hops])
        col[key] = torch.from_numpy(np.repeat(np.arange(len(degrees)), degrees))
    return HeteroSamplerOutput(
        node={kind: torch.from_numpy(np.concatenate(hops)) for kind, hops in sample.nodes.items()},
        row=row,
        col=col,
        edge=edge,
        num_sampled_nodes={kind: [len(hop) for hop in hops] for kind, hops in sample.nodes.items()},
        num_sampled_edges={key: [len(hop.sources) for hop in hops] for key, hops in sample.edges.items()},
    )


@numba.njit(nogil=True, cache=True)
def _digest(state: np.uint64, values: np.ndarray) -> np.uint64:
    for value in values:
        state = splitmix(state + GOLDEN + np.uint64(value))
    return state


@numba.njit(nogil=True, cache=True)
def _mark(seeds: np.ndarray, known: np.ndarray, stamp: int) -> None:
    for local in range(len(seeds)):
        known[seeds[local]] = stamp | local


@numba.njit(nogil=True, cache=True)
def _sample_hop(
    indptr: np.ndarray,
    indices: np.ndarray,
    weight: np.ndarray,
    barred: np.ndarray | None,
    targets: np.ndarray,
    fan_out: int,
    salt: np.uint64,
    known: np.ndarray,
    stamp: int,
    count: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One relation of one hop: the fields of ``SampledEdges``, and the sources that the batch did not hold before."""
    ends, positions = _draw(indptr, barred, targets, fan_out, salt)
    weights = np.empty(len(positions), dtype=np.float32)
    sources = np.empty(len(positions), dtype=np.int64)
    for at in range(len(positions)):
        # A pass of its own: loads that do not wait for each other overlap, and most of them miss the cache.
        sources[at] = indices[positions[at]]
        weights[at] = weight[positions[at]]
    local, new = _relabel(sources, known, stamp, count)
    return ends, local, positions, weights, new


@numba.njit(nogil=True, cache=True)
def _draw(
    indptr: np.ndarray, barred: np.ndarray | None, targets: np.ndarray, fan_out: int, salt: np.uint64
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the edges of each target; return where each target's begin and end, and their positions."""
    ends = np.zeros(len(targets) + 1, dtype=np.int64)
    largest = 0
    for at in range(len(targets)):
        degree = indptr[targets[at] + 1] - indptr[targets[at]]
        largest = max(largest, degree)
        ends[at + 1] = ends[at] + (degree if fan_out < 0 or degree < fan_out else fan_out)
    positions = np.empty(ends[-1], dtype=np.int64)
    allowed = np.empty(largest if barred is not None else 0, dtype=np.int64)
    filled = 0
    for at in range(len(targets)):
        start, stop = indptr[targets[at]], indptr[targets[at] + 1]
        degree = stop - start
        if barred is not None:
            degree = 0
            for position in range(start, stop):
                allowed[degree] = position
                degree += not barred[position]
        sample_size = degree if fan_out < 0 or degree < fan_out else fan_out
        drawn = positions[filled : filled + sample_size]
        if sample_size < degree:
            _choose(drawn, degree, splitmix(salt + np.uint64(targets[at]) * GOLDEN))
        else:
            drawn[:] = np.arange(sample_size)
        for place in range(sample_size):
            drawn[place] = start + drawn[place] if barred is None else allowed[drawn[place]]
        filled += sample_size
        ends[at + 1] = filled
    return ends, positions[:filled]


@numba.njit(nogil=True, cache=True)
def _choose(chosen: np.ndarray, degree: int, state: np.uint64) -> None:
    """Floyd's algorithm (Bentley and Floyd 1987): each subset of ``range(degree)`` of this size is equally likely."""
    size = len(chosen)
    seen = np.uint64(0)
    for at in range(size):
        last = degree - size + at
        state += GOLDEN
        # The upper 32 bits times the range, shifted: a bounded draw without a division; its bias is below 2**-32 · n.
        place = np.int64(((splitmix(state) >> np.uint64(32)) * np.uint64(last + 1)) >> np.uint64(32))
        if degree <= 64:
            if (seen >> np.uint64(place)) & np.uint64(1):
                place = np.int64(last)
            seen |= np.uint64(1) << np.uint64(place)
        else:
            for earlier in range(at):
                if chosen[earlier] == place:
                    place = np.int64(last)
                    break
        chosen[at] = place


@numba.njit(nogil=True, cache=True)
def _relabel(sources: np.ndarray, known: np.ndarray, stamp: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The sources' numbers within the batch, and the sources that the batch did not hold before."""
    local = np.empty(len(sources), dtype=np.int32)
    new = np.empty(len(sources), dtype=np.int64)
    new_count = 0
    for at in range(len(sources)):
        word = known[sources[at]]
        if word < stamp:
            word = stamp | (count + new_count)
            known[sources[at]] = word
            new[new_count] = sources[at]
            new_count += 1
        local[at] = word & 0xFFFFFFFF
    return local, new[:new_count].copy()
