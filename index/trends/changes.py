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
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from graph.figure import Difference, Figure
from index.trends.read import SPLIT, FigureKey, MeasuredRun, Series
from index.trends.training import SeedNoise, seed_noise, with_noise
from prerank.evaluation.claims import Claim, claim_of
from prerank.evaluation.evaluation import is_paired, paired_difference
from prerank.evaluation.significance import (
    LEVEL,
    difference_of_draws,
    holm,
    normal_p,
    normal_reach,
    smallest_visible_difference,
)

SHUFFLE_SEED = 0
"""Of the order in which the draws of runs with other rows are subtracted."""


@dataclass(frozen=True, kw_only=True)
class Change(Difference):
    """One figure of one run less that of an earlier run.

    Args:
        key: the figure.
        since, until: places of the two runs in their order.
        how: ``paired``, ``independent`` or ``intervals``.
        seeds_differ: whether the two runs are known to be trained with different seeds.
        noise: of training, as far as it is within interval and p.
    """

    value: float
    key: FigureKey
    since: int
    until: int
    how: str
    seeds_differ: bool = False
    noise: SeedNoise | None = None

    @property
    def state(self) -> str:
        """``moved``, ``seeds`` (moved, by as much as another seed may do), ``hint`` (before the correction), ``level``.

        ``few`` where one of the runs has too few cases to speak of a change, ``untested`` where there is no interval.
        """
        claim = claim_of(self)
        if self.p is None or claim is Claim.UNTESTED:
            return "untested"
        if claim is Claim.FEW:
            return "few"
        if claim is Claim.OPEN:
            return "hint" if self.p < LEVEL else "level"
        return "seeds" if self.seeds_differ and self.noise is None else "moved"

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
        values = [(place, point.value) for place, point in enumerate(points) if point and point.value is not None]
        places = [place for place, _ in values]
        pairs = list(pairwise(places))
        if len(places) > 2:
            pairs.append((places[0], places[-1]))
        noise = seed_noise((runs[place].training(key), value) for place, value in values)
        changes += [_change(key, since, until, points, runs, noise) for since, until in pairs]
    return list(holm(dict(enumerate(changes))).values())


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
    points: Sequence[Figure | None],
    runs: Sequence[MeasuredRun],
    noise: SeedNoise | None,
) -> Change:
    old, new = points[since], points[until]
    assert old is not None
    assert new is not None
    difference, how = _tested(key, (old, new), (runs[since], runs[until]))
    earlier, later = runs[since].training(key), runs[until].training(key)
    seeds_differ = None not in (earlier.seed, later.seed) and earlier.seed != later.seed
    noise = noise if earlier != later and difference.p is not None else None
    if noise is not None:
        level = _confidence(runs[until], key)
        difference = with_noise(difference, _error(difference, level) or 0.0, noise, level)
    return Change(
        **vars(difference), key=key, since=since, until=until, how=how, seeds_differ=seeds_differ, noise=noise
    )


def _tested(
    key: FigureKey, figures: tuple[Figure, Figure], runs: tuple[MeasuredRun, MeasuredRun]
) -> tuple[Difference, str]:
    """A difference with interval and p-value from sampling alone, and how they were had."""
    if key.kind == "audit":
        return _of_intervals(*figures, *(_confidence(run, key) for run in runs)), "intervals"
    before, after = (run.evaluations[key.system] for run in runs)
    if is_paired(after, before, SPLIT):
        return paired_difference(after, before, key.name, SPLIT, key.section), "paired"
    old, new = (evaluation.draws_of(SPLIT, key.section, key.name) for evaluation in (before, after))
    # In a random order: draws numbered alike may share multiplicities, which would pair them.
    shuffled = np.random.default_rng(SHUFFLE_SEED).permutation(old)
    shorter, confidence = min(len(shuffled), len(new)), after.protocol["confidence"]
    gap, n = _gap(*figures), min(figure.n for figure in figures)
    return difference_of_draws(gap, new[:shorter], shuffled[:shorter], confidence, n), "independent"


def _of_intervals(old: Figure, new: Figure, confidence_old: float, confidence_new: float) -> Difference:
    """The normal difference of two estimates whose intervals are all that is known of them."""
    value, n = _gap(old, new), min(old.n, new.n)
    errors = [_error(old, confidence_old), _error(new, confidence_new)]
    if None in errors or (value != 0 and not any(errors)):
        reason = "no interval: nothing about the figure is random, or it could not be had"
        return Difference(value, None, None, n, reason=reason)
    error = math.hypot(*(each for each in errors if each is not None))
    reach, p = normal_reach(error, confidence_new), 1.0 if error == 0 else normal_p(value, error)
    visible = smallest_visible_difference(error, 1 - confidence_new)
    return Difference(value, value - reach, value + reach, n, p=p, visible=visible)


def _gap(old: Figure, new: Figure) -> float:
    assert old.value is not None
    assert new.value is not None
    return new.value - old.value


def _error(figure: Figure, confidence: float) -> float | None:
    """The standard error that an interval of a normal estimate tells of."""
    return (
        None
        if figure.low is None or figure.high is None
        else (figure.high - figure.low) / normal_reach(2.0, confidence)
    )


def _confidence(run: MeasuredRun, key: FigureKey) -> float:
    if key.kind == "audit":
        return float((run.audit or {}).get("confidence", 0.95))
    return float(run.evaluations[key.system].protocol["confidence"])
