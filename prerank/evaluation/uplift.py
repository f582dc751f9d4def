"""What an arm of an A/B replay gains over the control: figures by user, their intervals, and the same across worlds.

Both arms meet the same users with the same requests and the same luck, so users are paired. A user is the unit: what
one does on different days is not independent. Ratios of sums over users have their variance by the delta method (Deng,
Knoblich & Lu 2018, "Applying the delta method in metric analytics"); GMV, which a few users dominate, is winsorised and
bootstrapped. How sure a claim about a *method* is follows from the spread of its uplift across worlds and seeds alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy import stats

from prerank.evaluation.significance import DEFINED_SHARE, NORMAL, RatioOfSums, Resampler, holm, interval, two_sided_p

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
        """Some of the users."""
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


def compare(
    arm: UserSums, control: UserSums, quantile: float, confidence: float, resampler: Resampler
) -> dict[str, dict[str, Any]]:
    """Every metric of an arm against the control's, user by user.

    Args:
        arm: of the same users in the same order as ``control``.
        control: whose GMV per user says where both are winsorised.
        quantile: of the control's users, above which GMV is cut to the quantile.
        confidence: of the intervals.
        resampler: over the users; the same for all arms.

    Returns:
        Metric → ``arm`` and ``control`` (values), ``difference`` with ``p``, and the relative uplift as ``value`` with
        ``low`` and ``high`` (0.02 is 2 % more); null with a ``reason`` where undefined.
    """
    made = {}
    for metric in METRICS:
        if metric == BOOTSTRAPPED:
            made[metric] = bootstrapped_uplift(arm.gmv, control.gmv, quantile, confidence, resampler)
        else:
            made[metric] = ratio_uplift(ratio_of(arm, metric), ratio_of(control, metric), confidence)
    return made


def ratio_uplift(arm: Ratio | None, control: Ratio | None, confidence: float) -> dict[str, Any]:
    r"""Difference and relative uplift of paired ratios.

    .. math:: \mathrm{Var}(R_a - R_c) = \mathrm{Var}_u(z_{a,u} - z_{c,u}) / U, \qquad
        \mathrm{Var}(R_a / R_c) = \mathrm{Var}_u((z_{a,u} - \tfrac{R_a}{R_c} z_{c,u}) / R_c) / U

    The p-value is that of the difference.
    """
    if arm is None or control is None:
        return _undefined("an arm has nothing to divide by", arm, control)
    if control.value == 0:
        return _undefined("the control's value is 0", arm, control) | {"difference": arm.value}
    quotient, fewest = arm.value / control.value, min(arm.with_event, control.with_event)
    difference = Ratio(arm.value - control.value, arm.influence - control.influence, fewest)
    relative = Ratio(quotient - 1, (arm.influence - quotient * control.influence) / control.value, fewest)
    p = normal_p(difference)
    made = {"arm": arm.value, "control": control.value, "difference": difference.value, "value": relative.value, "p": p}
    if p is None:
        return made | {"low": None, "high": None, "reason": TOO_FEW if fewest < LEAST_USERS else NO_VARIANCE}
    reach = NORMAL.inv_cdf((1 + confidence) / 2) * float(np.sqrt(relative.variance))
    return made | {"low": relative.value - reach, "high": relative.value + reach}


def bootstrapped_uplift(
    arm: Float64[np.ndarray, " users"],
    control: Float64[np.ndarray, " users"],
    quantile: float,
    confidence: float,
    resampler: Resampler,
) -> dict[str, Any]:
    """Winsorised mean per user: relative uplift with a percentile interval over paired draws of users."""
    cap = winsorising_cap(control, quantile)
    means = [RatioOfSums(np.minimum(each, cap), np.ones(len(each)), len(each)) for each in (arm, control)]
    a, c = (mean.value for mean in means)
    made: dict[str, Any] = {"arm": a, "control": c, "difference": a - c, "cap": cap}
    nothing = {"low": None, "high": None, "p": None}
    if cap == 0:
        reason = f"less than {1 - quantile:.2%} of the users order anything: their GMV is winsorised to 0"
        return made | nothing | {"difference": None, "value": None, "reason": reason}
    made["value"] = a / c - 1
    if min((arm > 0).sum(), (control > 0).sum()) < LEAST_USERS:
        return made | nothing | {"reason": TOO_FEW}
    of_arm, of_control = (mean.draws(resampler) for mean in means)
    drawn = of_arm / np.where(of_control > 0, of_control, np.nan) - 1
    low, high = interval(made["value"], drawn, confidence)
    if low is None:
        return made | nothing | {"reason": "no interval: too many draws hold no order of the control"}
    return made | {"low": low, "high": high, "p": two_sided_p(made["value"], drawn[~np.isnan(drawn)])}


def winsorising_cap(gmv: Float64[np.ndarray, " users"], quantile: float) -> float:
    """The value to which higher ones are cut: one of the data, those who ordered nothing count too."""
    return float(np.quantile(gmv, quantile, method="higher"))


def normal_p(difference: Ratio) -> float | None:
    """Two-sided p-value by the normal tail; 1 for arms that agree on every user, None where it cannot be told."""
    variance = difference.variance
    if difference.with_event < LEAST_USERS:
        return None
    if difference.value == 0 and not difference.influence.any():
        return 1.0
    if not variance > 0:
        return None
    return 2 * NORMAL.cdf(-abs(difference.value) / float(np.sqrt(variance)))


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
    found: dict[str, list[float]] = {metric: [] for metric in METRICS}
    for _ in range(times):
        shuffled = random.permutation(len(cut))
        halves = [cut.take(part) for part in np.array_split(shuffled, 2)]
        for metric, p_values in found.items():
            first, second = (ratio_of(half, metric) for half in halves)
            if first is not None and second is not None:
                p_values.extend(_unpaired_p(first, second))
    return {
        metric: {
            "share": float(np.mean(np.array(p) < level)) if len(p) >= DEFINED_SHARE * times else None,
            "splits": len(p),
        }
        for metric, p in found.items()
    }


def _unpaired_p(first: Ratio, second: Ratio) -> list[float]:
    """The p-value of two arms with other users; none where it cannot be told."""
    variance = first.variance + second.variance
    if min(first.with_event, second.with_event) < LEAST_USERS or not variance > 0:
        return []
    return [2 * NORMAL.cdf(-abs(first.value - second.value) / float(np.sqrt(variance)))]


def across(uplifts: Sequence[float | None], confidence: float) -> dict[str, Any]:
    """Mean of relative uplifts over worlds and seeds, with the t interval and test of independent figures.

    Args:
        uplifts: one a world; None where it is undefined there.
        confidence: of the interval.

    Returns:
        ``value``, ``low``, ``high``, ``p`` and ``n``, the worlds that count.
    """
    there = np.array([uplift for uplift in uplifts if uplift is not None])
    made: dict[str, Any] = {"value": None, "low": None, "high": None, "p": None, "n": len(there)}
    if not len(there):
        return made | {"reason": "undefined in every world"}
    made["value"] = float(there.mean())
    if len(there) == 1:
        return made | {"reason": "no interval: one world says nothing about others"}
    if not there.any():
        return made | {"low": 0.0, "high": 0.0, "p": 1.0}
    error = float(there.std(ddof=1) / np.sqrt(len(there)))
    if error == 0:
        return made | {"reason": "no interval: the worlds do not differ"}
    reach = float(stats.t.ppf((1 + confidence) / 2, len(there) - 1)) * error
    p = 2 * float(stats.t.sf(abs(made["value"]) / error, len(there) - 1))
    return made | {"low": made["value"] - reach, "high": made["value"] + reach, "p": p}


def add_holm(figures: Mapping[str, dict[str, Any]]) -> None:
    """Add ``p_holm`` to the figures of one metric: p corrected for the family of arms (Holm 1979)."""
    family = [figure for figure in figures.values() if figure["p"] is not None]
    for figure, corrected in zip(family, holm([figure["p"] for figure in family]), strict=True):
        figure["p_holm"] = corrected


def _undefined(reason: str, arm: Ratio | None, control: Ratio | None) -> dict[str, Any]:
    values = {name: None if each is None else each.value for name, each in (("arm", arm), ("control", control))}
    return values | {"difference": None, "value": None, "low": None, "high": None, "p": None, "reason": reason}
