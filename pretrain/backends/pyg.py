"""Batches by the Numba sampler behind PyG's ``BaseSampler``, messages as means over compressed rows.

PyG's own loader is left out: its ``HeteroData`` and an index of edges cost as much a batch as the sampling.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from graph.store import Graph, Key
from pretrain.backends.batch import TargetBatch, epoch_order
from pretrain.node_features import NodeFeatures
from pretrain.sampling import Negatives, NeighbourSampler, Pairs, Sample
from pretrain.sparse import RowMeans, products
from pretrain.targets import TargetExclusions


class SparseBlock:
    """One layer's messages as a matrix of weighted means per relation.

    Args:
        target_counts: targets of each type.
        means: relation → matrix [targets, sources].
    """

    def __init__(self, target_counts: dict[str, int], means: dict[Key, RowMeans]) -> None:
        self.target_counts = target_counts
        self.means = means

    def aggregate(
        self, relations: Sequence[Key], sources: Float32[Tensor, "sources width"]
    ) -> Sequence[Float32[Tensor, "targets width"]]:
        """Weighted means of each target's sources; 0 where it has none."""
        return products(sources, [self.means[relation] for relation in relations])


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
        self._pairs, self._features = pairs, features
        self._batch_size, self._seed = batch_size, seed
        exclusions = TargetExclusions(graph.relations, cold_share)
        self._sampler = NeighbourSampler(
            graph.node_counts, graph.relations, fan_out, seed, exclusions.barred, negatives
        )

    def __len__(self) -> int:
        return -(-len(self._pairs) // self._batch_size)

    def epoch(self, number: int) -> Iterator[TargetBatch]:
        self._sampler.epoch = number
        order = epoch_order(len(self._pairs), self._seed, number)
        for first in range(0, len(order), self._batch_size):
            yield self._batch(self._pairs.take(order[first : first + self._batch_size]))

    def _batch(self, pairs: Pairs) -> TargetBatch:
        sampled = self._sampler.sample_pairs(pairs)
        nodes = {kind: np.concatenate(hops) for kind, hops in sampled.sample.nodes.items()}
        return TargetBatch(
            features={kind: self._features[kind].take(indices) for kind, indices in nodes.items() if len(indices)},
            blocks=sparse_blocks(sampled.sample),
            query_at=torch.from_numpy(sampled.query_at),
            item_at=torch.from_numpy(sampled.item_at),
            queries=pairs.queries,
            items=sampled.items,
        )


def sparse_blocks(sample: Sample) -> list[SparseBlock]:
    """What each layer needs of a sample: the first layer all hops, the last layer the seeds' own hop.

    Edges lie in the order of their targets, so the matrix of a later layer is the beginning of the first one's.
    """
    joined = {}
    for key, hops in sample.edges.items():
        offsets = np.cumsum([0, *(len(hop.sources) for hop in hops)])
        ends = [hop.indptr[1:] + offset for hop, offset in zip(hops, offsets, strict=False)]
        indptr = np.concatenate([offsets[:1], *ends])
        sources, weight = (np.concatenate([getattr(hop, of) for hop in hops]) for of in ("sources", "weight"))
        joined[key] = (indptr, sources, weight)
    sizes = {kind: np.cumsum([len(hop) for hop in hops]).tolist() for kind, hops in sample.nodes.items()}
    blocks = []
    for hop in reversed(range(min(len(hops) for hops in sample.edges.values()))):
        targets = {kind: ends[hop] for kind, ends in sizes.items()}
        means = {
            key: RowMeans(indptr[: targets[key[2]] + 1], sources, weight, sizes[key[0]][hop + 1])
            for key, (indptr, sources, weight) in joined.items()
        }
        blocks.append(SparseBlock(targets, means))
    return blocks
