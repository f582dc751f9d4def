"""PLE that also learns the ranking model's scores, one by one: the rival of rank consistency (GRACE, section 3.1.3).

The head that learns them stands where GRACE has its rank head, and is as large.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from configs.console import say
from configs.schema import DistillationConfig, DistillationLoss
from prerank.encoding.batches import Batch, EncodedSplit
from prerank.network.heads import Outputs
from prerank.systems.ple import PLE
from prerank.training.contracts import Work
from prerank.training.network_system import NETWORK_KEYS


def distillation_loss(
    logits: Float[Tensor, " batch"],
    teacher: Float[Tensor, " batch"],
    mask: Bool[Tensor, " batch"],
    config: DistillationConfig,
) -> Float[Tensor, ""]:
    r"""Point-wise distillation, averaged over the rows that the ranking model scored.

    ``soft_labels`` (Hinton et al. 2015, for one sigmoid) and ``logit_mse``:

    .. math:: T^2 · \mathrm{BCE}(σ(t / T), σ(z / T)) \qquad (z - t)^2

    T² keeps the gradient's size as T grows: at a high T the first one is an eighth of the second, and a constant.

    Args:
        logits: z of the student.
        teacher: t, the ranking model's standardised score; ignored where ``mask`` is False.
        mask: rows to learn from; where it is all False the loss is 0.
        config: which loss, and T.
    """
    logits, teacher = logits.float(), torch.where(mask, teacher.float(), 0.0)
    if config.loss is DistillationLoss.logit_mse:
        losses = (logits - teacher).square()
    else:
        labels = (teacher / config.temperature).sigmoid()
        losses = F.binary_cross_entropy_with_logits(logits / config.temperature, labels, reduction="none")
        losses = losses * config.temperature**2
    return torch.where(mask, losses, 0.0).sum() / mask.sum().clamp(min=1)


def position_score(
    position: Float[Tensor, " batch"], list_length: Float[Tensor, " batch"]
) -> tuple[Float[Tensor, " batch"], Bool[Tensor, " batch"]]:
    r"""What stands for the ranking model's score in a log that has only its positions.

    .. math:: t = \log \frac{L - \mathrm{pos} + ½}{\mathrm{pos} - ½},

    the log-odds of the share of its list that an item stands above, itself counted by half.

    Args:
        position: 1-based; ``inf`` for a random negative, ``nan`` where unknown.
        list_length: L, ranked rows of the row's request. A position beyond it, of a list that was logged in part,
            counts as the last one of a list as long.

    Returns:
        The scores, and a mask that is False where there is none: the position is unknown or infinite, or the list
        holds one item and says nothing.
    """
    longest = torch.maximum(list_length, position)
    known = position.isfinite() & (longest > 1)
    above, below = longest - position + 0.5, position - 0.5
    return torch.where(known, above.log() - below.log(), 0.0), known


class Distillation(PLE):
    """The feedback losses of PLE and a distillation loss.

    The scores are standardised with the mean and the standard deviation of the training rows, since a ranking model's
    scores have no unit. Rows without one, random negatives among them, teach nothing.

    Args:
        work: of a log with positions.

    """

    KEYS = (*NETWORK_KEYS, "model.distillation")
    NEEDS_POSITIONS = True

    mean: Tensor
    scale: Tensor

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        train = work.encoded.split("train")
        self.by_position = not _has_score(train)
        if self.by_position:
            say("model=distillation: the log has no rank_score, so soft labels are made of the positions")
        scores = _position_scores(train) if self.by_position else train.rank_score[np.isfinite(train.rank_score)]
        mean, scale = _statistics(scores)
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("scale", torch.tensor(scale))

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """L_feedback of eq. 4 and the weighted distillation loss."""
        terms = super().losses(batch, outputs)
        assert outputs.rank is not None
        teacher, known = self.teacher(batch)
        loss = distillation_loss(outputs.rank[:, 0], teacher, known, self.model.distillation)
        return {**terms, "distillation": self.model.distillation.weight * loss}

    def teacher(self, batch: Batch) -> tuple[Float[Tensor, " batch"], Bool[Tensor, " batch"]]:
        """The standardised scores of a batch, and which rows have one."""
        if self.by_position:
            scores, known = position_score(batch.position, batch.list_length)
        else:
            scores, known = batch.rank_score, batch.rank_score.isfinite()
        return (scores - self.mean) / self.scale, known


def _has_score(split: EncodedSplit) -> bool:
    return bool(np.isfinite(split.rank_score).any())


def _position_scores(split: EncodedSplit) -> np.ndarray:
    lengths = split.list_length[split.request].astype(np.float32)
    scores, known = position_score(torch.from_numpy(np.array(split.position)), torch.from_numpy(lengths))
    known_scores: np.ndarray = scores[known].numpy()
    return known_scores


def _statistics(scores: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation; the latter 1 where all scores are the same."""
    if not scores.size:
        return 0.0, 1.0
    scale = float(scores.std(dtype=np.float64))
    return float(scores.mean(dtype=np.float64)), scale if scale > 0 else 1.0


SYSTEM = Distillation
