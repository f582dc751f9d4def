"""Metrics as statistics that can be resampled: pooled AUC, ratios of sums, and what is undefined.

Pooled AUC is recomputed in full for every draw from one sorted order; every other metric is a ratio of sums over the
clusters that are drawn (:mod:`graph.resampling`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Shaped, UInt8

from graph.figure import Figure
from graph.resampling import RatioOfSums, Resampler, percentile_interval

MOST_WAITING = 65_535 // 255
"""Multiplicities (uint8) whose sum fits 16 bits."""


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
        area: Float64[np.ndarray, " lanes"] = auc_lanes(self.label, self.ends_tie, self.cluster, multiplicity)
        return area


@dataclass(frozen=True)
class Undefined:
    """A metric that this log, segment or system cannot have."""

    reason: str
    n: int = 0

    def draws(self, resampler: Resampler) -> Float64[np.ndarray, " draws"]:
        return np.full(resampler.draws, np.nan)


Statistic = PooledAUC | RatioOfSums | Undefined


class SortedScores:
    """Rows by ascending score, sorted once, for the pooled AUC of any labels on any of them.

    Args:
        scores: higher is better.
        cluster: the cluster of each row, below ``clusters``.
        clusters: how many clusters are resampled.
    """

    def __init__(self, scores: Float[np.ndarray, " rows"], cluster: Int[np.ndarray, " rows"], clusters: int) -> None:
        self.clusters = clusters
        self.order = np.argsort(scores, kind="stable")
        ordered = np.asarray(scores)[self.order]
        self._tie = np.zeros(len(ordered), np.int32)
        np.cumsum(ordered[1:] != ordered[:-1], out=self._tie[1:])
        self._cluster = np.asarray(cluster)[self.order].astype(np.int32)

    def auc(
        self, labels: Shaped[np.ndarray, " rows"], selected: Bool[np.ndarray, " rows"] | None = None
    ) -> PooledAUC | Undefined:
        """Prepare the pooled AUC of the selected rows (``None``: of all); ``labels``: true or 1 for positives."""
        label, tie, cluster = np.asarray(labels)[self.order], self._tie, self._cluster
        if selected is not None:
            chosen = selected[self.order]
            label, tie, cluster = label[chosen], tie[chosen], cluster[chosen]
        label = label.astype(np.uint8)
        positives = int(label.sum())
        if not len(label):
            return Undefined("no rows")
        if positives in (0, len(label)):
            return Undefined(f"one class only: {positives} positives among {len(label)} rows", len(label))
        return PooledAUC(label, np.append(tie[1:] != tie[:-1], True), cluster, self.clusters)


def figure_of(statistic: Statistic, draws: Float64[np.ndarray, " draws"], clusters: int, confidence: float) -> Figure:
    """A statistic's value, percentile interval and n, with a reason for what is None.

    Args:
        statistic: a metric of a segment.
        draws: of it.
        clusters: that were drawn from.
        confidence: of the interval.
    """
    if isinstance(statistic, Undefined):
        return Figure.undefined(statistic.reason, statistic.n)
    low, high = percentile_interval(statistic.value, draws, confidence)
    reason = None
    if low is None:
        counts = "both classes" if isinstance(statistic, PooledAUC) else "a case that counts"
        lack = "there is one unit to draw from" if clusters < 2 else f"too few of the drawn units hold {counts}"
        reason = f"no interval: {lack}"
    return Figure(statistic.value, low, high, statistic.n, reason=reason)


@numba.njit(nogil=True, cache=True)
def auc_lanes(label, ends_tie, cluster, multiplicity):  # type: ignore[no-untyped-def]
    """The pooled AUC in each lane, exactly: pairs are counted in integers, as halves because a tied pair is one half.

    Args:
        label: uint8 [rows], 1 for positives, by ascending score.
        ends_tie: bool [rows], whether the next row has another score.
        cluster: int32 [rows].
        multiplicity: uint8 [clusters, lanes].

    Returns:
        float64 [lanes]; NaN where a lane has one class only.
    """
    lanes = multiplicity.shape[1]
    below, positives, halves = np.zeros(lanes, np.int64), np.zeros(lanes, np.int64), np.zeros(lanes, np.int64)
    tied_positives, tied_negatives = np.zeros(lanes, np.int64), np.zeros(lanes, np.int64)
    # Most rows are negatives without a tie: they are added up in narrow numbers, four times as many to a register, and
    # moved to ``below`` when a positive asks for it or one more could overflow.
    recent, waiting = np.zeros(lanes, np.uint16), 0
    in_tie = False
    for row in range(label.shape[0]):
        drawn = multiplicity[cluster[row]]
        alone = ends_tie[row] and not in_tie
        if alone and not label[row]:
            for lane in range(lanes):
                recent[lane] += drawn[lane]
            waiting += 1
            if waiting < MOST_WAITING:
                continue
        if waiting:
            for lane in range(lanes):
                below[lane] += recent[lane]
                recent[lane] = 0
            waiting = 0
        if alone:
            if label[row]:
                for lane in range(lanes):
                    halves[lane] += 2 * below[lane] * drawn[lane]
                    positives[lane] += drawn[lane]
            continue
        in_tie = True
        part = tied_positives if label[row] else tied_negatives
        for lane in range(lanes):
            part[lane] += drawn[lane]
        if ends_tie[row]:
            for lane in range(lanes):
                halves[lane] += tied_positives[lane] * (2 * below[lane] + tied_negatives[lane])
                positives[lane] += tied_positives[lane]
                below[lane] += tied_negatives[lane]
            tied_positives[:] = 0
            tied_negatives[:] = 0
            in_tie = False
    below += recent
    result = np.full(lanes, np.nan)
    for lane in range(lanes):
        if positives[lane] > 0 and below[lane] > 0:
            result[lane] = halves[lane] / 2 / positives[lane] / below[lane]
    return result
