r"""The dot product that comes nearest to a score: what a search engine can order a whole catalogue by.

An engine's first phase is an inner product of the item's vector with a query vector. Of two towers it is the score
itself, and the query vector is the request's. Any other network's score is none; in its place stands one direction for
all requests, of least squares on the scores of validation lists,

.. math:: s(r, i) ≈ c · φ_i + b_r

where b_r is free, since it orders nothing: scores and φ are centred within each list. A query vector of each request's
own, an affine map of its side, was measured and left out: of the full score's 10 best it let at most 0.4 points more
through, and often fewer, in lists of the demo, trivago and expedia (PLE and GRACE). What a list's order adds to c is of
the pair side, which no vector of the item knows; a score without the pair side is nearly c's alone (R² 0.96 to 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int64

TOP = 10
"""The full score's best, which the first phase should let through."""
WINDOWS = (10, 20, 50, 100)
"""How many it may let through."""


@dataclass(frozen=True)
class Lists:
    """Scored lists of candidates.

    Attributes:
        request: of each row, int64 [rows], in ascending order.
        items: the item side's vector of each row, float32 [rows, dimension].
        scores: the fused score of each row, float [rows].
    """

    request: Int64[np.ndarray, " rows"]
    items: Float32[np.ndarray, "rows dimension"]
    scores: Float[np.ndarray, " rows"]

    @property
    def starts(self) -> Int64[np.ndarray, " lists"]:
        """The first row of each list."""
        return np.flatnonzero(np.diff(self.request, prepend=-1))


def direction(lists: Lists) -> Float32[np.ndarray, " dimension"]:
    """c, of the lists of validation; zeros where no list tells anything."""
    starts = lists.starts
    sizes = np.diff(starts, append=len(lists.request))
    gram, moment = np.zeros((lists.items.shape[1],) * 2), np.zeros(lists.items.shape[1])
    for start, size in zip(starts, sizes, strict=True):
        items = lists.items[start : start + size].astype(np.float64)
        items -= items.mean(axis=0)
        gram += items.T @ items
        moment += items.T @ lists.scores[start : start + size]
    # The shortest of equally good directions: columns of φ may be dependent.
    return np.linalg.lstsq(gram, moment, rcond=1e-9)[0].astype(np.float32)


def recall(lists: Lists, dots: Float[np.ndarray, " rows"]) -> dict[str, dict[str, float]]:
    """How many of a list's ``TOP`` best by the full score are among its best by the first phase.

    Args:
        lists: of test.
        dots: the first phase of each row.

    Returns:
        Window of the first phase → mean ``recall`` over ``requests``, those whose list is longer, and what ``chance``
        would reach; windows that no list can tell are left out.
    """
    hits: dict[int, list[tuple[float, float]]] = {window: [] for window in WINDOWS}
    for rows in np.split(np.arange(len(dots)), lists.starts[1:]):
        best = np.argsort(-lists.scores[rows], kind="stable")[:TOP]
        through = np.argsort(-dots[rows], kind="stable")
        for window in WINDOWS:
            if len(rows) > window:
                hits[window].append((float(np.isin(best, through[:window]).mean()), window / len(rows)))
    return {
        str(window): {
            "recall": float(np.mean([hit for hit, _ in each])),
            "chance": float(np.mean([chance for _, chance in each])),
            "requests": len(each),
        }
        for window, each in hits.items()
        if each
    }
