"""Who searches for what on a day: sessions of a few requests, and what is wanted by each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int, Int32, Int64

from graph.marketplace.world.catalogue import DAY_MS, HiddenMarket, first_moment
from graph.marketplace.world.noise import stream
from graph.marketplace.world.shoppers import NO_TOPIC, HiddenQueries
from graph.marketplace.world.state import HiddenState

HOURS = np.array([2, 1, 1, 1, 1, 2, 3, 5, 6, 7, 8, 8, 9, 8, 8, 8, 8, 9, 10, 12, 13, 12, 8, 2], dtype=np.float64)
"""Relative traffic by hour of the day; sessions start by 23:30 at the latest, so that none crosses midnight."""
LONGEST_SESSION = 10
SAME_TOPIC, SAME_LEAF = 0.55, 0.25
"""How a session goes on: another query for the same topic, or the same category; else a new category."""
OWN_TOPIC = 0.6
"""How often a query that names only a category means the user's own topic in it."""


@dataclass(frozen=True)
class Requests:
    """The searches of a day in order of time; ``turn`` counts a session's requests from 0."""

    request_id: Int64[np.ndarray, " r"]
    session_id: Int64[np.ndarray, " r"]
    timestamp: Int64[np.ndarray, " r"]
    user: Int64[np.ndarray, " r"]
    query: Int64[np.ndarray, " r"]
    turn: Int64[np.ndarray, " r"]

    def __len__(self) -> int:
        return len(self.request_id)

    def take(self, rows: Int64[np.ndarray, " n"]) -> Requests:
        return Requests(**{name: values[rows] for name, values in vars(self).items()})


@dataclass(frozen=True)
class HiddenIntents:
    """What is meant by each request: the topic wanted, and its leaf category."""

    topic: Int32[np.ndarray, " r"]
    leaf: Int32[np.ndarray, " r"]

    def take(self, rows: Int64[np.ndarray, " n"]) -> HiddenIntents:
        return HiddenIntents(topic=self.topic[rows], leaf=self.leaf[rows])


class QueryPicker:
    """Draws queries of a leaf or topic by their traffic; queries are sorted by leaf, then topic."""

    def __init__(self, hidden: HiddenQueries, market: HiddenMarket) -> None:
        leaves = np.arange(market.topic_share.shape[0])
        topics = np.arange(len(market.topic_leaf))
        # Broad queries (topic -1) come first in their leaf; their key lies before that of the leaf's first topic.
        keys = np.where(hidden.topic == NO_TOPIC, hidden.leaf * market.topic_share.shape[1] - 0.5, hidden.topic)
        self._cumulative = np.concatenate([[0.0], np.cumsum(hidden.traffic)])
        self._of_leaf = np.searchsorted(hidden.leaf, leaves), np.searchsorted(hidden.leaf, leaves, "right")
        self._of_topic = np.searchsorted(keys, topics), np.searchsorted(keys, topics, "right")

    def of_leaf(self, leaf: Int[np.ndarray, " n"], draws: Float64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        """A query of each leaf; any query where a leaf has none."""
        return self._pick(self._of_leaf[0][leaf], self._of_leaf[1][leaf], draws)

    def of_topic(
        self, topic: Int[np.ndarray, " n"], leaf: Int[np.ndarray, " n"], draws: Float64[np.ndarray, " n"]
    ) -> Int64[np.ndarray, " n"]:
        """A specific query of each topic; one of the leaf where the topic has none."""
        start, end = self._of_topic[0][topic], self._of_topic[1][topic]
        some = end > start
        return self._pick(
            np.where(some, start, self._of_leaf[0][leaf]), np.where(some, end, self._of_leaf[1][leaf]), draws
        )

    def _pick(
        self, start: Int64[np.ndarray, " n"], end: Int64[np.ndarray, " n"], draws: Float64[np.ndarray, " n"]
    ) -> Int64[np.ndarray, " n"]:
        empty = end <= start
        start, end = np.where(empty, 0, start), np.where(empty, len(self._cumulative) - 1, end)
        low, high = self._cumulative[start], self._cumulative[end]
        position = np.searchsorted(self._cumulative, low + draws * (high - low), "right") - 1
        query: Int64[np.ndarray, " n"] = np.clip(position, start, end - 1)
        return query


def requests_of(state: HiddenState, picker: QueryPicker, day: int) -> tuple[Requests, HiddenIntents]:
    """Draw a day's requests. Days before 0 are never logged: the world is calibrated on them."""
    world, users = state.world, state.users
    random = stream(state.seed, "demand", day)
    sessions = max(1, round(world.requests_per_day / world.session_requests))
    keys = np.log(users.activity) + random.gumbel(size=world.users)
    user = np.sort(np.argsort(-keys, kind="stable")[:sessions])
    sessions = len(user)
    lengths = np.minimum(random.geometric(1.0 / world.session_requests, size=sessions), LONGEST_SESSION)
    hours = np.minimum(random.choice(24, size=sessions, p=HOURS / HOURS.sum()) + random.random(sessions), 23.5)
    moment = first_moment(world) + day * DAY_MS + (hours * 3_600_000).astype(np.int64)

    interest = np.cumsum(users.interest, axis=1)
    leaf = _drawn_leaf(interest[user], random)
    topic = np.full(sessions, NO_TOPIC, dtype=np.int64)
    parts: list[tuple[np.ndarray, ...]] = []
    for turn in range(int(lengths.max())):
        query, leaf, topic = _next_query(
            turn, leaf, topic, interest[user], users.own_topic[user], random, picker, state.queries
        )
        alive = lengths > turn
        parts.append(tuple(a[alive] for a in (moment, user, query, np.full(sessions, turn), topic, leaf)))
        moment = moment + random.integers(15_000, 150_000, size=sessions)
    moments, of_user, query, turns, topics, leaves = (np.concatenate(column) for column in zip(*parts, strict=True))

    order = np.lexsort((of_user, moments))
    session = np.searchsorted(user, of_user[order]) + (day + 1) * 1_000_000
    requests = Requests(
        request_id=(day + 1) * 10_000_000 + np.arange(len(order)),
        session_id=session,
        timestamp=moments[order],
        user=of_user[order],
        query=query[order],
        turn=turns[order],
    )
    return requests, HiddenIntents(topic=topics[order].astype(np.int32), leaf=leaves[order].astype(np.int32))


def _next_query(
    turn: int,
    leaf: Int64[np.ndarray, " s"],
    topic: Int64[np.ndarray, " s"],
    interest: Float64[np.ndarray, "s leaves"],
    own_topic: Int32[np.ndarray, "s leaves"],
    random: np.random.Generator,
    picker: QueryPicker,
    queries: HiddenQueries,
) -> tuple[Int64[np.ndarray, " s"], Int64[np.ndarray, " s"], Int64[np.ndarray, " s"]]:
    """Every session's next query, with the leaf and the topic that it is after."""
    sessions = len(leaf)
    change = random.random(sessions)
    same_topic = (change < SAME_TOPIC) & (turn > 0)
    leaf = np.where((change > SAME_TOPIC + SAME_LEAF) & (turn > 0), _drawn_leaf(interest, random), leaf)
    draws = random.random(sessions)
    query = np.where(same_topic, picker.of_topic(topic, leaf, draws), picker.of_leaf(leaf, draws))
    leaf = queries.leaf[query].astype(np.int64)
    per_leaf = own_topic.max(initial=0) + 1
    own = own_topic[np.arange(sessions), leaf]
    meant = leaf * per_leaf + np.where(
        random.random(sessions) < OWN_TOPIC, own, random.integers(per_leaf, size=sessions)
    )
    named = queries.topic[query].astype(np.int64)
    topic = np.where(named != NO_TOPIC, named, np.where(same_topic, topic, meant))
    return query, leaf, topic


def _drawn_leaf(interest: Float64[np.ndarray, "s leaves"], random: np.random.Generator) -> Int64[np.ndarray, " s"]:
    drawn = (random.random(len(interest))[:, None] * interest[:, -1:] > interest).sum(axis=1)
    leaf: Int64[np.ndarray, " s"] = np.minimum(drawn, interest.shape[1] - 1)
    return leaf
