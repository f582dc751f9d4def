"""A figure and its interval: every number that the audit prints comes from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import binom

from graph.figure import Figure
from graph.resampling import RatioOfSums, Resampler
from prerank.evaluation.bootstrap import figure_of


@dataclass(frozen=True)
class Bootstrap:
    """Intervals over items: percentile bootstrap (Efron 1979).

    Args:
        draws: resamples.
        confidence: of the interval, e.g. 0.95.
        seed: of the resamples.
    """

    draws: int
    confidence: float
    seed: int

    def means(
        self, columns: Mapping[str, Float[np.ndarray, " items"]], reason: str = "no item has a value"
    ) -> dict[str, Figure]:
        """The mean of each column, items resampled together for all columns.

        Args:
            columns: per-item values of one length; NaN where an item has none, which is left out of that column.
            reason: why a column that holds nothing but NaN is undefined.
        """
        figures = {}
        for name, column in columns.items():
            has_value = np.isfinite(column)
            n = int(has_value.sum())
            if n == 0:
                figures[name] = Figure.undefined(reason)
                continue
            values = np.where(has_value, np.asarray(column, dtype=np.float64), 0.0)
            mean = RatioOfSums(values, has_value.astype(np.float64), n)
            draws = mean.draws(_resampler(len(column), self.draws, self.seed))
            figures[name] = figure_of(mean, draws, len(column), self.confidence)
        return figures

    def share(self, holds: Bool[np.ndarray, " items"]) -> Figure:
        """The share of items of which something holds.

        Zeros and ones drawn with replacement have a binomial sum, so that the percentiles of infinitely many draws are
        known, and cost the same for ten items and for ten million.
        """
        n = len(holds)
        if n == 0:
            return Figure.undefined("there are no items")
        share = int(holds.sum()) / n
        if n == 1:
            return Figure(share, None, None, n)
        low, high = binom.ppf([(1 - self.confidence) / 2, (1 + self.confidence) / 2], n, share) / n
        return Figure(share, float(low), float(high), n)


@lru_cache(maxsize=4)
def _resampler(items: int, draws: int, seed: int) -> Resampler:
    """An audit asks for many means over the same few numbers of items."""
    return Resampler(items, draws, seed)
