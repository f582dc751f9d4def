"""What the learned ranking model sees of a candidate: ids, clicks up to yesterday, and how the two sides match."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64

from graph.marketplace.ranker.counters import Counters, Sessions
from graph.marketplace.ranker.subjects import subjects
from graph.marketplace.world.catalogue import DAY_MS
from graph.marketplace.world.observed import Observed
from graph.marketplace.world.state import Seen

SESSION_EVIDENCE = 4.0
"""How much more a query or click of the running session says of what is wanted now than one of another day."""
PRIOR_EVIDENCE = 2.0
"""Weight of the leaf's own subjects in what a user wants."""
PRIOR_BRAND = 5.0
"""Impressions at the user's average that are added to a user's click rate on a brand."""

TEXT = (
    "text_match", "query_leaf", "query_subject", "query_told", "intent", "intent_told",
    "session_subject", "session_told", "named_brand", "other_brand_named",
)  # fmt: skip
ITEM = (
    "item_clicks", "item_impressions", "item_orders", "brand_clicks", "brand_orders", "shop_clicks", "shop_orders",
    "price", "price_in_leaf", "price_for_user", "price_distance", "age",
)  # fmt: skip
USER = (
    "turn", "user_clicks", "user_click_rate", "user_brand_clicks", "user_brand_rate", "user_leaf_clicks",
    "in_history", "history_length", "history_brand", "history_leaf", "history_subject",
)  # fmt: skip
NUMBERS = (*TEXT, *ITEM, *USER)
Pairs = Float64[np.ndarray, "r m"]


@dataclass(frozen=True)
class Features:
    """Some requests' candidates as the model takes them."""

    user: Int64[np.ndarray, " r"]
    query: Int64[np.ndarray, " r"]
    history: Int32[np.ndarray, "r h"]
    """Items; -1 pads, here and in ``items``."""
    items: Int32[np.ndarray, "r m"]
    numbers: Float32[np.ndarray, "r m numbers"]
    """``NUMBERS``, not standardised; those of padding mean nothing."""


class RankerFeatures:
    """Turns candidates into ``Features`` by what was observed before them."""

    def __init__(self, seen: Seen, seed: int) -> None:
        self._subjects = subjects(seen, seed)
        self._counters = Counters(seen, self._subjects)
        self._sessions = Sessions(len(seen.users.user_id), self._subjects)
        brand_of = np.full(len(seen.shelves.vocabulary.words) + 1, -1)
        brand_of[seen.shelves.vocabulary.brand_word] = np.arange(len(seen.shelves.brands))
        self._named_brand = brand_of[seen.queries.words].max(axis=1)
        self._refresh()

    def observe(
        self,
        observed: Observed,
        exposed: Bool[np.ndarray, "r l"],
        clicked: Bool[np.ndarray, "r l"],
        ordered: Bool[np.ndarray, "r l"],
    ) -> None:
        """Take in a wave as shown: in the session at once, in the counters when the day ends."""
        self._sessions.observe(observed, clicked)
        self._counters.observe(observed, exposed, clicked, ordered)

    def end_day(self) -> None:
        self._counters.end_day()
        self._refresh()

    def _refresh(self) -> None:
        """What depends on the counters alone is made once a day, one column of a table each."""
        counters = self._counters
        of_item = (counters.item.click_rates(), np.log1p(counters.item.shown), counters.item.order_rates())
        self._of_item = np.stack(of_item, axis=1).astype(np.float32)
        self._of_brand = np.stack([counters.brand.click_rates(), counters.brand.order_rates()], axis=1)
        self._of_shop = np.stack([counters.shop.click_rates(), counters.shop.order_rates()], axis=1)
        self._of_user = np.stack([np.log1p(counters.user.clicks), counters.user.click_rates()], axis=1)

    def __call__(self, observed: Observed) -> Features:
        """Features of each candidate."""
        requests, items = observed.requests, observed.candidates.items
        numbers = np.empty((*items.shape, len(NUMBERS)), np.float32)
        columns = (*self._text(observed), *self._item(observed), *self._user(observed))
        for place, column in enumerate(columns):
            numbers[:, :, place] = column
        return Features(requests.user, requests.query, observed.history, items, numbers)

    def _text(self, observed: Observed) -> Iterable[np.ndarray]:
        """How well a candidate answers what the user typed, and what the user is likely to mean by it."""
        catalogue, requests, items = observed.seen.catalogue, observed.requests, observed.candidates.items
        wanted_leaf = self._subjects.query_leaf[requests.query]
        in_leaf = catalogue.leaf[items] == wanted_leaf[:, None]
        prior, query_evidence = self._subjects.prior[wanted_leaf], self._subjects.queries[requests.query]
        session = self._sessions.evidence(observed)
        wish = PRIOR_EVIDENCE * prior + SESSION_EVIDENCE * session + self._counters.profile(requests.user, wanted_leaf)
        intent = wish * query_evidence / prior
        intent /= intent.sum(axis=1, keepdims=True)
        session_told = session.sum(axis=1, keepdims=True)
        about = self._subjects.items[items]
        brand, named = catalogue.brand[items], self._named_brand[requests.query][:, None]
        return (
            observed.candidates.overlap,
            in_leaf,
            in_leaf * _products(about, query_evidence),
            (query_evidence - prior).max(axis=1, keepdims=True),
            in_leaf * _products(about, intent),
            intent.max(axis=1, keepdims=True),
            in_leaf * _products(about, session / (1.0 + session_told)),
            np.log1p(session_told),
            (named >= 0) & (named == brand),
            (named >= 0) & (named != brand),
        )

    def _item(self, observed: Observed) -> Iterable[np.ndarray]:
        """How the item, its brand and its shop did, what it costs and how old it is."""
        catalogue, requests, items = observed.seen.catalogue, observed.requests, observed.candidates.items
        price = np.log(observed.prices[items])
        in_leaf = price - self._counters.leaf_price[catalogue.leaf[items]]
        for_user = in_leaf - self._counters.usual_price[requests.user][:, None]
        age = np.maximum(requests.timestamp[:, None] - catalogue.listed_at[items], 0) / DAY_MS
        return (
            *np.moveaxis(self._of_item[items], 2, 0),
            *np.moveaxis(self._of_brand[catalogue.brand[items]], 2, 0),
            *np.moveaxis(self._of_shop[catalogue.shop[items]], 2, 0),
            price,
            in_leaf,
            for_user,
            np.abs(for_user),
            np.log1p(age),
        )

    def _user(self, observed: Observed) -> Iterable[np.ndarray]:
        """What the user clicked up to yesterday, in total and of this brand and leaf, and the last items clicked."""
        catalogue, requests, items = observed.seen.catalogue, observed.requests, observed.candidates.items
        counters, user, had = self._counters, requests.user[:, None], observed.history
        brand, leaf = catalogue.brand[items], catalogue.leaf[items]
        cell = counters.brand_cell(user, brand)
        shown, clicks = counters.user_brand.shown[cell], counters.user_brand.clicks[cell]
        usual = (counters.user.clicks[user] + 1.0) / (counters.user.shown[user] + 10.0)
        there = (had >= 0)[:, None, :]
        same_leaf = (catalogue.leaf[had][:, None, :] == leaf[:, :, None]) & there
        same_brand = (catalogue.brand[had][:, None, :] == brand[:, :, None]) & there
        alike = np.einsum("rms,rhs->rmh", self._subjects.items[items], self._subjects.items[had])
        return (
            requests.turn[:, None],
            *self._of_user[requests.user].T[:, :, None],
            np.log1p(clicks),
            np.log((clicks + PRIOR_BRAND * usual) / (shown + PRIOR_BRAND) / usual),
            np.log1p(counters.user_leaf[counters.leaf_cell(user, leaf)]),
            (had[:, None, :] == items[:, :, None]).any(axis=2),
            np.log1p(there.sum(axis=2)),
            np.log1p(same_brand.sum(axis=2)),
            np.log1p(same_leaf.sum(axis=2)),
            np.where(same_leaf, alike, 0.0).sum(axis=2),
        )


def _products(about: Float32[np.ndarray, "r m s"], wanted: Float64[np.ndarray, "r s"]) -> Pairs:
    """Probability that item and request are about the same. No matrix product: its sums depend on the threads."""
    products: Pairs = np.einsum("rms,rs->rm", about, wanted)
    return products
