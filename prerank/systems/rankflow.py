"""RankFlow (Qin et al., SIGIR 2022), the pre-ranking stage of it: feedback, in turn with the ranking model's lessons.

Even steps learn by themselves from all that recall passed, odd steps from the ranking model. The paper trains every
stage of the cascade in rounds; here the ranking model is the one that made the log.
"""

from __future__ import annotations

from torch import Tensor

from prerank.encoding.batches import RANDOM, Batch
from prerank.losses.lists import teacher_distance, top_loss
from prerank.network.heads import Outputs
from prerank.systems.ple import PLE
from prerank.training.network_system import NETWORK_KEYS


class RankFlow(PLE):
    """Self-learning and tutor-learning by turns."""

    KEYS = (*NETWORK_KEYS, "model.rankflow")
    NEEDS_POSITIONS = True
    whole_requests = True

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        return self.tutor_losses(batch, outputs) if self.global_step % 2 else self.self_losses(batch, outputs)

    def self_losses(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Eq. 4 over what the previous stage passes; what was recalled but not shown was not clicked or ordered."""
        return self.feedback_losses(batch, outputs, batch.stage != RANDOM)

    def tutor_losses(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """``α · top-k loss + (1 − α) · squared distance to the teacher``."""
        config, score = self.model.rankflow, self.feedback_score(outputs)
        distance = teacher_distance(score, batch.request, batch.position, batch.rank_score)
        return {
            "top": config.alpha * top_loss(score, batch.request, batch.position, config.top),
            "teacher": (1 - config.alpha) * distance,
        }


SYSTEM = RankFlow
