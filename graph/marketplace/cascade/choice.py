"""How shoppers choose: the true utility that no log shows.

Appeal (what a result page shows) drives clicks; satisfaction (what the item's own page reveals) drives orders. Both are
deliberately not a dot product of user and item vectors: relevance gates everything else, style counts by closeness to
an ideal point, price hurts above a budget and a little far below it, quality saturates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int, Int32

from configs.worlds import WorldConfig
from graph.marketplace.cascade.retrieval import FRESH_DAYS
from graph.marketplace.world.catalogue import DAY_MS
from graph.marketplace.world.demand import HiddenIntents, Requests
from graph.marketplace.world.shoppers import NO_BRAND
from graph.marketplace.world.state import HiddenState

Items = Int32[np.ndarray, "r m"]
Pairs = Float64[np.ndarray, "r m"]
STYLE_WIDTH = 1.5
SAME_LEAF, OTHER_LEAF = 0.25, 0.05
"""Least relevance of an item of the wanted leaf category; relevance of one of another."""


@dataclass(frozen=True)
class HiddenTruth:
    """What the shopper would do with each candidate, if looked at."""

    click: Pairs
    """Probability of a click."""
    order: Pairs
    """Probability of an order after the click."""
    utility: Pairs
    """Log of the expected worth of being looked at: click · (1 + worth · order)."""

    def arranged(self, columns: Int[np.ndarray, "r l"]) -> HiddenTruth:
        """That of some of each row's candidates, in another order."""
        arranged = (np.take_along_axis(values, columns, axis=1) for values in (self.click, self.order, self.utility))
        return HiddenTruth(*arranged)


@dataclass(frozen=True)
class HiddenScales:
    """Turns appeal and satisfaction into probabilities; found by calibration."""

    appeal: tuple[float, float]
    satisfaction: tuple[float, float]
    click_intercept: float
    order_intercept: float
    utility: tuple[float, float] = (0.0, 1.0)
    """Mean and standard deviation, over passed candidates."""


def relevance(state: HiddenState, requests: Requests, intents: HiddenIntents, items: Items) -> Pairs:
    """In (0, 1]: 1 for the wanted topic, less for distant topics of its leaf, halved for another brand than named."""
    market, topic, brand = state.market, state.items.topic[items], state.items.brand[items]
    wanted, named = intents.topic[:, None], state.queries.brand[requests.query][:, None]
    step = market.topic_place[topic] - market.topic_place[wanted]
    near = np.where(topic == wanted, 1.0, SAME_LEAF + 0.5 * np.exp(-0.5 * (step**2).sum(axis=-1)))
    near = np.where(market.topic_leaf[topic] == market.topic_leaf[wanted], near, OTHER_LEAF)
    return near * np.where((named != NO_BRAND) & (brand != named), 0.5, 1.0)


def appeal_and_satisfaction(
    state: HiddenState,
    requests: Requests,
    intents: HiddenIntents,
    items: Items,
    prices: Float32[np.ndarray, " items"],
    history: Int[np.ndarray, "r h"],
) -> tuple[Pairs, Pairs]:
    """What each candidate looks like to the user, and what it turns out to be.

    Args:
        state: the marketplace on that day.
        requests: who asks, when.
        intents: what is wanted.
        items: candidates, -1 pads (its figures mean nothing).
        prices: today's, of every item.
        history: items that the user clicked before, -1 pads.
    """
    world, market, users, catalogue = state.world, state.market, state.users, state.seen.catalogue
    user = requests.user[:, None]
    brand, leaf, quality = state.items.brand[items], state.items.leaf[items], state.items.quality[items]
    relevant = relevance(state, requests, intents, items)

    step = state.items.style[items] - users.ideal[user]
    style = np.exp(-(step**2).sum(axis=-1) / (2 * STYLE_WIDTH**2))
    merit = np.tanh(0.8 * quality + 0.5 * market.brand_standing[brand])
    favourites = users.favourite[user, catalogue.shelves.leaf_department[leaf]]
    loyal = users.loyalty[user] * (favourites == brand[..., None]).any(axis=-1)
    fresh = catalogue.listed_at[items] > requests.timestamp[:, None] - FRESH_DAYS * DAY_MS
    familiar = (history[:, None, :] == items[..., None]).any(axis=-1)
    over = np.log(prices[items].astype(np.float64)) - market.leaf_price[leaf] - users.budget[user]
    pain = users.sensitivity[user] * (np.logaddexp(0.0, 3.0 * over) / 3.0 + 0.4 * np.maximum(0.0, -over - 0.8))

    liking = (
        world.style_weight * style
        + world.quality_weight * merit
        + world.loyalty_weight * loyal
        + world.novelty_weight * fresh * np.tanh(users.novelty[user])
        + world.familiarity_weight * familiar
    )
    appeal = world.relevance_weight * np.log(relevant) + relevant * liking - world.price_weight * pain
    trust = np.tanh(market.shop_reliability[state.items.shop[items]]) * (1.0 + np.maximum(0.0, over))
    satisfaction = relevant * (1.0 + style + world.quality_weight * np.tanh(1.2 * quality)) + 0.8 * trust - 0.7 * pain
    return appeal, satisfaction


def truth_of(world: WorldConfig, scales: HiddenScales, appeal: Pairs, satisfaction: Pairs) -> HiddenTruth:
    """Probabilities and utility of candidates."""
    click = _logistic(scales.click_intercept + world.click_sharpness * _standard(appeal, scales.appeal))
    order = _logistic(scales.order_intercept + world.order_sharpness * _standard(satisfaction, scales.satisfaction))
    return HiddenTruth(click=click, order=order, utility=np.log(click * (1.0 + world.order_worth * order)))


def ranker_scores(world: WorldConfig, scales: HiddenScales, utility: Pairs, noise: Pairs) -> Pairs:
    """The noisy ranking model: correlation ``ranker_quality`` with true utility over the passed candidates."""
    quality = world.ranker_quality
    scores: Pairs = quality * _standard(utility, scales.utility) + np.sqrt(1.0 - quality**2) * noise
    return scores


def examination(world: WorldConfig, positions: Int[np.ndarray, ...]) -> Float64[np.ndarray, ...]:
    """Probability that an exposed item at a position (1-based) is looked at."""
    return positions.astype(np.float64) ** -world.position_bias


def _logistic(logits: Pairs) -> Pairs:
    probabilities: Pairs = 1.0 / (1.0 + np.exp(-logits))
    return probabilities


def _standard(values: Pairs, scale: tuple[float, float]) -> Pairs:
    return (values - scale[0]) / scale[1]
