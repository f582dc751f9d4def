"""How sure a figure is: bootstrap intervals, paired differences, Holm's correction, the smallest visible difference.

Requests of one session or user are not independent (a third of trivago's click-outs repeat an earlier list), so whole
clusters are drawn. A draw is a vector of multiplicities, one for each cluster. Pooled AUC is recomputed in full for
every draw from one sorted order; every other metric is a ratio of sums over clusters. The same seed and clusters give
the same draws, so figures of two systems over the same rows are paired.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Shaped, UInt8

from prerank.evaluation.resampling import auc_lanes, ratio_lanes

LANES = 64
"""Draws that one pass over the rows computes side by side, so that a cluster's multiplicities fill vector registers."""

DEFINED_SHARE = 0.9
"""An interval needs the metric defined in this share of the draws: about three clusters of the rarer class."""

FAR_DRAWS = 10
"""Draws beyond zero that a p-value needs to be counted from them."""

NORMAL = NormalDist()


class Resampler:
    """Multiplicities of clusters in bootstrap draws; ``clusters * draws`` bytes, made at the first use.

    Args:
        clusters: number of units that are drawn with replacement.
        draws: bootstrap draws.
        seed: draw ``i`` depends on ``(seed, i)`` and the number of clusters only.
    """

    def __init__(self, clusters: int, draws: int, seed: int) -> None:
        self.clusters, self.draws, self.seed = clusters, draws, seed

    @cached_property
    def blocks(self) -> UInt8[np.ndarray, "blocks clusters lanes"]:
        """Multiplicities in blocks of ``LANES`` draws."""
        blocks = np.zeros((-(-self.draws // LANES), self.clusters, LANES), dtype=np.uint8)
        for draw in range(self.draws):
            drawn = np.random.default_rng([self.seed, draw]).integers(self.clusters, size=self.clusters)
            blocks[draw // LANES, :, draw % LANES] = np.bincount(drawn, minlength=self.clusters)
        return blocks

    def each_block(
        self, kernel: Callable[[UInt8[np.ndarray, "clusters lanes"]], Float64[np.ndarray, " lanes"]]
    ) -> Float64[np.ndarray, " draws"]:
        """Run a kernel that releases the interpreter lock on every block, in threads; the order does not matter."""
        if self.clusters < 2:
            return np.full(self.draws, np.nan)  # one unit drawn again and again would look like certainty
        # Threads, not OpenMP: a process that has used OpenMP cannot fork data-loading workers afterwards.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return np.concatenate(list(pool.map(kernel, self.blocks)))[: self.draws]


@dataclass(frozen=True)
class PooledAUC:
    """The AUC over all rows of a segment, prepared for resampling: rows sorted by ascending score.

    Attributes:
        label: 1 for positives.
        ends_tie: whether the next row has another score.
        cluster: the cluster of each row.
        clusters: how many there are.
    """

    label: UInt8[np.ndarray, " rows"]
    ends_tie: Bool[np.ndarray, " rows"]
    cluster: Int[np.ndarray, " rows"]
    clusters: int

    @property
    def n(self) -> int:
        return len(self.label)

    @cached_property
    def value(self) -> float:
        return float(self._kernel(np.ones((self.clusters, 1), dtype=np.uint8))[0])

    def draws(self, resampler: Resampler) -> Float64[np.ndarray, " draws"]:
        """The AUC in each draw; NaN where the draw holds one class only."""
        return resampler.each_block(self._kernel)

    def _kernel(self, multiplicity: UInt8[np.ndarray, "clusters lanes"]) -> Float64[np.ndarray, " lanes"]:
        result: Float64[np.ndarray, " lanes"] = auc_lanes(self.label, self.ends_tie, self.cluster, multiplicity)
        return result


@dataclass(frozen=True)
class RatioOfSums:
    """A weighted mean (of rows' losses, of requests' recalls) as sums over clusters.

    Attributes:
        numerator: sum of weight times value in each cluster.
        denominator: sum of weights in each cluster.
        n: rows or requests that count.
    """

    numerator: Float64[np.ndarray, " clusters"]
    denominator: Float64[np.ndarray, " clusters"]
    n: int

    @property
    def value(self) -> float:
        return float(self.numerator.sum() / self.denominator.sum())

    def draws(self, resampler: Resampler) -> Float64[np.ndarray, " draws"]:
        """The mean in each draw; NaN where no row or request that counts was drawn."""
        return resampler.each_block(self._kernel)

    def _kernel(self, multiplicity: UInt8[np.ndarray, "clusters lanes"]) -> Float64[np.ndarray, " lanes"]:
        result: Float64[np.ndarray, " lanes"] = ratio_lanes(self.numerator, self.denominator, multiplicity)
        return result


@dataclass(frozen=True)
class Undefined:
    """A metric that this log, segment or system cannot have."""

    reason: str
    n: int = 0

    def draws(self, resampler: Resampler) -> Float64[np.ndarray, " draws"]:
        return np.full(resampler.draws, np.nan)


Statistic = PooledAUC | RatioOfSums | Undefined


def pooled_auc(
    labels: Shaped[np.ndarray, " rows"],
    scores: Float[np.ndarray, " rows"],
    cluster: Int[np.ndarray, " rows"],
    clusters: int,
    order: Int[np.ndarray, " selected"] | None = None,
) -> PooledAUC | Undefined:
    """Prepare a pooled AUC.

    Args:
        labels: true or 1 for positives.
        scores: higher is better.
        cluster: the cluster of each row, below ``clusters``.
        clusters: how many clusters are resampled.
        order: the rows to use, by ascending score; ``None``: all rows, sorted here.
    """
    order = np.argsort(scores, kind="stable") if order is None else order
    label, ordered = np.asarray(labels)[order].astype(np.uint8), np.asarray(scores)[order]
    positives = int(label.sum())
    if not len(label):
        return Undefined("no rows")
    if positives in (0, len(label)):
        return Undefined(f"one class only: {positives} positives among {len(label)} rows", len(label))
    ends_tie = np.append(ordered[1:] != ordered[:-1], True)
    return PooledAUC(label, ends_tie, np.asarray(cluster)[order].astype(np.int32), clusters)


def figure(
    statistic: Statistic, draws: Float64[np.ndarray, " draws"], clusters: int, confidence: float
) -> dict[str, Any]:
    """A metric as it stands in ``metrics.json``: value, percentile interval and n, with a reason for what is null."""
    if isinstance(statistic, Undefined):
        return {"value": None, "low": None, "high": None, "n": statistic.n, "reason": statistic.reason}
    low, high = interval(statistic.value, draws, confidence)
    made: dict[str, Any] = {"value": statistic.value, "low": low, "high": high, "n": statistic.n}
    if low is None:
        made["reason"] = "no interval: too few of the drawn units hold " + (
            "both classes" if isinstance(statistic, PooledAUC) else "a case that counts"
        )
        if clusters < 2:
            made["reason"] = "no interval: there is one unit to draw from"
    return made


def interval(
    value: float, draws: Float64[np.ndarray, " draws"], confidence: float
) -> tuple[float, float] | tuple[None, None]:
    """Percentile interval of bootstrap draws, widened to hold the value where a skewed bootstrap misses it.

    Returns:
        Low and high, or ``None`` twice where the metric is defined in less than ``DEFINED_SHARE`` of the draws.
    """
    defined = draws[~np.isnan(draws)]
    if not defined.size or defined.size < DEFINED_SHARE * draws.size:
        return None, None
    # Linear interpolation between order statistics, as np.quantile does, at a fifth of its cost for a thousand draws.
    ends = np.array([(1 - confidence) / 2, (1 + confidence) / 2]) * (defined.size - 1)
    low, high = np.interp(ends, np.arange(defined.size), np.sort(defined))
    return min(float(low), value), max(float(high), value)


def difference_of_draws(
    value: float, draws_a: Float[np.ndarray, " draws"], draws_b: Float[np.ndarray, " draws"], confidence: float
) -> dict[str, Any]:
    """How sure a difference is, from the paired draws of both systems.

    Returns:
        ``value``, ``low``, ``high``, two-sided ``p`` and ``visible``, the smallest true difference that such data show
        with 80 % power.
    """
    gap = np.asarray(draws_a, dtype=np.float64) - np.asarray(draws_b, dtype=np.float64)
    low, high = interval(value, gap, confidence)
    if low is None:
        reason = "no interval: too few of the drawn units hold what the metric needs"
        return {"value": value, "low": None, "high": None, "p": None, "visible": None, "reason": reason}
    defined = gap[~np.isnan(gap)]
    visible = smallest_visible_difference(float(defined.std(ddof=1)), 1 - confidence) if defined.size > 1 else None
    return {"value": value, "low": low, "high": high, "p": two_sided_p(value, defined), "visible": visible}


def two_sided_p(value: float, draws: Float[np.ndarray, " draws"]) -> float:
    """Two-sided bootstrap p-value of a difference; 1 where the systems agree in every draw.

    Twice the share of draws on the far side of zero, which agrees with the percentile interval. Draws alone cannot go
    below 2 / (draws + 1), and Holm's correction over 30 comparisons would turn that into 0.06 whatever the data: where
    fewer than ``FAR_DRAWS`` lie beyond zero, the normal tail with the draws' standard deviation takes over.
    """
    if len(draws) < 2:
        return 1.0
    far = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    counted = min(1.0, 2 * (1 + far) / (1 + len(draws)))
    deviation = float(draws.std(ddof=1))
    if far >= FAR_DRAWS or deviation == 0:
        return counted
    return min(counted, 2 * NORMAL.cdf(-abs(value) / deviation))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: p-values adjusted for the whole family, in the order given (Holm 1979)."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for step, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - step) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def smallest_visible_difference(standard_error: float, level: float = 0.05, power: float = 0.8) -> float:
    """The true difference that a two-sided test at ``level`` finds with probability ``power``; in the metric's unit."""
    return (NORMAL.inv_cdf(1 - level / 2) + NORMAL.inv_cdf(power)) * standard_error
