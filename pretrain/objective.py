"""Link prediction: the query should lie nearer to the item that it engaged than to others."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float32
from torch import Tensor
from torch.nn import functional as F

Pairs = Float32[Tensor, "pairs dimension"]
Drawn = Float32[Tensor, "pairs negatives dimension"]


def softmax_loss(
    queries: Pairs,
    items: Pairs,
    log_q: Float32[Tensor, " pairs"],
    known: Bool[Tensor, "pairs pairs"],
    negatives: Drawn,
    negatives_log_q: Float32[Tensor, "pairs negatives"],
    negatives_known: Bool[Tensor, "pairs negatives"],
    temperature: float,
) -> Float32[Tensor, ""]:
    r"""In-batch softmax with logQ correction (Yi et al. 2019, eqs. 4-5), and negatives of each query's own.

    .. math:: L = -\frac 1 B \sum_i \log \frac{e^{s_{ii}}}{e^{s_{ii}} + \sum_{j \ne i} e^{s_{ij}} + \sum_h e^{s_{ih}}},
        \quad s_{ij} = q_i \cdot v_j / \tau - \log Q_j

    The items of a batch come as often as they are engaged, so without the correction popular items are pushed away in
    proportion to their popularity. Own negatives are corrected as though they had come with the batch.

    Args:
        queries: unit vectors.
        items: unit vectors, the positive of each query.
        log_q: log of each item's share of the training pairs.
        known: where the query is known to engage the item of another pair: no negative. The diagonal plays no part. An
            item that comes twice in the batch is known to both its queries, so it is never its own negative.
        negatives: unit vectors of further items, maybe none.
        negatives_log_q: log of their shares.
        negatives_known: where one is no negative after all.
        temperature: τ.

    Returns:
        The mean over the pairs; 0 for a pair that has no negative.
    """
    scores = queries @ items.T / temperature - log_q
    no_negative = known & ~torch.eye(len(queries), dtype=torch.bool, device=known.device)
    own = (negatives @ queries.unsqueeze(2)).squeeze(2) / temperature - negatives_log_q
    scores = torch.cat([scores, own], dim=1)
    no_negative = torch.cat([no_negative, negatives_known], dim=1)
    scores = scores.masked_fill(no_negative, torch.finfo(scores.dtype).min)
    return F.cross_entropy(scores, torch.arange(len(queries), device=scores.device))


def graphsage_loss(
    queries: Pairs,
    items: Pairs,
    negatives: Drawn,
    negatives_known: Bool[Tensor, "pairs negatives"],
    temperature: float,
) -> Float32[Tensor, ""]:
    r"""The loss of GraphSAGE (Hamilton et al. 2017, eq. 1), with cosines over a temperature for inner products.

    .. math:: L = -\frac 1 B \sum_i (\log \sigma(q_i \cdot v_i / \tau) + \sum_n \log \sigma(-q_i \cdot v_n / \tau))

    Args:
        queries: unit vectors.
        items: unit vectors, the positive of each query.
        negatives: unit vectors, drawn in proportion to degree^0.75.
        negatives_known: where the query is known to engage one: it is left out.
        temperature: τ.
    """
    positive = F.logsigmoid((queries * items).sum(dim=1) / temperature)
    negative = F.logsigmoid(-(negatives @ queries.unsqueeze(2)).squeeze(2) / temperature)
    return -(positive + negative.masked_fill(negatives_known, 0.0).sum(dim=1)).mean()
