"""An item's surroundings in the graph as a small networkx picture: its queries, attributes, co-engaged items."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
from jaxtyping import Float32, Int64

from graph.store import Graph, Relation

MOST_OF_A_TYPE = {"query": 6, "item": 6}
MOST_VALUES = 2
"""Values of one attribute that are shown at most."""
SIDE = 100
"""Coordinates are whole numbers from 0 to this."""

Node = tuple[str, int]
"""Node type and index in the graph."""


class Surroundings:
    """Cuts one item's neighbourhood after another out of a graph, whose arrays stay on disk.

    Args:
        graph: whose item indices are those of the catalogue.
    """

    def __init__(self, graph: Graph) -> None:
        self._to_item = {key[0]: relation for key, relation in graph.relations.items() if key[2] == "item"}
        self._keys = {node_type: graph.nodes(node_type)["key"] for node_type in self._to_item if node_type != "item"}

    def ego(self, item: int) -> nx.Graph:
        """The item, its strongest neighbours of each type, and the edges among all of them.

        Returns:
            Nodes are ``(type, index)`` with ``layer`` 0 (queries), 1 (the item and its attributes) or 2 (items);
            edges have ``weight``. The graph's own ``of`` says how many neighbours of each type the item has in all.
        """
        picture = nx.Graph(of={})
        neighbours: dict[str, list[Node]] = {}
        for node_type, relation in self._to_item.items():
            sources, weights = _row(relation, item)
            picture.graph["of"][node_type] = len(sources)
            strongest = np.argsort(-weights, kind="stable")[: MOST_OF_A_TYPE.get(node_type, MOST_VALUES)]
            neighbours[node_type] = [(node_type, int(sources[place])) for place in strongest]
        attributes = [
            node for node_type, nodes in neighbours.items() if node_type not in MOST_OF_A_TYPE for node in nodes
        ]
        half = len(attributes) // 2
        layers = (
            neighbours.get("query", []),
            [*attributes[:half], ("item", item), *attributes[half:]],
            neighbours.get("item", []),
        )
        for layer, nodes in enumerate(layers):
            picture.add_nodes_from(nodes, layer=layer)
        for target in [("item", item), *neighbours.get("item", [])]:
            self._join(picture, target)
        return picture

    def _join(self, picture: nx.Graph, target: Node) -> None:
        """The edges between one item of the picture and whatever else is in it."""
        for node_type, relation in self._to_item.items():
            sources, weights = _row(relation, target[1])
            for source, weight in zip(sources.tolist(), weights.tolist(), strict=True):
                if (node_type, source) in picture and (node_type, source) != target:
                    picture.add_edge((node_type, source), target, weight=weight)

    def key(self, node: Node) -> Any:
        """What a node that is no item is called: the query's text, the brand's name."""
        return self._keys[node[0]][node[1]].as_py()


def positions(picture: nx.Graph) -> dict[Node, tuple[int, int]]:
    """Queries in a column on the left, the item among its attributes, items on the right: names stay legible so."""
    layers = nx.get_node_attributes(picture, "layer")
    # Lists, strongest first: by the attribute's name networkx would group the nodes in sets, and lose their order.
    columns = {layer: [node for node in picture if layers[node] == layer] for layer in sorted(set(layers.values()))}
    placed = nx.multipartite_layout(picture, subset_key=columns, scale=1)
    reach = max((abs(float(y)) for _, y in placed.values()), default=0.0)
    return {
        node: (SIDE * layers[node] // 2, round(SIDE * (0.5 + float(y) / (2 * reach)) if reach else SIDE / 2))
        for node, (_, y) in placed.items()
    }


def _row(relation: Relation, target: int) -> tuple[Int64[np.ndarray, " edges"], Float32[np.ndarray, " edges"]]:
    part = slice(int(relation.indptr[target]), int(relation.indptr[target + 1]))
    return np.asarray(relation.indices[part]), np.asarray(relation.weight[part])
