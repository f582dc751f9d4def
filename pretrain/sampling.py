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
from jaxtyping import Bool, Int64
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
    """Which edges may carry no message while some pairs are learnt: ascending positions, by relation."""

    def __call__(self, queries: Nodes, items: Nodes, stream: int) -> Mapping[Key, Positions]: ...


@runtime_checkable
class Negatives(Protocol):
    """Training pairs [positives, negatives] whose items are contrasted with each positive's."""

    def __call__(self, positives: Pairs, stream: int) -> Pairs: ...


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
        self._arrays = {key: (np.asarray(r.indptr), np.asarray(r.indices)) for key, r in relations.items()}
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
        positives = Pairs(index.row.numpy(), index.col.numpy())
        stream = self.stream_of(positives.queries, positives.items)
        drawn = draw_negatives(self.negatives, positives, stream)
        excluded = excluded_edges(self.exclusions, positives, drawn, stream)
        query_seeds, query_at = np.unique(positives.queries, return_inverse=True)
        item_seeds, item_at = np.unique(np.hstack([positives.items[:, None], drawn.items]).T, return_inverse=True)
        output = self.sample({index.input_type[0]: query_seeds, index.input_type[2]: item_seeds}, excluded, stream)
        pairs = np.stack([np.tile(query_at, 1 + drawn.items.shape[1]), item_at.ravel()])
        label = torch.zeros(pairs.shape[1])
        label[: len(positives)] = 1.0
        output.metadata = (index.input_id, torch.from_numpy(pairs), label, index.time)
        return output

    def stream_of(self, *seeds: Int64[np.ndarray, " seeds"]) -> int:
        """The random stream of a batch: a digest of the seed, the epoch and what the batch holds."""
        state = _word(self.seed * int(GOLDEN) + self.epoch)
        for values in seeds:
            # Compiled code hands an unsigned word back as a plain int.
            state = _word(int(_digest(state, np.ascontiguousarray(values))))
        return int(state)

    def sample(
        self,
        seeds: Mapping[str, Int64[np.ndarray, " seeds"]],
        excluded: Mapping[Key, Positions],
        stream: int,
    ) -> HeteroSamplerOutput:
        """Sample all hops around unique seeds.

        Args:
            seeds: unique nodes of each type.
            excluded: ascending positions of edges that may not be sampled.
            stream: of ``stream_of``.
        """
        self._stamp += 1
        nodes = {kind: [seeds.get(kind, NO_EDGES)] for kind in self._known}
        for kind, (first,) in nodes.items():
            _mark(first, self._known[kind], self._stamp << LOCAL_BITS)
        counts = {kind: len(first) for kind, (first,) in nodes.items()}
        edges: dict[Key, list[tuple[Positions, Positions, Positions]]] = {key: [] for key in self._arrays}
        for hop, fan_out in enumerate(self.fan_out):
            frontier = {kind: (hops[-1], counts[kind] - len(hops[-1])) for kind, hops in nodes.items()}
            fresh: dict[str, list[Positions]] = {kind: [] for kind in nodes}
            for number, (key, (indptr, indices)) in enumerate(self._arrays.items()):
                targets, first_local = frontier[key[2]]
                salt = _word(stream + (hop * len(self._arrays) + number + 1) * int(GOLDEN))
                positions, col = _draw(indptr, targets, first_local, fan_out, excluded.get(key, NO_EDGES), salt)
                row, new = _relabel(indices, positions, self._known[key[0]], self._stamp << LOCAL_BITS, counts[key[0]])
                counts[key[0]] += len(new)
                fresh[key[0]].append(new)
                edges[key].append((row, col, positions))
            for kind, sources in fresh.items():
                nodes[kind].append(np.concatenate(sources) if sources else NO_EDGES)
        return _output(nodes, edges)


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


def _output(
    nodes: Mapping[str, list[Positions]], edges: Mapping[Key, list[tuple[Positions, Positions, Positions]]]
) -> HeteroSamplerOutput:
    def joined(part: int) -> dict[Key, torch.Tensor]:
        return {key: torch.from_numpy(np.concatenate([hop[part] for hop in hops])) for key, hops in edges.items()}

    return HeteroSamplerOutput(
        node={kind: torch.from_numpy(np.concatenate(hops)) for kind, hops in nodes.items()},
        row=joined(0),
        col=joined(1),
        edge=joined(2),
        num_sampled_nodes={kind: [len(hop) for hop in hops] for kind, hops in nodes.items()},
        num_sampled_edges={key: [len(hop[0]) for hop in hops] for key, hops in edges.items()},
    )


@numba.njit(cache=True)
def _digest(state: np.uint64, values: np.ndarray) -> np.uint64:
    for value in values:
        state = splitmix(state + GOLDEN + np.uint64(value))
    return state


@numba.njit(cache=True)
def _mark(seeds: np.ndarray, known: np.ndarray, stamp: int) -> None:
    for local in range(len(seeds)):
        known[seeds[local]] = stamp | local


@numba.njit(cache=True)
def _draw(
    indptr: np.ndarray, targets: np.ndarray, first_local: int, fan_out: int, excluded: np.ndarray, salt: np.uint64
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the edges of each target; return their positions and the targets' local indices, ascending."""
    ends = np.empty(len(targets) + 1, dtype=np.int64)
    ends[0] = 0
    for at in range(len(targets)):
        degree = indptr[targets[at] + 1] - indptr[targets[at]]
        ends[at + 1] = ends[at] + (degree if fan_out < 0 or degree < fan_out else fan_out)
    positions = np.empty(ends[-1], dtype=np.int64)
    col = np.empty(ends[-1], dtype=np.int64)
    filled = 0
    for at in range(len(targets)):
        start, stop = indptr[targets[at]], indptr[targets[at] + 1]
        barred_from = barred_to = 0
        if len(excluded):
            barred_from = np.searchsorted(excluded, start)
            barred_to = barred_from
            while barred_to < len(excluded) and excluded[barred_to] < stop:
                barred_to += 1
        degree = stop - start - (barred_to - barred_from)
        sample_size = degree if fan_out < 0 or degree < fan_out else fan_out
        if sample_size == degree:
            for place in range(sample_size):
                positions[filled + place] = place
        else:
            _choose(positions[filled : filled + sample_size], degree, splitmix(salt + np.uint64(targets[at]) * GOLDEN))
        for place in range(filled, filled + sample_size):
            position = start + positions[place]
            for barred in range(barred_from, barred_to):
                # The draw was among the edges that are left; step over each excluded one that lies before.
                if excluded[barred] <= position:
                    position += 1
            positions[place] = position
            col[place] = first_local + at
        filled += sample_size
    return positions[:filled], col[:filled]


@numba.njit(cache=True)
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


@numba.njit(cache=True)
def _relabel(
    indices: np.ndarray, positions: np.ndarray, known: np.ndarray, stamp: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Local indices of the edges' sources, and the sources that the batch did not hold before."""
    sources = np.empty(len(positions), dtype=np.int64)
    for at in range(len(positions)):
        # A pass of its own: loads that do not wait for each other overlap, and most of them miss the cache.
        sources[at] = indices[positions[at]]
    row = np.empty(len(positions), dtype=np.int64)
    new = np.empty(len(positions), dtype=np.int64)
    new_count = 0
    for at in range(len(positions)):
        word = known[sources[at]]
        if word < stamp:
            word = stamp | (count + new_count)
            known[sources[at]] = word
            new[new_count] = sources[at]
            new_count += 1
        row[at] = word & 0xFFFFFFFF
    return row, new[:new_count].copy()
