"""What neighbours say: how many two embeddings share, and how alike neighbours are, each beside its chance level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

QUERIES_AT_ONCE = 2048
ORACLE_CELLS = 20_000_000
"""Scores that the attribute oracle holds at a time, one per (query, candidate)."""


def overlap(
    first: Int64[np.ndarray, "queries k"], second: Int64[np.ndarray, "queries k"]
) -> Float64[np.ndarray, " queries"]:
    """Share of each query's k neighbours that both lists hold; -1 (nothing found) matches nothing."""
    if first.shape != second.shape:
        raise ValueError(f"lists of one shape, got {first.shape} and {second.shape}")
    found = np.empty(len(first))
    for start in range(0, len(first), QUERIES_AT_ONCE):
        part = slice(start, start + QUERIES_AT_ONCE)
        same = (first[part, :, None] == second[part, None, :]) & (first[part, :, None] >= 0)
        found[part] = same.sum(axis=(1, 2)) / first.shape[1]
    return found


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
    counted = _counted(neighbours, labels, within)
    same = counted & (labels.candidates[neighbours] == labels.queries[:, None])
    return _mean_where(same.astype(np.float64), counted)


def expected_purity(
    neighbours: Int64[np.ndarray, "queries k"],
    labels: Labels,
    strata: Int64[np.ndarray, " candidates"] | None = None,
    within: Labels | None = None,
) -> Float64[np.ndarray, " queries"]:
    """Purity if every neighbour were replaced by a random candidate of its own stratum, the query itself left out.

    It is the exact expectation of a shuffle, so it needs no draws. Without strata its mean over all items is the chance
    that a random pair of different items agrees, Σ n_c (n_c - 1) / (n (n - 1)), which is Σp² less the pairs of an
    item with itself. With strata by popularity it is the popularity-matched shuffle.

    Args:
        neighbours: as in ``purity``; decides which neighbours count and which strata they come from.
        labels: the attribute.
        strata: stratum of each candidate; None: all are in one.
        within: as in ``purity``: replaced by a random candidate of the stratum that shares this attribute.
    """
    counted = _counted(neighbours, labels, within)
    stratum = np.zeros(len(labels.candidates), dtype=np.int64) if strata is None else strata
    if within is not None:
        stratum = stratum * (within.candidates.max(initial=0) + 2) + within.candidates + 1
    width = int(max(labels.candidates.max(initial=0), labels.queries.max(initial=0))) + 1
    keys = np.where(labels.candidates >= 0, stratum * width + labels.candidates, -1)
    values, value_counts = np.unique(keys, return_counts=True)
    sizes = np.bincount(stratum)

    at = stratum[neighbours]
    own = labels.own_rows[:, None]
    itself = (own >= 0) & (stratum[own] == at)
    same = _look_up(values, value_counts, at * width + np.maximum(labels.queries, 0)[:, None]) - itself
    rest = sizes[at] - itself
    # The query alone in a stratum with its neighbour cannot be; only uncounted cells may have no rest.
    return _mean_where(same / np.maximum(rest, 1), counted)


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
    generator = np.random.default_rng(seed)
    items, columns = attributes.shape
    weights = [
        rarity(attributes[:, column], int(attributes[:, column].max(initial=0)) + 1) for column in range(columns)
    ]
    at_once = max(1, ORACLE_CELLS // max(items, 1))
    found = np.empty((len(queries), k), dtype=np.int64)
    for start in range(0, len(queries), at_once):
        rows = queries[start : start + at_once]
        # Far below the difference that one shared value makes, so that it decides between equals only.
        scores = generator.random((len(rows), items), dtype=np.float32) * np.float32(1e-4)
        for column in range(columns):
            codes = attributes[rows, column]
            shared = (attributes[:, column] == codes[:, None]) & (codes[:, None] >= 0)
            scores += shared * weights[column][np.maximum(codes, 0), None]
        scores[np.arange(len(rows)), rows] = -1.0
        most = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        by_score = np.argsort(-np.take_along_axis(scores, most, axis=1), axis=1)
        found[start : start + at_once] = np.take_along_axis(most, by_score, axis=1)
    return found


def rarity(codes: Int64[np.ndarray, " items"], values: int) -> Float32[np.ndarray, " values"]:
    """What sharing each value says: log((n + 1) / n_value), as in inverse document frequency."""
    counts = np.bincount(codes[codes >= 0], minlength=values)
    weights: Float32[np.ndarray, " values"] = np.log((len(codes) + 1) / np.maximum(counts, 1)).astype(np.float32)
    return weights


def _counted(neighbours: Int64[np.ndarray, "queries k"], labels: Labels, within: Labels | None) -> np.ndarray:
    counted = (neighbours >= 0) & (labels.queries[:, None] >= 0)
    if within is not None:
        counted &= (within.candidates[neighbours] == within.queries[:, None]) & (within.queries[:, None] >= 0)
    return counted


def _mean_where(values: np.ndarray, counted: np.ndarray) -> Float64[np.ndarray, " queries"]:
    total = counted.sum(axis=1)
    means: Float64[np.ndarray, " queries"] = np.where(
        total > 0, np.where(counted, values, 0.0).sum(axis=1) / np.maximum(total, 1), np.nan
    )
    return means


def _look_up(values: np.ndarray, counts: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """How often each key occurs, given the sorted distinct values and their counts; 0 for one that does not."""
    place = np.minimum(np.searchsorted(values, keys), len(values) - 1)
    found: np.ndarray = np.where(values[place] == keys, counts[place], 0)
    return found
