"""The stored graph for PyG, DGL and networkx: the same nodes, edges and weights, edge by edge.

Every view is directed: an edge goes from source to target, and both directions of a relation are separate edge types.
"""

from __future__ import annotations

import os
from typing import Any

import networkx as nx
import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor
from torch_geometric.data import HeteroData

from configs.packages import not_installed
from graph.store import Graph, Relation


def to_pyg(graph: Graph) -> HeteroData:
    """A copy in memory as PyG ``HeteroData``.

    Returns:
        ``num_nodes`` for every node type; for every (source, relation, target) ``edge_index`` int64 [2, edges] (row 0:
        source, row 1: target) and ``edge_weight`` float32 [edges].
    """
    data = HeteroData()
    for node_type, count in graph.node_counts.items():
        data[node_type].num_nodes = count
    for key, relation in graph.relations.items():
        edge_index, weight = _tensors(relation)
        data[key].edge_index = edge_index
        data[key].edge_weight = weight
    return data


def to_dgl(graph: Graph) -> Any:
    """A copy in memory as a DGL heterograph, edge weights in ``edata["weight"]`` (float32).

    Indices are int64: DGL's samplers silently corrupt int32 graphs when they are reused.

    Raises:
        InputError: where DGL is not installed.
    """
    # Without this DGL asks on import and writes the answer to the home folder.
    os.environ.setdefault("DGLBACKEND", "pytorch")
    try:
        import dgl
    except (ImportError, OSError):  # a later one than 1.1.3 does not find its libraries beside a current torch
        raise not_installed("dgl") from None
    edges, weights = {}, {}
    for key, relation in graph.relations.items():
        edge_index, weights[key] = _tensors(relation)
        edges[key] = (edge_index[0], edge_index[1])
    view = dgl.heterograph(edges, num_nodes_dict=graph.node_counts, idtype=torch.int64)
    for key, weight in weights.items():
        view.edges[key].data["weight"] = weight
    return view


def to_networkx(graph: Graph) -> nx.MultiDiGraph:
    """A copy as a networkx multigraph, for statistics and pictures of small graphs: some 1 KB an edge.

    Returns:
        Nodes ``(type, index)``; edges source → target, keyed by the relation's name, with the attribute ``weight``.
    """
    view = nx.MultiDiGraph()
    for node_type, count in graph.node_counts.items():
        view.add_nodes_from((node_type, index) for index in range(count))
    for (source_type, name, target_type), relation in graph.relations.items():
        for targets, sources, weights in relation.batches():
            view.add_edges_from(
                ((source_type, source), (target_type, target), name, {"weight": weight})
                for source, target, weight in zip(sources.tolist(), targets.tolist(), weights.tolist(), strict=True)
            )
    return view


def _tensors(relation: Relation) -> tuple[Int64[Tensor, "2 edges"], Float32[Tensor, " edges"]]:
    edge_index = np.stack([relation.indices, relation.targets])
    return torch.from_numpy(edge_index), torch.from_numpy(np.array(relation.weight))
