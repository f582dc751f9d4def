"""The search cascade for many requests at once: recall, pre-ranker, ranking model, pages, clicks, orders.

A wave holds at most one request of a user (the n-th of every session of the day), so all that its users did before is
known when it runs, and nothing else that they do depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, Int32, Int64

from graph.marketplace.cascade.choice import (
    HiddenScales,
    HiddenTruth,
    appeal_and_satisfaction,
    examination,
    ranker_scores,
    truth_of,
)
from graph.marketplace.cascade.display import browsed, explore, ranking_noise, request_draws, sampled
from graph.marketplace.cascade.history import ClickHistory
from graph.marketplace.cascade.pre_rankers import HiddenOracle
from graph.marketplace.cascade.retrieval import Recall
from graph.marketplace.ranker.learned_ranker import LearnedRanker
from graph.marketplace.world.catalogue import DAY_MS, first_moment
from graph.marketplace.world.demand import HiddenIntents, Requests
from graph.marketplace.world.noise import counter_key, uniforms
from graph.marketplace.world.observed import Observed, PreRanker
from graph.marketplace.world.state import HiddenState

EXPOSED, RANKED, PASSED, RECALLED, RANDOM = range(5)
"""Stages, in the order of the contract's names."""


@dataclass(frozen=True)
class WaveLog:
    """What happened to every candidate of a wave's requests; columns as shown, then passed, recalled, random ones."""

    items: Int32[np.ndarray, "r m"]
    stage: Int[np.ndarray, "r m"]
    position: Int64[np.ndarray, "r m"]
    """1-based; 0 where not ranked."""
    score: Float64[np.ndarray, "r m"]
    """The ranking model's; NaN where it is not logged."""
    clicked: Bool[np.ndarray, "r m"]
    ordered: Bool[np.ndarray, "r m"]
    propensity: Float64[np.ndarray, "r m"]
    logged: Bool[np.ndarray, "r m"]
    history: Int32[np.ndarray, "r h"]


@dataclass(frozen=True)
class HiddenOutcome:
    """The truth behind a wave's log, for the summary."""

    truth: HiddenTruth
    """Of the ranked items, in the order of the ranking model's scores."""
    present: Bool[np.ndarray, "r l"]
    click: Float64[np.ndarray, "r l"]
    """Probability of a click on the items as shown, if exposed; examination included."""
    appeal: Float64[np.ndarray, "r l"]
    """The same had the item been looked at."""


@dataclass
class Engine:
    """The search engine of a marketplace: its stages, and what they have learned so far."""

    recall: Recall
    scales: HiddenScales
    pre_ranker: PreRanker | HiddenOracle
    learned: LearnedRanker | None
    """The learned ranking model; None where the noisy function ranks for good."""
    history: ClickHistory
    driving: bool = False
    """Whether the learned ranking model is trained and orders the lists; until then the noisy function does."""
    luck: int = 0
    """Another number gives other clicks and orders, all else alike."""


def run_wave(
    state: HiddenState,
    engine: Engine,
    requests: Requests,
    intents: HiddenIntents,
    prices: Float32[np.ndarray, " items"],
) -> tuple[WaveLog, HiddenOutcome]:
    """Take one request of each of many users through the whole cascade; the engine observes what came of it."""
    world, numbers, history = state.world, requests.request_id, engine.history.of(requests.user)
    observed = Observed(state.seen, requests, engine.recall(requests, intents), prices, history)
    appeal, satisfaction = appeal_and_satisfaction(state, requests, intents, observed.candidates.items, prices, history)
    truth = truth_of(world, engine.scales, appeal, satisfaction)
    by_pre_ranker = _pre_ranked(engine.pre_ranker, observed, truth)
    observed, truth = observed.arranged(by_pre_ranker), truth.arranged(by_pre_ranker)
    items = observed.candidates.items
    present = items >= 0
    whole = _logged_whole(state, requests)
    score = _ranking_scores(state, engine, observed, truth, whole)

    short = world.ranked
    ranking = np.argsort(np.where(present, -score, np.inf)[:, :short], axis=1, kind="stable")
    lengths = present[:, :short].sum(axis=1)
    shown, slot_propensity = explore(world, state.seed, numbers, ranking, lengths)
    rest = np.broadcast_to(np.arange(short, items.shape[1]), (len(requests), items.shape[1] - short))
    columns = np.concatenate([shown, rest], axis=1)
    items, score, present = (np.take_along_axis(a, columns, axis=1) for a in (items, score, present))

    positions = np.arange(1, short + 1)
    exposed = present[:, :short] & (positions <= browsed(state, requests)[:, None])
    as_shown = truth.arranged(shown)
    click = examination(world, positions) * as_shown.click
    clicked = exposed & (_luck(state.seed, "click", engine.luck, numbers, items[:, :short]) < click)
    ordered = clicked & (_luck(state.seed, "order", engine.luck, numbers, items[:, :short]) < as_shown.order)
    engine.history.add(requests.user, items[:, :short], clicked)
    if engine.learned is not None:
        engine.learned.observe(observed.arranged(shown), exposed, clicked, ordered)

    log = _logged(state, requests, items, present, score, exposed, clicked, ordered, slot_propensity, history, whole)
    in_order = np.arange(short) < lengths[:, None]
    return log, HiddenOutcome(truth=truth.arranged(ranking), present=in_order, click=click, appeal=as_shown.click)


def _logged_whole(state: HiddenState, requests: Requests) -> Bool[np.ndarray, " r"]:
    """The requests of which every recalled item is logged."""
    world = state.world
    since = first_moment(world) + world.full_recall_from * DAY_MS
    drawn = request_draws(state.seed, "full recall", requests.request_id) < world.full_recall_share
    whole: Bool[np.ndarray, " r"] = drawn & (requests.timestamp >= since)
    return whole


def _pre_ranked(
    pre_ranker: PreRanker | HiddenOracle, observed: Observed, truth: HiddenTruth
) -> Int64[np.ndarray, "r m"]:
    """Columns of the candidates in the pre-ranker's order; padding comes last."""
    scores = truth.utility if isinstance(pre_ranker, HiddenOracle) else pre_ranker.score(observed)
    return np.argsort(np.where(observed.candidates.items >= 0, -scores, np.inf), axis=1, kind="stable")


def _ranking_scores(
    state: HiddenState, engine: Engine, observed: Observed, truth: HiddenTruth, whole: Bool[np.ndarray, " r"]
) -> Float64[np.ndarray, "r m"]:
    """The ranking model's scores of the passed candidates, and of all of a request that is logged whole.

    The learned model scores nothing that is neither shown nor logged: NaN there.
    """
    items, passed = observed.candidates.items, state.world.passed
    if engine.learned is None or not engine.driving:
        noise = ranking_noise(state.seed, observed.requests.request_id, items)
        return ranker_scores(state.world, engine.scales, truth.utility, noise)
    columns = np.broadcast_to(np.arange(items.shape[1]), items.shape)
    scores = np.full(items.shape, np.nan)
    scores[:, :passed] = engine.learned.score(observed.arranged(columns[:, :passed]))
    if whole.any() and items.shape[1] > passed:
        scores[whole, passed:] = engine.learned.score(observed.take(whole).arranged(columns[whole][:, passed:]))
    return scores


def _luck(
    seed: int, purpose: str, luck: int, numbers: Int64[np.ndarray, " r"], items: Int32[np.ndarray, "r l"]
) -> Float64[np.ndarray, "r l"]:
    """What decides a click or an order: it depends on the request and the item, not on what else is shown."""
    key = counter_key(seed, purpose) if luck == 0 else counter_key(seed, purpose, luck)
    return uniforms(key, numbers, items)


def _logged(
    state: HiddenState,
    requests: Requests,
    items: Int32[np.ndarray, "r m"],
    present: Bool[np.ndarray, "r m"],
    score: Float64[np.ndarray, "r m"],
    exposed: Bool[np.ndarray, "r l"],
    clicked: Bool[np.ndarray, "r l"],
    ordered: Bool[np.ndarray, "r l"],
    slot_propensity: Float64[np.ndarray, "r l"],
    history: Int32[np.ndarray, "r h"],
    whole: Bool[np.ndarray, " r"],
) -> WaveLog:
    """Choose the rows that are written: every ranked item, samples of the others, or all of a request."""
    world, seed, numbers = state.world, state.seed, requests.request_id
    short, wide = world.ranked, items.shape[1]
    column = np.arange(wide)
    passed = present & (column >= short) & (column < world.passed)
    recalled = present & (column >= world.passed)
    whole = whole[:, None]
    key = counter_key(seed, "logged sample")
    some_passed, passed_share = sampled(key, numbers, items, passed, world.logged_passed)
    some_recalled, recalled_share = sampled(key, numbers, items, recalled, world.logged_recalled)

    propensity = np.where(passed, passed_share, recalled_share)
    propensity = np.where(whole, 1.0, propensity)
    propensity[:, :short] = slot_propensity
    stage = np.where(column < short, RANKED, np.where(column < world.passed, PASSED, RECALLED))
    stage = np.broadcast_to(stage, items.shape).copy()
    stage[:, :short][exposed] = EXPOSED
    ranked = present & (column < short)
    logged = ranked | some_passed | some_recalled | (whole & present)

    negatives, negative_propensity = _negatives(state, requests, items)
    extra = negatives.shape
    none = np.zeros((len(requests), wide - short), bool)
    return WaveLog(
        items=np.concatenate([items, negatives], axis=1),
        stage=np.concatenate([stage, np.full(extra, RANDOM)], axis=1),
        position=np.concatenate([np.where(ranked, column + 1, 0), np.zeros(extra, np.int64)], axis=1),
        score=np.concatenate([np.where(ranked | whole, score, np.nan), np.full(extra, np.nan)], axis=1),
        clicked=np.concatenate([clicked, none, np.zeros(extra, bool)], axis=1),
        ordered=np.concatenate([ordered, none, np.zeros(extra, bool)], axis=1),
        propensity=np.concatenate([propensity, negative_propensity], axis=1),
        logged=np.concatenate([logged, negatives >= 0], axis=1),
        history=history,
    )


def _negatives(
    state: HiddenState, requests: Requests, recalled: Int32[np.ndarray, "r m"]
) -> tuple[Int32[np.ndarray, "r k"], Float64[np.ndarray, "r k"]]:
    """Items drawn evenly from those on sale and not recalled; -1 pads where repeated draws found too few."""
    count = state.world.logged_random
    tries = np.broadcast_to(np.arange(4 * count + 8), (len(requests), 4 * count + 8))
    on_sale = state.seen.catalogue.on_sale(requests.timestamp)[:, None]
    draws = uniforms(counter_key(state.seed, "random negative"), requests.request_id, tries)
    drawn = (draws * on_sale).astype(np.int32)
    earlier = np.tril(np.ones((drawn.shape[1],) * 2, bool), k=-1)
    repeated = ((drawn[:, :, None] == drawn[:, None, :]) & earlier).any(axis=-1)
    usable = ~repeated & ~(drawn[:, :, None] == recalled[:, None, :]).any(axis=-1)
    first = np.argsort(~usable, axis=1, kind="stable")[:, :count]
    chosen = np.where(np.take_along_axis(usable, first, axis=1), np.take_along_axis(drawn, first, axis=1), -1)
    pool = on_sale - (recalled >= 0).sum(axis=1, keepdims=True)
    return chosen, np.broadcast_to(np.minimum(1.0, count / np.maximum(pool, 1)), chosen.shape)
