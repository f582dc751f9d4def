"""Heterogeneous GraphSAGE with weights per relation (Hamilton et al. 2017, Algorithm 1; relations as in R-GCN).

The encoder knows nothing of PyG or DGL: a ``Block`` aggregates messages, each backend brings its own, and the
parameters are the same for both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Protocol, runtime_checkable

from jaxtyping import Float32, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from graph.store import Key
from pretrain.sparse import RowMeans, products

Vectors = dict[str, Float32[Tensor, "nodes width"]]


@runtime_checkable
class Block(Protocol):
    """One layer's messages in a batch. In training, the targets of a type are the first of its sources."""

    @property
    def target_counts(self) -> Mapping[str, int]: ...

    def aggregate(
        self, relations: Sequence[Key], sources: Float32[Tensor, "sources width"]
    ) -> Sequence[Float32[Tensor, "targets width"]]:
        r"""Weighted means of the neighbours, :math:`\sum_u w_{uv} h_u / \sum_u w_{uv}`; 0 where there are none.

        Args:
            relations: whose sources are of the same type.
            sources: vectors of that type.

        Returns:
            One matrix per relation.
        """
        ...


class NodeEncoder(nn.Module):
    r"""The vectors before any message: h_v = ReLU(W_type [mean text; mean values] + b_type).

    Args:
        kinds: node types.
        buckets: rows of the embedding table.
        embedding: length of one embedding.
        hidden: length of the result.
    """

    def __init__(self, kinds: Sequence[str], buckets: int, embedding: int, hidden: int) -> None:
        super().__init__()
        # Features number the rows that some node uses, and a batch touches most of them: a dense gradient is added up
        # and applied in less time than the touched rows could be sorted in.
        self.table = nn.Embedding(buckets, embedding)
        self.project = nn.ModuleDict({kind: nn.Linear(2 * embedding, hidden) for kind in kinds})

    def reduce(self, buckets: Int64[Tensor, " buckets"]) -> None:
        """Leave these rows of the table only."""
        rows = self.table.weight.detach()[buckets]
        self.table = nn.Embedding(len(buckets), self.table.embedding_dim, _weight=rows)

    def forward(self, features: Mapping[str, RowMeans]) -> Vectors:
        """One vector per node.

        Args:
            features: of every type that has nodes, the matrix of means over the table: for each node a row of its text,
                then a row of its values.
        """
        means = products(self.table.weight, list(features.values()))
        width = 2 * self.table.embedding_dim
        return {
            kind: F.relu(self.project[kind](rows.view(-1, width)), inplace=True)
            for kind, rows in zip(features, means, strict=True)
        }


class SageLayer(nn.Module):
    r"""One round of messages:

    .. math:: h'_v = W_{type(v)} h_v + b_{type(v)} + \sum_r W_r \sum_{u \in N_r(v)} w_{uv} h_u / \sum_u w_{uv}

    W_r commutes with the mean, so it is applied to the relation's sources or to its targets, whichever are fewer.

    Args:
        kinds: node types.
        relations: (source, relation, target).
        width: of h.
        out: of h'.
    """

    def __init__(self, kinds: Sequence[str], relations: Sequence[Key], width: int, out: int) -> None:
        super().__init__()
        self.own = nn.ModuleDict({kind: nn.Linear(width, out) for kind in kinds})
        self.neighbours = nn.ModuleDict({"__".join(key): nn.Linear(width, out, bias=False) for key in relations})
        self.relations = list(relations)

    def forward(self, block: Block, sources: Vectors, targets: Vectors) -> Vectors:
        """The targets' new vectors from their own and the sources'; types without targets are left out."""
        vectors = {kind: self.own[kind](own) for kind, own in targets.items() if len(own)}
        for kind, rows in sources.items():
            outgoing = [key for key in self.relations if key[0] == kind and key[2] in vectors]
            after = [key for key in outgoing if len(targets[key[2]]) <= len(rows)]
            for key, means in zip(after, block.aggregate(after, rows), strict=True):
                vectors[key[2]] += self.neighbours["__".join(key)](means)
            for key in outgoing:
                if key not in after:
                    (means,) = block.aggregate([key], self.neighbours["__".join(key)](rows))
                    vectors[key[2]] += means
        return vectors


class GraphEncoder(nn.Module):
    """Node features and graph to one unit vector per node.

    Every layer but the last ends in ReLU; the last is divided by its length (Algorithm 1, line 7), so that inner
    products are cosines. A node whose last layer is exactly 0 keeps the zero vector.

    Args:
        kinds: node types.
        relations: (source, relation, target), in a fixed order.
        buckets: rows of the embedding table.
        embedding: length of an n-gram's or an attribute's embedding.
        hidden: width of the hidden layers.
        dimension: of the result.
        layers: rounds of messages, at least 1.
    """

    def __init__(
        self,
        kinds: Sequence[str],
        relations: Sequence[Key],
        buckets: int,
        embedding: int,
        hidden: int,
        dimension: int,
        layers: int,
    ) -> None:
        super().__init__()
        self.nodes = NodeEncoder(kinds, buckets, embedding, hidden)
        self.widths = [hidden] * layers + [dimension]
        self.layers = nn.ModuleList(SageLayer(kinds, relations, width, out) for width, out in pairwise(self.widths))

    def forward(self, features: Mapping[str, RowMeans], blocks: Sequence[Block]) -> Vectors:
        """Vectors of the last block's targets.

        Args:
            features: of the first block's sources.
            blocks: one per layer, the seeds' own last.
        """
        vectors: Vectors = self.nodes(features)
        for number, block in enumerate(blocks):
            targets = {kind: vectors[kind][:count] for kind, count in block.target_counts.items() if count}
            vectors = self.round(number, block, vectors, targets)
        return vectors

    def round(self, number: int, block: Block, sources: Vectors, targets: Vectors) -> Vectors:
        """One layer with what follows it: ReLU, or after the last one the division by the length."""
        vectors: Vectors = self.layers[number](block, sources, targets)
        if number < len(self.layers) - 1:
            return {kind: F.relu(rows, inplace=True) for kind, rows in vectors.items()}
        unit: Vectors = {kind: F.normalize(rows, dim=1) for kind, rows in vectors.items()}
        return unit
