"""COPR-style consistency (Zhao et al. 2023): pairs of the ranking model's list, one row from each chunk of it.

PLE learns from feedback, and its fused score, click logit plus order logit, from pairs across chunks. The paper's net
that aligns the ranks is left out, since its exact form could not be verified: hence "-style".
"""

from __future__ import annotations

import torch
from torch import Tensor

from prerank.encoding.batches import Batch
from prerank.losses.lists import chunk_pairs_loss, sample_chunks
from prerank.network.heads import Outputs
from prerank.systems.ple import PLE
from prerank.training.network_system import NETWORK_KEYS


class COPR(PLE):
    """Feedback losses, and the weighted pairwise loss of :func:`~prerank.losses.lists.chunk_pairs_loss`."""

    KEYS = (*NETWORK_KEYS, "model.copr")
    NEEDS_POSITIONS = True
    whole_requests = True

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        config = self.model.copr
        draw = torch.rand(len(batch), device=batch.position.device)
        rows, chunks = sample_chunks(batch.request, batch.position, config.chunk, draw)
        pairs = chunk_pairs_loss(self.feedback_score(outputs)[rows], batch.request[rows], chunks)
        return {**super().losses(batch, outputs), "pairs": config.weight * pairs}


SYSTEM = COPR
