"""Calibration and gain curves of one system in one segment, with the same resampled units as every other figure."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int32, Shaped

from graph.resampling import RatioOfSums, Resampler, percentile_interval
from prerank.evaluation.bootstrap import figure_of
from prerank.evaluation.metrics import Standing
from prerank.evaluation.significance import NORMAL

BINS = 10
"""Of predictions, with equally many rows each; equal predictions share a bin."""
GAIN_SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Shares of a request's candidates that are kept; 0 and 1 are known without looking."""

Cell = list[Any]
"""``[value, low, high, n]``; value is null where nothing counts."""


def calibration(
    label: Bool[np.ndarray, " rows"],
    probability: Shaped[np.ndarray, " rows"],
    cluster: Int32[np.ndarray, " rows"],
    resampler: Resampler,
    confidence: float,
) -> dict[str, Any] | None:
    r"""Reliability curve and expected calibration error of the rows given.

    .. math:: \mathrm{ECE} = \sum_b \frac{n_b}{n} |\bar y_b - \bar p_b|

    Args:
        label: whether it happened.
        probability: what the system said.
        cluster: the resampled unit of each row.
        resampler: of the units.
        confidence: of the intervals.

    Returns:
        ``bins``: ``[mean prediction, observed rate, low, high, n]`` each, by ascending prediction; ``ece``: a cell; and
        ``by_chance``: what a perfectly calibrated system would show on as few rows. None without rows.
    """
    rows = len(label)
    if not rows:
        return None
    predicted = np.asarray(probability, dtype=np.float64)
    edges = np.unique(np.quantile(predicted, np.arange(1, BINS) / BINS, method="inverted_cdf"))
    which = np.searchsorted(edges, predicted, side="left")
    clusters = resampler.clusters
    everything = np.bincount(cluster, minlength=clusters).astype(np.float64)
    bins, error, gaps, chance = [], 0.0, np.zeros(resampler.draws), 0.0
    for place in np.unique(which):
        inside = which == place
        n = int(inside.sum())
        sums = _sums(label[inside].astype(np.float64), cluster[inside], clusters)
        counts = _sums(np.ones(n), cluster[inside], clusters)
        observed = RatioOfSums(sums, counts, n)
        rate = figure_of(observed, observed.draws(resampler), clusters, confidence)
        bins.append([float(predicted[inside].mean()), rate.value, rate.low, rate.high, n])
        residual = RatioOfSums(sums - _sums(predicted[inside], cluster[inside], clusters), everything, rows)
        drawn = residual.draws(resampler)
        error += abs(residual.value)
        gaps += np.abs(drawn)
        spread = float(np.nanstd(drawn)) if np.isfinite(drawn).any() else 0.0
        chance += spread * 2 * NORMAL.pdf(0.0)  # the mean of |x| of a normal x around 0 is 2 φ(0) σ
    low, high = percentile_interval(error, gaps, confidence)
    return {"bins": bins, "ece": [error, low, high, rows], "by_chance": chance if low is not None else None}


def gain_curve(
    positive: Bool[np.ndarray, " rows"],
    standing: Standing,
    cluster: Int32[np.ndarray, " rows"],
    resampler: Resampler,
    confidence: float,
) -> list[Cell] | None:
    """Share of the positives left if every request kept only its best candidates by score.

    Each request keeps the same share of its own list, as a pre-ranker's cut does. Ties are broken at random.

    Args:
        positive: rows of the segment that were clicked (ordered) and take part in the lists.
        standing: of every row among the candidates of its request, by the system's score.
        cluster: the resampled unit of each row.
        resampler: of the units.
        confidence: of the intervals.

    Returns:
        A cell for each of ``GAIN_SHARES``; None without a positive. n is the number of positives.
    """
    n = int(positive.sum())
    if not n:
        return None
    of_positives = Standing(standing.better[positive], standing.tied[positive], standing.length[positive])
    owners = cluster[positive]
    total = _sums(np.ones(n), owners, resampler.clusters)
    cells = []
    for share in GAIN_SHARES:
        left = RatioOfSums(_sums(_inclusion(of_positives, share), owners, resampler.clusters), total, n)
        share_left = figure_of(left, left.draws(resampler), resampler.clusters, confidence)
        cells.append([share_left.value, share_left.low, share_left.high, n])
    return cells


def _inclusion(standing: Standing, share: float) -> Float64[np.ndarray, " rows"]:
    """Probability of being kept: a cut in the middle of an item keeps it with the share of it that is left."""
    probability: Float64[np.ndarray, " rows"] = np.clip(
        (share * standing.length - standing.better) / standing.tied, 0.0, 1.0
    )
    return probability


def _sums(
    values: Float64[np.ndarray, " cases"], owners: Int32[np.ndarray, " cases"], clusters: int
) -> Float64[np.ndarray, " clusters"]:
    return np.bincount(owners, weights=values, minlength=clusters)
