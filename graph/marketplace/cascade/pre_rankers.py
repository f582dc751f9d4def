"""The cascade's second stage: the pre-ranker that was in service while the log was written, and what bounds it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int32

from configs.worlds import PreRankerKind
from graph.marketplace.cascade.retrieval import OVERLAP_WEIGHT
from graph.marketplace.world.noise import counter_key, normals, uniforms
from graph.marketplace.world.observed import Observed, PreRanker
from graph.marketplace.world.state import HiddenState

PRIOR_IMPRESSIONS = 20.0
"""Of the smoothed click rate that the pre-ranker uses."""
POPULARITY_WEIGHT, NOISE_WEIGHT = 0.15, 0.3


class LoggingPreRanker:
    """Text match, smoothed click rate and popularity, learned from the clicks up to yesterday."""

    def __init__(self, seed: int, items: int) -> None:
        self._key = counter_key(seed, "pre-ranker")
        self._impressions = np.zeros(items)
        self._clicks = np.zeros(items)

    def score(self, observed: Observed) -> Float64[np.ndarray, "r m"]:
        """Scores of the candidates."""
        items, shown, clicks = observed.candidates.items, self._impressions, self._clicks
        rate = max(clicks.sum(), 1.0) / max(shown.sum(), 1.0)
        smoothed = np.log((clicks + PRIOR_IMPRESSIONS * rate) / (shown + PRIOR_IMPRESSIONS) / rate)
        known = smoothed + POPULARITY_WEIGHT * np.log1p(shown)
        noise = normals(self._key, observed.requests.request_id, items)
        scores: Float64[np.ndarray, "r m"] = (
            OVERLAP_WEIGHT * observed.candidates.overlap + known[items] + NOISE_WEIGHT * noise
        )
        return scores

    def learn(self, shown: Int32[np.ndarray, " n"], clicked: Int32[np.ndarray, " c"]) -> None:
        """Take in a day's exposed and clicked items."""
        self._impressions += np.bincount(shown, minlength=len(self._impressions))
        self._clicks += np.bincount(clicked, minlength=len(self._clicks))


class FrozenPreRanker:
    """A pre-ranker that learns no more: as it stands, it drives the days to come."""

    def __init__(self, pre_ranker: PreRanker) -> None:
        self._pre_ranker = pre_ranker

    def score(self, observed: Observed) -> Float64[np.ndarray, "r m"]:
        """What the frozen one says."""
        return self._pre_ranker.score(observed)

    def learn(self, shown: Int32[np.ndarray, " n"], clicked: Int32[np.ndarray, " c"]) -> None:
        """Nothing."""


class RandomPreRanker:
    """Any candidate is as good as any other: the lower bound, and a world in which nothing decides what is seen."""

    def __init__(self, seed: int) -> None:
        self._key = counter_key(seed, "random pre-ranker")

    def score(self, observed: Observed) -> Float64[np.ndarray, "r m"]:
        """Draws."""
        return uniforms(self._key, observed.requests.request_id, observed.candidates.items)

    def learn(self, shown: Int32[np.ndarray, " n"], clicked: Int32[np.ndarray, " c"]) -> None:
        """Nothing."""


class HiddenOracle:
    """Passes what has the highest true utility: the upper bound. The cascade hands it the truth and nothing else."""

    def learn(self, shown: Int32[np.ndarray, " n"], clicked: Int32[np.ndarray, " c"]) -> None:
        """Nothing: it knows."""


def new_pre_ranker(state: HiddenState) -> PreRanker:
    """The one that is in service in a world, before it has learned anything."""
    if state.world.pre_ranker is PreRankerKind.random:
        return RandomPreRanker(state.seed)
    return LoggingPreRanker(state.seed, len(state.items.quality))
