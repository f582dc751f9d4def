"""The graph libraries that sample batches and pass messages: PyG by default, DGL as the second."""

from __future__ import annotations

from collections.abc import Sequence

from configs.schema import Backend
from graph.store import Graph
from pretrain.backends.batch import Batches
from pretrain.node_features import NodeFeatures
from pretrain.sampling import Negatives, Pairs


def batches(
    backend: Backend,
    graph: Graph,
    pairs: Pairs,
    features: dict[str, NodeFeatures],
    negatives: Sequence[Negatives],
    fan_out: Sequence[int],
    batch_size: int,
    cold_share: float,
    seed: int,
) -> Batches:
    """Training batches of a backend.

    Args:
        backend: pyg or dgl.
        graph: messages are passed on its edges, less the targets of each batch and what derives from them.
        pairs: to be learnt.
        features: of every node type.
        negatives: drawn for every pair, side by side.
        fan_out: neighbours per relation and hop, the seeds' own hop first; -1 takes all.
        batch_size: pairs a batch.
        cold_share: share of a batch's items that are encoded as if never engaged.
        seed: of the order and of all draws.

    Raises:
        InputError: for backend=dgl where DGL is not installed.
    """
    # Each backend is imported when it is asked for: DGL may be absent.
    if backend is Backend.dgl:
        from pretrain.backends.dgl import DglBatches

        return DglBatches(graph, pairs, features, negatives, fan_out, batch_size, cold_share, seed)
    from pretrain.backends.pyg import PygBatches

    return PygBatches(graph, pairs, features, negatives, fan_out, batch_size, cold_share, seed)
