"""Whether a difference may be spoken of, and how: the one rule of every page, report and line of the terminal.

A difference is called better or worse only if both sides have at least :data:`MINIMUM_N` cases and its corrected p is
below the level. Below the minimum nothing is said of it: no p, no bold, no mover.
"""

from __future__ import annotations

from enum import StrEnum

from scipy import special

from graph.figure import Difference, Figure
from prerank.evaluation.definitions import unit_of
from prerank.evaluation.significance import LEVEL, NORMAL, POWER

MINIMUM_N = 100
"""Rows (pooled metrics) or requests (metrics by request) that a figure needs before systems are compared on it."""
POINTS = "points"
"""Hundredths of a share or an area: the unit of their differences."""


class Claim(StrEnum):
    """What may be said of a difference."""

    ABOVE = "above"
    BELOW = "below"
    OPEN = "not told apart"
    FEW = "too few"
    UNTESTED = "not tested"


def claim_of(difference: Difference) -> Claim:
    """What may be said of a difference whose ``n`` is the smaller one of its two sides."""
    if difference.value is None or difference.p_holm is None:
        return Claim.UNTESTED
    if too_few(difference):
        return Claim.FEW
    if difference.p_holm >= LEVEL or difference.value == 0:
        return Claim.OPEN
    return Claim.ABOVE if difference.value > 0 else Claim.BELOW


def judged(claim: Claim, lower_is_better: bool) -> str:
    """``better`` or ``worse`` of a difference that may be called so; else empty."""
    if claim not in (Claim.ABOVE, Claim.BELOW):
        return ""
    return "better" if (claim is Claim.ABOVE) != lower_is_better else "worse"


def too_few(figure: Figure) -> bool:
    """Whether it was measured on too few cases to compare anything on."""
    return figure.n < MINIMUM_N


def unit_of_difference(metric: str) -> str:
    """Nats, or points: hundredths of a metric."""
    return unit_of(metric) or POINTS


def visible_factor(tests: int, confidence: float, degrees: int | None = None) -> float:
    r"""By how much a difference has to be larger to be told apart among several tests than by itself.

    .. math:: (q(1 - \alpha / 2m) + q(0.8)) / (q(1 - \alpha_1 / 2) + q(0.8))

    It is the first step of Holm's correction, which a difference passes whatever the others are.

    Args:
        tests: m, in the family.
        confidence: 1 - α₁, of the interval that ``visible`` was computed with.
        degrees: of freedom of Student's t; None: the normal distribution.
    """

    def quantile(share: float) -> float:
        return NORMAL.inv_cdf(share) if degrees is None else float(special.stdtrit(degrees, share))

    among, alone = (quantile(1 - level / 2) + quantile(POWER) for level in (LEVEL / max(tests, 1), 1 - confidence))
    return among / alone


def visible_among(difference: Difference, confidence: float, degrees: int | None = None) -> float | None:
    """The smallest true difference that its family of tests tells apart with 80 % power, in the value's unit."""
    if difference.visible is None or difference.tests is None:
        return difference.visible
    return difference.visible * visible_factor(difference.tests, confidence, degrees)
