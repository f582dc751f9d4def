"""The compiled loops of the bootstrap: one pass over the rows computes a statistic in many draws side by side.

A draw is a *lane*: ``multiplicity[cluster, lane]`` says how often a cluster was drawn. The lanes of a cluster lie side
by side in memory, so a pass costs a fraction of a nanosecond for each row and draw.
"""

from __future__ import annotations

import numba
import numpy as np


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
    in_tie = False
    for row in range(label.shape[0]):
        drawn = multiplicity[cluster[row]]
        if ends_tie[row] and not in_tie:
            if label[row]:
                for lane in range(lanes):
                    halves[lane] += 2 * below[lane] * drawn[lane]
                    positives[lane] += drawn[lane]
            else:
                for lane in range(lanes):
                    below[lane] += drawn[lane]
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
    result = np.full(lanes, np.nan)
    for lane in range(lanes):
        if positives[lane] > 0 and below[lane] > 0:
            result[lane] = halves[lane] / 2 / positives[lane] / below[lane]
    return result


@numba.njit(nogil=True, cache=True)
def ratio_lanes(numerator, denominator, multiplicity):  # type: ignore[no-untyped-def]
    """Sum of numerators over sum of denominators in each lane.

    Args:
        numerator: float64 [clusters]; so is ``denominator``, at least 0.
        multiplicity: uint8 [clusters, lanes].

    Returns:
        float64 [lanes]; NaN where nothing that counts was drawn.
    """
    lanes = multiplicity.shape[1]
    above, under = np.zeros(lanes), np.zeros(lanes)
    for cluster in range(multiplicity.shape[0]):
        if denominator[cluster] > 0:
            for lane in range(lanes):
                above[lane] += numerator[cluster] * multiplicity[cluster, lane]
                under[lane] += denominator[cluster] * multiplicity[cluster, lane]
    result = np.full(lanes, np.nan)
    for lane in range(lanes):
        if under[lane] > 0:
            result[lane] = above[lane] / under[lane]
    return result
