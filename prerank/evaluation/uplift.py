"""What an arm of an A/B replay gains over the control: figures by user, their intervals, and the same across worlds.

Both arms meet the same users with the same requests and the same luck, so users are paired. A user is the unit: what
one does on different days is not independent. Ratios of sums over users have their variance by the delta method (Deng,
Knoblich & Lu 2018, "Applying the delta method in metric analytics"); GMV, which a few users dominate, is winsorised and
bootstrapped. How sure a claim about a *method* is follows from the spread of its uplift across worlds and seeds alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from graph.figure import Difference
from graph.resampling import DEFINED_SHARE, RatioOfSums, Resampler
from prerank.evaluation.significance import difference_of_draws, normal_p, normal_reach, smallest_visible_difference

METRICS = {
    "ctr": ("clicks", "exposed"),
    "cvr": ("orders", "clicks"),
    "orders_per_user": ("orders", None),
    "gmv_per_user": ("gmv", None),
}
"""Metric → what is summed, and by what it is divided: sums over users, or by their number where None."""
BOOTSTRAPPED = "gmv_per_user"
LEAST_USERS = 10
"""Users with an event (an order, say) that an arm needs for an interval: with fewer, nothing tells how sure it is."""
TOO_FEW = f"no interval: an arm has fewer than {LEAST_USERS} users with an event"
NO_VARIANCE = "no interval: the users do not differ, so nothing tells how sure the figure is"


@dataclass(frozen=True)
class UserSums:
    """What an arm brought from each user, by items of one segment; GMV is in the currency of the log."""

    exposed: Float64[np.ndarray, " users"]
    clicks: Float64[np.ndarray, " users"]
    orders: Float64[np.ndarray, " users"]
    gmv: Float64[np.ndarray, " users"]

    @classmethod
    def of(
        cls,
        user: Int64[np.ndarray, " rows"],
        users: int,
        clicked: Bool[np.ndarray, " rows"],
        ordered: Bool[np.ndarray, " rows"],
        price: Float64[np.ndarray, " rows"],
    ) -> UserSums:
        """Sum exposed rows; users are numbered from 0 and may have none."""
        parts = (np.ones(len(user)), clicked.astype(np.float64), ordered.astype(np.float64), ordered * price)
        return cls(*(np.bincount(user, part, users) for part in parts))

    def __len__(self) -> int:
        return len(self.exposed)

    def take(self, users: Int64[np.ndarray, " n"]) -> UserSums:
        return UserSums(*(values[users] for values in vars(self).values()))

    def totals(self) -> dict[str, float]:
        """Sums over users."""
        return {name: float(values.sum()) for name, values in vars(self).items()}


@dataclass(frozen=True)
class Ratio:
    """A ratio of sums over users, and what each user pulls it by.

    Attributes:
        value: sum of numerators over sum of denominators.
        influence: to first order, the ratio of a sample of users is off by the mean of theirs.
        with_event: users whose numerator is above 0.
    """

    value: float
    influence: Float64[np.ndarray, " users"]
    with_event: int

    @property
    def variance(self) -> float:
        """Of the ratio, by the delta method; NaN for fewer than two users."""
        return float(self.influence.var(ddof=1) / len(self.influence)) if len(self.influence) > 1 else np.nan


def ratio_of(sums: UserSums, metric: str) -> Ratio | None:
    r"""A metric with its influence, :math:`z_u = (n_u - R d_u) / \bar d`; None where nothing is there to divide by."""
    above, under = METRICS[metric]
    numerator = getattr(sums, above)
    denominator = np.ones(len(sums)) if under is None else getattr(sums, under)
    if denominator.sum() == 0:
        return None
    value = float(numerator.sum() / denominator.sum())
    return Ratio(value, (numerator - value * denominator) / denominator.mean(), int((numerator > 0).sum()))


@dataclass(frozen=True)
class Uplift(Difference):
    """What an arm gains over the control, relative to the control (0.02 is 2 % more), with its interval.

    Attributes:
        p: of the absolute difference.
        arm, control: the metric's value of each; None where there is nothing to divide by.
        absolute: arm less control, in the metric's unit.
        cap: GMV to which users are cut; None for metrics that are not winsorised.
    """

    arm: float | None = None
    control: float | None = None
    absolute: float | None = None
    cap: float | None = None

    def as_json(self) -> dict[str, Any]:
        """As a difference, with ``arm``, ``control`` and ``difference``, and ``cap`` where there is one."""
        values = {"arm": self.arm, "control": self.control, "difference": self.absolute}
        return {**super().as_json(), **values, **({} if self.cap is None else {"cap": self.cap})}


def compare(
    arm: UserSums, control: UserSums, quantile: float, confidence: float, resampler: Resampler
) -> dict[str, Uplift]:
    """Every metric of an arm against the control's, user by user.

    Args:
        arm: of the same users in the same order as ``control``.
        control: whose GMV per user says where both are winsorised.
        quantile: of the control's users, above which GMV is cut to the quantile.
        confidence: of the intervals.
        resampler: over the users; the same for all arms.

    Returns:
        Metric → uplift; undefined, with a reason, where there is nothing to compare with.
    """
    return {
        metric: bootstrapped_uplift(arm.gmv, control.gmv, quantile, confidence, resampler)
        if metric == BOOTSTRAPPED
        else ratio_uplift(ratio_of(arm, metric), ratio_of(control, metric), confidence)
        for metric in METRICS
    }


def ratio_uplift(arm: Ratio | None, control: Ratio | None, confidence: float) -> Uplift:
    r"""Relative uplift of paired ratios, tested by their difference.

    .. math:: \mathrm{Var}(R_a - R_c) = \mathrm{Var}_u(z_{a,u} - z_{c,u}) / U, \qquad
        \mathrm{Var}(R_a / R_c) = \mathrm{Var}_u((z_{a,u} - \tfrac{R_a}{R_c} z_{c,u}) / R_c) / U
    """
    if arm is None or control is None:
        values = [None if each is None else each.value for each in (arm, control)]
        return replace(Uplift.undefined("an arm has nothing to divide by"), arm=values[0], control=values[1])
    users, absolute = len(arm.influence), arm.value - control.value
    if control.value == 0:
        undefined = Uplift.undefined("the control's value is 0", users)
        return replace(undefined, arm=arm.value, control=control.value, absolute=absolute)
    quotient, fewest = arm.value / control.value, min(arm.with_event, control.with_event)
    difference = Ratio(absolute, arm.influence - control.influence, fewest)
    relative = Ratio(quotient - 1, (arm.influence - quotient * control.influence) / control.value, fewest)
    uplift = Uplift(relative.value, None, None, users, arm=arm.value, control=control.value, absolute=absolute)
    p = p_of(difference)
    if p is None:
        return replace(uplift, reason=TOO_FEW if fewest < LEAST_USERS else NO_VARIANCE)
    error = float(np.sqrt(relative.variance))
    reach, visible = normal_reach(error, confidence), smallest_visible_difference(error, 1 - confidence)
    return replace(uplift, low=relative.value - reach, high=relative.value + reach, p=p, visible=visible)


def bootstrapped_uplift(
    arm: Float64[np.ndarray, " users"],
    control: Float64[np.ndarray, " users"],
    quantile: float,
    confidence: float,
    resampler: Resampler,
) -> Uplift:
    """Winsorised mean per user: relative uplift with a percentile interval over paired draws of users."""
    users, cap = len(arm), winsorising_cap(control, quantile)
    means = [RatioOfSums(np.minimum(each, cap), np.ones(users), users) for each in (arm, control)]
    a, c = (mean.value for mean in means)
    uplift = Uplift(None, None, None, users, arm=a, control=c, absolute=a - c, cap=cap)
    if cap == 0:
        reason = f"less than {1 - quantile:.2%} of the users order anything: their GMV is winsorised to 0"
        return replace(uplift, absolute=None, reason=reason)
    uplift = replace(uplift, value=a / c - 1)
    if min((arm > 0).sum(), (control > 0).sum()) < LEAST_USERS:
        return replace(uplift, reason=TOO_FEW)
    of_arm, of_control = (mean.draws(resampler) for mean in means)
    relative = of_arm / np.where(of_control > 0, of_control, np.nan)
    difference = difference_of_draws(a / c - 1, relative, np.ones(len(relative)), confidence, users)
    if difference.low is None:
        return replace(uplift, reason="no interval: too many draws hold no order of the control")
    return replace(uplift, low=difference.low, high=difference.high, p=difference.p, visible=difference.visible)


def winsorising_cap(gmv: Float64[np.ndarray, " users"], quantile: float) -> float:
    """The value to which higher ones are cut: one of the data, those who ordered nothing count too."""
    return float(np.quantile(gmv, quantile, method="higher"))


def p_of(difference: Ratio) -> float | None:
    """Two-sided p-value by the normal tail; 1 for arms that agree on every user, None where it cannot be told."""
    variance = difference.variance
    if difference.with_event < LEAST_USERS:
        return None
    if difference.value == 0 and not difference.influence.any():
        return 1.0
    return normal_p(difference.value, float(np.sqrt(variance))) if variance > 0 else None


def halves_test(sums: UserSums, quantile: float, level: float, times: int, seed: int) -> dict[str, dict[str, Any]]:
    """An A/A test of the intervals: one arm's users, split at random into two halves again and again.

    The halves have the same pre-ranker, so a difference is chance alone, and a test that knows its variance calls
    ``level`` of the splits significant. GMV is winsorised and tested by its variance over users here.

    Returns:
        Metric → ``share`` of the ``splits`` with p < level; null where too few splits have enough events in both
        halves, because those that do are no random choice.
    """
    cut = UserSums(sums.exposed, sums.clicks, sums.orders, np.minimum(sums.gmv, winsorising_cap(sums.gmv, quantile)))
    random = np.random.default_rng(seed)
    p_values: dict[str, list[float]] = {metric: [] for metric in METRICS}
    for _ in range(times):
        shuffled = random.permutation(len(cut))
        halves = [cut.take(part) for part in np.array_split(shuffled, 2)]
        for metric, of_metric in p_values.items():
            first, second = (ratio_of(half, metric) for half in halves)
            if first is not None and second is not None:
                of_metric.extend(_unpaired_p(first, second))
    return {
        metric: {
            "share": float(np.mean(np.array(p) < level)) if len(p) >= DEFINED_SHARE * times else None,
            "splits": len(p),
        }
        for metric, p in p_values.items()
    }


def _unpaired_p(first: Ratio, second: Ratio) -> list[float]:
    """The p-value of two arms with other users; none where it cannot be told."""
    variance = first.variance + second.variance
    if min(first.with_event, second.with_event) < LEAST_USERS or not variance > 0:
        return []
    return [normal_p(first.value - second.value, float(np.sqrt(variance)))]
