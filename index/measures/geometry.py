"""How vectors fill their space: hubs, collapse, and how alike two embeddings are as wholes.

All measures are taken on L2-normalised vectors, which is what the searches see.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from graph.figure import Figure
from index.measures.figures import Bootstrap
from prerank.evaluation.significance import jackknife

BLOCKS = 200
"""Random groups of items that the jackknife of second moments leaves out in turn."""
FEWEST_BLOCKS = 20
MOMENTS = 16_000_000
"""Numbers that the moments of all blocks may hold."""
ROWS_AT_ONCE = 65_536
FINGERPRINT_PRIME = np.uint64(0x9E3779B97F4A7C15)
"""2⁶⁴ divided by the golden ratio, odd, so that multiplying loses nothing."""
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
    if queries == 0:
        nothing = Figure.undefined("no item has neighbours", len(occurrence))
        return dict.fromkeys(("k_occurrence_skew", "never_a_neighbour"), nothing)
    counts = occurrence.astype(np.float64)
    powers = np.stack([np.ones_like(counts), counts, counts**2, counts**3], axis=1)
    sums = _block_sums(powers, bootstrap.seed)
    skew = jackknife(sums, {"k_occurrence_skew": _skewness}, len(counts), bootstrap.confidence)
    probability = k / (len(counts) - 1)
    spread = math.sqrt(queries * probability * (1 - probability))
    return {
        **skew,
        "k_occurrence_skew_chance": Figure.exact((1 - 2 * probability) / spread if spread else 0.0, len(counts)),
        "never_a_neighbour": bootstrap.share(occurrence == 0),
        "never_a_neighbour_chance": Figure.exact((1 - probability) ** queries, len(counts)),
    }


def spread(units: Float32[np.ndarray, "items dimension"], bootstrap: Bootstrap) -> dict[str, Figure]:
    """Effective rank, mean cosine and uniformity of L2-normalised vectors, and the share that have a double."""
    dimension = units.shape[1]
    figures = jackknife(
        _moments([(units, _whole(units))], bootstrap.seed),
        {"effective_rank": lambda sums: effective_rank(_covariance(sums)), "mean_cosine": _mean_cosine},
        len(units),
        bootstrap.confidence,
    )
    figures["effective_rank_most"] = Figure.exact(float(dimension), len(units))
    generator = np.random.default_rng(bootstrap.seed)
    first = generator.integers(0, len(units), PAIRS)
    second = (first + generator.integers(1, len(units), PAIRS)) % len(units)
    potential = np.exp(-2 * np.square(units[first] - units[second]).sum(axis=1, dtype=np.float64))
    return {
        **figures,
        "uniformity": _log(bootstrap.means({"potential": potential})["potential"]),
        "duplicated": bootstrap.share(duplicated(units)),
    }


def alignment(
    first: Float32[np.ndarray, "items dimension"],
    second: Float32[np.ndarray, "items dimension"],
    bootstrap: Bootstrap,
) -> dict[str, Figure]:
    """Mean squared distance of an item's two unit vectors (Wang & Isola 2020), beside that of two random items'.

    Only of use where both embeddings live in one space, as φ and ψ do once eq. 10 has been trained.
    """
    n = len(first)
    if first.shape != second.shape:
        reason = f"vectors of {first.shape[1]} and of {second.shape[1]} numbers have no distance"
        return {"alignment": Figure.undefined(reason, n)}
    shuffled = np.random.default_rng(bootstrap.seed).permutation(n)
    figures: dict[str, Figure] = {}
    for name, rows in (("alignment", _whole(second)), ("alignment_chance", shuffled)):
        distances = np.empty(n)
        for start in range(0, n, ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            distances[part] = np.square(first[part] - second[rows[part]]).sum(axis=1, dtype=np.float64)
        sums = _block_sums(np.stack([np.ones(n), distances], axis=1), bootstrap.seed)
        figures |= jackknife(sums, {name: lambda sums: float(sums[1] / sums[0])}, n, bootstrap.confidence)
    return figures


def similarity(
    first: Float32[np.ndarray, "items dimension"],
    second: Float32[np.ndarray, "items other"],
    bootstrap: Bootstrap,
) -> dict[str, Figure]:
    """Linear CKA and Procrustes residual of two embeddings of the same items, beside those of one of them shuffled."""
    split = first.shape[1]
    shuffled = np.random.default_rng(bootstrap.seed).permutation(len(second))
    figures: dict[str, Figure] = {}
    for suffix, rows in (("", _whole(second)), ("_chance", shuffled)):
        statistics = {
            f"linear_cka{suffix}": lambda sums: linear_cka(_covariance(sums), split),
            f"procrustes_residual{suffix}": lambda sums: procrustes_residual(_covariance(sums), split),
        }
        moments = _moments([(first, _whole(first)), (second, rows)], bootstrap.seed)
        figures |= jackknife(moments, statistics, len(first), bootstrap.confidence)
    return figures


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


def procrustes_residual(covariance: Float64[np.ndarray, "both both"], split: int) -> float:
    r"""Share of Y's variance that no rotation (or reflection) and scale of X accounts for (Schönemann & Carroll 1970).

    .. math:: \min_{s,R} ‖s X R - Y‖_F^2 / ‖Y‖_F^2 = 1 - ‖X^T Y‖_*^2 / (‖X‖_F^2 ‖Y‖_F^2)

    from the covariance of [X | Y], X the first columns, so after centring. It is 0 for the same vectors up to rotation
    and scale, near 1 for unrelated ones, and the same from X to Y and from Y to X. The shorter vectors count as padded
    with zeros. NaN where one of them does not vary.
    """
    spreads = np.trace(covariance[:split, :split]), np.trace(covariance[split:, split:])
    if min(spreads) < VANISHING_VARIANCE:
        return math.nan
    nuclear = np.linalg.svd(covariance[:split, split:], compute_uv=False).sum()
    return max(0.0, float(1 - nuclear**2 / (spreads[0] * spreads[1])))


def varies(units: Float32[np.ndarray, "items dimension"]) -> bool:
    """Whether unit vectors are more than one point, so that there is a nearer and a farther."""
    total = np.zeros(units.shape[1])
    lengths = 0.0
    for start in range(0, len(units), ROWS_AT_ONCE):
        part = units[start : start + ROWS_AT_ONCE].astype(np.float64)
        total += part.sum(axis=0)
        lengths += float(np.square(part).sum())
    return lengths / len(units) - float(np.square(total / len(units)).sum()) >= VANISHING_VARIANCE


def duplicated(units: Float32[np.ndarray, "items dimension"]) -> Bool[np.ndarray, " items"]:
    """Whether another item has exactly the same vector, by 64-bit fingerprints of the vectors' bits."""
    fingerprints = np.empty(len(units), dtype=np.uint64)
    for start in range(0, len(units), ROWS_AT_ONCE):
        # Adding zero makes -0 and 0 the same bits.
        bits = (units[start : start + ROWS_AT_ONCE] + np.float32(0)).view(np.uint32)
        state = np.zeros(len(bits), dtype=np.uint64)
        for column in range(bits.shape[1]):
            state = (state ^ bits[:, column]) * FINGERPRINT_PRIME
            state ^= state >> np.uint64(32)
        fingerprints[start : start + ROWS_AT_ONCE] = state
    order = np.argsort(fingerprints)
    equal = fingerprints[order][1:] == fingerprints[order][:-1]
    doubled = np.zeros(len(units), dtype=bool)
    doubled[order[1:][equal]] = True
    doubled[order[:-1][equal]] = True
    return doubled


def procrustes(
    source: Float32[np.ndarray, "items dimension"], target: Float32[np.ndarray, "items dimension"]
) -> Float32[np.ndarray, "dimension dimension"]:
    """The rotation or reflection R that brings ``source @ R`` closest to ``target`` (Schönemann 1966)."""
    left, _, right = np.linalg.svd(source.T.astype(np.float64) @ target.astype(np.float64))
    rotation: Float32[np.ndarray, "dimension dimension"] = (left @ right).astype(np.float32)
    return rotation


def _whole(vectors: Float32[np.ndarray, "items dimension"]) -> Int64[np.ndarray, " items"]:
    return np.arange(len(vectors))


def _moments(
    parts: Sequence[tuple[Float32[np.ndarray, "items _"], Int64[np.ndarray, " items"]]], seed: int
) -> Float64[np.ndarray, "blocks columns_plus_1 columns_plus_1"]:
    """Sums of [1 | x]ᵀ[1 | x] over random blocks of items: count, sum and second moments in one matrix.

    Args:
        parts: vectors, and which of their rows stands for each item; x is all of an item's rows side by side.
        seed: of the blocks.
    """
    items, width = len(parts[0][1]), 1 + sum(vectors.shape[1] for vectors, _ in parts)
    order = np.random.default_rng(seed).permutation(items)
    # Long vectors get fewer blocks, so that the moments of all blocks stay within a few hundred megabytes.
    blocks = np.array_split(order, min(items, BLOCKS, max(MOMENTS // width**2, FEWEST_BLOCKS)))
    moments = np.zeros((len(blocks), width, width))
    for place, block in enumerate(blocks):
        for rows in np.array_split(block, -(-len(block) // ROWS_AT_ONCE)):
            joint = np.concatenate([np.ones((len(rows), 1)), *(vectors[at[rows]] for vectors, at in parts)], axis=1)
            moments[place] += joint.T @ joint
    return moments


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
