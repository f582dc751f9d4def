"""What the learned ranking model counts of the past: clicks up to yesterday, and all of the running session."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, Int32, Int64

from graph.marketplace.ranker.subjects import SUBJECTS, Subjects
from graph.marketplace.world.observed import Observed
from graph.marketplace.world.state import Seen

CELLS = 1 << 22
"""Most cells of a table by user and brand (or leaf); where there are more pairs than cells, they share."""
PROFILE_CELLS = CELLS // SUBJECTS
PRIOR_IMPRESSIONS, PRIOR_CLICKS = 20.0, 10.0
"""Weights of the average in smoothed click and order rates."""
PRIOR_PRICES = 2.0
"""Weight of the average in the mean price that a user clicks."""
QUERY_EVIDENCE, CLICK_EVIDENCE = 2.0, 0.3
"""What a query that names a subject, and a click, say of the subject that a user wants in that leaf on another day."""
TELLING = 0.2
"""A query names a subject when it makes one more probable by this much."""

Cells = Int[np.ndarray, "*shape"]


class RateTable:
    """Impressions, clicks and orders of each of some things."""

    def __init__(self, size: int) -> None:
        self.shown, self.clicks, self.orders = np.zeros((3, size))

    def add(self, shown: np.ndarray, clicked: np.ndarray, ordered: np.ndarray) -> None:
        """Take in the numbers of what was shown, clicked and ordered."""
        for table, numbers in ((self.shown, shown), (self.clicks, clicked), (self.orders, ordered)):
            table += np.bincount(numbers, minlength=len(table))

    def click_rates(self) -> Float32[np.ndarray, " size"]:
        """Log of the smoothed clicks per impression over the average."""
        rate = (self.clicks.sum() + 1.0) / (self.shown.sum() + PRIOR_IMPRESSIONS)
        smoothed = (self.clicks + PRIOR_IMPRESSIONS * rate) / (self.shown + PRIOR_IMPRESSIONS)
        rates: Float32[np.ndarray, " size"] = np.log(smoothed / rate).astype(np.float32)
        return rates

    def order_rates(self) -> Float32[np.ndarray, " size"]:
        """Log of the smoothed orders per click over the average."""
        rate = (self.orders.sum() + 1.0) / (self.clicks.sum() + PRIOR_CLICKS)
        smoothed = (self.orders + PRIOR_CLICKS * rate) / (self.clicks + PRIOR_CLICKS)
        rates: Float32[np.ndarray, " size"] = np.log(smoothed / rate).astype(np.float32)
        return rates


class _Wave(NamedTuple):
    """A wave's exposed rows, waiting for the end of the day."""

    user: Int64[np.ndarray, " n"]
    item: Int32[np.ndarray, " n"]
    clicked: Bool[np.ndarray, " n"]
    ordered: Bool[np.ndarray, " n"]
    price: Float64[np.ndarray, " n"]


class Counters:
    """Counts up to yesterday: a day is taken in when it ends, so that nothing of a day tells of that day.

    Attributes:
        item, brand, shop, user: rates.
        user_brand: rates by :meth:`brand_cell`.
        user_leaf: clicks by :meth:`leaf_cell`.
        price_in_leaf: log of each item's listed price over its leaf's mean.
        usual_price: mean log price, over the leaf's, that a user clicks; shrunk to 0.
    """

    def __init__(self, seen: Seen, subjects: Subjects) -> None:
        catalogue, shelves = seen.catalogue, seen.shelves
        self._catalogue, self._subjects = catalogue, subjects
        self._brands, self._leaves, users = len(shelves.brands), len(shelves.categories), len(seen.users.user_id)
        self.item, self.brand = RateTable(len(catalogue.item_id)), RateTable(self._brands)
        self.shop, self.user = RateTable(len(shelves.shops)), RateTable(users)
        self.user_brand = RateTable(min(users * self._brands, CELLS))
        self.user_leaf = np.zeros(min(users * self._leaves, CELLS))
        self._profile = np.zeros((min(users * self._leaves, PROFILE_CELLS), SUBJECTS))
        log_price = np.log(catalogue.price)
        there = np.maximum(np.bincount(catalogue.leaf, minlength=self._leaves), 1)
        self.leaf_price = np.bincount(catalogue.leaf, log_price, self._leaves) / there
        self._clicked_prices = np.zeros(users)
        self.usual_price = np.zeros(users)
        self._waves: list[_Wave] = []
        self._asked: list[tuple[np.ndarray, np.ndarray]] = []

    def brand_cell(self, user: Cells, brand: Cells) -> Cells:
        return _cell(user, brand, self._brands, len(self.user_brand.shown))

    def leaf_cell(self, user: Cells, leaf: Cells) -> Cells:
        return _cell(user, leaf, self._leaves, len(self.user_leaf))

    def profile(
        self, user: Int64[np.ndarray, " r"], leaf: Int32[np.ndarray, " r"]
    ) -> Float64[np.ndarray, "r subjects"]:
        """Evidence of what each user wants in a leaf: typed queries and clicks of earlier days."""
        rows: Float64[np.ndarray, "r subjects"] = self._profile[self._profile_cell(user, leaf)]
        return rows

    def _profile_cell(self, user: Cells, leaf: Cells) -> Cells:
        return _cell(user, leaf, self._leaves, len(self._profile))

    def observe(
        self,
        observed: Observed,
        exposed: Bool[np.ndarray, "r l"],
        clicked: Bool[np.ndarray, "r l"],
        ordered: Bool[np.ndarray, "r l"],
    ) -> None:
        """Keep a wave for the end of its day."""
        row, column = np.nonzero(exposed)
        item, user = observed.candidates.items[row, column], observed.requests.user
        price = np.log(observed.prices[item].astype(np.float64)) - self.leaf_price[self._catalogue.leaf[item]]
        self._waves.append(_Wave(user[row], item, clicked[row, column], ordered[row, column], price))
        self._asked.append((user, observed.requests.query))

    def end_day(self) -> None:
        """Count the day's waves."""
        if not self._waves:
            return
        user, item, clicked, ordered, price = (np.concatenate(column) for column in zip(*self._waves, strict=True))
        catalogue = self._catalogue
        counted = (
            (self.item, item),
            (self.brand, catalogue.brand[item]),
            (self.shop, catalogue.shop[item]),
            (self.user, user),
            (self.user_brand, self.brand_cell(user, catalogue.brand[item])),
        )
        for table, cells in counted:
            table.add(cells, cells[clicked], cells[ordered])
        user, item, price = user[clicked], item[clicked], price[clicked]
        leaf = catalogue.leaf[item]
        self.user_leaf += np.bincount(self.leaf_cell(user, leaf), minlength=len(self.user_leaf))
        self._clicked_prices += np.bincount(user, price, len(self._clicked_prices))
        self.usual_price = self._clicked_prices / (self.user.clicks + PRIOR_PRICES)
        np.add.at(self._profile, self._profile_cell(user, leaf), CLICK_EVIDENCE * self._subjects.items[item])
        self._count_queries()
        self._waves, self._asked = [], []

    def _count_queries(self) -> None:
        user, query = (np.concatenate(column) for column in zip(*self._asked, strict=True))
        leaf, about = self._subjects.query_leaf[query], self._subjects.queries[query]
        telling = (about - self._subjects.prior[leaf]).max(axis=1) > TELLING
        cells = self._profile_cell(user[telling], leaf[telling])
        np.add.at(self._profile, cells, QUERY_EVIDENCE * about[telling])


class Sessions:
    """What every user's running session told so far about the subject wanted in its category; known at once."""

    def __init__(self, users: int, subjects: Subjects) -> None:
        self._subjects = subjects
        self._session = np.full(users, -1, dtype=np.int64)
        self._leaf = np.full(users, -1, dtype=np.int32)
        self._evidence = np.zeros((users, SUBJECTS))

    def evidence(self, observed: Observed) -> Float64[np.ndarray, "r subjects"]:
        """Sums over the queries typed and the items clicked before in the session; zeros once the category changed."""
        requests = observed.requests
        goes_on = (self._session[requests.user] == requests.session_id) & (
            self._leaf[requests.user] == self._subjects.query_leaf[requests.query]
        )
        evidence: Float64[np.ndarray, "r subjects"] = self._evidence[requests.user] * goes_on[:, None]
        return evidence

    def observe(self, observed: Observed, clicked: Bool[np.ndarray, "r l"]) -> None:
        """Take in a wave, which has one request of a user at most."""
        requests, items = observed.requests, observed.candidates.items
        leaf = self._subjects.query_leaf[requests.query]
        evidence = self.evidence(observed) + self._subjects.queries[requests.query]
        row, column = np.nonzero(clicked & (observed.seen.catalogue.leaf[items] == leaf[:, None]))
        np.add.at(evidence, row, self._subjects.items[items[row, column]])
        self._evidence[requests.user] = evidence
        self._session[requests.user], self._leaf[requests.user] = requests.session_id, leaf


def _cell(first: Cells, second: Cells, seconds: int, cells: int) -> Cells:
    cell: Cells = (first * seconds + second) % cells
    return cell
