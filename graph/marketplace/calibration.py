"""Finds the scales at which a world clicks and orders as often as it says, on days that are never logged."""

from __future__ import annotations

import numpy as np

from configs.worlds import WorldConfig
from graph.marketplace.cascade.choice import (
    HiddenScales,
    Pairs,
    appeal_and_satisfaction,
    examination,
    ranker_scores,
    truth_of,
)
from graph.marketplace.cascade.display import browsed, ranking_noise
from graph.marketplace.cascade.pre_rankers import new_pre_ranker
from graph.marketplace.cascade.retrieval import Recall
from graph.marketplace.world.catalogue import prices_on
from graph.marketplace.world.demand import HiddenIntents, QueryPicker, Requests, requests_of
from graph.marketplace.world.observed import Observed
from graph.marketplace.world.state import HiddenState

PILOT_REQUESTS = 400
ROUNDS = 15


def calibrate(state: HiddenState, recall: Recall, picker: QueryPicker) -> HiddenScales:
    """Run the cascade on pilot days without history, and move the intercepts until the rates are met."""
    world = state.world
    days = range(-max(1, round(PILOT_REQUESTS / world.requests_per_day)), 0)
    drawn = [requests_of(state, picker, day) for day in days]
    requests = Requests(**{n: np.concatenate([getattr(r, n) for r, _ in drawn]) for n in vars(drawn[0][0])})
    intents = HiddenIntents(**{n: np.concatenate([getattr(i, n) for _, i in drawn]) for n in vars(drawn[0][1])})
    candidates = recall(requests, intents)
    prices, history = prices_on(world, state.seed, state.items, 0), np.full((len(requests), 1), -2, np.int32)
    pre_ranker = new_pre_ranker(state)
    scores = pre_ranker.score(Observed(state.seen, requests, candidates, prices, history))
    order = np.argsort(np.where(candidates.items >= 0, -scores, np.inf), axis=1, kind="stable")[:, : world.ranked]
    items = np.take_along_axis(candidates.items, order, axis=1)
    present = items >= 0
    appeal, satisfaction = appeal_and_satisfaction(state, requests, intents, items, prices, history)
    noise = ranking_noise(state.seed, requests.request_id, items)
    shown = browsed(state, requests)[:, None] >= np.arange(1, items.shape[1] + 1)
    return _fit(world, appeal, satisfaction, noise, present, shown)


def _fit(
    world: WorldConfig,
    appeal: Pairs,
    satisfaction: Pairs,
    noise: Pairs,
    present: np.ndarray,
    shown: np.ndarray,
) -> HiddenScales:
    """Fixed-point steps: an intercept moves by the log of the rate that is missing."""
    moments = [(float(v[present].mean()), float(v[present].std())) for v in (appeal, satisfaction)]
    looked = examination(world, np.arange(1, appeal.shape[1] + 1))
    click, order = 0.0, 0.0
    scales = HiddenScales(moments[0], moments[1], click, order)
    for _ in range(ROUNDS):
        truth = truth_of(world, scales, appeal, satisfaction)
        utility = (float(truth.utility[present].mean()), float(truth.utility[present].std()))
        scales = HiddenScales(moments[0], moments[1], click, order, utility)
        scores = np.where(present, ranker_scores(world, scales, truth.utility, noise), -np.inf)
        ranking = np.argsort(-scores, axis=1, kind="stable")
        seen = shown & np.take_along_axis(present, ranking, axis=1)
        clicks = np.take_along_axis(truth.click, ranking, axis=1) * looked * seen
        orders = clicks * np.take_along_axis(truth.order, ranking, axis=1)
        click += float(np.log(world.click_rate * seen.sum() / clicks.sum()))
        order += float(np.log(world.order_rate * clicks.sum() / orders.sum()))
    return HiddenScales(moments[0], moments[1], click, order, scales.utility)
