"""How well scores rank the held-out item of a query: MRR and hits@k with bootstrap intervals.

The held-out item is ranked among the candidates, all scored alike, less the query's other known items (the *filtered*
setting). A tie counts half, so constant scores get the middle rank and not the first.
"""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np
from jaxtyping import Float32, Float64, Int64

from graph.figure import Figure
from graph.resampling import RatioOfSums, Resampler, percentile_interval
from pretrain.negatives import KnownPairs
from pretrain.sampling import Nodes, Pairs

HITS_AT = (10, 50)
LARGEST_CANDIDATES = 20_000
"""Candidates at most; beyond that a sample, the same for every method."""
CELLS_AT_ONCE = 1 << 24
Candidates = Int64[np.ndarray, " candidates"]
Scores = Callable[[Nodes, Candidates], Float32[np.ndarray, "queries candidates"]]
"""Queries and candidate items, as node indices, to a score each; higher is better."""


def candidates_of(pairs: Pairs, seed: int) -> Candidates:
    """The items that some query engaged, ascending; a sample of ``LARGEST_CANDIDATES`` if there are more."""
    engaged = np.unique(pairs.items)
    if len(engaged) <= LARGEST_CANDIDATES:
        return engaged
    return np.sort(np.random.default_rng(seed).choice(engaged, LARGEST_CANDIDATES, replace=False))


def ranks(scores: Scores, held_out: Pairs, known: KnownPairs, candidates: Candidates) -> Float64[np.ndarray, " pairs"]:
    """The rank of each held-out item, 1 is best.

    Args:
        scores: of the method.
        held_out: pairs to be ranked; an item that is no candidate is ranked against the candidates all the same.
        known: every engaged pair, held-out ones included: those of the same query are left out of the ranking.
        candidates: items, ascending.
    """
    rank_of = np.empty(len(held_out))
    rows = max(1, CELLS_AT_ONCE // (len(candidates) + 1))
    for first in range(0, len(held_out), rows):
        part = held_out.take(np.arange(first, min(first + rows, len(held_out))))
        queries, row_of = np.unique(part.queries, return_inverse=True)
        items, column_of = np.unique(part.items, return_inverse=True)
        table = scores(queries, candidates)
        own = scores(queries, items)[row_of, column_of]
        if not np.isfinite(own).all() or not np.isfinite(table).all():
            raise FloatingPointError("a score is not finite")
        rank_of[first : first + rows] = _count(table, row_of, own, part.queries, candidates, known.indptr, known.items)
    return rank_of


def metrics(
    ranks: Float64[np.ndarray, " pairs"], queries: Nodes, draws: int, confidence: float, seed: int
) -> dict[str, Figure]:
    """MRR and hits@k with percentile bootstrap intervals.

    Args:
        ranks: of the held-out items, 1 is best.
        queries: query of each: the draws are over queries, since the pairs of one query are not independent.
        draws: bootstrap draws.
        confidence: of the intervals.
        seed: of the draws; the same for every method, so that methods are compared on the same draws.

    Returns:
        Metric → figure of n held-out pairs; without an interval for a single query, which says nothing of others.
    """
    _, query = np.unique(queries, return_inverse=True)
    counts = np.bincount(query).astype(np.float64)
    resampler = Resampler(len(counts), draws, seed)
    figures = {}
    for name, values in {"mrr": 1.0 / ranks, **{f"hits_at_{k}": ranks <= k for k in HITS_AT}}.items():
        mean = RatioOfSums(np.bincount(query, values), counts, len(ranks))
        value = float(values.mean())
        low, high = percentile_interval(value, mean.draws(resampler), confidence)
        figures[name] = Figure(value, low, high, len(ranks))
    return figures


@numba.njit(cache=True)
def _count(
    table: np.ndarray,
    row_of: np.ndarray,
    own: np.ndarray,
    queries: np.ndarray,
    candidates: np.ndarray,
    indptr: np.ndarray,
    known: np.ndarray,
) -> np.ndarray:
    rank_of = np.empty(len(queries), dtype=np.float64)
    for pair in range(len(queries)):
        above = ties = 0
        row, score = table[row_of[pair]], own[pair]
        for column in range(len(candidates)):
            above += row[column] > score
            ties += row[column] == score
        # Known items of the query, the held-out one among them, were counted and are taken out again.
        for place in range(indptr[queries[pair]], indptr[queries[pair] + 1]):
            column = np.searchsorted(candidates, known[place])
            if column < len(candidates) and candidates[column] == known[place]:
                above -= row[column] > score
                ties -= row[column] == score
        # The held-out item is known, so it is out too; whatever it scored, it does not compete with itself.
        rank_of[pair] = 1.0 + above + ties / 2.0
    return rank_of
