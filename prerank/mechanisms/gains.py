"""What a module gains: paired differences over markets, their interval, and whether they are what was expected.

A market (a seed) is the unit: shoppers, items, log, graph, ψ and training are all made anew with it. The interval is
Student's t over the markets' differences, so it speaks of markets of that kind, not of the requests of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np

from configs.errors import InputError
from graph.figure import Difference
from prerank.evaluation.definitions import CHANCE, lower_is_better
from prerank.evaluation.evaluation import Cells, read_metrics
from prerank.evaluation.significance import estimate, holm
from prerank.experiment.jobs import Fit
from prerank.mechanisms.jobs import FitPairs
from prerank.mechanisms.plan import Axis, Claim, Expectation, Measure, MechanismPlan

SPLIT = "test"

BySegment = Mapping[str, Cells]
"""Segment → metric → figure, of one fit."""


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
class Gain:
    """System with the module less system without it, on one figure in one condition; positive is better.

    Attributes:
        expected: what was claimed of this figure; ``None`` where the plan says nothing of it.
        primary: whether it is the one figure of its condition and module that enters the family of tests.
        by_seed: market → its difference.
        difference: their mean with its interval; ``p_holm`` is corrected for the family of primary figures.
        without: mean figure of the system without the module, to see the gain against.
        n: rows or requests that a market's figure is made of, on average.
    """

    condition: str
    module: str
    measure: Measure
    expected: Expectation | None
    primary: bool
    by_seed: Mapping[int, float]
    difference: Difference
    without: float | None
    n: float | None

    @property
    def verdict(self) -> Verdict:
        low, high = self.difference.low, self.difference.high
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
            "mean": self.difference.value,
            "low": self.difference.low,
            "high": self.difference.high,
            "p": self.difference.p,
            "visible": self.difference.visible,
            "p_holm": self.difference.p_holm,
            "without": self.without,
            "n": self.n,
            "markets": len(self.by_seed),
            "by_seed": dict(self.by_seed),
        }


def gains_of(plan: MechanismPlan, pairs: FitPairs, finished: set[Fit]) -> list[Gain]:
    """Every gain that the finished fits tell: each condition and module, each metric in each segment.

    Primary figures are corrected together (Holm): one for each condition and module.
    """
    figures = {fit: read_metrics(fit.metrics)[SPLIT] for fit in finished}
    gains: list[Gain] = []
    for condition in plan.conditions.values():
        for claim in condition.claims:
            compared = {
                seed: (figures[pair[0]], figures[pair[1]])
                for (name, module, seed), pair in pairs.items()
                if (name, module) == (condition.name, claim.module) and finished.issuperset(pair)
            }
            if compared:
                gains += _gains(condition.name, claim, compared)
    return _corrected(gains)


def _gains(condition: str, claim: Claim, compared: Mapping[int, tuple[BySegment, BySegment]]) -> list[Gain]:
    """The claimed figures first, in the claim's order, then the others."""
    with_it = next(iter(compared.values()))[0]
    others = [Measure(metric, segment) for segment, cells in with_it.items() for metric in cells]
    measures = dict.fromkeys([*claim.measures, *(one for one in others if not one.metric.endswith(CHANCE))])
    gains = []
    for measure in measures:
        expected = claim.expected if measure in claim.measures else None
        by_seed, without, counts = _differences(measure, compared, f"{condition}, {claim.module}")
        gains.append(
            Gain(
                condition=condition,
                module=claim.module,
                measure=measure,
                expected=expected,
                primary=measure == claim.measures[0],
                by_seed=by_seed,
                difference=estimate(list(by_seed.values())),
                without=float(np.mean(without)) if without else None,
                n=float(np.mean(counts)) if counts else None,
            )
        )
    return gains


def _differences(
    measure: Measure, compared: Mapping[int, tuple[BySegment, BySegment]], where: str
) -> tuple[dict[int, float], list[float], list[int]]:
    """Each market's difference, figure without the module, and n; markets in which one side is undefined are absent."""
    sign = -1 if lower_is_better(measure.metric) else 1
    by_seed, without, counts = {}, [], []
    for seed, sides in sorted(compared.items()):
        with_it, without_it = (side.get(measure.segment, {}).get(measure.metric) for side in sides)
        if with_it is None or without_it is None or with_it.value is None or without_it.value is None:
            continue
        if with_it.n != without_it.n:
            raise InputError(
                f"{where}, market {seed}: {measure} is about {with_it.n:,} cases with the module and "
                f"{without_it.n:,} without it: delete the condition's folder and run the command again"
            )
        by_seed[seed] = sign * (with_it.value - without_it.value)
        without.append(without_it.value)
        counts.append(without_it.n)
    return by_seed, without, counts


def _corrected(gains: list[Gain]) -> list[Gain]:
    corrected = holm({place: gain.difference for place, gain in enumerate(gains) if gain.primary})
    return [
        replace(gain, difference=corrected[place]) if place in corrected else gain for place, gain in enumerate(gains)
    ]


def along(axis: Axis, plan: MechanismPlan, gains: Sequence[Gain]) -> list[tuple[float, Gain]]:
    """A dose-response curve: each dose with its gain, ascending."""
    points = [
        (plan.conditions[gain.condition].doses[axis.name], gain)
        for gain in gains
        if gain.module == axis.module
        and gain.measure == axis.measure
        and axis.name in plan.conditions[gain.condition].doses
    ]
    return sorted(points, key=lambda point: point[0])
