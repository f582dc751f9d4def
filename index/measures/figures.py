"""A figure and its interval: every number that the audit prints comes from here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Bool, Float, Float64

from prerank.evaluation.figure import Figure

DRAWS_AT_ONCE = 64


@dataclass(frozen=True)
class Bootstrap:
    """Intervals over items: percentile bootstrap of means (Efron 1979), jackknife of squared statistics; by seed.

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
        if not columns:
            return {}
        values = np.stack([np.asarray(column, dtype=np.float64) for column in columns.values()], axis=1)
        defined = np.isfinite(values).astype(np.float64)
        sums = np.concatenate([np.where(defined > 0, values, 0.0), defined], axis=1)
        width = len(columns)
        drawn = np.concatenate([weights @ sums for weights in self._weights(len(values))] or [np.empty((0, 2 * width))])
        counts = defined.sum(axis=0)
        found = {}
        for place, name in enumerate(columns):
            if counts[place] == 0:
                found[name] = Figure.undefined(reason)
                continue
            held = drawn[:, width + place] > 0
            replicates = drawn[held, place] / drawn[held, width + place]
            value = float(sums[:, place].sum() / counts[place])
            found[name] = self._figure(value, replicates, int(counts[place]))
        return found

    def share(self, holds: Bool[np.ndarray, " items"]) -> Figure:
        """The share of items of which something holds.

        Resampling zeros and ones is a binomial draw, which costs the same for ten items and for ten million.
        """
        n, found = len(holds), int(holds.sum())
        if n == 0:
            return Figure.undefined("there are no items")
        drawn = np.random.default_rng(self.seed).binomial(n, found / n, self.draws)
        return self._figure(found / n, drawn / n, n)

    def of_sums(
        self,
        blocks: Float64[np.ndarray, "blocks ..."],
        statistics: Mapping[str, Callable[[np.ndarray], float]],
        n: int,
    ) -> dict[str, Figure]:
        """Statistics of summed moments, by the delete-a-group jackknife over random groups of items.

        A resample that draws items twice makes every second moment look more alike than it is, so that the bootstrap's
        interval of a squared statistic can miss the statistic itself; leaving groups out does not (Efron & Stein 1981).

        Args:
            blocks: the moments of each group, which add up to those of all items.
            statistics: name → function of the summed moments; NaN where it is undefined.
            n: the number of items in all groups.
        """
        whole = blocks.sum(axis=0)
        groups = len(blocks)
        found = {}
        for name, statistic in statistics.items():
            value = statistic(whole)
            if not math.isfinite(value):
                found[name] = Figure.undefined("the vectors do not vary", n)
                continue
            without = np.array([statistic(whole - block) for block in blocks]) if groups > 1 else np.empty(0)
            if groups < 2 or not np.isfinite(without).all():
                found[name] = Figure(value, None, None, n)
                continue
            error = math.sqrt((groups - 1) / groups * np.square(without - without.mean()).sum())
            reach = NormalDist().inv_cdf((1 + self.confidence) / 2) * error
            found[name] = Figure(value, value - reach, value + reach, n)
        return found

    def _weights(self, items: int) -> Iterator[Float64[np.ndarray, "draws items"]]:
        """How often each item is drawn, a few resamples at a time so that a million items fit in memory."""
        generator = np.random.default_rng(self.seed)
        at_once = max(1, min(DRAWS_AT_ONCE, 20_000_000 // max(items, 1)))
        for start in range(0, self.draws, at_once):
            size = min(at_once, self.draws - start)
            yield np.stack(
                [np.bincount(generator.integers(0, items, items), minlength=items) for _ in range(size)]
            ).astype(np.float64)

    def _figure(self, value: float, replicates: Float[np.ndarray, " draws"], n: int) -> Figure:
        if n < 2 or len(replicates) == 0:
            return Figure(value, None, None, n)
        outside = (1 - self.confidence) / 2
        low, high = np.quantile(replicates, [outside, 1 - outside])
        return Figure(value, float(low), float(high), n)
