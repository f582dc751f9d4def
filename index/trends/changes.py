"""What moved: each figure of a run against the run before it, and the last against the first.

Three ways, the sharpest that the data allow. *paired*: both were measured on the same rows with the same draws.
*independent*: other rows, so that the draws of the one say nothing of the other's; they are subtracted in an order of
chance. *intervals*: figures of an audit keep no draws, and their intervals are taken for normal and independent, which
is too cautious where both audits asked the same items.

All three are about sampling. What another training would change is added where runs of the series repeat one setup with
several seeds; where the seeds differ and none do, the change is set apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist
from typing import Any

import numpy as np

from index.trends.read import SPLIT, FigureKey, MeasuredRun, Series, has_value
from index.trends.training import SeedNoise, seed_noise, with_noise
from prerank.evaluation.evaluation import Evaluation, is_paired, paired_difference
from prerank.evaluation.significance import difference_of_draws, holm

LEVEL = 0.05
"""A change has moved where its p-value, corrected after Holm, is below this."""
SHUFFLE_SEED = 0
"""Of the order in which the draws of runs with other rows are subtracted."""


@dataclass
class Change:
    """One figure of one run less that of an earlier run.

    Args:
        key: the figure.
        since, until: places of the two runs in their order.
        value, low, high: the difference and its interval; None without one.
        p: two-sided; None where nothing can be tested.
        how: ``paired``, ``independent`` or ``intervals``.
        reason: why there is no test.
        p_holm: p corrected for all changes that the report tests.
        seeds_differ: whether the two runs are known to be trained with different seeds.
        noise: of training, as far as it is within interval and p.
    """

    key: FigureKey
    since: int
    until: int
    value: float
    low: float | None
    high: float | None
    p: float | None
    how: str
    reason: str | None = None
    p_holm: float | None = None
    seeds_differ: bool = False
    noise: SeedNoise | None = None

    @property
    def state(self) -> str:
        """``moved``, ``seeds`` (moved, by as much as another seed may do), ``hint`` (before the correction), ``level``.

        ``untested`` where there is no interval.
        """
        if self.p is None or self.p_holm is None:
            return "untested"
        if self.p_holm < LEVEL:
            return "seeds" if self.seeds_differ and self.noise is None else "moved"
        return "hint" if self.p < LEVEL else "level"

    @property
    def size(self) -> float:
        """How many half-widths of its own interval the change is: what orders figures of different units."""
        if self.low is None or self.high is None or self.value == 0:
            return 0.0
        return abs(self.value) / max((self.high - self.low) / 2, 1e-12)


def changes_of(series: Series, runs: Sequence[MeasuredRun]) -> list[Change]:
    """Every step from a run to the next that has the figure, and the last against the first where there are three.

    Args:
        series: from :func:`index.trends.read.series_of`.
        runs: in order of time.

    Returns:
        The changes, corrected together (Holm 1979).
    """
    changes = []
    for key, points in series.items():
        there = [place for place, point in enumerate(points) if has_value(point)]
        pairs = list(pairwise(there))
        if len(there) > 2:
            pairs.append((there[0], there[-1]))
        noise = seed_noise((runs[place].training(key), _value(points[place])) for place in there)
        changes += [_change(key, since, until, points, runs, noise) for since, until in pairs]
    return corrected(changes)


def corrected(changes: list[Change]) -> list[Change]:
    """The same changes with ``p_holm``: the family is all of them that can be tested."""
    tested = [change for change in changes if change.p is not None]
    for change, adjusted in zip(tested, holm([change.p for change in tested if change.p is not None]), strict=True):
        change.p_holm = adjusted
    return changes


def ways_in_words(changes: Sequence[Change]) -> str:
    """How the changes were tested, with counts."""
    words = {
        "paired": "paired (the same test rows, drawn alike)",
        "independent": "unpaired (other test rows: two independent sets of bootstrap draws)",
        "intervals": "from the two intervals, taken for independent (an audit keeps no draws)",
    }
    counts = dict.fromkeys(words, 0)
    untested = 0
    for change in changes:
        if change.p is None:
            untested += 1
        else:
            counts[change.how] += 1
    parts = [f"{count:,} {words[how]}" for how, count in counts.items() if count]
    noisy = sum(change.noise is not None for change in changes)
    if noisy:
        parts.append(f"{noisy:,} of them with the noise of training, measured over seeds")
    return "; ".join(parts + ([f"{untested:,} not tested, for want of an interval"] if untested else []))


def _change(
    key: FigureKey,
    since: int,
    until: int,
    points: Sequence[dict[str, Any] | None],
    runs: Sequence[MeasuredRun],
    noise: SeedNoise | None,
) -> Change:
    old, new = points[since], points[until]
    assert old is not None
    assert new is not None
    value = new["value"] - old["value"]
    found, how = _tested(key, value, (old, new), (runs[since], runs[until]))
    earlier, later = runs[since].training(key), runs[until].training(key)
    seeds_differ = None not in (earlier.seed, later.seed) and earlier.seed != later.seed
    noise = noise if earlier != later and found["p"] is not None else None
    if noise is not None:
        level = _confidence(runs[until], key)
        found = with_noise(value, found, _error(found, level) or 0.0, noise, level)
    return Change(
        key, since, until, value, found["low"], found["high"], found["p"], how, found.get("reason"),
        seeds_differ=seeds_differ, noise=noise,
    )  # fmt: skip


def _tested(
    key: FigureKey, value: float, figures: tuple[dict[str, Any], dict[str, Any]], runs: tuple[MeasuredRun, MeasuredRun]
) -> tuple[dict[str, Any], str]:
    """Interval and p-value of a difference, from sampling alone, and how they were had."""
    if key.kind == "audit":
        return _of_intervals(value, *figures, *(_confidence(run, key) for run in runs)), "intervals"
    before, after = (run.evaluations[key.system] for run in runs)
    if is_paired(after, before, SPLIT):
        return paired_difference(after, before, key.name, SPLIT, key.section), "paired"
    return _of_independent_draws(value, before, after, [SPLIT, key.section, key.name]), "independent"


def _of_independent_draws(value: float, before: Evaluation, after: Evaluation, place: list[str]) -> dict[str, Any]:
    """Draws subtracted in a random order: numbered alike, they may share multiplicities, which would pair them."""
    old, new = (
        np.asarray(evaluation.draws[evaluation.protocol["bootstrap"].index(place)]) for evaluation in (before, after)
    )
    shuffled = np.random.default_rng(SHUFFLE_SEED).permutation(old)
    shorter = min(len(shuffled), len(new))
    return difference_of_draws(value, new[:shorter], shuffled[:shorter], after.protocol["confidence"])


def _of_intervals(
    value: float, old: dict[str, Any], new: dict[str, Any], confidence_old: float, confidence_new: float
) -> dict[str, Any]:
    """The normal difference of two estimates whose intervals are all that is known of them."""
    errors = [_error(old, confidence_old), _error(new, confidence_new)]
    if None in errors or (value != 0 and not any(errors)):
        reason = "no interval: nothing about the figure is random, or it could not be had"
        return {"low": None, "high": None, "p": None, "reason": reason}
    error = math.hypot(*(each for each in errors if each is not None))
    reach = NormalDist().inv_cdf((1 + confidence_new) / 2) * error
    p = 1.0 if error == 0 else 2 * NormalDist().cdf(-abs(value) / error)
    return {"low": value - reach, "high": value + reach, "p": p}


def _error(figure: Mapping[str, Any], confidence: float) -> float | None:
    if figure["low"] is None or figure["high"] is None:
        return None
    width: float = figure["high"] - figure["low"]
    return width / (2 * NormalDist().inv_cdf((1 + confidence) / 2))


def _confidence(run: MeasuredRun, key: FigureKey) -> float:
    if key.kind == "audit":
        return float((run.audit or {}).get("confidence", 0.95))
    return float(run.evaluations[key.system].protocol["confidence"])


def _value(point: dict[str, Any] | None) -> float:
    assert point is not None
    return float(point["value"])
