"""What psi has to beat on the same held-out edges: chance, popularity and matrix factorisation.

None of them gives an item that was never engaged a vector; on items that were, a plain graph network has lost to matrix
factorisation on public tables.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float32
from sklearn.utils.extmath import randomized_svd

from pretrain.sampling import Nodes, Pairs
from pretrain.validation import Candidates, Scores

EXPONENTS = (0.0, 0.25, 0.5)
"""Of the degrees that the matrix is divided by: 0 is PureSVD, 0.5 the symmetric normalisation."""
POWER_ITERATIONS = 10
"""Of the randomised SVD (Halko et al. 2011); Lanczos fails on the many equal singular values of sparse logs."""


def random_scores(seed: int) -> Scores:
    """Scores that know nothing."""
    random = np.random.default_rng(seed)
    return lambda queries, candidates: random.random((len(queries), len(candidates)), dtype=np.float32)


def popularity_scores(pairs: Pairs, items: int) -> Scores:
    """The number of queries that engaged an item in training, whatever is asked."""
    engaged = np.bincount(pairs.items, minlength=items).astype(np.float32)
    return lambda queries, candidates: np.tile(engaged[candidates], (len(queries), 1))


def matrix_factorisation_scores(
    pairs: Pairs, queries: int, items: int, dimension: int, quality: Callable[[Scores], float], seed: int
) -> Scores:
    r"""Truncated SVD of the query-item matrix, its normalisation chosen on the held-out edges themselves.

    .. math:: D_q^{-a} A D_i^{-a} \approx U S V^\top, \quad score = (U S V^\top)_{qi} \, D_i^{b}

    Args:
        pairs: training pairs, the ones of A.
        queries: query nodes.
        items: item nodes.
        dimension: of the factors, as long as psi; less where the matrix is smaller.
        quality: of some scores on the held-out edges. Choosing a and b by it favours this baseline, which is meant.
        seed: of the randomised SVD.
    """
    matrix = sp.csr_matrix((np.ones(len(pairs)), (pairs.queries, pairs.items)), shape=(queries, items))
    rank = min(dimension, min(matrix.shape) - 1)
    if rank < 1:
        return popularity_scores(pairs, items)
    query_degree = np.maximum(np.asarray(matrix.sum(axis=1)).ravel(), 1.0)
    item_degree = np.maximum(np.asarray(matrix.sum(axis=0)).ravel(), 1.0)
    tried: list[tuple[float, int, Scores]] = []
    for exponent in EXPONENTS:
        scaled = sp.diags(query_degree**-exponent) @ matrix @ sp.diags(item_degree**-exponent)
        left, values, right = randomized_svd(scaled, rank, n_iter=POWER_ITERATIONS, random_state=seed)
        for popularity in (0.0, exponent, 2 * exponent) if exponent else (0.0,):
            scores = _products(left * values, right.T * item_degree[:, None] ** popularity)
            tried.append((quality(scores), len(tried), scores))
    return max(tried)[2]


def _products(left: np.ndarray, right: np.ndarray) -> Scores:
    rows: Float32[np.ndarray, "queries dimension"] = left.astype(np.float32)
    columns: Float32[np.ndarray, "items dimension"] = right.astype(np.float32)

    def scores(queries: Nodes, candidates: Candidates) -> Float32[np.ndarray, "queries candidates"]:
        products: Float32[np.ndarray, "queries candidates"] = rows[queries] @ columns[candidates].T
        return products

    return scores
