"""How vectors fill their space: hubs, collapse, and how alike two embeddings are as wholes.

All measures are taken on L2-normalised vectors, which is what the searches see.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float32, Float64, Int64

from index.figures import Bootstrap, Figure

BLOCKS = 200
"""Random groups of items that the jackknife of second moments leaves out in turn."""
PAIRS = 50_000
VANISHING_VARIANCE = 1e-9
"""Mean squared distance to the mean below which unit vectors count as one point (float32 rounds at 1e-7)."""


def k_occurrence(neighbours: Int64[np.ndarray, "queries k"], candidates: int) -> Int64[np.ndarray, " candidates"]:
    """How many of the lists each candidate is in (Radovanović et al. 2010)."""
    counts: Int64[np.ndarray, " candidates"] = np.bincount(neighbours[neighbours >= 0], minlength=candidates)
    return counts


def hubness(
    occurrence: Int64[np.ndarray, " candidates"], queries: int, k: int, bootstrap: Bootstrap
) -> dict[str, Figure]:
    """Skewness of the k-occurrence and the share of items in nobody's list, beside those of random lists.

    Random lists give a binomial k-occurrence. Intervals are over the candidates: resampling the queries would leave a
    third of them out and make "in nobody's list" larger than it is.

    Args:
        occurrence: of each candidate.
        queries: number of lists, drawn from the candidates.
        k: their length.
    """
    counts = occurrence.astype(np.float64)
    found = bootstrap.means({"never_a_neighbour": (counts == 0).astype(np.float64)})
    powers = np.stack([np.ones_like(counts), counts, counts**2, counts**3], axis=1)
    skew = bootstrap.of_sums(_block_sums(powers, bootstrap.seed), {"k_occurrence_skew": _skewness}, len(counts))
    probability = k / (len(counts) - 1)
    spread = math.sqrt(queries * probability * (1 - probability))
    return {
        **skew,
        "k_occurrence_skew_chance": Figure.exact((1 - 2 * probability) / spread if spread else 0.0, len(counts)),
        **found,
        "never_a_neighbour_chance": Figure.exact((1 - probability) ** queries, len(counts)),
    }


def spread(units: Float32[np.ndarray, "items dimension"], bootstrap: Bootstrap) -> dict[str, Figure]:
    """Effective rank, mean cosine and uniformity of L2-normalised vectors."""
    dimension = units.shape[1]
    figures = bootstrap.of_sums(
        _moments(units, bootstrap.seed),
        {"effective_rank": lambda sums: effective_rank(_covariance(sums)), "mean_cosine": _mean_cosine},
        len(units),
    )
    figures["effective_rank_most"] = Figure.exact(float(dimension), len(units))
    generator = np.random.default_rng(bootstrap.seed)
    first = generator.integers(0, len(units), PAIRS)
    second = (first + generator.integers(1, len(units), PAIRS)) % len(units)
    potential = np.exp(-2 * np.square(units[first] - units[second]).sum(axis=1, dtype=np.float64))
    return {**figures, "uniformity": _log(bootstrap.means({"potential": potential})["potential"])}


def alignment(
    first: Float32[np.ndarray, "items dimension"],
    second: Float32[np.ndarray, "items dimension"],
    bootstrap: Bootstrap,
) -> dict[str, Figure]:
    """Mean squared distance of an item's two unit vectors (Wang & Isola 2020), beside that of two random items'.

    Only of use where both embeddings live in one space, as φ and ψ do once eq. 10 has been trained.
    """
    shuffled = np.random.default_rng(bootstrap.seed).permutation(len(first))
    return bootstrap.means(
        {
            "alignment": np.square(first - second).sum(axis=1, dtype=np.float64),
            "alignment_chance": np.square(first - second[shuffled]).sum(axis=1, dtype=np.float64),
        }
    )


def similarity(
    first: Float32[np.ndarray, "items dimension"],
    second: Float32[np.ndarray, "items other"],
    bootstrap: Bootstrap,
) -> dict[str, Figure]:
    """Linear CKA of two embeddings of the same items, beside that of one of them shuffled."""
    split = first.shape[1]
    shuffled = second[np.random.default_rng(bootstrap.seed).permutation(len(second))]
    found: dict[str, Figure] = {}
    for name, other in (("linear_cka", second), ("linear_cka_chance", shuffled)):
        blocks = _moments(np.concatenate([first, other], axis=1), bootstrap.seed)
        found |= bootstrap.of_sums(blocks, {name: lambda sums: linear_cka(_covariance(sums), split)}, len(first))
    return found


def effective_rank(covariance: Float64[np.ndarray, "dimension dimension"]) -> float:
    r"""How many directions the vectors use (Roy & Vetterli 2007), from their covariance.

    .. math:: \exp(-\sum_i p_i \log p_i), \quad p_i = σ_i / \sum_j σ_j

    with σ the singular values of the centred vectors. Between 1 and the dimension; 0 where the vectors do not vary.
    """
    if np.trace(covariance) < VANISHING_VARIANCE:
        return 0.0
    singular = np.sqrt(np.maximum(np.linalg.eigvalsh(covariance), 0.0))
    shares = singular[singular > 0] / singular.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def linear_cka(covariance: Float64[np.ndarray, "both both"], split: int) -> float:
    r"""Linear centred kernel alignment (Kornblith et al. 2019) from the covariance of [X | Y], X the first columns.

    .. math:: ‖Y^T X‖_F^2 / (‖X^T X‖_F ‖Y^T Y‖_F)

    1 for the same vectors up to rotation and scale. NaN where one of them does not vary.
    """
    within = covariance[:split, :split], covariance[split:, split:]
    if min(np.trace(part) for part in within) < VANISHING_VARIANCE:
        return math.nan
    between = covariance[:split, split:]
    return float(np.square(between).sum() / (np.linalg.norm(within[0]) * np.linalg.norm(within[1])))


def procrustes(
    source: Float32[np.ndarray, "items dimension"], target: Float32[np.ndarray, "items dimension"]
) -> Float32[np.ndarray, "dimension dimension"]:
    """The rotation or reflection R that brings ``source @ R`` closest to ``target`` (Schönemann 1966)."""
    left, _, right = np.linalg.svd(source.T.astype(np.float64) @ target.astype(np.float64))
    rotation: Float32[np.ndarray, "dimension dimension"] = (left @ right).astype(np.float32)
    return rotation


def _moments(
    vectors: Float32[np.ndarray, "items dimension"], seed: int
) -> Float64[np.ndarray, "blocks dimension_plus_1 dimension_plus_1"]:
    """Sums of [1 | x]ᵀ[1 | x] over random blocks of items: count, sum and second moments in one matrix."""
    order = np.random.default_rng(seed).permutation(len(vectors))
    parts = np.array_split(order, min(BLOCKS, len(vectors)))
    found = np.empty((len(parts), vectors.shape[1] + 1, vectors.shape[1] + 1))
    for place, rows in enumerate(parts):
        block = np.concatenate([np.ones((len(rows), 1)), vectors[rows]], axis=1)
        found[place] = block.T @ block
    return found


def _block_sums(rows: Float64[np.ndarray, "items columns"], seed: int) -> Float64[np.ndarray, "b columns"]:
    order = np.random.default_rng(seed).permutation(len(rows))
    return np.stack([rows[part].sum(axis=0) for part in np.array_split(order, min(BLOCKS, len(rows)))])


def _covariance(sums: Float64[np.ndarray, "d_plus_1 d_plus_1"]) -> Float64[np.ndarray, "d d"]:
    mean = sums[0, 1:] / sums[0, 0]
    covariance: Float64[np.ndarray, "d d"] = sums[1:, 1:] / sums[0, 0] - np.outer(mean, mean)
    return covariance


def _mean_cosine(sums: Float64[np.ndarray, "d_plus_1 d_plus_1"]) -> float:
    """Mean cosine of pairs of different items, from the sum of unit vectors."""
    n = sums[0, 0]
    return float((np.square(sums[0, 1:]).sum() - np.trace(sums[1:, 1:])) / (n * (n - 1)))


def _skewness(sums: Float64[np.ndarray, " four"]) -> float:
    """Third standardised moment from Σ1, Σx, Σx², Σx³; 0 where x does not vary."""
    mean, second, third = sums[1:] / sums[0]
    variance = second - mean**2
    if variance <= 1e-12 * max(second, 1.0):
        return 0.0
    return float((third - 3 * mean * second + 2 * mean**3) / variance**1.5)


def _log(figure: Figure) -> Figure:
    if figure.value is None or figure.low is None or figure.high is None:
        return figure
    return Figure(math.log(figure.value), math.log(figure.low), math.log(figure.high), figure.n)
