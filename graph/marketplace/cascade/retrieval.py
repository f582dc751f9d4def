"""The engine's first stage: recall by text match, attention and freshness."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float32, Int32, Int64
from numba import njit

from graph.marketplace.world.catalogue import DAY_MS, Catalogue
from graph.marketplace.world.demand import HiddenIntents, Requests
from graph.marketplace.world.noise import counter_key, uniform
from graph.marketplace.world.observed import Candidates
from graph.marketplace.world.shoppers import Queries
from graph.marketplace.world.state import HiddenState

FRESH_DAYS = 7
OVERLAP_WEIGHT = 2.0
"""Of the share of the query's words that the title has, in recall and in the pre-ranker."""


class Recall:
    """Text match, attention and freshness with noise, within the wanted category, and some items from anywhere."""

    def __init__(self, state: HiddenState) -> None:
        self._state = state
        self._key = counter_key(state.seed, "recall")
        # What an item is, not what it is shown as: the category of a request is also what is wanted, not what is typed.
        leaf, leaves = state.items.leaf, len(state.seen.shelves.categories)
        # Within a leaf, items stay in order of listing: those on sale are the first of each pool.
        self._pool = np.argsort(leaf, kind="stable").astype(np.int32)
        self._starts = np.searchsorted(leaf[self._pool], np.arange(leaves + 1))

    def __call__(self, requests: Requests, intents: HiddenIntents) -> Candidates:
        """Recall up to M items for each request; only items listed by then."""
        world, seen = self._state.world, self._state.seen
        items = np.full((len(requests), world.recalled), -1, dtype=np.int32)
        overlap = np.zeros(items.shape)
        _recall(
            self._key, requests.request_id, seen.catalogue.on_sale(requests.timestamp),
            requests.timestamp - FRESH_DAYS * DAY_MS, intents.leaf,
            seen.queries.words[requests.query], seen.queries.word_count[requests.query],
            self._starts, self._pool, self._state.items.leaf, seen.catalogue.listed_at, seen.catalogue.title_words,
            self._state.items.attention, world.fresh_boost, round(world.recall_noise * world.recalled), items, overlap,
        )  # fmt: skip
        return Candidates(items, overlap)


def text_match(
    queries: Queries, catalogue: Catalogue, query: Int64[np.ndarray, " n"], items: Int32[np.ndarray, " n"]
) -> Float32[np.ndarray, " n"]:
    """Share of the query's words that the item's title has, pair by pair; a mistyped word matches nothing."""
    out = np.empty(len(items), np.float32)
    _match(queries.words[query], catalogue.title_words[items], queries.word_count[query], out)
    return out


@njit(cache=True)
def _match(words: Any, titles: Any, word_count: Any, out: Any) -> None:
    for row in range(len(out)):
        out[row] = _overlap(words[row], titles[row], word_count[row])


@njit(cache=True)
def _overlap(words: Any, title: Any, word_count: Any) -> Any:
    matches = 0
    for word in words:
        if word >= 0:
            for other in title:
                if other == word:
                    matches += 1
                    break
    return matches / max(word_count, 1)


@njit(cache=True)
def _recall(
    key: Any, numbers: Any, on_sale: Any, fresh_since: Any, leaf: Any, words: Any, word_count: Any,
    starts: Any, pool: Any, item_leaf: Any, listed_at: Any, title_words: Any,
    attention: Any, fresh_boost: Any, stray: Any, items: Any, overlap: Any,
) -> None:  # fmt: skip
    """Fill ``items`` and ``overlap``: the best of the leaf by weight + Gumbel noise, then strays from anywhere."""
    wanted = items.shape[1] - stray
    for row in range(items.shape[0]):
        first = starts[leaf[row]]
        last = first + np.searchsorted(pool[first : starts[leaf[row] + 1]], on_sale[row])
        weights = np.empty(last - first)
        matches = np.empty(last - first)
        for place in range(first, last):
            item = pool[place]
            match = _overlap(words[row], title_words[item], word_count[row])
            gumbel = -np.log(-np.log(uniform(key, numbers[row], item)))
            fresh = fresh_boost if listed_at[item] > fresh_since[row] else 0.0
            matches[place - first] = match
            weights[place - first] = attention[item] + OVERLAP_WEIGHT * match + fresh + gumbel
        bar = -np.inf
        if len(weights) > wanted:
            bar = np.partition(weights, len(weights) - wanted)[len(weights) - wanted]
        filled = 0
        for at in range(len(weights)):
            if weights[at] >= bar and filled < wanted:
                items[row, filled] = pool[first + at]
                overlap[row, filled] = matches[at]
                filled += 1
        enough = filled + stray
        for attempt in range(20 * stray):
            item = np.int32(uniform(~key, numbers[row], attempt) * on_sale[row])
            if filled == enough or item_leaf[item] == leaf[row] or np.any(items[row, :filled] == item):
                continue
            items[row, filled] = item
            overlap[row, filled] = _overlap(words[row], title_words[item], word_count[row])
            filled += 1
