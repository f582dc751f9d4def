"""The bootstrap: clusters drawn with replacement, the mean of what they hold in each draw, the interval of the draws.

It is the one that every room has. Requests of one session or pairs of one query are not independent, so that they are
drawn together, as a cluster. A draw is a vector of multiplicities, one for each cluster; the same seed and number of
clusters give the same draws, so figures of two systems over the same clusters are paired.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np
from jaxtyping import Float64, UInt8

LANES = 64
"""Draws that one pass over the rows computes side by side, so that a cluster's multiplicities fill vector registers."""

WORTH_THREADS = 1 << 21
"""Bytes of multiplicities from which threads save more than starting them costs: about a millisecond's work."""

DEFINED_SHARE = 0.9
"""An interval needs the figure defined in this share of the draws: about three clusters of the rarer kind."""


class Resampler:
    """Multiplicities of clusters in bootstrap draws; ``clusters * draws`` bytes, made at the first use.

    Args:
        clusters: how many there are, drawn with replacement.
        draws: bootstrap draws.
        seed: draw ``i`` depends on ``(seed, i)`` and the number of clusters only.
    """

    def __init__(self, clusters: int, draws: int, seed: int) -> None:
        self.clusters, self.draws, self.seed = clusters, draws, seed

    @cached_property
    def blocks(self) -> UInt8[np.ndarray, "blocks clusters lanes"]:
        """Multiplicities in blocks of ``LANES`` draws."""
        blocks = np.zeros((-(-self.draws // LANES), self.clusters, LANES), dtype=np.uint8)

        def fill(block: int) -> None:
            for draw in range(block * LANES, min((block + 1) * LANES, self.draws)):
                drawn = np.random.default_rng([self.seed, draw]).integers(self.clusters, size=self.clusters)
                _count(drawn, blocks[block], draw % LANES)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(fill, range(len(blocks))))
        return blocks

    def each_block(
        self, kernel: Callable[[UInt8[np.ndarray, "clusters lanes"]], Float64[np.ndarray, lanes * rest]]
    ) -> Float64[np.ndarray, draws * rest]:
        """Run a kernel that releases the interpreter lock on every block, in threads; the order does not matter.

        NaN where there is one cluster: drawn again and again it would look like certainty.
        """
        if self.clusters < 2:
            return np.full(self.draws, np.nan)
        if self.blocks.nbytes < WORTH_THREADS:
            return np.concatenate([kernel(block) for block in self.blocks])[: self.draws]
        # Threads, not OpenMP: a process that has used OpenMP cannot fork data-loading workers afterwards.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return np.concatenate(list(pool.map(kernel, self.blocks)))[: self.draws]


@dataclass(frozen=True)
class RatioOfSums:
    """A weighted mean (of rows' losses, of requests' recalls) as sums over clusters.

    Attributes:
        numerator: sum of weight times value in each cluster.
        denominator: sum of weights in each cluster, at least 0.
        n: rows or requests that count.
    """

    numerator: Float64[np.ndarray, " clusters"]
    denominator: Float64[np.ndarray, " clusters"]
    n: int

    @property
    def value(self) -> float:
        return float(self.numerator.sum() / self.denominator.sum())

    def draws(self, resampler: Resampler) -> Float64[np.ndarray, " draws"]:
        """The mean in each draw; NaN where no row or request that counts was drawn."""
        return resampler.each_block(self._kernel)

    def _kernel(self, multiplicity: UInt8[np.ndarray, "clusters lanes"]) -> Float64[np.ndarray, " lanes"]:
        ratio: Float64[np.ndarray, " lanes"] = ratio_lanes(self.numerator, self.denominator, multiplicity)
        return ratio


def percentile_interval(
    value: float, draws: Float64[np.ndarray, " draws"], confidence: float
) -> tuple[float, float] | tuple[None, None]:
    """Percentile interval of bootstrap draws, widened to hold the value where a skewed bootstrap misses it.

    Returns:
        Low and high, or ``None`` twice where the figure is defined in less than ``DEFINED_SHARE`` of the draws.
    """
    defined = draws[~np.isnan(draws)]
    if not defined.size or defined.size < DEFINED_SHARE * draws.size:
        return None, None
    # Linear interpolation between order statistics, as np.quantile does, at a fifth of its cost for a thousand draws.
    ends = np.array([(1 - confidence) / 2, (1 + confidence) / 2]) * (defined.size - 1)
    low, high = np.interp(ends, np.arange(defined.size), np.sort(defined))
    return min(float(low), value), max(float(high), value)


@numba.njit(nogil=True, cache=True)
def _count(drawn, multiplicity, lane):  # type: ignore[no-untyped-def]
    for cluster in drawn:
        multiplicity[cluster, lane] += 1


@numba.njit(nogil=True, cache=True)
def ratio_lanes(numerator, denominator, multiplicity):  # type: ignore[no-untyped-def]
    """Sum of numerators over sum of denominators in each lane, which is a draw.

    The lanes of a cluster lie side by side in memory: a fraction of a nanosecond for each cluster and draw.

    Args:
        numerator: float64 [clusters]; so is ``denominator``, at least 0.
        multiplicity: uint8 [clusters, lanes], how often a cluster was drawn.

    Returns:
        float64 [lanes]; NaN where nothing that counts was drawn.
    """
    lanes = multiplicity.shape[1]
    above, under = np.zeros(lanes), np.zeros(lanes)
    for cluster in range(multiplicity.shape[0]):
        if denominator[cluster] > 0:
            for lane in range(lanes):
                above[lane] += numerator[cluster] * multiplicity[cluster, lane]
                under[lane] += denominator[cluster] * multiplicity[cluster, lane]
    result = np.full(lanes, np.nan)
    for lane in range(lanes):
        if under[lane] > 0:
            result[lane] = above[lane] / under[lane]
    return result
