r"""The heads of a pre-ranking network: click, order and rank (GRACE, eq. 7), as logits.

.. math:: \hat y^{ctr}, \hat y^{cvr}, \hat y^{rank} = \mathrm{Sigmoid}(PLE(U, Q, S))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from configs.schema import ModelConfig, RankHead
from prerank.encoding.schema import EncodedSchema


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
