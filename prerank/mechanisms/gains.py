"""What a module gains: paired differences over markets, their interval, and whether they are what was expected.

A market (a seed) is the unit: shoppers, items, log, graph, ψ and training are all made anew with it. The interval is
Student's t over the markets' differences, so it speaks of markets of that kind, not of the requests of one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from scipy import special

from configs.errors import InputError
from configs.stages import read_json
from prerank.evaluation.definitions import lower_is_better
from prerank.evaluation.significance import holm
from prerank.experiment.jobs import Fit
from prerank.mechanisms.jobs import FitPairs
from prerank.mechanisms.plan import Axis, Claim, Expectation, Measure, MechanismPlan

CONFIDENCE, POWER = 0.95, 0.8
SPLIT = "test"

Figures = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""segment → metric → figure, of one fit."""


class Verdict(StrEnum):
    """What the interval says, given what was expected."""

    as_helps = "helps as expected"
    as_null = "null as expected"
    wrongly_helps = "helps although it must not"
    helps = "helps"
    hurts = "hurts"
    not_shown = "not shown"
    too_few = "too few markets"


@dataclass(frozen=True)
class Estimate:
    """What markets' differences say of the mean difference of such markets.

    Attributes:
        mean: of the differences; ``None`` where there is none.
        low, high: t-interval; ``None`` below two markets.
        p: two-sided t-test of no difference.
        visible: the smallest true gain that so many markets show with 80 % power.
    """

    mean: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    visible: float | None = None


@dataclass(frozen=True)
class Gain:
    """System with the module less system without it, on one figure in one condition; positive is better.

    Attributes:
        expected: what was claimed of this figure; ``None`` where the plan says nothing of it.
        primary: whether it is the one figure of its condition and module that enters the family of tests.
        by_seed: market → its difference.
        estimate: from these.
        without: mean figure of the system without the module, to see the gain against.
        n: rows or requests that a market's figure is made of, on average.
        p_holm: the estimate's ``p``, corrected for the family of primary figures; ``None`` for the others.
    """

    condition: str
    module: str
    measure: Measure
    expected: Expectation | None
    primary: bool
    by_seed: Mapping[int, float]
    estimate: Estimate
    without: float | None
    n: float | None
    p_holm: float | None = None

    @property
    def verdict(self) -> Verdict:
        low, high = self.estimate.low, self.estimate.high
        if low is None or high is None:
            return Verdict.too_few
        if high < 0:
            return Verdict.hurts
        if low > 0:
            above = {Expectation.helps: Verdict.as_helps, Expectation.null: Verdict.wrongly_helps}
            return Verdict.helps if self.expected is None else above.get(self.expected, Verdict.helps)
        return Verdict.as_null if self.expected is Expectation.null else Verdict.not_shown

    def as_json(self) -> dict[str, Any]:
        """Strict JSON: what is undefined is null."""
        return {
            "expected": self.expected,
            "verdict": self.verdict,
            "primary": self.primary,
            **asdict(self.estimate),
            "p_holm": self.p_holm,
            "without": self.without,
            "n": self.n,
            "markets": len(self.by_seed),
            "by_seed": dict(self.by_seed),
        }


def estimate(differences: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """Mean, t-interval, p-value and smallest visible gain of markets' differences.

    Differences that are all the same (all zero, where a module changes nothing) have an interval of no width.
    """
    count = len(differences)
    if not count:
        return Estimate()
    mean = float(np.mean(differences))
    if count < 2:
        return Estimate(mean)
    error = float(np.std(differences, ddof=1)) / math.sqrt(count)
    reach, power = (float(special.stdtrit(count - 1, share)) for share in ((1 + confidence) / 2, POWER))
    p = float(2 * special.stdtr(count - 1, -abs(mean) / error)) if error > 0 else float(mean == 0)
    return Estimate(mean, mean - reach * error, mean + reach * error, p, (reach + power) * error)


def gains_of(plan: MechanismPlan, pairs: FitPairs, finished: set[Fit]) -> list[Gain]:
    """Every gain that the finished fits tell: each condition and module, each metric in each segment.

    Primary figures are corrected together (Holm): one for each condition and module.
    """
    figures = {fit: read_json(fit.metrics)[SPLIT] for fit in finished}
    found: list[Gain] = []
    for condition in plan.conditions.values():
        for claim in condition.claims:
            compared = {
                seed: (figures[pair[0]], figures[pair[1]])
                for (name, module, seed), pair in pairs.items()
                if (name, module) == (condition.name, claim.module) and finished.issuperset(pair)
            }
            if compared:
                found += _gains(condition.name, claim, compared)
    return _corrected(found)


def _gains(condition: str, claim: Claim, compared: Mapping[int, tuple[Figures, Figures]]) -> list[Gain]:
    """The claimed figures first, in the claim's order, then the others."""
    with_it = next(iter(compared.values()))[0]
    others = [Measure(metric, segment) for segment, cells in with_it.items() for metric in cells]
    measures = dict.fromkeys([*claim.measures, *(one for one in others if not one.metric.endswith("_chance"))])
    made = []
    for measure in measures:
        expected = claim.expected if measure in claim.measures else None
        by_seed, without, counts = _differences(measure, compared, f"{condition}, {claim.module}")
        made.append(
            Gain(
                condition=condition,
                module=claim.module,
                measure=measure,
                expected=expected,
                primary=measure == claim.measures[0],
                by_seed=by_seed,
                estimate=estimate(list(by_seed.values())),
                without=float(np.mean(without)) if without else None,
                n=float(np.mean(counts)) if counts else None,
            )
        )
    return made


def _differences(
    measure: Measure, compared: Mapping[int, tuple[Figures, Figures]], where: str
) -> tuple[dict[int, float], list[float], list[int]]:
    """Each market's difference, figure without the module, and n; markets in which one side is undefined are absent."""
    sign = -1 if lower_is_better(measure.metric) else 1
    by_seed, without, counts = {}, [], []
    for seed, sides in sorted(compared.items()):
        cells = [side.get(measure.segment, {}).get(measure.metric, {"value": None}) for side in sides]
        if any(cell["value"] is None for cell in cells):
            continue
        if cells[0]["n"] != cells[1]["n"]:
            raise InputError(
                f"{where}, market {seed}: {measure} is about {cells[0]['n']:,} cases with the module and "
                f"{cells[1]['n']:,} without it: delete the condition's folder and run the command again"
            )
        by_seed[seed] = sign * (cells[0]["value"] - cells[1]["value"])
        without.append(cells[1]["value"])
        counts.append(cells[1]["n"])
    return by_seed, without, counts


def _corrected(gains: list[Gain]) -> list[Gain]:
    family = [place for place, gain in enumerate(gains) if gain.primary and gain.estimate.p is not None]
    p_values = [gains[place].estimate.p for place in family]
    made = list(gains)
    for place, p in zip(family, holm([p for p in p_values if p is not None]), strict=True):
        made[place] = replace(gains[place], p_holm=p)
    return made


def along(axis: Axis, plan: MechanismPlan, gains: Sequence[Gain]) -> list[tuple[float, Gain]]:
    """A dose-response curve: each dose with its gain, ascending."""
    found = [
        (plan.conditions[gain.condition].doses[axis.name], gain)
        for gain in gains
        if gain.module == axis.module
        and gain.measure == axis.measure
        and axis.name in plan.conditions[gain.condition].doses
    ]
    return sorted(found, key=lambda point: point[0])
