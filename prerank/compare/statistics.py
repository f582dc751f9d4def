"""Means over seeds, paired differences, and how sure they are: of one log whose seeds share rows, or of many markets.

*Rows*: all seeds predict the same test rows of one log. Draws of the bootstrap are averaged over seeds, draw by draw,
so the interval speaks of other test rows, not of other training. *Markets*: each seed has a log of its own, and the
interval is Student's t over seeds, so it speaks of other markets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from graph.figure import Difference, Figure
from graph.resampling import percentile_interval
from prerank.evaluation.claims import Claim, claim_of
from prerank.evaluation.significance import difference_of_draws, estimate

LEAST_SEEDS = 5
"""Seeds that a claim needs (the protocol of the project)."""
SEEDS_FOR_AN_INTERVAL = 3
"""Markets below which an interval over them says nothing: with two, Student's t is 12.7 standard errors wide."""


@dataclass(frozen=True)
class SeedFigure:
    """One figure of one system with one seed.

    Attributes:
        value: of the test split.
        draws: of the bootstrap, alike for all systems and seeds with the same rows.
        n: rows or requests that count.
    """

    value: float
    draws: Float[np.ndarray, " draws"]
    n: int


BySeed = Mapping[int, SeedFigure]


@dataclass(frozen=True)
class SeedMean(Figure):
    """A figure's mean over seeds; ``n`` is that of a seed, on average.

    Attributes:
        by_seed: seed → its figure.
    """

    by_seed: Mapping[int, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As a figure, with ``by_seed``; strict JSON."""
        return {**super().as_json(), "by_seed": dict(self.by_seed)}


@dataclass(frozen=True)
class SeedDifference(Difference):
    """The mean over seeds of system less baseline; ``n`` is that of a seed, on average.

    Attributes:
        by_seed: seed → its difference.
    """

    by_seed: Mapping[int, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As a difference, with ``by_seed``; strict JSON."""
        return {**super().as_json(), "by_seed": dict(self.by_seed)}

    @property
    def few(self) -> bool:
        """Whether there are too few seeds for a claim."""
        return len(self.by_seed) < LEAST_SEEDS

    @property
    def shown(self) -> bool:
        """Whether it is claimed: enough seeds, enough cases, and below the level after correction."""
        return not self.few and claim_of(self) in (Claim.ABOVE, Claim.BELOW)

    @property
    def seeds_alike(self) -> int:
        """In how many seeds it has the sign of the mean."""
        assert self.value is not None
        return sum(gap * self.value > 0 for gap in self.by_seed.values())


def summary(figures: BySeed, market: bool, confidence: float) -> SeedMean:
    """Mean over seeds with its interval.

    Args:
        figures: of one system; not empty.
        market: whether each seed has a log of its own.
        confidence: of the interval.
    """
    values = {seed: figure.value for seed, figure in figures.items()}
    mean, n = float(np.mean(list(values.values()))), _mean_n(figures.values())
    if market:
        of_markets = estimate(list(values.values()), confidence)
        return SeedMean(mean, of_markets.low, of_markets.high, n, reason=of_markets.reason, by_seed=values)
    low, high = percentile_interval(mean, mean_draws(figures), confidence)
    return SeedMean(mean, low, high, n, by_seed=values)


def difference(of: BySeed, baseline: BySeed, market: bool, confidence: float) -> SeedDifference:
    """System less baseline, seed by seed.

    Seeds that one of them lacks are left out; undefined, with a reason, where nothing can be subtracted.
    """
    seeds = [seed for seed in of if seed in baseline]
    if not seeds:
        return SeedDifference.undefined("undefined for one of the two")
    for seed in seeds:
        if of[seed].n != baseline[seed].n:
            return SeedDifference.undefined(
                f"about other cases: n {of[seed].n:,} and {baseline[seed].n:,} with seed {seed}"
            )
    ours, theirs = ({seed: side[seed] for seed in seeds} for side in (of, baseline))
    gaps = {seed: ours[seed].value - theirs[seed].value for seed in seeds}
    n = _mean_n(ours.values())
    if market:
        mean = estimate(list(gaps.values()), confidence)
    else:
        value = float(np.mean(list(gaps.values())))
        mean = difference_of_draws(value, mean_draws(ours), mean_draws(theirs), confidence, n)
    return SeedDifference(**{**vars(mean), "n": n, "by_seed": gaps})


def mean_draws(figures: BySeed) -> Float64[np.ndarray, " draws"]:
    """Draws averaged over seeds, draw by draw; NaN where one of them is."""
    draws = np.stack([each.draws for each in figures.values()])
    return np.asarray(draws.mean(axis=0, dtype=np.float64))


def _mean_n(figures: Iterable[SeedFigure]) -> int:
    return round(float(np.mean([figure.n for figure in figures])))
