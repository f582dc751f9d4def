"""GRACE (SIGIR 2024): PLE with rank-consistency heads and an item network distilled towards ψ."""

from __future__ import annotations

import torch
from torch import Tensor

from configs.schema import Contrast
from prerank.encoding.batches import Batch
from prerank.losses.consistency import rank_labels, rank_loss
from prerank.losses.generalisation import alignment, contrastive_loss, uniformity, unique_items
from prerank.network.heads import Outputs
from prerank.systems.ple import PLE
from prerank.training.contracts import Work
from prerank.training.network_system import NETWORK_KEYS


class GRACE(PLE):
    """Feedback, rank-consistency and generalisation losses.

    Args:
        work: with ψ of the subset P of items.
    """

    NEEDS_PSI = True
    KEYS = (*NETWORK_KEYS, "model.rank", "model.contrast", "data.cutoffs")

    psi: Tensor
    psi_row: Tensor
    k_weights: Tensor

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        assert work.psi is not None
        vectors = torch.tensor(work.psi.vectors)
        # ψ is centred once, over P: a common direction would make all cosines alike and the negatives worthless.
        self.register_buffer("psi", vectors - vectors.mean(dim=0), persistent=False)
        rows = torch.from_numpy(work.psi.rows_of(work.encoded.item_ids))
        self.register_buffer("psi_row", rows, persistent=False)
        cutoffs = list(work.encoded.schema.cutoffs)
        weights = self._k_weights(list(work.config.data.cutoffs), cutoffs)
        self.register_buffer("k_weights", torch.tensor(weights), persistent=False)
        self.cutoffs = cutoffs

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Eq. 11, ``L = L_feedback + λ1·L_rank + λ2·L_cl``, term by term."""
        terms = super().losses(batch, outputs)
        if outputs.rank is not None:
            labels, mask = rank_labels(self.rank_positions(batch), batch.list_length, self.cutoffs)
            terms["rank"] = self.model.rank.weight * rank_loss(outputs.rank, labels, mask, self.k_weights)
        if self.model.contrast.loss is not Contrast.none:
            terms["contrast"] = self.model.contrast.weight * self._generalisation(batch, outputs.phi)
        return terms

    def rank_positions(self, batch: Batch) -> Tensor:
        """Positions that eq. 6's labels are made of; NaN where the ranking model's is unknown."""
        return batch.position

    def _generalisation(self, batch: Batch, phi: Tensor) -> Tensor:
        """Eq. 10 over the distinct items of the batch."""
        first = unique_items(batch.item)
        rows = self.psi_row[batch.item[first]]
        in_p = rows >= 0
        psi = self.psi[rows.clamp(min=0)]
        if self.trainer.is_last_batch:
            self._log_geometry(phi[first].detach(), psi, in_p)
        return self.generalisation_loss(batch, first, phi[first], psi, in_p)

    def generalisation_loss(
        self,
        batch: Batch,  # noqa: ARG002
        first: Tensor,  # noqa: ARG002
        phi: Tensor,
        psi: Tensor,
        in_p: Tensor,
    ) -> Tensor:
        """Eq. 10; a system with another φ or other negatives in it overrides this.

        Args:
            batch: rows.
            first: a row of each of its distinct items.
            phi, psi: of these items.
            in_p: which of them have a ψ.
        """
        return contrastive_loss(phi, psi, in_p, self.model.contrast)

    def _log_geometry(self, phi: Tensor, psi: Tensor, in_p: Tensor) -> None:
        """Once an epoch: a φ that collapses or explodes shows here before it shows in the AUC."""
        self.log("phi/norm", phi.norm(dim=1).mean())
        self.log("phi/share_in_p", in_p.float().mean())
        self.log("phi/uniformity", uniformity(phi))
        if in_p.any():
            self.log("phi/alignment", alignment(phi[in_p], psi[in_p]))

    def _k_weights(self, asked: list[int], cutoffs: list[int]) -> list[float]:
        """w_k of the cutoffs that the log can tell; 1/|K| each by default, which makes λ1 mean the same for any K."""
        all_weights = list(self.model.rank.k_weights) or [1.0] * len(asked)
        weights = [weight for k, weight in zip(asked, all_weights, strict=True) if k in cutoffs]
        return weights if self.model.rank.k_weights else [weight / len(cutoffs) for weight in weights]


SYSTEM = GRACE
