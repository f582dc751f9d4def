"""Losses over whole lists that look at who is in the ranking model's top k, not at each row by itself (eq. 6's labels).

Eq. 8 asks of each row alone whether it is in the top k; a pre-ranker only needs the top k to stand above the rest of
its own list. Both losses here say that. All are computed in float32, and a batch that tells nothing has loss 0 with a
gradient.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor


def top_softmax_loss(
    logits: Float[Tensor, "batch cutoffs"],
    labels: Float[Tensor, "batch cutoffs"],
    mask: Bool[Tensor, "batch cutoffs"],
    request: Int64[Tensor, batch],
    weights: Float[Tensor, cutoffs],
) -> Float[Tensor, ""]:
    r"""Each row of the top k in a softmax with the rows of its list that are not in it.

    .. math:: \sum_k w_k \frac{1}{|T_k|} \sum_{i \in T_k}
        -\log \frac{e^{z_i}}{e^{z_i} + \sum_{j \notin T_k} e^{z_j}}

    Rows of the top k do not compete with each other, so the order within it is free, as it is in Recall@k.

    Args:
        logits: z, a column for each k.
        labels, mask: of :func:`~prerank.losses.consistency.rank_labels`.
        request: of each row.
        weights: w_k.

    Returns:
        The mean over the lists with known rows on both sides of k, k by k, weighted.
    """
    _, group = torch.unique(request, return_inverse=True)
    losses = []
    for column in range(labels.shape[1]):
        known, inside = mask[:, column], labels[:, column] > 0
        z = logits[:, column].float()
        against, rest = _log_sum_exp(z, group, known & ~inside)
        positive = known & inside & (rest > 0)[group]
        each = torch.where(positive, F.softplus(against[group] - z), 0.0)
        losses.append(_mean_of_lists(each, positive, group))
    return (torch.stack(losses) * weights).sum()


def relaxed_recall_loss(
    logits: Float[Tensor, "batch cutoffs"],
    labels: Float[Tensor, "batch cutoffs"],
    mask: Bool[Tensor, "batch cutoffs"],
    request: Int64[Tensor, batch],
    cutoffs: list[int],
    weights: Float[Tensor, cutoffs],
) -> Float[Tensor, ""]:
    r"""Recall@k of eq. 12 with ranks made smooth, as a log loss.

    .. math:: r_i = ½ + \sum_j σ(z_j - z_i), \qquad
        \sum_k w_k \frac{1}{|T_k|} \sum_{i \in T_k} -\log σ\left(\frac{k + ½ - r_i}{k / 2}\right)

    j goes over the known rows of i's list, i among them (σ(0) = ½, so a row above all others by far has rank 1). The
    width of the step, k / 2, is ours: a row of the top k that stands at 2k has a loss of 2.1, one at k of 0.6.

    Args:
        logits, labels, mask, request, weights: as in :func:`top_softmax_loss`.
        cutoffs: the values of k.
    """
    _, group = torch.unique(request, return_inverse=True)
    same = group.unsqueeze(1) == group
    losses = []
    for column, k in enumerate(cutoffs):
        known, inside = mask[:, column], labels[:, column] > 0
        z = logits[:, column].float()
        above = torch.sigmoid(z - z.unsqueeze(1))
        rank = 0.5 + torch.where(same & known, above, 0.0).sum(dim=1)
        # A list that is known in part (cut at a batch's end, or sampled) is shorter, so its top k is judged too mildly.
        _, rest = _log_sum_exp(z.detach(), group, known & ~inside)
        positive = known & inside & (rest > 0)[group]
        each = torch.where(positive, -F.logsigmoid((k + 0.5 - rank) / (k / 2)), 0.0)
        losses.append(_mean_of_lists(each, positive, group))
    return (torch.stack(losses) * weights).sum()


def _log_sum_exp(
    values: Float[Tensor, rows], group: Int64[Tensor, rows], chosen: Bool[Tensor, rows]
) -> tuple[Float[Tensor, groups], Float[Tensor, groups]]:
    """Of each group's chosen values, with how many there are; 0 where there is none."""
    groups = int(group.max()) + 1 if len(group) else 0
    count = values.new_zeros(groups).index_add(0, group, chosen.to(values.dtype))
    masked = torch.where(chosen, values.detach(), -torch.inf)
    largest = values.new_full((groups,), -torch.inf).scatter_reduce(0, group, masked, "amax")
    largest = torch.where(count > 0, largest, 0.0)
    # Left-out values are masked before the exponential too: infinity times 0 would make their gradient NaN.
    shifted = torch.where(chosen, values - largest[group], 0.0).exp()
    total = values.new_zeros(groups).index_add(0, group, torch.where(chosen, shifted, 0.0))
    return largest + torch.where(count > 0, total, 1.0).log(), count


def _mean_of_lists(
    losses: Float[Tensor, rows], chosen: Bool[Tensor, rows], group: Int64[Tensor, rows]
) -> Float[Tensor, ""]:
    """Mean over the groups with a chosen row of the mean over their chosen rows."""
    groups = int(group.max()) + 1 if len(group) else 0
    total = losses.new_zeros(groups).index_add(0, group, losses)
    count = losses.new_zeros(groups).index_add(0, group, chosen.to(losses.dtype))
    return (total / count.clamp(min=1)).sum() / (count > 0).sum().clamp(min=1)
