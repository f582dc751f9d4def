"""What is measured: AUC, GAUC, Recall@k, hit rate and log loss, as pure functions over arrays.

Every function is vectorised by sorting, so a million rows take a fraction of a second. Ties are never broken by the
order of the rows: a tied pair counts one half in an AUC, and Recall@k is the expectation over random tie-breaking.
A figure that is not defined (one class only, no request that counts) is ``None`` or left out, never 0.5 and never NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int64, Shaped

LOG_LOSS_CLIP = 1e-7
"""Probabilities are kept this far from 0 and 1: float32 cannot tell 1 - 1e-8 from 1, and log(0) has no mean."""


@dataclass(frozen=True)
class RequestValues:
    """One figure for each request that counts, and the weight with which it enters the mean.

    Attributes:
        request: the requests that count, ascending; others are undefined and left out.
        value: the figure of each.
        weight: its weight, above 0.
    """

    request: Int64[np.ndarray, " requests"]
    value: Float64[np.ndarray, " requests"]
    weight: Float64[np.ndarray, " requests"]

    @property
    def mean(self) -> float | None:
        """The weighted mean; ``None`` without a request that counts."""
        if not self.request.size:
            return None
        return float(np.average(self.value, weights=self.weight))


@dataclass(frozen=True)
class Standing:
    """Where each row stands among the rows of its request when they are sorted by score, best first.

    Attributes:
        better: rows of the same request with a higher score.
        tied: rows of the same request with the same score, the row itself included.
        length: rows of the request.
    """

    better: Int64[np.ndarray, " rows"]
    tied: Int64[np.ndarray, " rows"]
    length: Int64[np.ndarray, " rows"]

    def inclusion(self, k: int) -> Float64[np.ndarray, " rows"]:
        """Probability that a row is among the first ``k`` of its request when ties are broken at random."""
        return np.asarray(np.clip((k - self.better) / self.tied, 0.0, 1.0))


def auc(
    labels: Shaped[np.ndarray, " rows"],
    scores: Float[np.ndarray, " rows"],
    weights: Float[np.ndarray, " rows"] | None = None,
) -> float | None:
    """Area under the ROC curve: P(a positive scores above a negative) + P(they tie) / 2.

    Args:
        labels: true or 1 for positives.
        scores: higher is better; finite.
        weights: of the rows, at least 0; a pair weighs the product of its rows' weights.

    Returns:
        A value in [0, 1], or ``None`` where one of the classes has no weight.
    """
    positive = np.asarray(labels).astype(bool)
    order = np.argsort(scores, kind="stable")
    weight = np.ones(len(order)) if weights is None else np.asarray(weights, dtype=np.float64)[order]
    positive = positive[order]
    starts = _run_starts(np.asarray(scores)[order])
    if not starts.size:
        return None
    positives = np.add.reduceat(np.where(positive, weight, 0.0), starts)
    negatives = np.add.reduceat(np.where(positive, 0.0, weight), starts)
    total = positives.sum() * negatives.sum()
    if total <= 0:
        return None
    below = np.cumsum(negatives) - negatives
    return float(np.clip((positives * (below + negatives / 2)).sum() / total, 0.0, 1.0))


def request_auc(
    labels: Shaped[np.ndarray, " rows"],
    scores: Float[np.ndarray, " rows"],
    request: Int[np.ndarray, " rows"],
) -> RequestValues:
    """The AUC within each request that has both classes, weighted by the request's rows (its impressions)."""
    order = np.lexsort((scores, request))
    return sorted_request_auc(np.asarray(labels)[order], np.asarray(scores)[order], np.asarray(request)[order])


def sorted_request_auc(
    labels: Shaped[np.ndarray, " rows"],
    scores: Float[np.ndarray, " rows"],
    request: Int[np.ndarray, " rows"],
) -> RequestValues:
    """As ``request_auc``, for rows that are sorted by request and, within a request, by ascending score."""
    starts = _run_starts(request)
    if not starts.size:
        return _no_values()
    positive = labels.astype(np.float64)
    lengths = np.diff(np.append(starts, len(request)))
    ties = _run_starts(request, scores)
    tie_lengths = np.diff(np.append(ties, len(request)))
    # The mean 1-based rank of a tie within its request, so that the rank sum counts each tied pair one half.
    middle = np.repeat(ties + (tie_lengths + 1) / 2, tie_lengths) - np.repeat(starts, lengths)
    positives = np.add.reduceat(positive, starts)
    rank_sum = np.add.reduceat(positive * middle, starts)
    pairs = positives * (lengths - positives)
    both = pairs > 0
    wins = rank_sum[both] - positives[both] * (positives[both] + 1) / 2
    return RequestValues(request[starts][both].astype(np.int64), wins / pairs[both], lengths[both].astype(np.float64))


def gauc(
    labels: Shaped[np.ndarray, " rows"],
    scores: Float[np.ndarray, " rows"],
    request: Int[np.ndarray, " rows"],
) -> float | None:
    """Mean AUC over the requests that have both classes, weighted by impressions; ``None`` where there is none."""
    return request_auc(labels, scores, request).mean


def standing(request: Int[np.ndarray, " rows"], scores: Float[np.ndarray, " rows"]) -> Standing:
    """Count, for each row, the rows of its request that score higher and those that score the same."""
    order = np.lexsort((-np.asarray(scores), request))
    ordered_request, ordered_scores = np.asarray(request)[order], np.asarray(scores)[order]
    starts = _run_starts(ordered_request)
    ties = _run_starts(ordered_request, ordered_scores)
    rows = len(order)
    lengths, tie_lengths = np.diff(np.append(starts, rows)), np.diff(np.append(ties, rows))
    better, tied, length = (np.empty(rows, dtype=np.int64) for _ in range(3))
    better[order] = np.repeat(ties, tie_lengths) - np.repeat(starts, lengths)
    tied[order] = np.repeat(tie_lengths, tie_lengths)
    length[order] = np.repeat(lengths, lengths)
    return Standing(better, tied, length)


def standing_among(
    selected: Bool[np.ndarray, " rows"], request: Int[np.ndarray, " rows"], scores: Float[np.ndarray, " rows"]
) -> Standing:
    """Standing among the selected rows of each request; the other rows get length 0."""
    among = standing(request[selected], scores[selected])
    better, length = (np.zeros(len(request), dtype=np.int64) for _ in range(2))
    tied = np.ones(len(request), dtype=np.int64)
    better[selected], tied[selected], length[selected] = among.better, among.tied, among.length
    return Standing(better, tied, length)


@dataclass(frozen=True)
class RankedLists:
    """Lists that both models have ordered: which rows, and how each row stands in its request by either."""

    rows: Bool[np.ndarray, " rows"]
    by_ranking_model: Standing
    by_score: Standing

    @classmethod
    def of(
        cls,
        rows: Bool[np.ndarray, " rows"],
        request: Int[np.ndarray, " rows"],
        ranking: Float[np.ndarray, " rows"],
        scores: Float[np.ndarray, " rows"],
    ) -> RankedLists:
        """The lists of the chosen rows, by the ranking model's scores (negative positions) and the pre-ranker's."""
        return cls(rows, standing_among(rows, request, ranking), standing_among(rows, request, scores))


def recall_at_k(
    request: Int[np.ndarray, " rows"],
    lists: RankedLists,
    k: int,
    cut: int | None = None,
    segment: Bool[np.ndarray, " rows"] | None = None,
) -> tuple[RequestValues, RequestValues]:
    r"""Recall@k between the pre-ranker and the ranking model (GRACE, eq. 12), and its chance level.

    .. math:: \mathrm{Recall@}k = \frac{|\mathrm{top}_k^{rank} ∩ \mathrm{top}_{cut}^{pre}|}{|\mathrm{top}_k^{rank}|}

    The ranking model's top k are the k rows of a request that stand highest with it: where positions have gaps
    (Expedia's 5, 11, 17, 23) both sides still hold k items. Lists of at most ``cut`` rows are left out, because every
    item passes there.

    Args:
        request: the request of each row.
        lists: what both models ordered.
        k: how many of the ranking model's first items are looked for.
        cut: how many rows the pre-ranker passes; ``None``: k.
        segment: rows that are looked for; ``None``: all. Lists stay whole.

    Returns:
        The expected recall of each request over random tie-breaking, and the chance level cut/M of each.
    """
    cut = k if cut is None else cut
    length = lists.by_score.length
    wanted = lists.rows & (lists.by_ranking_model.better < k) & (length > cut)
    wanted = wanted if segment is None else wanted & segment
    chance = cut / np.maximum(length, 1)
    return kept_share(request, wanted, lists.by_score.inclusion(cut)), kept_share(request, wanted, chance)


def hit_rate_at_k(
    request: Int[np.ndarray, " rows"],
    by_score: Standing,
    ordered: Bool[np.ndarray, " rows"],
    k: int,
) -> RequestValues:
    """Share of a request's ordered items that are among the first k by score; lists of at most k are left out."""
    return kept_share(request, ordered & (by_score.length > k), by_score.inclusion(k))


def kept_share(
    request: Int[np.ndarray, " rows"],
    wanted: Bool[np.ndarray, " rows"],
    inclusion: Float64[np.ndarray, " rows"],
) -> RequestValues:
    """Mean inclusion of the wanted rows of each request that has any; each such request weighs 1."""
    requests = request[wanted]
    if not requests.size:
        return _no_values()
    count = np.bincount(requests)
    total = np.bincount(requests, weights=inclusion[wanted])
    distinct = np.flatnonzero(count)
    return RequestValues(distinct, total[distinct] / count[distinct], np.ones(len(distinct)))


def row_log_loss(
    labels: Shaped[np.ndarray, " rows"], probabilities: Float[np.ndarray, " rows"]
) -> Float64[np.ndarray, " rows"]:
    """Negative log-likelihood of each label, in nats, with probabilities clipped to ``LOG_LOSS_CLIP``."""
    clipped = np.clip(np.asarray(probabilities, dtype=np.float64), LOG_LOSS_CLIP, 1 - LOG_LOSS_CLIP)
    losses: Float64[np.ndarray, " rows"] = -np.log(np.where(np.asarray(labels).astype(bool), clipped, 1 - clipped))
    return losses


def log_loss(labels: Shaped[np.ndarray, " rows"], probabilities: Float[np.ndarray, " rows"]) -> float | None:
    """Mean negative log-likelihood in nats; ``None`` without a row."""
    return float(row_log_loss(labels, probabilities).mean()) if len(labels) else None


def _run_starts(*columns: Shaped[np.ndarray, " rows"]) -> Int64[np.ndarray, " runs"]:
    """First row of each run of rows that agree in every column."""
    if not len(columns[0]):
        return np.empty(0, dtype=np.int64)
    new = np.zeros(len(columns[0]), dtype=bool)
    new[0] = True
    for column in columns:
        new[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(new)


def _no_values() -> RequestValues:
    return RequestValues(np.empty(0, dtype=np.int64), np.empty(0), np.empty(0))
