"""Two maps of the same items, one by ψ and one by φ: what lies together in many dimensions, shown in two."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int64
from scipy.linalg import orthogonal_procrustes
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from configs.console import say
from index.measures.suite import Subject

MOST_ITEMS = 1500
"""Points of a map at most: more cannot be told apart, and t-SNE takes seconds a thousand."""
FEWEST_ITEMS = 10
"""Below this many items there is nothing to arrange."""
DIMENSIONS = 30
"""Principal components that t-SNE starts from at most (van der Maaten & Hinton 2008)."""
PERPLEXITY = 30.0
STEPS = 500
SIDE = 1000
"""A map's coordinates are whole numbers from 0 to this."""

Plane = Float64[np.ndarray, "items 2"]


def item_map(subject: Subject, rows: Int64[np.ndarray, " items"], seed: int) -> dict[str, Any] | None:
    """Lay the items out by each embedding: PCA, then t-SNE, then φ's map turned so that it lies over ψ's.

    Only who is near whom means something; distances across a map, its axes and the size of its clusters do not.

    Args:
        subject: of the audit.
        rows: rows of P in the order in which they are taken, of which the first ``MOST_ITEMS`` are shown.
        seed: of t-SNE.

    Returns:
        ``{"rows": [row of P], "psi": [[x, y]], "phi": [[x, y]]}``, or None where there are too few items.
    """
    rows = rows[:MOST_ITEMS]
    if len(rows) < FEWEST_ITEMS:
        return None
    say(f"maps of {len(rows):,} items by ψ and by φ (t-SNE)")
    psi, phi = layout(subject.psi[rows], seed), layout(subject.phi[rows], seed)
    turn, _ = orthogonal_procrustes(phi - phi.mean(axis=0), psi - psi.mean(axis=0))
    return {"rows": rows.tolist(), "psi": _on_grid(psi), "phi": _on_grid((phi - phi.mean(axis=0)) @ turn)}


def layout(units: Float32[np.ndarray, "items dimension"], seed: int) -> Plane:
    """Two coordinates for each vector; the same vectors and seed give the same ones on one machine.

    Args:
        units: at least ``FEWEST_ITEMS`` L2-normalised vectors, whose Euclidean order is that of their cosine.
        seed: of PCA's and t-SNE's random numbers.
    """
    spread = units - units.mean(axis=0)
    if not np.abs(spread).max() > 1e-6:
        return np.zeros((len(units), 2))
    # One thread: several add up forces in whatever order they finish, and t-SNE magnifies the last digit.
    with threadpool_limits(1):
        components = min(DIMENSIONS, units.shape[1], len(units))
        reduced = PCA(components, random_state=seed).fit_transform(spread) if components > 1 else spread
        start = np.zeros((len(units), 2))
        start[:, : min(2, reduced.shape[1])] = reduced[:, :2]
        start *= 1e-4 / max(float(start[:, 0].std()), 1e-12)
        perplexity = min(PERPLEXITY, (len(units) - 1) / 3)
        tsne = TSNE(2, perplexity=perplexity, max_iter=STEPS, init=start, random_state=seed, n_jobs=1)
        plane: Plane = tsne.fit_transform(reduced).astype(np.float64)
    return plane


def _on_grid(plane: Plane) -> list[list[int]]:
    """Whole numbers, as large as the wider side allows, in the middle of the square."""
    low, high = plane.min(axis=0), plane.max(axis=0)
    scale = SIDE / max(float((high - low).max()), 1e-12)
    centred = (plane - (low + high) / 2) * scale + SIDE / 2
    places: list[list[int]] = np.rint(np.clip(centred, 0, SIDE)).astype(int).tolist()
    return places
