"""The pre-ranking network: φ, request and pair through PLE (GRACE, eq. 1) to the heads (eq. 7)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from configs.schema import ExpertsConfig, ModelConfig
from prerank.encoding.batches import Batch, SideFeatures
from prerank.encoding.schema import EncodedSchema
from prerank.network.experts import ProgressiveLayeredExtraction
from prerank.network.heads import Outputs, task_heads, to_outputs
from prerank.network.inputs import SideEncoder
from prerank.network.item_network import ItemNetwork
from prerank.network.parts import SideParts

Body = Callable[[int, dict[str, int], ExpertsConfig], nn.Module]
"""Makes what turns the common input into logits: of its width, the heads' numbers of logits, and the experts' sizes."""


class ServingNetwork(nn.Module):
    """What every system's network says of itself: three sides and a score of them.

    A side is a list of tensors, each ``[batch, width]``, that the score puts side by side. Whoever serves computes the
    item side of a catalogue beforehand, and the request side once for all candidates.

    Attributes:
        tasks: the heads it has: click, order and rank, those that the log can teach.
        item_network: φ, or None for a network without one.
    """

    tasks: list[str]
    item_network: nn.Module | None

    def item_side(self, item_hash: Int64[Tensor, batch], features: SideFeatures) -> list[Tensor]:
        """What the score sees of each row's item."""
        raise NotImplementedError

    def request_side(self, features: SideFeatures) -> list[Tensor]:
        """What the score sees of each row's request."""
        raise NotImplementedError

    def pair_side(self, features: SideFeatures) -> list[Tensor]:
        """What the score sees of the item in the request."""
        raise NotImplementedError

    def score(self, item: list[Tensor], request: list[Tensor], pair: list[Tensor]) -> Outputs:
        """The outputs of rows whose sides are given."""
        raise NotImplementedError

    def forward(self, batch: Batch) -> Outputs:
        return self.score(
            self.item_side(batch.item_hash, batch.sides["item"]),
            self.request_side(batch.sides["request"]),
            self.pair_side(batch.sides["pair"]),
        )

    def sides(self) -> dict[str, SideParts]:
        """What each side looks up and passes through, to the very tensors of ``item_side`` and the others."""
        raise NotImplementedError


class PreRankingNetwork(ServingNetwork):
    """φ and PLE (or another multi-task body) with the heads that the log can teach and the system wants.

    Args:
        schema: the log's columns, tasks and cutoffs.
        config: the system.
        dimension: length of φ, which is ψ's.
        body: what stands in PLE's place.
    """

    item_network: ItemNetwork

    def __init__(
        self,
        schema: EncodedSchema,
        config: ModelConfig,
        dimension: int,
        body: Body = ProgressiveLayeredExtraction,
    ) -> None:
        super().__init__()
        self.item_network = ItemNetwork(schema.sides["item"], config.item, config.buckets, config.dimension, dimension)
        hash_id = self.item_network.hash_id
        shared = {} if hash_id is None else {"item_id": hash_id}
        self.request = SideEncoder(schema.sides["request"], config.buckets, config.dimension, shared)
        self.pair = SideEncoder(schema.sides["pair"], config.buckets, config.dimension, shared)
        heads, self.rank_heads = task_heads(schema, config)
        self.tasks = list(heads)
        self.body = body(dimension + self.request.width + self.pair.width, heads, config.experts)

    def item_side(self, item_hash: Int64[Tensor, batch], features: SideFeatures) -> list[Tensor]:
        return [self.item_network(item_hash, features)]

    def request_side(self, features: SideFeatures) -> list[Tensor]:
        return [self.request(features)]

    def pair_side(self, features: SideFeatures) -> list[Tensor]:
        return [self.pair(features)]

    def score(self, item: list[Tensor], request: list[Tensor], pair: list[Tensor]) -> Outputs:
        logits = self.body(torch.cat([*item, *request, *pair], dim=1))
        return to_outputs(item[0], logits, self.rank_heads)

    def outputs_of(self, phi: Float[Tensor, "batch dimension"], batch: Batch) -> Outputs:
        """The outputs for a given φ of each row."""
        return self.score([phi], self.request_side(batch.sides["request"]), self.pair_side(batch.sides["pair"]))

    def sides(self) -> dict[str, SideParts]:
        return {
            "item": SideParts(tuple(self.item_network.parts()), self.item_network.dense),
            "request": SideParts(tuple(self.request.parts())),
            "pair": SideParts(tuple(self.pair.parts())),
        }
