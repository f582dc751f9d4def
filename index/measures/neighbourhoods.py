"""What neighbours say: how many two embeddings share, and how alike neighbours are, each beside its chance level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from jaxtyping import Float32, Float64, Int64

from configs.console import progress

QUERIES_AT_ONCE = 2048
DENSE_CELLS = 4_000_000
"""Counts that a table of all (stratum, value) pairs may hold."""
ORACLE_QUERIES_AT_ONCE = 100
TIE = 1e-4
"""Far below the difference that one shared value makes, so that it decides between equals only."""


def overlap(
    first: Int64[np.ndarray, "queries k"], second: Int64[np.ndarray, "queries k"]
) -> Float64[np.ndarray, " queries"]:
    """Share of each query's k neighbours that both lists hold; -1 (nothing found) matches nothing."""
    if first.shape != second.shape:
        raise ValueError(f"lists of one shape, got {first.shape} and {second.shape}")
    shares = np.empty(len(first))
    for start in range(0, len(first), QUERIES_AT_ONCE):
        part = slice(start, start + QUERIES_AT_ONCE)
        same = (first[part, :, None] == second[part, None, :]) & (first[part, :, None] >= 0)
        shares[part] = same.sum(axis=(1, 2)) / first.shape[1]
    return shares


def overlap_chance(k: int, candidates: int) -> float:
    """Expected overlap of two independent random lists: k / (candidates - 1), the query not being its own candidate."""
    return k / (candidates - 1)


@dataclass(frozen=True)
class Labels:
    """One categorical attribute of the queries and of the candidates.

    Args:
        queries: code of each query's value; -1 where it has none.
        candidates: code of each candidate's value; -1 where it has none, which equals nothing.
        own_rows: each query's own row among the candidates; -1 where it is not one of them.
    """

    queries: Int64[np.ndarray, " queries"]
    candidates: Int64[np.ndarray, " candidates"]
    own_rows: Int64[np.ndarray, " queries"]


def purity(
    neighbours: Int64[np.ndarray, "queries k"], labels: Labels, within: Labels | None = None
) -> Float64[np.ndarray, " queries"]:
    """Share of each query's neighbours that have the query's value.

    Args:
        neighbours: rows of the candidates; -1 where nothing was found, which is left out.
        labels: the attribute, e.g. brand.
        within: count only neighbours that share this attribute, e.g. category.

    Returns:
        NaN where the query has no value, or no neighbour counts.
    """
    both = purities(neighbours, [neighbours.shape[1]], labels, Null(labels, None, within))
    shares: Float64[np.ndarray, " queries"] = both.observed[0]
    return shares


class Null:
    """What purity would be if every neighbour were replaced by a random candidate of its own stratum.

    The query itself is left out. It is the exact expectation of a shuffle, so it needs no draws: how many candidates of
    a stratum share a value is counted once, and asked for by every list. Without strata its mean over all items is the
    chance that a random pair of different items agrees, Σ n_c (n_c - 1) / (n (n - 1)), which is Σp² less the pairs of
    an item with itself. With strata by popularity it is the popularity-matched shuffle.

    Args:
        labels: the attribute.
        strata: stratum of each candidate; None: all are in one.
        within: as in ``purity``: replaced by a random candidate of the stratum that shares this attribute.
    """

    def __init__(
        self, labels: Labels, strata: Int64[np.ndarray, " candidates"] | None, within: Labels | None = None
    ) -> None:
        stratum = np.zeros(len(labels.candidates), dtype=np.int64) if strata is None else strata
        if within is not None:
            mixed = stratum * (within.candidates.max(initial=0) + 2) + within.candidates + 1
            stratum = np.unique(mixed, return_inverse=True)[1].astype(np.int64)
        self.within = within
        self.stratum = stratum
        self.sizes = np.bincount(stratum)
        self._width = int(max(labels.candidates.max(initial=0), labels.queries.max(initial=0))) + 1
        known = labels.candidates >= 0
        keys = stratum[known] * self._width + labels.candidates[known]
        # One cell for every possible pair where that is no larger than a few lists; else only the pairs that occur.
        cells = len(self.sizes) * self._width
        self._dense: np.ndarray | None = np.bincount(keys, minlength=cells) if cells <= DENSE_CELLS else None
        pairs, counts = np.unique(keys[: 0 if cells <= DENSE_CELLS else None], return_counts=True)
        self._keys: np.ndarray = pairs
        self._counts: np.ndarray = counts

    def sharing(self, stratum: np.ndarray, values: np.ndarray) -> np.ndarray:
        """How many candidates of the stratum have the value, cell by cell."""
        keys = stratum * self._width + values
        if self._dense is not None:
            counts: np.ndarray = self._dense[keys]
            return counts
        place = np.minimum(np.searchsorted(self._keys, keys), max(len(self._keys) - 1, 0))
        return np.where(self._keys[place] == keys, self._counts[place], 0) if len(self._keys) else np.zeros_like(keys)


@dataclass(frozen=True)
class Purities:
    """Purity of the first k of each list, for several k, and what the null would make of the same lists."""

    observed: Float64[np.ndarray, "ks queries"]
    expected: Float64[np.ndarray, "ks queries"]


def purities(
    neighbours: Int64[np.ndarray, "queries widest"], lengths: Sequence[int], labels: Labels, null: Null
) -> Purities:
    """``purity``, and what ``null`` would make of it, of the first k neighbours for every k at once.

    Args:
        neighbours: as in ``purity``.
        lengths: the values of k, each at most the lists' length.
        labels: the attribute.
        null: of the same attribute; its ``within`` decides which neighbours count.
    """
    observed = np.full((len(lengths), len(neighbours)), np.nan)
    expected = observed.copy()
    for start in range(0, len(neighbours), QUERIES_AT_ONCE):
        part = slice(start, start + QUERIES_AT_ONCE)
        near, value, own = neighbours[part], labels.queries[part, None], labels.own_rows[part, None]
        counted = (near >= 0) & (value >= 0)
        if null.within is not None:
            group = null.within.queries[part, None]
            counted &= (null.within.candidates[near] == group) & (group >= 0)
        at = null.stratum[near]
        itself = (own >= 0) & (null.stratum[own] == at)
        # The query alone in a stratum with its neighbour cannot be; only uncounted cells may have no rest.
        chance = (null.sharing(at, np.maximum(value, 0)) - itself) / np.maximum(null.sizes[at] - itself, 1)
        same = labels.candidates[near] == value
        for place, k in enumerate(lengths):
            of = counted[:, :k]
            counts = of.sum(axis=1)
            some, total = counts > 0, np.maximum(counts, 1)
            observed[place, part] = np.where(some, (same[:, :k] & of).sum(axis=1) / total, np.nan)
            expected[place, part] = np.where(some, np.where(of, chance[:, :k], 0.0).sum(axis=1) / total, np.nan)
    return Purities(observed, expected)


def popularity_strata(impressions: Int64[np.ndarray, " items"], strata: int = 10) -> Int64[np.ndarray, " items"]:
    """Quantile groups by training impressions, least seen first; ties are never split, so groups may be fewer."""
    if len(impressions) == 0:
        return np.zeros(0, dtype=np.int64)
    edges = np.unique(np.quantile(impressions, np.arange(1, strata) / strata, method="lower"))
    raw = np.searchsorted(edges, impressions, side="left")
    return np.unique(raw, return_inverse=True)[1].astype(np.int64)


def attribute_neighbours(
    attributes: Int64[np.ndarray, "items columns"], queries: Int64[np.ndarray, " queries"], k: int, seed: int
) -> Int64[np.ndarray, "queries k"]:
    """The oracle that knows attributes only: nearest = most shared values, a rare value counting more.

    Ties, of which there are many, are broken at random: attributes alone cannot do better.

    Args:
        attributes: code of each item's value in each column; -1 where it has none.
        queries: rows of the items to search for.

    Returns:
        Rows of the items, nearest first.
    """
    columns = range(attributes.shape[1])
    weights = [rarity(attributes[:, column], int(attributes[:, column].max(initial=0)) + 1) for column in columns]
    asked = attributes[queries]
    # An item without a value shares it with nobody: -2 is no code.
    values = np.where(asked >= 0, asked, -2).astype(np.int32)
    worth = np.stack([weights[column][np.maximum(asked[:, column], 0)] for column in columns], axis=1)
    codes = np.ascontiguousarray(attributes, dtype=np.int32)
    order = np.stack([np.argsort(codes[:, column], kind="stable") for column in columns])
    starts, ends = (
        np.stack([np.searchsorted(codes[order[column], column], values[:, column], side) for column in columns], axis=1)
        for side in ("left", "right")
    )
    neighbours = np.empty((len(queries), k), dtype=np.int64)
    with progress() as bar:
        task = bar.add_task("attribute oracle", total=len(queries))
        for start in range(0, len(queries), ORACLE_QUERIES_AT_ONCE):
            part = slice(start, start + ORACLE_QUERIES_AT_ONCE)
            lists = order, starts[part], ends[part]
            neighbours[part] = _sharing_most(codes, *lists, queries[part], values[part], worth[part], k, seed + start)
            bar.update(task, advance=len(neighbours[part]))
    return neighbours


@numba.njit(cache=True)
def _sharing_most(
    codes: np.ndarray,
    order: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    queries: np.ndarray,
    values: np.ndarray,
    worth: np.ndarray,
    k: int,
    seed: int,
) -> np.ndarray:
    """The k rows with the largest sum of ``worth`` over columns that equal ``values``, best first, ties at random.

    Only rows that share a value are looked at (``order[column][start:end]``), each in the first column that it shares;
    all rows where those are fewer than k.
    """
    np.random.seed(seed)  # noqa: NPY002 - compiled code has this generator only
    nearest = np.empty((len(queries), k), dtype=np.int64)
    scores = np.empty(k, dtype=np.float64)
    for query in range(len(queries)):
        length = 0
        for column in range(codes.shape[1]):
            for place in range(starts[query, column], ends[query, column]):
                row = order[column, place]
                if row != queries[query] and _first_shared(codes[row], values[query]) == column:
                    score = _shared(codes[row], values[query], worth[query])
                    length = _keep(nearest[query], scores, length, row, score)
        if length < k:
            length = 0
            for row in range(len(codes)):
                if row != queries[query]:
                    score = _shared(codes[row], values[query], worth[query])
                    length = _keep(nearest[query], scores, length, row, score)
    return nearest


@numba.njit(cache=True)
def _first_shared(codes: np.ndarray, values: np.ndarray) -> int:
    for column in range(len(codes)):
        if codes[column] == values[column]:
            return column
    return -1


@numba.njit(cache=True)
def _shared(codes: np.ndarray, values: np.ndarray, worth: np.ndarray) -> float:
    score = 0.0
    for column in range(len(codes)):
        if codes[column] == values[column]:
            score += worth[column]
    return score


@numba.njit(cache=True)
def _keep(rows: np.ndarray, scores: np.ndarray, length: int, row: int, score: float) -> int:
    """Put the row into the sorted list if it is good enough; how many are held then."""
    if length == len(rows) and score + TIE <= scores[-1]:
        return length
    score += TIE * np.random.random()  # noqa: NPY002
    if length == len(rows) and score <= scores[-1]:
        return length
    place = length if length < len(rows) else length - 1
    while place > 0 and scores[place - 1] < score:
        scores[place], rows[place] = scores[place - 1], rows[place - 1]
        place -= 1
    scores[place], rows[place] = score, row
    return min(length + 1, len(rows))


def rarity(codes: Int64[np.ndarray, " items"], values: int) -> Float32[np.ndarray, " values"]:
    """What sharing each value says: log((n + 1) / n_value), as in inverse document frequency."""
    counts = np.bincount(codes[codes >= 0], minlength=values)
    weights: Float32[np.ndarray, " values"] = np.log((len(codes) + 1) / np.maximum(counts, 1)).astype(np.float32)
    return weights
