"""Vectors of all nodes, layer by layer over full neighbourhoods.

Memory: the vectors of two layers and one chunk's edges. Every node is computed once per layer, where seeds expanded to
full neighbourhoods would compute most of the graph for each batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from graph.store import Graph
from pretrain.backends.pyg import SparseBlock
from pretrain.encoder import GraphEncoder, Vectors
from pretrain.node_features import NodeFeatures
from pretrain.sparse import RowMeans

CHUNK = 1 << 14
"""Targets at a time; the degree cap bounds their edges."""


@torch.no_grad()
def embed(
    encoder: GraphEncoder, graph: Graph, features: dict[str, NodeFeatures], kinds: Sequence[str] = ("query", "item")
) -> Vectors:
    """Unit vectors of every node of some types.

    Args:
        encoder: trained or not.
        graph: whose edges carry the messages.
        features: of every node type.
        kinds: node types to return.
    """
    vectors: Vectors = {}
    for kind, count in graph.node_counts.items():
        vectors[kind] = torch.empty(count, encoder.widths[0])
        for nodes in _chunks(count):
            vectors[kind][nodes] = encoder.nodes({kind: features[kind].take(np.arange(nodes.start, nodes.stop))})[kind]
    for number, width in enumerate(encoder.widths[1:]):
        outputs: Vectors = {}
        for kind in kinds if number == len(encoder.layers) - 1 else graph.node_counts:
            outputs[kind] = torch.empty(graph.node_counts[kind], width)
            for nodes in _chunks(graph.node_counts[kind]):
                block = full_block(graph, kind, nodes)
                outputs[kind][nodes] = encoder.round(number, block, vectors, {kind: vectors[kind][nodes]})[kind]
        vectors = outputs
    return vectors


def full_block(graph: Graph, kind: str, nodes: slice) -> SparseBlock:
    """All messages to some consecutive nodes of one type; the sources are all nodes of their types."""
    # Read where they lie: the matrices are views of the whole graph's arrays.
    means = {
        key: RowMeans(
            np.asarray(relation.indptr)[nodes.start : nodes.stop + 1],
            np.asarray(relation.indices),
            np.asarray(relation.weight),
            graph.node_counts[key[0]],
        )
        for key, relation in graph.relations.items()
        if key[2] == kind
    }
    return SparseBlock({kind: nodes.stop - nodes.start}, means)


def _chunks(count: int) -> Iterator[slice]:
    return (slice(first, min(first + CHUNK, count)) for first in range(0, count, CHUNK))
