"""Batches by DGL: its C++ ``NeighborSampler`` and its message passing.

Facts about DGL 1.1.3 that this module lives by: int32 graphs are corrupted by a reused sampler, so only int64 is
taken; two OpenMP threads make sampling irreproducible, so it runs on one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from configs.errors import InputError
from graph.store import Graph, Key
from graph.views import to_dgl
from pretrain.backends.batch import TargetBatch, epoch_order
from pretrain.node_features import NodeFeatures
from pretrain.sampling import Negatives, Pairs, draw_negatives, excluded_edges
from pretrain.targets import TargetExclusions


class DglBlock:
    """One layer's messages on a DGL block with the edge feature ``weight``."""

    def __init__(self, block: Any) -> None:
        self.target_counts = {kind: int(block.num_dst_nodes(kind)) for kind in block.dsttypes}
        self._block = block

    def aggregate(
        self, relations: Sequence[Key], sources: Float32[Tensor, "sources width"]
    ) -> Sequence[Float32[Tensor, "targets width"]]:
        """Weighted means of each target's sources; 0 where it has none."""
        return [self._aggregate(relation, sources) for relation in relations]

    def _aggregate(self, relation: Key, sources: Float32[Tensor, "sources width"]) -> Float32[Tensor, "targets width"]:
        import dgl

        edges = self._block[relation]
        weight = edges.edata["weight"].unsqueeze(1)
        # A target without edges has the sum 0 and no message to divide.
        shares = dgl.ops.e_div_v(edges, weight, dgl.ops.copy_e_sum(edges, weight))
        mean: Tensor = dgl.ops.u_mul_e_sum(edges, sources, shares)
        return mean


class DglBatches:
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
        # The view says plainly where DGL is missing, so it comes before our own import.
        self._graph = require_int64(to_dgl(graph))
        import dgl

        self._sampler = dgl.dataloading.NeighborSampler(list(fan_out)[::-1])
        self._exclusions = TargetExclusions(graph.relations, cold_share).barred
        self._pairs, self._features, self._negatives = pairs, features, list(negatives)
        self._batch_size, self._seed = batch_size, seed

    def __len__(self) -> int:
        return -(-len(self._pairs) // self._batch_size)

    def epoch(self, number: int) -> Iterator[TargetBatch]:
        order = epoch_order(len(self._pairs), self._seed, number)
        for batch in range(len(self)):
            chosen = self._pairs.take(order[batch * self._batch_size : (batch + 1) * self._batch_size])
            yield self._batch(chosen, np.random.SeedSequence([self._seed, number, batch]))

    def _batch(self, pairs: Pairs, seeds: np.random.SeedSequence) -> TargetBatch:
        stream, dgl_seed = (int(word) for word in seeds.generate_state(2))
        drawn = draw_negatives(self._negatives, pairs, stream)
        items = np.hstack([pairs.items[:, None], drawn.items])
        query_seeds, query_at = np.unique(pairs.queries, return_inverse=True)
        item_seeds, item_at = np.unique(items, return_inverse=True)
        excluded = excluded_edges(self._exclusions, pairs, drawn, stream)
        inputs, blocks = self._sample({"query": query_seeds, "item": item_seeds}, excluded, dgl_seed)
        return TargetBatch(
            features={kind: self._features[kind].take(indices) for kind, indices in inputs.items() if len(indices)},
            blocks=[DglBlock(block) for block in blocks],
            query_at=torch.from_numpy(query_at),
            item_at=torch.from_numpy(item_at.reshape(items.shape)),
            queries=pairs.queries,
            items=items,
        )

    def _sample(
        self, seeds: dict[str, np.ndarray], excluded: Mapping[Key, np.ndarray], seed: int
    ) -> tuple[dict[str, np.ndarray], list[Any]]:
        import dgl

        threads = dgl.utils.get_num_threads()
        dgl.utils.set_num_threads(1)
        try:
            dgl.seed(seed & 0x7FFFFFFF)
            nodes, _, blocks = self._sampler.sample(
                self._graph,
                {kind: torch.from_numpy(indices) for kind, indices in seeds.items()},
                exclude_eids={key: torch.from_numpy(edges) for key, edges in excluded.items()},
            )
        finally:
            dgl.utils.set_num_threads(threads)
        for block in blocks:
            for key in block.canonical_etypes:
                block.edges[key].data["weight"] = self._graph.edges[key].data["weight"][block.edges[key].data[dgl.EID]]
        return {kind: indices.numpy() for kind, indices in nodes.items()}, blocks


def require_int64(graph: Any) -> Any:
    """Refuse a graph whose indices are int32.

    Raises:
        InputError: DGL's reused sampler returns wrong blocks for such a graph from its second call on.
    """
    if graph.idtype != torch.int64:
        raise InputError(f"DGL graphs must have int64 indices, found {graph.idtype}: convert with graph.long()")
    return graph
