"""A random query-item graph whose neighbourhoods are sampled on the device, for the encoder of psi."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pretrain.encoder import GraphEncoder, NodeEncoder
from pretrain.objective import softmax_loss

QUERIES, ITEMS, EDGES, BUCKETS = 200_000, 500_000, 10_000_000, 50_000
TO_ITEM, TO_QUERY = ("query", "engaged", "item"), ("item", "engaged_by", "query")
FAN_OUT, GRAMS, HIDDEN, DIMENSION, TEXT = (10, 5), 8, 64, 32, 32


@dataclass(frozen=True)
class Means:
    """Means of some rows, a bag each of the same size: what :class:`pretrain.sparse.RowMeans` is to the CPU."""

    at: Tensor

    def __matmul__(self, dense: Tensor) -> Tensor:
        return torch.nn.functional.embedding_bag(self.at, dense, mode="mean")


@dataclass(frozen=True)
class Block:
    """One layer's messages: as many sampled neighbours for each target, with replacement."""

    target_counts: dict[str, int]
    means: dict[tuple[str, str, str], Means]

    def aggregate(self, relations: Sequence[tuple[str, str, str]], sources: Tensor) -> list[Tensor]:
        return [self.means[relation] @ sources for relation in relations]


class RandomGraph:
    """Edges with a long tail, in both directions, as compressed rows on the device.

    Args:
        device: where everything lies.
        generator: of that device.
    """

    def __init__(self, device: torch.device, generator: torch.Generator) -> None:
        def draw(count: int) -> Tensor:
            return (torch.rand(EDGES, generator=generator, device=device) ** 2 * count).long()

        self.device, self.generator = device, generator
        self.query, self.item = draw(QUERIES), draw(ITEMS)
        self.rows = {"query": self._compressed(self.query, self.item, QUERIES)}
        self.rows["item"] = self._compressed(self.item, self.query, ITEMS)
        self.grams = {
            kind: torch.randint(BUCKETS, (count, GRAMS), generator=generator, device=device)
            for kind, count in (("query", QUERIES), ("item", ITEMS))
        }

    def _compressed(self, row: Tensor, column: Tensor, count: int) -> tuple[Tensor, Tensor]:
        ends = torch.bincount(row, minlength=count).cumsum(dim=0)
        return torch.cat([ends.new_zeros(1), ends]), column[row.argsort(stable=True)]

    def _neighbours(self, kind: str, nodes: Tensor, size: int) -> Tensor:
        """Sampled neighbours, [nodes, size]; a node without any is given node 0."""
        indptr, indices = self.rows[kind]
        start, degree = indptr[nodes], indptr[nodes + 1] - indptr[nodes]
        place = (
            torch.rand(len(nodes), size, generator=self.generator, device=self.device) * degree.unsqueeze(1)
        ).long()
        return torch.where(degree.unsqueeze(1) > 0, indices[(start.unsqueeze(1) + place).clamp(max=EDGES - 1)], 0)

    def batch(self, pairs: int) -> tuple[dict[str, Means], list[Block]]:
        """Features of all nodes of a batch of edges, and its two layers; its pairs are the first nodes of each type."""
        edge = torch.randint(EDGES, (pairs,), generator=self.generator, device=self.device)
        nodes = {"query": self.query[edge], "item": self.item[edge]}
        blocks = []
        for size in FAN_OUT:
            drawn = {kind: self._neighbours(kind, nodes[kind], size) for kind in nodes}
            counts = {kind: len(of) for kind, of in nodes.items()}
            means = {}
            for kind, other, key in (("item", "query", TO_ITEM), ("query", "item", TO_QUERY)):
                at = torch.arange(drawn[kind].numel(), device=self.device).view_as(drawn[kind])
                means[key] = Means(at + counts[other])
            blocks.append(Block(counts, means))
            nodes = {
                kind: torch.cat([nodes[kind], drawn["item" if kind == "query" else "query"].flatten()])
                for kind in nodes
            }
        grams = {kind: self.grams[kind][of] for kind, of in nodes.items()}
        # A row for each node's text, then one for its values, of which these nodes have none to tell.
        features = {kind: Means(torch.cat([of, of[:, :1].expand_as(of)])) for kind, of in grams.items()}
        return features, blocks[::-1]


class DeviceNodes(nn.Module):
    """The parameters of a :class:`~pretrain.encoder.NodeEncoder`; its means are torch's, not the CPU's kernel."""

    def __init__(self, nodes: NodeEncoder) -> None:
        super().__init__()
        self.table, self.project = nodes.table, nodes.project

    def forward(self, features: dict[str, Means]) -> dict[str, Tensor]:
        vectors = {}
        for kind, bags in features.items():
            text, values = (bags @ self.table.weight).chunk(2)
            vectors[kind] = torch.relu(self.project[kind](torch.cat([text, values], dim=1)))
        return vectors


def encoder() -> GraphEncoder:
    """The project's encoder, with what reads features on any device."""
    torch.manual_seed(0)
    relations = [TO_QUERY, TO_ITEM]
    model = GraphEncoder(["item", "query"], relations, BUCKETS, TEXT, HIDDEN, DIMENSION, len(FAN_OUT))
    model.nodes = DeviceNodes(model.nodes)  # type: ignore[assignment]
    return model


def loss(model: GraphEncoder, features: dict[str, Means], blocks: list[Block]) -> Tensor:
    """The in-batch softmax of a batch's pairs."""
    vectors = model(features, blocks)
    queries, items = vectors["query"], vectors["item"]
    pairs = len(queries)
    own = torch.eye(pairs, dtype=torch.bool, device=queries.device)
    none = queries.new_zeros(pairs, 0)
    return softmax_loss(
        queries, items, queries.new_zeros(pairs), own, queries.new_zeros(pairs, 0, DIMENSION), none, none.bool(), 0.1
    )
