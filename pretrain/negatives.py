"""Items that a query should score lower than the one it engaged, and those that it should not.

A negative is drawn as a training pair (query, item) and that pair is kept out of message passing like a target. Else
positives, which have all lost an edge, could be told from negatives by what is missing around them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from jaxtyping import Bool, Float64, Int64

from graph.hashing import splitmix
from graph.store import Graph, Key
from pretrain.sampling import GOLDEN, Nodes, Pairs

DEGREE_EXPONENT = 0.75
"""Of the negatives' distribution (Mikolov et al. 2013), which GraphSAGE's loss takes over."""


@dataclass(frozen=True)
class KnownPairs:
    """The training pairs as CSR: row q holds the items of query q, ascending."""

    indptr: Int64[np.ndarray, " queries_plus_1"]
    items: Int64[np.ndarray, " pairs"]

    @classmethod
    def of(cls, pairs: Pairs, queries: int) -> KnownPairs:
        """From pairs in any order.

        Args:
            pairs: unique.
            queries: number of query nodes.
        """
        order = np.lexsort((pairs.items, pairs.queries))
        indptr = np.concatenate([[0], np.cumsum(np.bincount(pairs.queries, minlength=queries))])
        return cls(indptr.astype(np.int64), pairs.items[order])

    def mask(
        self, queries: Nodes, candidates: Int64[np.ndarray, " candidates"]
    ) -> Bool[np.ndarray, "pairs candidates"]:
        """True where the query is known to engage the candidate; candidates may repeat."""
        order = np.argsort(candidates, kind="stable")
        return _mask(self.indptr, self.items, queries, candidates[order], order)

    def own_mask(
        self, queries: Nodes, candidates: Int64[np.ndarray, "pairs candidates"]
    ) -> Bool[np.ndarray, "pairs candidates"]:
        """The same where every query has candidates of its own."""
        return _own_mask(self.indptr, self.items, queries, candidates)


class PopularNegatives:
    """Negatives of the GraphSAGE loss: items in proportion to degree^0.75.

    Args:
        pairs: training pairs.
        items: number of item nodes.
        amount: negatives per positive.
    """

    def __init__(self, pairs: Pairs, items: int, amount: int) -> None:
        # Pairs are drawn, so an item of degree d comes d times as often: d^0.75 in all leaves d^-0.25 for each.
        degree = np.bincount(pairs.items, minlength=items).astype(np.float64)
        weight = degree[pairs.items] ** (DEGREE_EXPONENT - 1)
        self._cumulative: Float64[np.ndarray, " pairs"] = np.cumsum(weight / weight.sum())
        self._pairs = pairs
        self.amount = amount

    def __call__(self, positives: Pairs, stream: int) -> Pairs:
        draws = np.random.default_rng(stream).random((len(positives), self.amount))
        return self._pairs.take(np.searchsorted(self._cumulative[:-1], draws, side="right"))


class SameCategoryNegatives:
    """Hard negatives: items of training pairs that share an attribute value with the positive.

    Args:
        graph: with attribute → item relations.
        pairs: training pairs.
        amount: negatives per positive.

    Attributes:
        attribute: the node type used: ``category`` where the graph has it, else the type with most values; None
            where items have no attributes at all, and then nothing is drawn.
        active: nothing is drawn while False (the warm-up).
    """

    def __init__(self, graph: Graph, pairs: Pairs, amount: int) -> None:
        self.amount = amount
        self.active = False
        self._pairs = pairs
        key = _finest_attribute(graph)
        self.attribute = None if key is None else key[0]
        if key is None:
            return
        relation = graph.relations[key]
        # An item of several values is represented by its first.
        self._value = np.full(graph.node_counts["item"], -1, dtype=np.int64)
        self._value[relation.targets[::-1]] = relation.indices[::-1]
        values = self._value[pairs.items]
        self._members = np.argsort(values, kind="stable")[np.count_nonzero(values < 0) :]
        self._ends = np.cumsum(np.bincount(values[values >= 0], minlength=graph.node_counts[key[0]]))

    def __call__(self, positives: Pairs, stream: int) -> Pairs:
        amount = self.amount if self.active and self.attribute is not None else 0
        drawn = np.full((len(positives), amount), -1, dtype=np.int64)
        if amount:
            values = self._value[positives.items]
            drawn = _same_value(self._members, self._ends, values, amount, np.uint64(stream))
        # An item without a value, or with one that no training pair has, is its own negative: known, so left out.
        negatives = self._pairs.take(np.maximum(drawn, 0))
        none = drawn < 0
        return Pairs(
            np.where(none, positives.queries[:, None], negatives.queries),
            np.where(none, positives.items[:, None], negatives.items),
        )


def _finest_attribute(graph: Graph) -> Key | None:
    keys = [key for key in graph.relations if key[2] == "item" and key[0] not in ("item", "query")]
    return max(keys, key=lambda key: (key[0] == "category", graph.node_counts[key[0]], key), default=None)


@numba.njit(nogil=True, cache=True)
def _same_value(
    members: np.ndarray, ends: np.ndarray, values: np.ndarray, amount: int, stream: np.uint64
) -> np.ndarray:
    """Uniform draws among the pairs of each value; -1 for a value that is missing or has no pair."""
    drawn = np.empty((len(values), amount), dtype=np.int64)
    for row in range(len(values)):
        stop = ends[values[row]] if values[row] >= 0 else 0
        start = ends[values[row] - 1] if values[row] > 0 else 0
        for column in range(amount):
            state = splitmix(stream + np.uint64(row * amount + column + 1) * GOLDEN)
            place = start + np.int64(state % np.uint64(max(stop - start, 1)))
            drawn[row, column] = members[place] if stop > start else -1
    return drawn


@numba.njit(nogil=True, cache=True)
def _mask(
    indptr: np.ndarray, items: np.ndarray, queries: np.ndarray, candidates: np.ndarray, order: np.ndarray
) -> np.ndarray:
    known = np.zeros((len(queries), len(candidates)), dtype=np.bool_)
    for row in range(len(queries)):
        for position in range(indptr[queries[row]], indptr[queries[row] + 1]):
            at = np.searchsorted(candidates, items[position])
            while at < len(candidates) and candidates[at] == items[position]:
                known[row, order[at]] = True
                at += 1
    return known


@numba.njit(nogil=True, cache=True)
def _own_mask(indptr: np.ndarray, items: np.ndarray, queries: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    known = np.zeros(candidates.shape, dtype=np.bool_)
    for row in range(len(queries)):
        own = items[indptr[queries[row]] : indptr[queries[row] + 1]]
        for column in range(candidates.shape[1]):
            at = np.searchsorted(own, candidates[row, column])
            known[row, column] = at < len(own) and own[at] == candidates[row, column]
    return known
