"""The result pages: the ranking model's noise, exploration slots, browsing and what is looked at."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64, Int, Int32, Int64

from configs.worlds import WorldConfig
from graph.marketplace.world.demand import Requests
from graph.marketplace.world.noise import counter_key, normals, uniforms
from graph.marketplace.world.state import HiddenState


def request_draws(seed: int, purpose: str, numbers: Int64[np.ndarray, " r"]) -> Float64[np.ndarray, " r"]:
    """One draw from (0, 1) for each request."""
    return uniforms(counter_key(seed, purpose), numbers, np.zeros((len(numbers), 1), np.int32))[:, 0]


def ranking_noise(
    seed: int, numbers: Int64[np.ndarray, " r"], items: Int32[np.ndarray, "r m"]
) -> Float64[np.ndarray, "r m"]:
    """The ranking model's standard normal errors."""
    return normals(counter_key(seed, "ranking model"), numbers, items)


def browsed(state: HiddenState, requests: Requests) -> Int64[np.ndarray, " r"]:
    """How many positions each user is shown: whole pages, geometric, more for patient users."""
    world = state.world
    turning = np.clip(1.0 - world.page / world.browsing_depth + 0.08 * state.users.patience[requests.user], 0.05, 0.95)
    draws = request_draws(state.seed, "browsing", requests.request_id)
    depth: Int64[np.ndarray, " r"] = world.page * (1 + np.floor(np.log(draws) / np.log(turning)).astype(np.int64))
    return depth


def explore(
    world: WorldConfig,
    seed: int,
    numbers: Int64[np.ndarray, " r"],
    ranking: Int[np.ndarray, "r l"],
    lengths: Int64[np.ndarray, " r"],
) -> tuple[Int[np.ndarray, "r l"], Float64[np.ndarray, "r l"]]:
    """Put an item drawn at random from below page 1 into a random slot of page 1, in some of the requests.

    The items in between move down by one, so that positions stay 1, 2, 3, …

    Args:
        world: parameters.
        seed: of the draws.
        numbers: request ids.
        ranking: columns of each request's candidates, best first.
        lengths: how many of them are real.

    Returns:
        The ranking as shown, and by position the propensity: the probability with which the item was drawn for its
        slot; NaN where nothing was drawn.
    """
    shown = ranking.copy()
    propensity = np.full(ranking.shape, np.nan)
    chosen = request_draws(seed, "explored", numbers) < world.explored_share
    slots = (request_draws(seed, "explored slot", numbers) * world.page).astype(np.int64)
    pool = lengths - world.page
    sources = world.page + (request_draws(seed, "explored item", numbers) * np.maximum(pool, 0)).astype(np.int64)
    for row in np.flatnonzero(chosen & (pool > 0)):
        slot, source = slots[row], sources[row]
        shown[row, slot + 1 : source + 1] = ranking[row, slot:source]
        shown[row, slot] = ranking[row, source]
        propensity[row, slot] = 1.0 / pool[row]
    return shown, propensity


def sampled(
    key: np.uint64,
    numbers: Int64[np.ndarray, " r"],
    items: Int32[np.ndarray, "r m"],
    eligible: Bool[np.ndarray, "r m"],
    count: int,
) -> tuple[Bool[np.ndarray, "r m"], Float64[np.ndarray, "r m"]]:
    """Draw ``count`` of each request's eligible candidates without replacement, with the probability of being drawn."""
    draws = np.where(eligible, uniforms(key, numbers, items), np.inf)
    rank = np.argsort(np.argsort(draws, axis=1, kind="stable"), axis=1, kind="stable")
    there = eligible.sum(axis=1, keepdims=True)
    return eligible & (rank < count), np.broadcast_to(np.minimum(1.0, count / np.maximum(there, 1)), items.shape)
