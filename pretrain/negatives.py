"""Items that a query should score lower than the one it engaged, and those that it should not."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from jaxtyping import Bool, Float64, Int64

from graph.hashing import splitmix
from graph.store import Graph, Key
from pretrain.sampling import GOLDEN
from pretrain.targets import Nodes, Pairs

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
        pairs: training pairs; an item that none of them holds is never drawn.
        items: number of item nodes.
        amount: negatives per positive.
    """

    def __init__(self, pairs: Pairs, items: int, amount: int) -> None:
        weight = np.bincount(pairs.items, minlength=items).astype(np.float64) ** DEGREE_EXPONENT
        self._cumulative: Float64[np.ndarray, " items"] = np.cumsum(weight / weight.sum())
        self.amount = amount

    def __call__(
        self,
        queries: Nodes,  # noqa: ARG002
        items: Nodes,
        stream: int,
    ) -> Int64[np.ndarray, "pairs negatives"]:
        draws = np.random.default_rng(stream).random((len(items), self.amount))
        return np.searchsorted(self._cumulative[:-1], draws, side="right").astype(np.int64)


class SameCategoryNegatives:
    """Hard negatives: engaged items that share an attribute value with the positive.

    Args:
        graph: with attribute → item relations.
        pairs: training pairs; only items that some query engaged are drawn, or an empty neighbourhood gives them away.
        amount: negatives per positive.

    Attributes:
        attribute: the node type used: ``category`` where the graph has it, else the type with most values; None
            where items have no attributes at all, and then nothing is drawn.
        active: nothing is drawn while False (the warm-up).
    """

    def __init__(self, graph: Graph, pairs: Pairs, amount: int) -> None:
        self.amount = amount
        self.active = False
        key = _finest_attribute(graph)
        self.attribute = None if key is None else key[0]
        if key is None:
            return
        relation = graph.relations[key]
        engaged = np.zeros(graph.node_counts["item"], dtype=bool)
        engaged[pairs.items] = True
        kept = engaged[relation.targets]
        members, values = relation.targets[kept], np.asarray(relation.indices)[kept]
        order = np.argsort(values, kind="stable")
        self._members = members[order]
        self._ends = np.cumsum(np.bincount(values, minlength=graph.node_counts[key[0]]))
        # An item of several values is represented by its first.
        self._value = np.full(graph.node_counts["item"], -1, dtype=np.int64)
        self._value[relation.targets[::-1]] = relation.indices[::-1]

    def __call__(
        self,
        queries: Nodes,  # noqa: ARG002
        items: Nodes,
        stream: int,
    ) -> Int64[np.ndarray, "pairs negatives"]:
        if not self.active or self.attribute is None:
            return np.zeros((len(items), 0), dtype=np.int64)
        return _same_value(self._members, self._ends, self._value, items, self.amount, np.uint64(stream))


def _finest_attribute(graph: Graph) -> Key | None:
    keys = [key for key in graph.relations if key[2] == "item" and key[0] not in ("item", "query")]
    return max(keys, key=lambda key: (key[0] == "category", graph.node_counts[key[0]], key), default=None)


@numba.njit(cache=True)
def _same_value(
    members: np.ndarray, ends: np.ndarray, value: np.ndarray, items: np.ndarray, amount: int, stream: np.uint64
) -> np.ndarray:
    """Uniform draws among the members of each item's value; the item itself where it has none or is alone."""
    drawn = np.empty((len(items), amount), dtype=np.int64)
    for row in range(len(items)):
        own = value[items[row]]
        stop = ends[own] if own >= 0 else 0
        start = ends[own - 1] if own > 0 else 0
        for column in range(amount):
            state = splitmix(stream + np.uint64(row * amount + column + 1) * GOLDEN)
            place = start + np.int64(state % np.uint64(max(stop - start, 1)))
            drawn[row, column] = members[place] if stop > start else items[row]
    return drawn


@numba.njit(cache=True)
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


@numba.njit(cache=True)
def _own_mask(indptr: np.ndarray, items: np.ndarray, queries: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    known = np.zeros(candidates.shape, dtype=np.bool_)
    for row in range(len(queries)):
        own = items[indptr[queries[row]] : indptr[queries[row] + 1]]
        for column in range(candidates.shape[1]):
            at = np.searchsorted(own, candidates[row, column])
            known[row, column] = at < len(own) and own[at] == candidates[row, column]
    return known
