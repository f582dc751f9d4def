"""The pre-ranking network: φ, request and pair through PLE (GRACE, eq. 1) to the heads (eq. 7)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from configs.schema import ExpertsConfig, ModelConfig
from prerank.encoding.batches import Batch
from prerank.encoding.schema import EncodedSchema
from prerank.network.experts import ProgressiveLayeredExtraction
from prerank.network.heads import Outputs, task_heads, to_outputs
from prerank.network.inputs import SideEncoder
from prerank.network.item_network import ItemNetwork

Body = Callable[[int, dict[str, int], ExpertsConfig], nn.Module]
"""Makes what turns the common input into logits: of its width, the heads' numbers of logits, and the experts' sizes."""


class ServingNetwork(nn.Module):
    """What every system's network says of itself; called with a batch it returns :class:`Outputs`.

    Attributes:
        tasks: the heads it has: click, order and rank, those that the log can teach.
        item_network: φ, or None for a network without one.
    """

    tasks: list[str]
    item_network: nn.Module | None


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

    def forward(self, batch: Batch) -> Outputs:
        return self.outputs_of(self.item_network(batch.item_hash, batch.sides["item"]), batch)

    def context(self, batch: Batch) -> list[Tensor]:
        """What the body sees beside φ: request and pair, each ``[batch, width]``."""
        return [self.request(batch.sides["request"]), self.pair(batch.sides["pair"])]

    def outputs_of(self, phi: Float[Tensor, "batch dimension"], batch: Batch) -> Outputs:
        """The outputs for a given φ of each row."""
        logits = self.body(torch.cat([phi, *self.context(batch)], dim=1))
        return to_outputs(phi, logits, self.rank_heads)
