"""Target edges: which query-item pairs are learnt and which are held out, and what must not carry messages meanwhile.

A model that sees the edge it should predict learns to copy. Besides the edge and its reverse, two kinds of edge are
*derived from* it and would give it away:

- item-item co-engagement: if query q engaged i and j, the edge i-j may exist for that very reason, and the path
  q - j - i leads to the answer. For a target (q, i) the edge between i and another item j of q is excluded, unless a
  query that is no target engaged both as well. (Were such edges excluded too, their absence would be the giveaway:
  other items keep theirs.)
- query-attribute edges: if i is the only item of q in category c, the edge q-c says so. It is excluded then.

Besides, a share of the items of each batch, positives and negatives alike, is encoded as if it had never been engaged:
an encoder that always saw an item's queries would not know what to make of an item without any.
"""

from __future__ import annotations

from collections.abc import Mapping

import numba
import numpy as np
from jaxtyping import Bool, Int64

from configs.errors import InputError
from graph.store import Graph, Key, Relation
from pretrain.sampling import Nodes, Pairs, Positions

ENGAGED: Key = ("query", "engaged", "item")
ENGAGED_BY: Key = ("item", "engaged_by", "query")
FEW_HELD_OUT = 100
LARGEST_HELD_OUT = 10_000
"""Held-out edges at most: enough for an interval of half a point, and validation stays cheap."""


def engaged_pairs(graph: Graph) -> Pairs:
    """Every engaged query-item pair of the graph, ascending by query, then item.

    The degree cap is applied to each direction by itself, so a pair counts if either direction has it.

    Raises:
        InputError: if there is none.
    """
    missing = [key for key in (ENGAGED, ENGAGED_BY) if key not in graph.relations]
    if missing:
        raise InputError(f"{graph.folder} has no relation {'__'.join(missing[0])}: nothing was engaged in training")
    forward, backward = graph.relations[ENGAGED], graph.relations[ENGAGED_BY]
    items = graph.node_counts["item"]
    codes = np.union1d(forward.indices * items + forward.targets, backward.targets * items + backward.indices)
    return Pairs(codes // items, codes % items)


def split_pairs(
    pairs: Pairs, share: float, seed: int, unseen: Bool[np.ndarray, " pairs"] | None = None
) -> tuple[Pairs, Pairs]:
    """Training and held-out pairs, drawn with the seed.

    Pairs whose query and item both keep another training pair come first. An item that lost its only edge can be told
    from every other candidate by its empty neighbourhood: on logs where most items are engaged once, that alone
    doubled the MRR. Half of the pairs that can be spared are taken at most; only where these are fewer than
    ``FEW_HELD_OUT`` others fill up, since a handful of pairs cannot stop training.

    Args:
        pairs: unique, at least 2.
        share: of all pairs to hold out, in (0, 1); ``LARGEST_HELD_OUT`` at most.
        unseen: pairs that may be held out, half of them at most; None: all. An encoder that has learnt the others
            before would not be judged by them.

    Raises:
        InputError: if a share outside (0, 1) is asked for, or there are too few pairs to split.
    """
    if not 0 < share < 1:
        raise InputError(f"pretrain.validation_share must be between 0 and 1, found {share}")
    if len(pairs) < 2:
        raise InputError(f"the graph has {len(pairs)} engaged query-item pairs; at least 2 are needed to train psi")
    order = np.random.default_rng(seed).permutation(len(pairs))
    wanted = min(max(1, round(share * len(pairs))), LARGEST_HELD_OUT, len(pairs) - 1)
    if unseen is not None and unseen.sum() > 1:
        order = order[unseen[order]]
        wanted = min(wanted, len(order) // 2)
    spare = _spare(pairs.queries, pairs.items, order)
    chosen = spare[: min(wanted, len(spare) // 2)]
    missing = min(wanted, FEW_HELD_OUT) - len(chosen)
    if missing > 0:
        chosen = np.concatenate([chosen, order[~np.isin(order, chosen)][:missing]])
    held_out = np.zeros(len(pairs), dtype=bool)
    held_out[chosen] = True
    return pairs.take(~held_out), pairs.take(held_out)


def without(graph: Graph, excluded: Mapping[Key, Positions]) -> Graph:
    """The graph less some edges; relations that lose none stay memory-mapped."""
    relations = {
        key: _thinned(relation, excluded[key]) if len(excluded.get(key, ())) else relation
        for key, relation in graph.relations.items()
    }
    return Graph(graph.folder, graph.identity, graph.facts, relations)


def without_engagement_of(graph: Graph, items: Int64[np.ndarray, " items"]) -> Graph:
    """The graph in which these items were never engaged: their query-item and item-item edges are gone.

    Attribute edges stay, as they do for an item that was just listed. What a query knows of its categories was
    summed over all its items when the graph was built and stays as it is.
    """
    gone = np.zeros(graph.node_counts["item"], dtype=bool)
    gone[items] = True
    excluded: dict[Key, Positions] = {}
    for key in (ENGAGED, ENGAGED_BY, *_item_item(graph.relations)):
        relation = graph.relations[key]
        lost = np.zeros(relation.edges, dtype=bool)
        if key[0] == "item":
            lost |= gone[relation.indices]
        if key[2] == "item":
            lost |= gone[relation.targets]
        excluded[key] = np.flatnonzero(lost)
    return without(graph, excluded)


class TargetExclusions:
    """The edges that may carry no message while some pairs are predicted: the pairs, their reverses, what derives.

    Args:
        relations: of the graph that messages are passed on.
        cold_share: share of the pairs' items whose engagement is hidden altogether.
    """

    def __init__(self, relations: Mapping[Key, Relation], cold_share: float = 0.0) -> None:
        if not 0 <= cold_share <= 1:
            raise InputError(f"pretrain.cold_share must be between 0 and 1, found {cold_share}")
        self._cold_share = cold_share
        self._edges = {key: _edges(relation) for key, relation in relations.items()}
        self._item_item = _item_item(relations)
        self._by_source = {key: _by_source(*self._edges[key][:2]) for key in self._item_item}
        # (attribute → query, query → attribute, attribute → item), where a query has edges of its own to attributes.
        self._derived: list[tuple[Key, Key, Key]] = []
        for to_query in relations:
            if to_query[2] == "query" and to_query[0] not in ("item", "query"):
                back = [key for key in relations if (key[0], key[2]) == ("query", to_query[0])]
                to_item = [key for key in relations if (key[0], key[2]) == (to_query[0], "item")]
                if back and to_item:
                    self._derived.append((to_query, back[0], to_item[0]))

    def __call__(self, queries: Nodes, items: Nodes, stream: int = 0) -> dict[Key, Positions]:
        """Ascending, unique positions of the excluded edges of each relation that has any.

        Args:
            queries: of the pairs.
            items: of the pairs.
            stream: random stream that chooses the cold items.
        """
        return {key: np.sort(positions) for key, positions in self.barred(queries, items, stream).items()}

    def barred(self, queries: Nodes, items: Nodes, stream: int) -> dict[Key, Positions]:
        """The same in no order, and without the time that sorting takes."""
        of_item, of_query = self._edges[ENGAGED], self._edges[ENGAGED_BY]
        _bar_edges(of_item, items, queries)
        _bar_edges(of_query, queries, items)
        for key in self._item_item:
            _bar_company(self._edges[key], self._by_source[key], of_query, of_item, queries, items)
        for to_query, from_query, to_item in self._derived:
            _bar_lone_support(
                self._edges[to_query], self._edges[from_query], of_query, self._edges[to_item], queries, items
            )
        # Only now, since the above asks which edges are targets.
        every = np.unique(items)
        cold = every[np.random.default_rng(stream).random(len(every)) < self._cold_share]
        _bar_rows(of_item, of_query, cold)
        for key in self._item_item:
            _bar_rows(self._edges[key], self._edges[key], cold)
        return {key: positions for key, edges in self._edges.items() if len(positions := _taken(edges))}


Edges = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""A relation with room to bar edges: indptr, indices; which are barred, their positions, and [how many] these are."""
BySource = tuple[np.ndarray, np.ndarray, np.ndarray]
"""The edges of an item-item relation by their source: where each source's begin, their targets, their positions."""


def _edges(relation: Relation) -> Edges:
    # The pages of memory that is not written to are never claimed, so room for every edge costs nothing.
    return (
        np.asarray(relation.indptr),
        np.asarray(relation.indices),
        np.zeros(relation.edges, dtype=np.bool_),
        np.empty(relation.edges, dtype=np.int64),
        np.zeros(1, dtype=np.int64),
    )


def _taken(edges: Edges) -> Positions:
    """The barred positions; none is barred afterwards."""
    _, _, barred, positions, count = edges
    taken: Positions = positions[: count[0]].copy()
    barred[taken] = False
    count[0] = 0
    return taken


def _item_item(relations: Mapping[Key, Relation]) -> list[Key]:
    return [key for key in relations if key[0] == key[2] == "item"]


def _thinned(relation: Relation, excluded: Positions) -> Relation:
    remaining = np.ones(relation.edges, dtype=bool)
    remaining[excluded] = False
    lost = np.bincount(np.searchsorted(relation.indptr, excluded, side="right") - 1, minlength=len(relation.indptr) - 1)
    indptr = relation.indptr - np.concatenate([[0], np.cumsum(lost)])
    return Relation(
        *relation.key, indptr=indptr, indices=relation.indices[remaining], weight=relation.weight[remaining]
    )


@numba.njit(cache=True)
def _spare(queries: np.ndarray, items: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Pairs, in this order, that can all be taken away and leave every query and item with a pair."""
    of_query, of_item = np.zeros(queries.max() + 1, dtype=np.int64), np.zeros(items.max() + 1, dtype=np.int64)
    for pair in order:
        of_query[queries[pair]] += 1
        of_item[items[pair]] += 1
    spare = np.empty(len(order), dtype=np.int64)
    count = 0
    for pair in order:
        if of_query[queries[pair]] > 1 and of_item[items[pair]] > 1:
            of_query[queries[pair]] -= 1
            of_item[items[pair]] -= 1
            spare[count] = pair
            count += 1
    return spare[:count]


@numba.njit(nogil=True, cache=True)
def _find_one(indptr: np.ndarray, indices: np.ndarray, row: int, source: int) -> int:
    start, stop = indptr[row], indptr[row + 1]
    at = start + np.searchsorted(indices[start:stop], source)
    return at if at < stop and indices[at] == source else -1


@numba.njit(nogil=True, cache=True)
def _bar(edges: Edges, position: int) -> None:
    _, _, barred, positions, count = edges
    if position >= 0 and not barred[position]:
        barred[position] = True
        positions[count[0]] = position
        count[0] += 1


@numba.njit(nogil=True, cache=True)
def _bar_edges(edges: Edges, rows: np.ndarray, sources: np.ndarray) -> None:
    """The edge from each source to each row, where there is one."""
    for at in range(len(rows)):
        _bar(edges, _find_one(edges[0], edges[1], rows[at], sources[at]))


@numba.njit(nogil=True, cache=True)
def _bar_rows(edges: Edges, reverse: Edges, rows: np.ndarray) -> None:
    """Every edge to some rows, and its reverse."""
    for row in rows:
        for position in range(edges[0][row], edges[0][row + 1]):
            _bar(edges, position)
            _bar(reverse, _find_one(reverse[0], reverse[1], edges[1][position], row))


@numba.njit(nogil=True, cache=True)
def _bar_company(
    together: Edges, by_source: BySource, of_query: Edges, of_item: Edges, queries: np.ndarray, items: np.ndarray
) -> None:
    """For each pair (q, i) the edges between i and the other items of q that i met nowhere else.

    The target edges are barred in ``of_item`` already.
    """
    for at in range(len(queries)):
        item = items[at]
        # The items of q, the sources of edges to i and the targets of edges from i ascend: one walk finds all.
        place, end = together[0][item], together[0][item + 1]
        back, back_end = by_source[0][item], by_source[0][item + 1]
        for other in of_query[1][of_query[0][queries[at]] : of_query[0][queries[at] + 1]]:
            while place < end and together[1][place] < other:
                place += 1
            while back < back_end and by_source[1][back] < other:
                back += 1
            to_item = place if place < end and together[1][place] == other else -1
            to_other = by_source[2][back] if back < back_end and by_source[1][back] == other else -1
            unbarred = _open(together, to_item) or _open(together, to_other)
            if other != item and unbarred and not _met_elsewhere(of_item, item, other):
                _bar(together, to_item)
                _bar(together, to_other)


@numba.njit(nogil=True, cache=True)
def _by_source(indptr: np.ndarray, indices: np.ndarray) -> BySource:
    begins = np.zeros(len(indptr), dtype=np.int64)
    for source in indices:
        begins[source + 1] += 1
    begins = np.cumsum(begins)
    free = begins[:-1].copy()
    targets, positions = np.empty_like(indices), np.empty(len(indices), dtype=np.int64)
    for target in range(len(indptr) - 1):
        for position in range(indptr[target], indptr[target + 1]):
            place = free[indices[position]]
            free[indices[position]] += 1
            targets[place], positions[place] = target, position
    return begins, targets, positions


@numba.njit(nogil=True, cache=True)
def _open(edges: Edges, position: int) -> bool:
    return position >= 0 and not edges[2][position]


@numba.njit(nogil=True, cache=True)
def _met_elsewhere(of_item: Edges, item: int, other: int) -> bool:
    """Whether some query engaged both items by edges that are no targets."""
    indptr, queries, targets = of_item[0], of_item[1], of_item[2]
    left, right = indptr[item], indptr[other]
    while left < indptr[item + 1] and right < indptr[other + 1]:
        if queries[left] < queries[right]:
            left += 1
        elif queries[left] > queries[right]:
            right += 1
        else:
            if not targets[left] and not targets[right]:
                return True
            left += 1
            right += 1
    return False


@numba.njit(nogil=True, cache=True)
def _bar_lone_support(
    to_query: Edges, from_query: Edges, of_query: Edges, of_item: Edges, queries: np.ndarray, items: np.ndarray
) -> None:
    """Edges between queries and attribute values that only target items tie together.

    No other item of the query has the value. The target edges are barred in ``of_query`` already; ``of_item``: the
    values of each item.
    """
    for at in range(len(queries)):
        query, item = queries[at], items[at]
        for place in range(of_item[0][item], of_item[0][item + 1]):
            value = of_item[1][place]
            forward = _find_one(to_query[0], to_query[1], query, value)
            backward = _find_one(from_query[0], from_query[1], value, query)
            if (_open(to_query, forward) or _open(from_query, backward)) and not _supported(
                of_query, of_item, query, item, value
            ):
                _bar(to_query, forward)
                _bar(from_query, backward)


@numba.njit(nogil=True, cache=True)
def _supported(of_query: Edges, of_item: Edges, query: int, item: int, value: int) -> bool:
    """Whether an edge of the query that is no target leads to another item of this value."""
    for position in range(of_query[0][query], of_query[0][query + 1]):
        other = of_query[1][position]
        if other != item and not of_query[2][position] and _find_one(of_item[0], of_item[1], other, value) >= 0:
            return True
    return False
