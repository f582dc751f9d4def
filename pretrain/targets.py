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

from collections.abc import Iterable, Mapping

import numba
import numpy as np
import numpy.typing as npt
from jaxtyping import Int64

from configs.errors import InputError
from graph.store import Graph, Key, Relation
from pretrain.sampling import Nodes, Pairs, Positions
from pretrain.sparse import gather_rows

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


def split_pairs(pairs: Pairs, share: float, seed: int) -> tuple[Pairs, Pairs]:
    """Training and held-out pairs, drawn with the seed.

    Pairs whose query and item both keep another training pair come first. An item that lost its only edge can be told
    from every other candidate by its empty neighbourhood: on logs where most items are engaged once, that alone
    doubled the MRR. Half of the pairs that can be spared are taken at most; only where these are fewer than
    ``FEW_HELD_OUT`` others fill up, since a handful of pairs cannot stop training.

    Args:
        pairs: unique, at least 2.
        share: of all pairs to hold out, in (0, 1); ``LARGEST_HELD_OUT`` at most.

    Raises:
        InputError: if a share outside (0, 1) is asked for, or there are too few pairs to split.
    """
    if not 0 < share < 1:
        raise InputError(f"pretrain.validation_share must be between 0 and 1, found {share}")
    if len(pairs) < 2:
        raise InputError(f"the graph has {len(pairs)} engaged query-item pairs; at least 2 are needed to train psi")
    order = np.random.default_rng(seed).permutation(len(pairs))
    wanted = min(max(1, round(share * len(pairs))), LARGEST_HELD_OUT, len(pairs) - 1)
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
        self._arrays = {key: (np.asarray(r.indptr), np.asarray(r.indices)) for key, r in relations.items()}
        self._item_item = _item_item(relations)
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
        forward = _find(*self._arrays[ENGAGED], items, queries)
        backward = _find(*self._arrays[ENGAGED_BY], queries, items)
        excluded: dict[Key, list[Positions]] = {ENGAGED: [forward], ENGAGED_BY: [backward]}
        targets = _ascending([backward])
        for key in self._item_item:
            left, right = _only_company(
                *self._arrays[ENGAGED_BY], *self._arrays[ENGAGED], queries, items, _ascending([forward])
            )
            excluded[key] = [_find(*self._arrays[key], left, right), _find(*self._arrays[key], right, left)]
        for to_query, from_query, to_item in self._derived:
            lone_queries, values = _only_support(
                *self._arrays[ENGAGED_BY], *self._arrays[to_item], queries, items, targets
            )
            excluded[to_query] = [_find(*self._arrays[to_query], lone_queries, values)]
            excluded[from_query] = [_find(*self._arrays[from_query], values, lone_queries)]
        every = np.unique(items)
        cold = every[np.random.default_rng(stream).random(len(every)) < self._cold_share]
        rows, sources = _row_members(*self._arrays[ENGAGED], cold)
        excluded[ENGAGED].append(_find(*self._arrays[ENGAGED], rows, sources))
        excluded[ENGAGED_BY].append(_find(*self._arrays[ENGAGED_BY], sources, rows))
        for key in self._item_item:
            rows, sources = _row_members(*self._arrays[key], cold)
            excluded[key] += [_find(*self._arrays[key], rows, sources), _find(*self._arrays[key], sources, rows)]
        return {key: _ascending(positions) for key, positions in excluded.items()}


def _row_members(indptr: npt.NDArray[np.int64], indices: npt.NDArray[np.int64], rows: Nodes) -> tuple[Nodes, Nodes]:
    """Some rows' numbers and members, edge by edge."""
    ends, members = gather_rows(indptr, indices, rows)
    return np.repeat(rows, np.diff(ends)), members


def _item_item(relations: Mapping[Key, Relation]) -> list[Key]:
    return [key for key in relations if key[0] == key[2] == "item"]


def _ascending(positions: Iterable[Positions]) -> Positions:
    joined = np.unique(np.concatenate(list(positions)))
    return joined[joined >= 0]


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


@numba.njit(cache=True)
def _find_one(indptr: np.ndarray, indices: np.ndarray, row: int, source: int) -> int:
    start, stop = indptr[row], indptr[row + 1]
    at = start + np.searchsorted(indices[start:stop], source)
    return at if at < stop and indices[at] == source else -1


@numba.njit(cache=True)
def _find(indptr: np.ndarray, indices: np.ndarray, rows: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """The position of the edge from each source to each row; -1 where there is none."""
    positions = np.empty(len(rows), dtype=np.int64)
    for at in range(len(rows)):
        positions[at] = _find_one(indptr, indices, rows[at], sources[at])
    return positions


@numba.njit(cache=True)
def _holds(ascending: np.ndarray, value: int) -> bool:
    at = np.searchsorted(ascending, value)
    return bool(at < len(ascending) and ascending[at] == value)


@numba.njit(cache=True)
def _met_elsewhere(
    item_indptr: np.ndarray, item_queries: np.ndarray, targets: np.ndarray, item: int, other: int
) -> bool:
    """Whether some query engaged both items by edges that are no targets."""
    left, right = item_indptr[item], item_indptr[other]
    while left < item_indptr[item + 1] and right < item_indptr[other + 1]:
        if item_queries[left] < item_queries[right]:
            left += 1
        elif item_queries[left] > item_queries[right]:
            right += 1
        else:
            if not _holds(targets, left) and not _holds(targets, right):
                return True
            left += 1
            right += 1
    return False


@numba.njit(cache=True)
def _only_company(
    query_indptr: np.ndarray,
    query_items: np.ndarray,
    item_indptr: np.ndarray,
    item_queries: np.ndarray,
    queries: np.ndarray,
    items: np.ndarray,
    targets: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """For each pair (q, i) the other items j of q that i met nowhere else: i, j.

    ``targets``: ascending positions of the target edges among the items' queries.
    """
    total = 0
    for at in range(len(queries)):
        total += query_indptr[queries[at] + 1] - query_indptr[queries[at]]
    left, right = np.empty(total, dtype=np.int64), np.empty(total, dtype=np.int64)
    filled = 0
    for at in range(len(queries)):
        for position in range(query_indptr[queries[at]], query_indptr[queries[at] + 1]):
            other = query_items[position]
            if other != items[at] and not _met_elsewhere(item_indptr, item_queries, targets, items[at], other):
                left[filled], right[filled] = items[at], other
                filled += 1
    return left[:filled], right[:filled]


@numba.njit(cache=True)
def _only_support(
    query_indptr: np.ndarray,
    query_items: np.ndarray,
    item_indptr: np.ndarray,
    item_values: np.ndarray,
    queries: np.ndarray,
    items: np.ndarray,
    targets: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Queries and attribute values that only target items tie together: no other item of the query has the value.

    ``targets``: ascending positions of the target edges among the queries' items.
    """
    total = 0
    for item in items:
        total += item_indptr[item + 1] - item_indptr[item]
    lone_queries, lone_values = np.empty(total, dtype=np.int64), np.empty(total, dtype=np.int64)
    filled = 0
    for at in range(len(queries)):
        query, item = queries[at], items[at]
        for place in range(item_indptr[item], item_indptr[item + 1]):
            supported = False
            for position in range(query_indptr[query], query_indptr[query + 1]):
                other = query_items[position]
                if other == item or _find_one(item_indptr, item_values, other, item_values[place]) < 0:
                    continue
                if not _holds(targets, position):
                    supported = True
                    break
            if not supported:
                lone_queries[filled], lone_values[filled] = query, item_values[place]
                filled += 1
    return lone_queries[:filled], lone_values[:filled]
