"""Means over seeds, paired differences, and how sure they are: of one log whose seeds share rows, or of many markets.

*Rows*: all seeds predict the same test rows of one log. Draws of the bootstrap are averaged over seeds, draw by draw,
so the interval speaks of other test rows, not of other training. *Markets*: each seed has a log of its own, and the
interval is Student's t over seeds, so it speaks of other markets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from prerank.evaluation.significance import difference_of_draws, holm, interval
from prerank.mechanisms.gains import estimate

LEAST_SEEDS = 5
"""Seeds that a claim needs (the protocol of the project)."""

ROUNDING = 1e-12
"""Differences nearer than this are the same but for the order of their sums."""


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


def summary(figures: BySeed, market: bool, confidence: float) -> dict[str, Any]:
    """Mean over seeds with its interval.

    Args:
        figures: of one system; not empty.
        market: whether each seed has a log of its own.
        confidence: of the interval.

    Returns:
        ``value``, ``low``, ``high`` (``None`` where there is no interval), ``n`` (mean over seeds) and ``by_seed``.
    """
    values = {seed: figure.value for seed, figure in figures.items()}
    mean = float(np.mean(list(values.values())))
    if market:
        found = estimate(list(values.values()), confidence)
        low, high = found.low, found.high
    else:
        low, high = interval(mean, mean_draws(figures), confidence)
    return {"value": mean, "low": low, "high": high, "n": _mean_n(figures.values()), "by_seed": values}


def difference(of: BySeed, baseline: BySeed, market: bool, confidence: float) -> dict[str, Any]:
    """System less baseline, seed by seed.

    Seeds that one of them lacks are left out.

    Returns:
        ``value``, ``low``, ``high``, two-sided ``p``, ``visible`` (the smallest true difference that is shown with 80 %
        power), ``n``, ``by_seed``; with a ``reason`` where nothing can be subtracted.
    """
    nothing = dict.fromkeys(("value", "low", "high", "p", "visible", "n"))
    seeds = [seed for seed in of if seed in baseline]
    if not seeds:
        return {**nothing, "by_seed": {}, "reason": "undefined for one of the two"}
    for seed in seeds:
        if of[seed].n != baseline[seed].n:
            reason = f"about other cases: n {of[seed].n:,} and {baseline[seed].n:,} with seed {seed}"
            return {**nothing, "by_seed": {}, "reason": reason}
    ours, theirs = ({seed: side[seed] for seed in seeds} for side in (of, baseline))
    gaps = {seed: ours[seed].value - theirs[seed].value for seed in seeds}
    mean = float(np.mean(list(gaps.values())))
    if market:
        made = {"value": mean, **_of_markets(list(gaps.values()), confidence)}
    else:
        made = difference_of_draws(mean, mean_draws(ours), mean_draws(theirs), confidence)
    return {**made, "n": _mean_n(ours.values()), "by_seed": gaps}


def mean_draws(figures: BySeed) -> Float64[np.ndarray, " draws"]:
    """Draws averaged over seeds, draw by draw; NaN where one of them is."""
    draws = np.stack([each.draws for each in figures.values()])
    return np.asarray(draws.mean(axis=0, dtype=np.float64))


def add_holm(family: Iterable[dict[str, Any]]) -> int:
    """Add ``p_holm`` to the differences of a family, corrected together (Holm 1979); return how many were tested."""
    tested = [each for each in family if each["p"] is not None]
    for each, corrected in zip(tested, holm([each["p"] for each in tested]), strict=True):
        each["p_holm"] = corrected
    return len(tested)


def _of_markets(gaps: list[float], confidence: float) -> dict[str, Any]:
    """The t interval of markets' differences; none where they are one and the same, which says nothing of others."""
    found = estimate(gaps, confidence)
    made = {"low": found.low, "high": found.high, "p": found.p, "visible": found.visible}
    if len(gaps) > 1 and any(gaps) and max(gaps) - min(gaps) < ROUNDING:
        return {**dict.fromkeys(made), "reason": "no interval: the markets do not differ"}
    return made


def _mean_n(figures: Iterable[SeedFigure]) -> int:
    return round(float(np.mean([figure.n for figure in figures])))
