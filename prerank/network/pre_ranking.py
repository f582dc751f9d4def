"""The pre-ranking network: φ, request and pair through PLE to click, order and rank logits (GRACE, eqs. 1 and 7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from configs.schema import ExpertsConfig, ModelConfig, RankHead
from graph.neural.experts import ProgressiveLayeredExtraction
from prerank.encoding.batches import Batch
from prerank.encoding.schema import EncodedSchema
from prerank.network.inputs import SideEncoder
from prerank.network.item_network import ItemNetwork


@dataclass(frozen=True)
class Outputs:
    """What the network says of a batch; a head that the log or the system does not have is None.

    Attributes:
        phi: ``[batch, dimension]``, un-normalised.
        click, order: logits ``[batch]``.
        rank: logits ``[batch, cutoffs]``, one column for each k.
    """

    phi: Tensor
    click: Tensor | None
    order: Tensor | None
    rank: Tensor | None


class RankHeads(nn.Module):
    """From the rank tower's output to one logit for each k.

    ``shared`` repeats one logit, as eq. 8 is written; ``per_k`` has one of its own for each k; ``ordinal`` adds a bias
    that grows with k, so that P[pos ≤ k] cannot fall as k grows.

    Args:
        head: which.
        cutoffs: number of k.
    """

    def __init__(self, head: RankHead, cutoffs: int) -> None:
        super().__init__()
        self.head = head
        self.cutoffs = cutoffs
        self.logits = cutoffs if head is RankHead.per_k else 1
        if head is RankHead.ordinal:
            self.first = nn.Parameter(torch.zeros(1))
            self.steps = nn.Parameter(torch.zeros(cutoffs - 1))

    def forward(self, tower: Float[Tensor, "batch logits"]) -> Float[Tensor, "batch cutoffs"]:
        if self.head is RankHead.per_k:
            return tower
        if self.head is RankHead.ordinal:
            return tower + torch.cat([self.first, F.softplus(self.steps)]).cumsum(dim=0)
        return tower.expand(-1, self.cutoffs)


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


def task_heads(schema: EncodedSchema, config: ModelConfig) -> tuple[dict[str, int], RankHeads | None]:
    """The heads that the log can teach and the system wants: their numbers of logits, and what makes one for each k."""
    heads = {task: 1 for task in ("click", "order") if schema.tasks[task]["available"]}
    wants_rank = config.rank.head is not RankHead.none and schema.tasks["rank"]["available"]
    rank_heads = RankHeads(config.rank.head, len(schema.cutoffs)) if wants_rank else None
    if rank_heads is not None:
        heads["rank"] = rank_heads.logits
    return heads, rank_heads


def to_outputs(phi: Tensor, logits: Mapping[str, Tensor], rank_heads: RankHeads | None) -> Outputs:
    """Outputs of a body's logits, each ``[batch, logits]``."""
    click, order = logits.get("click"), logits.get("order")
    return Outputs(
        phi=phi,
        click=None if click is None else click.squeeze(1),
        order=None if order is None else order.squeeze(1),
        rank=None if rank_heads is None else rank_heads(logits["rank"]),
    )


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
