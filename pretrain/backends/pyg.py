"""Batches by PyG: its ``LinkLoader`` over the Numba sampler, messages as sparse products."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor
from torch.utils.data import Sampler
from torch_geometric.data import HeteroData
from torch_geometric.loader import LinkLoader

from graph.store import Graph, Key
from graph.views import to_pyg
from pretrain.backends.batch import TargetBatch, epoch_order
from pretrain.node_features import NodeFeatures
from pretrain.sampling import Negatives, NeighbourSampler, Pairs
from pretrain.sparse import SparseRows
from pretrain.targets import ENGAGED, TargetExclusions


class SparseBlock:
    """One layer's messages as a matrix of weighted means per relation.

    Args:
        target_counts: targets of each type.
        means: relation → matrix [targets, sources].
    """

    def __init__(self, target_counts: dict[str, int], means: dict[Key, SparseRows]) -> None:
        self.target_counts = target_counts
        self.means = means

    def aggregate(self, relation: Key, sources: Float32[Tensor, "sources width"]) -> Float32[Tensor, "targets width"]:
        """Weighted mean of each target's sources; 0 where it has none."""
        return self.means[relation] @ sources


class PygBatches:
    """See :func:`pretrain.backends.batches`."""

    def __init__(
        self,
        graph: Graph,
        pairs: Pairs,
        features: dict[str, NodeFeatures],
        negatives: Sequence[Negatives],
        fan_out: Sequence[int],
        batch_size: int,
        cold_share: float,
        seed: int,
    ) -> None:
        self._features = features
        self._layers = len(fan_out)
        exclusions = TargetExclusions(graph.relations, cold_share)
        self._sampler = NeighbourSampler(graph.node_counts, graph.relations, fan_out, seed, exclusions, negatives)
        self._order = _Order(len(pairs), seed)
        ends = torch.from_numpy(np.stack([pairs.queries, pairs.items]))
        self._loader = LinkLoader(
            to_pyg(graph), self._sampler, (ENGAGED, ends), batch_size=batch_size, sampler=self._order
        )

    def __len__(self) -> int:
        return len(self._loader)

    def epoch(self, number: int) -> Iterator[TargetBatch]:
        """The batches of one epoch."""
        self._sampler.epoch = self._order.epoch = number
        for data in self._loader:
            yield self._batch(data)

    def _batch(self, data: HeteroData) -> TargetBatch:
        target = data[ENGAGED]
        pairs = int(target.edge_label.sum())
        query_at, item_at = target.edge_label_index
        item_at = item_at.view(-1, pairs).T
        nodes = {kind: data[kind].n_id.numpy() for kind in data.node_types}
        return TargetBatch(
            features={kind: self._features[kind].take(indices) for kind, indices in nodes.items() if len(indices)},
            blocks=sparse_blocks(data, self._layers),
            query_at=query_at[:pairs],
            item_at=item_at,
            queries=nodes["query"][query_at[:pairs].numpy()],
            items=nodes["item"][item_at.numpy()],
        )


class _Order(Sampler[int]):
    """The epoch's order as a torch sampler."""

    def __init__(self, pairs: int, seed: int) -> None:
        self.epoch = 0
        self._pairs, self._seed = pairs, seed

    def __len__(self) -> int:
        return self._pairs

    def __iter__(self) -> Iterator[int]:
        order: Iterator[int] = iter(epoch_order(self._pairs, self._seed, self.epoch).tolist())
        return order


def sparse_blocks(data: HeteroData, layers: int) -> list[SparseBlock]:
    """Trim a sampled batch to what each layer needs: the first layer all hops, the last layer the seeds' own hop.

    Nodes and edges of a batch lie in the order of their hops, and edges in the order of their targets.
    """
    blocks = []
    for layer in range(layers):
        hops = layers - layer
        nodes = {kind: sum(data[kind].num_sampled_nodes[:hops]) for kind in data.node_types}
        means = {}
        for key in data.edge_types:
            edges = sum(data[key].num_sampled_edges[:hops])
            row, col = data[key].edge_index[:, :edges].numpy()
            sources = sum(data[key[0]].num_sampled_nodes[: hops + 1])
            weight = data[key].edge_weight[:edges].numpy()
            means[key] = SparseRows.means(_row_ends(col, nodes[key[2]]), np.ascontiguousarray(row), weight, sources)
        blocks.append(SparseBlock(nodes, means))
    return blocks


def _row_ends(col: Int64[np.ndarray, " edges"], targets: int) -> Int64[np.ndarray, " targets_plus_1"]:
    return np.concatenate([[0], np.cumsum(np.bincount(col, minlength=targets))]).astype(np.int64)
