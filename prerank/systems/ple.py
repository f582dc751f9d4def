"""PLE on click and order: the paper's baseline (GRACE, section 2.2, eqs. 1-4).

The item network is GRACE's, hashed id and attributes, but nothing pulls it towards ψ; there is no rank head.
"""

from __future__ import annotations

import torch
from torch import Tensor

from prerank.encoding.batches import Batch
from prerank.losses.feedback import conversion_loss, masked_cross_entropy
from prerank.network.heads import Outputs
from prerank.training.network_system import NetworkSystem


class PLE(NetworkSystem):
    """Feedback losses only."""

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Eq. 4, ``L_feedback = L_ctr + L_cvr``, over the rows whose feedback is known."""
        return self.feedback_losses(batch, outputs, batch.has_feedback)

    def feedback_losses(self, batch: Batch, outputs: Outputs, known: Tensor) -> dict[str, Tensor]:
        """The same over other rows: those of the mask ``known``, bool [batch]."""
        terms: dict[str, Tensor] = {}
        if outputs.click is not None:
            terms["click"] = masked_cross_entropy(outputs.click, batch.clicked, known)
        if outputs.order is not None:
            click = torch.zeros_like(outputs.order) if outputs.click is None else outputs.click
            terms["order"] = conversion_loss(
                click, outputs.order, batch.clicked, batch.ordered, known, self.model.conversion_space
            )
        return terms


SYSTEM = PLE
