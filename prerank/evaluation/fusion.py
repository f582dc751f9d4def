"""One ranking score from the heads' logits: the same small grid of weights for every system, chosen on validation.

Of weights that validation cannot tell apart the smallest are taken, the one-standard-error rule of Breiman et al. 1984
("Classification and Regression Trees", 3.4.3), so that rounding does not choose. It is a rule for stability, not gain.

Logits are added as they are. Standardising them within each list throws away how good a list is as a whole and cost
4.8 points of pooled AUC on trivago in a sketch, for no gain within lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from jaxtyping import Float, Int, Shaped

from prerank.evaluation.metrics import RequestValues, request_auc

GRID = (0.0, 0.25, 0.5, 1.0, 2.0)
"""Weights tried for the order and rank logits; the click logit weighs 1."""

RULE = "GAUC on validation, smallest weights within one standard error"
"""How :func:`tune_fusion` chooses, as figures name it: what weights of another rule made is made again."""

ENOUGH_ORDER_REQUESTS = 100
"""Requests with an ordered and an unordered item below which orders are too few to choose weights by."""


@dataclass(frozen=True)
class FusionWeights:
    """Weights of the logits in the ranking score, and how they were chosen.

    Attributes:
        objective: mean GAUC on validation of the chosen weights; ``None`` where no request could tell.
        chosen_by: the labels whose GAUC was averaged.
    """

    click: float
    order: float
    rank: float
    objective: float | None
    chosen_by: tuple[str, ...]


def fuse(
    click: Float[np.ndarray, " rows"] | None,
    order: Float[np.ndarray, " rows"] | None,
    rank: Float[np.ndarray, " rows"] | None,
    weights: FusionWeights,
) -> Float[np.ndarray, " rows"]:
    """Weighted sum of the logits that a system has; float64.

    Raises:
        ValueError: if a system has no head at all.
    """
    parts = [
        weight * np.asarray(logit, dtype=np.float64)
        for logit, weight in ((click, weights.click), (order, weights.order), (rank, weights.rank))
        if logit is not None
    ]
    if not parts:
        raise ValueError("a ranking score needs at least one of the click, order and rank logits")
    return np.asarray(np.sum(parts, axis=0))


def tune_fusion(
    click: Float[np.ndarray, " rows"] | None,
    order: Float[np.ndarray, " rows"] | None,
    rank: Float[np.ndarray, " rows"] | None,
    clicked: Shaped[np.ndarray, " rows"],
    ordered: Shaped[np.ndarray, " rows"],
    request: Int[np.ndarray, " rows"],
) -> FusionWeights:
    """Choose weights by GAUC on validation rows.

    The objective is the GAUC of clicks, averaged with that of orders where ``ENOUGH_ORDER_REQUESTS`` requests can tell
    it (of orders alone, where the log has no clicks to tell). Chosen are the smallest weights (order + rank, then
    rank) whose objective lies within one standard error of the best, see :func:`paired_standard_error`.

    Args:
        click: logit of the click head; None for a system (or log) without one. Likewise ``order`` and ``rank``.
        clicked: labels of the exposed validation rows. Likewise ``ordered``.
        request: the request of each row.
    """
    click_weight = 0.0 if click is None else 1.0
    labels = {"click": np.asarray(clicked).astype(bool), "order": np.asarray(ordered).astype(bool)}
    tellers = {name: _requests_that_tell(label, request) for name, label in labels.items()}
    chosen_by = tuple(
        name for name, least in (("click", 1), ("order", ENOUGH_ORDER_REQUESTS)) if tellers[name] >= least
    )
    if not chosen_by and tellers["order"]:
        chosen_by = ("order",)
    candidates = [
        FusionWeights(click_weight, order_weight, rank_weight, None, chosen_by)
        for order_weight, rank_weight in product(
            _weights(order, alone=click is None), _weights(rank, alone=click is None and order is None)
        )
    ]
    # Smallest first, and only a strictly better one takes over.
    candidates.sort(key=lambda weights: (weights.order + weights.rank, weights.rank))
    if not chosen_by:
        return candidates[0]
    gaucs = [
        [request_auc(labels[name], score, request) for name in chosen_by]
        for score in (fuse(click, order, rank, weights) for weights in candidates)
    ]
    objectives = [float(np.mean([each.mean for each in of_labels])) for of_labels in gaucs]
    best = int(np.argmax(objectives))
    smallest = next(
        place
        for place, objective in enumerate(objectives)
        if objectives[best] - objective <= paired_standard_error(gaucs[best], gaucs[place])
    )
    return replace(candidates[smallest], objective=objectives[smallest])


def paired_standard_error(ours: Sequence[RequestValues], theirs: Sequence[RequestValues]) -> float:
    r"""Standard error of the difference between two objectives on the same requests.

    An objective is a mean over labels of weighted means over requests. Requests are what is drawn: each contributes its
    differences under all labels together, so whatever makes a request hard for both systems cancels. In place of draws
    stands their limit, the weighted means linearised:

    .. math:: \mathrm{SE}^2 = \frac{n}{n - 1} \sum_r \Big( \frac{1}{L} \sum_l
        \frac{w_{lr}}{\sum_s w_{ls}} (d_{lr} - \bar d_l) \Big)^2

    Args:
        ours, theirs: for each label, the requests' values; the same requests and weights in both.

    Returns:
        In units of the objective; infinite where one request alone tells, which shows no noise.
    """
    requests = np.unique(np.concatenate([values.request for values in ours]))
    if len(requests) < 2:
        return np.inf
    deviation = np.zeros(len(requests))
    for our, their in zip(ours, theirs, strict=True):
        difference, share = our.value - their.value, our.weight / our.weight.sum()
        place = np.searchsorted(requests, our.request)
        deviation[place] += share * (difference - share @ difference) / len(ours)
    return float(np.sqrt(len(requests) / (len(requests) - 1) * (deviation**2).sum()))


def _weights(logit: Float[np.ndarray, " rows"] | None, alone: bool) -> tuple[float, ...]:
    if logit is None:
        return (0.0,)
    return (1.0,) if alone else GRID


def _requests_that_tell(label: Shaped[np.ndarray, " rows"], request: Int[np.ndarray, " rows"]) -> int:
    """Requests with both a positive and a negative row."""
    rows, positives = np.bincount(request), np.bincount(request, weights=label)
    return int(((positives > 0) & (positives < rows)).sum())
