"""Privileged features distillation (Xu et al., KDD 2020): a student learns beside a teacher that sees more.

The teacher is a DIN: it attends to the user's earlier items for each candidate, which costs much to serve for all of
them. The student, which is all that serves, does not; with ``model.pfd.student_pair=false`` it lacks the pair side too,
as in the paper.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from prerank.encoding.batches import Batch
from prerank.encoding.schema import SideSchema
from prerank.losses.feedback import masked_cross_entropy
from prerank.network.heads import Outputs
from prerank.network.history import HistoryNetwork
from prerank.network.pre_ranking import PreRankingNetwork
from prerank.systems.ple import PLE
from prerank.training.contracts import Work
from prerank.training.network_system import NETWORK_KEYS


class PFD(PLE):
    """Student and teacher trained together; the teacher learns nothing from the student."""

    KEYS = (*NETWORK_KEYS, "model.din", "model.pfd")

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        schema, config = work.encoded.schema, work.config
        self.teacher = HistoryNetwork(schema, config.model, config.pretrain.dimension)
        steps = -(-schema.splits["train"]["rows"] // config.prerank.batch_size)
        self.swap_step = round(config.model.pfd.swap_epochs * steps)

    def make_network(self, work: Work, dimension: int) -> PreRankingNetwork:
        """The student."""
        schema, config = work.encoded.schema, work.config.model
        if not config.pfd.student_pair:
            schema = replace(schema, sides={**schema.sides, "pair": SideSchema()})
        return PreRankingNetwork(schema, config, dimension)

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """``(1 − λ)·L_student + λ·L_distillation + L_teacher``, λ = 0 before the swap step."""
        teacher_outputs = self.teacher(batch)
        weight = self.model.pfd.weight if self.global_step >= self.swap_step else 0.0
        student = super().losses(batch, outputs)
        teacher = super().losses(batch, teacher_outputs)
        terms = {f"student_{name}": (1 - weight) * loss for name, loss in student.items()}
        terms |= {f"teacher_{name}": loss for name, loss in teacher.items()}
        if weight > 0:
            terms["distillation"] = weight * self.distillation(batch, outputs, teacher_outputs)
        return terms

    def distillation(self, batch: Batch, outputs: Outputs, teacher_outputs: Outputs) -> Tensor:
        """Cross-entropy of the student against the teacher's probabilities, summed over the tasks."""
        pairs = zip(self.task_logits(outputs), self.task_logits(teacher_outputs), strict=True)
        losses = [
            masked_cross_entropy(logit, torch.sigmoid(target.detach()), batch.has_feedback)
            for logit, target in pairs
            if logit is not None and target is not None
        ]
        return torch.stack(losses).sum()


SYSTEM = PFD
