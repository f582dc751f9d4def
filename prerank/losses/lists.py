"""Losses over ranked lists: what the ranking model's order teaches a pre-ranker (COPR, RankFlow).

Rows without a position (recalled but not ranked, or random negatives) take no part. All losses are computed in float32,
and a batch that tells nothing has loss 0 with a gradient.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor


def sample_chunks(
    request: Int64[Tensor, batch], position: Float[Tensor, batch], chunk: int, draw: Float[Tensor, batch]
) -> tuple[Int64[Tensor, sampled], Int64[Tensor, sampled]]:
    """One row of each chunk of each ranked list.

    Args:
        request: of each row.
        position: 1-based position by the ranking model; rows where it is not finite are in no list.
        chunk: neighbouring positions that make one chunk.
        draw: independent uniform numbers; of a chunk's rows, the one with the smallest is taken.

    Returns:
        Row numbers, ordered by request and chunk, and the number of each one's chunk in its list, from 0.
    """
    rows = position.isfinite().nonzero().squeeze(1)
    rows = rows[draw[rows].argsort()]
    chunks = (position[rows].long() - 1).div(chunk, rounding_mode="floor")
    group = torch.stack([request[rows], chunks])
    # Sorted by the last key first: a stable sort by chunk, then by request, leaves the smallest draw in front.
    for key in (1, 0):
        order = group[key].argsort(stable=True)
        rows, group = rows[order], group[:, order]
    first = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    first[1:] = (group[:, 1:] != group[:, :-1]).any(dim=0)
    return rows[first], group[1, first]


def chunk_pairs_loss(
    score: Float[Tensor, sampled], request: Int64[Tensor, sampled], chunk: Int64[Tensor, sampled]
) -> Float[Tensor, ""]:
    r"""Pairwise logistic loss on pairs of different chunks, weighted by what swapping the pair would change of NDCG.

    .. math:: \sum_{c_i < c_j} ΔNDCG_{ij} \log (1 + e^{s_j - s_i}), \qquad
        ΔNDCG_{ij} = \frac{|g_i - g_j|}{\mathrm{IDCG}}
        \left| \frac{1}{\log_2 (1 + r_i)} - \frac{1}{\log_2 (1 + r_j)} \right|

    g is the number of the list's sampled rows from later chunks, r the rank by score among the list's sampled rows (of
    equal scores the earlier row is ahead).

    Args:
        score: the pre-ranker's fused score of one row a chunk.
        request, chunk: of each row; smaller chunks were ranked higher.

    Returns:
        The mean over the lists with rows of two chunks.
    """
    score = score.float()
    number = torch.arange(len(score), device=score.device)
    same = request.unsqueeze(1) == request
    above = same & (chunk.unsqueeze(1) < chunk)
    with torch.no_grad():
        tied = (score == score.unsqueeze(1)) & (number < number.unsqueeze(1))
        ahead = same & ((score > score.unsqueeze(1)) | tied)
        discount = 1 / torch.log2(2.0 + ahead.sum(dim=1))
        gain, betters = above.sum(dim=1).float(), above.sum(dim=0)
        ideal = same.float() @ (gain / torch.log2(2.0 + betters))
        weight = (gain.unsqueeze(1) - gain).abs() * (discount.unsqueeze(1) - discount).abs() / ideal.clamp(min=1e-6)
        lists = ((gain > 0) & (betters == 0)).sum()
    losses = F.softplus(score - score.unsqueeze(1)) * weight
    return torch.where(above, losses, 0.0).sum() / lists.clamp(min=1)


def top_loss(
    score: Float[Tensor, batch], request: Int64[Tensor, batch], position: Float[Tensor, batch], top: int
) -> Float[Tensor, ""]:
    r"""The ranking model's first k against the rest of its list.

    .. math:: -\log σ\left(\frac{1}{k} \sum_{\mathrm{pos} \le k} s_i
        - \frac{1}{n - k} \sum_{\mathrm{pos} > k} s_i\right)

    Args:
        score: the pre-ranker's score.
        request, position: of each row, as in :func:`sample_chunks`.
        top: k.

    Returns:
        The mean over the lists with rows on both sides of k.
    """
    ranked = position.isfinite()
    score = score.float()[ranked]
    _, group = torch.unique(request[ranked], return_inverse=True)
    inside = position[ranked] <= top
    means, rows = [], []
    for side in (inside, ~inside):
        rows.append(_sum(side.float(), group))
        means.append(_sum(torch.where(side, score, 0.0), group) / rows[-1].clamp(min=1))
    both = (rows[0] > 0) & (rows[1] > 0)
    return torch.where(both, -F.logsigmoid(means[0] - means[1]), 0.0).sum() / both.sum().clamp(min=1)


def teacher_distance(
    score: Float[Tensor, batch],
    request: Int64[Tensor, batch],
    position: Float[Tensor, batch],
    rank_score: Float[Tensor, batch],
) -> Float[Tensor, ""]:
    r"""Mean squared distance to the ranking model's scores within the list.

    .. math:: \frac{1}{n} \sum_i \left(s_i - \bar s - \frac{t_i - \bar t}{\mathrm{std}(t)}\right)^2

    A list's t are the ranking model's scores, or the negative positions where a row has no score. Their scale is the
    ranking model's own, so they are standardised; lists in which all t are equal say nothing.

    Args:
        score: the pre-ranker's score.
        request, position: of each row, as in :func:`sample_chunks`.
        rank_score: the ranking model's score; NaN where unknown.

    Returns:
        The mean over the rows of lists that tell.
    """
    ranked = position.isfinite()
    score, rank_score = score.float()[ranked], rank_score.float()[ranked]
    _, group = torch.unique(request[ranked], return_inverse=True)
    unscored = _sum(rank_score.isnan().float(), group) > 0
    teacher = torch.where(unscored[group], -position[ranked].float(), rank_score)
    size = _sum(torch.ones_like(score), group)
    power = (_sum(teacher.square(), group) / size)[group]
    teacher, score = _centred(teacher, group), _centred(score, group)
    variance = (_sum(teacher.square(), group) / size)[group]
    # Rounding leaves a little variance in a list of equal scores.
    telling = variance > 1e-12 * power
    losses = (score - teacher / torch.where(telling, variance, 1.0).sqrt()).square()
    return torch.where(telling, losses, 0.0).sum() / telling.sum().clamp(min=1)


def _sum(values: Float[Tensor, rows], group: Int64[Tensor, rows]) -> Float[Tensor, groups]:
    groups = int(group.max()) + 1 if len(group) else 0
    return values.new_zeros(groups).index_add(0, group, values)


def _centred(values: Float[Tensor, rows], group: Int64[Tensor, rows]) -> Float[Tensor, rows]:
    return values - (_sum(values, group) / _sum(torch.ones_like(values), group))[group]
