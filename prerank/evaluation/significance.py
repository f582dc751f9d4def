"""How sure a difference is: p-values, intervals over markets, Holm's correction, the smallest visible difference.

Draws of the bootstrap speak of other rows of one log, values of several markets of other markets of their kind. Both
become a :class:`~graph.figure.Difference`, and :func:`holm` corrects families of these.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from statistics import NormalDist
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Float64
from scipy import special

from graph.figure import Difference, Figure
from graph.resampling import percentile_interval

LEVEL = 0.05
"""Corrected p below which a difference is called shown."""

POWER = 0.8
"""Probability with which a true difference of the size called visible is found."""

FAR_DRAWS = 10
"""Draws beyond zero that a p-value needs to be counted from them."""

ROUNDING = 1e-12
"""Values nearer than this are the same but for the order of their sums."""

NORMAL = NormalDist()

Key = TypeVar("Key", bound=Hashable)
Tested = TypeVar("Tested", bound=Difference)


def difference_of_draws(
    value: float, draws_a: Float[np.ndarray, " draws"], draws_b: Float[np.ndarray, " draws"], confidence: float, n: int
) -> Difference:
    """How sure a difference of two figures is, from the paired draws of both.

    Args:
        value: the difference.
        draws_a: of the first figure; ``draws_b`` of the second, NaN where a draw is undefined.
        confidence: of the interval.
        n: rows or requests that count.
    """
    gap = np.asarray(draws_a, dtype=np.float64) - np.asarray(draws_b, dtype=np.float64)
    low, high = percentile_interval(value, gap, confidence)
    if low is None:
        reason = "no interval: too few of the drawn units hold what the metric needs"
        return Difference(value, None, None, n, reason=reason)
    defined = gap[~np.isnan(gap)]
    visible = smallest_visible_difference(float(defined.std(ddof=1)), 1 - confidence) if defined.size > 1 else None
    return Difference(value, low, high, n, p=two_sided_p(value, defined), visible=visible)


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
    return min(counted, normal_p(value, deviation))


def normal_p(value: float, error: float) -> float:
    """Two-sided p-value of a normal estimate with this standard error, above 0."""
    return 2 * NORMAL.cdf(-abs(value) / error)


def normal_reach(error: float, confidence: float) -> float:
    """Half the width of the interval of a normal estimate with this standard error."""
    return NORMAL.inv_cdf((1 + confidence) / 2) * error


def smallest_visible_difference(standard_error: float, level: float = LEVEL, power: float = POWER) -> float:
    """The true difference that a two-sided test at ``level`` finds with probability ``power``; in the metric's unit."""
    return (NORMAL.inv_cdf(1 - level / 2) + NORMAL.inv_cdf(power)) * standard_error


def estimate(values: Sequence[float], confidence: float = 1 - LEVEL) -> Difference:
    """Mean of markets' differences (or figures) with Student's t interval, p-value and smallest visible difference.

    A market (a world, a seed with its own log) is the unit, so the interval speaks of other markets of the kind.

    Args:
        values: one of each market.
        confidence: of the interval.

    Returns:
        n is the number of markets. Undefined without one; without an interval for a single one, and where all have one
        and the same value other than 0, which says nothing of others.
    """
    count = len(values)
    if not count:
        return Difference.undefined("undefined in every market")
    mean = float(np.mean(values))
    if count < 2:
        return Difference(mean, None, None, count, reason="no interval: one market says nothing about others")
    if any(values) and max(values) - min(values) < ROUNDING:
        return Difference(mean, None, None, count, reason="no interval: the markets do not differ")
    error = float(np.std(values, ddof=1)) / math.sqrt(count)
    reach, power = (float(special.stdtrit(count - 1, share)) for share in ((1 + confidence) / 2, POWER))
    p = float(2 * special.stdtr(count - 1, -abs(mean) / error)) if error > 0 else 1.0
    return Difference(mean, mean - reach * error, mean + reach * error, count, p=p, visible=(reach + power) * error)


def holm(differences: Mapping[Key, Tested], family: Callable[[Key], Hashable] = lambda _: None) -> dict[Key, Tested]:
    """The same differences with ``p_holm``, step-down corrected within each family (Holm 1979).

    Args:
        differences: by name; those without a p-value take no part and stay as they are.
        family: of a name; all are one family by default.
    """
    members: dict[Hashable, list[tuple[float, Key]]] = {}
    for key, each in differences.items():
        if each.p is not None:
            members.setdefault(family(key), []).append((each.p, key))
    corrected = dict(differences)
    for tests in members.values():
        highest = 0.0
        for step, (p, key) in enumerate(sorted(tests, key=lambda test: test[0])):
            highest = max(highest, min(1.0, (len(tests) - step) * p))
            corrected[key] = replace(differences[key], p_holm=highest, tests=len(tests))
    return corrected


def jackknife(
    blocks: Float64[np.ndarray, "blocks ..."],
    statistics: Mapping[str, Callable[[np.ndarray], float]],
    n: int,
    confidence: float,
) -> dict[str, Figure]:
    """Statistics of summed moments, by the delete-a-group jackknife over random groups of items.

    A resample that draws items twice makes every second moment look more alike than it is, so that the bootstrap's
    interval of a squared statistic can miss the statistic itself; leaving groups out does not (Efron & Stein 1981).

    Args:
        blocks: the moments of each group, which add up to those of all items.
        statistics: name → function of the summed moments; NaN where it is undefined.
        n: the number of items in all groups.
        confidence: of the intervals.
    """
    whole, groups = blocks.sum(axis=0), len(blocks)
    figures = {}
    for name, statistic in statistics.items():
        value = statistic(whole)
        if not math.isfinite(value):
            figures[name] = Figure.undefined("the vectors do not vary", n)
            continue
        without = np.array([statistic(whole - block) for block in blocks]) if groups > 1 else np.empty(0)
        if groups < 2 or not np.isfinite(without).all():
            figures[name] = Figure(value, None, None, n)
            continue
        error = math.sqrt((groups - 1) / groups * np.square(without - without.mean()).sum())
        reach = normal_reach(error, confidence)
        figures[name] = Figure(value, value - reach, value + reach, n)
    return figures
