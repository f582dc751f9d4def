"""Replays of the days after the log: other pre-rankers drive the same cascade, with equal requests and equal luck.

Every draw depends on the seed, its purpose, the request and the item, so two arms differ only where their pre-rankers
pass other items. All outcomes are simulated.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Bool, Float32, Int64

from configs.console import progress
from configs.errors import InputError
from configs.worlds import WorldConfig
from graph.marketplace.cascade.cascade import EXPOSED, Engine
from graph.marketplace.cascade.pre_rankers import FrozenPreRanker, HiddenOracle, RandomPreRanker
from graph.marketplace.simulate import DayLog, opened, run_day
from graph.marketplace.world.catalogue import LATER_DAYS
from graph.marketplace.world.observed import PreRanker
from graph.marketplace.world.state import HiddenState, Seen, make_state


class Bound(StrEnum):
    """Pre-rankers that the simulator has itself."""

    logging = "logging"
    """The one that was in service, as it stood at the end of the log."""
    random = "random"
    """Any candidate is as good as any other: the lower bound."""
    oracle = "oracle"
    """Passes the highest true utility: the upper bound of what a pre-ranker could do with this ranking model."""


Arm = Bound | Callable[[Seen], PreRanker]
"""A bound, or what makes a frozen pre-ranker once the catalogue is known."""


@dataclass(frozen=True)
class ReplayLog:
    """What an arm brought.

    Attributes:
        request_id, request_user, request_day: of every request, in order of day and time; users are numbered from 0,
            days from the end of the log.
        request: place in ``request_id`` of every exposed row.
        item: number in the catalogue of ``Seen``; ``item_id`` its id.
        position: 1-based, as shown.
        price: at which an order would be made, in the currency of the log.
    """

    request_id: Int64[np.ndarray, " requests"]
    request_user: Int64[np.ndarray, " requests"]
    request_day: Int64[np.ndarray, " requests"]
    request: Int64[np.ndarray, " rows"]
    item: Int64[np.ndarray, " rows"]
    item_id: Int64[np.ndarray, " rows"]
    position: Int64[np.ndarray, " rows"]
    clicked: Bool[np.ndarray, " rows"]
    ordered: Bool[np.ndarray, " rows"]
    price: Float32[np.ndarray, " rows"]


def replay(
    world: WorldConfig,
    seed: int,
    arms: Mapping[str, Arm],
    days: int,
    lucks: Mapping[str, int] | None = None,
    logged: tuple[int, int] | None = None,
) -> dict[str, ReplayLog]:
    """Live through the log's days once more, then let each arm drive the days after it from there.

    Histories and the ranking model's counters go on in each arm; pre-rankers and the ranking model's weights are
    frozen.

    Args:
        world, seed: the marketplace; its log is simulated again, in memory.
        arms: by name.
        days: 1 to ``LATER_DAYS``; the catalogue holds no items of later days.
        lucks: arms that meet other clicks and orders on the days after the log, by the number that draws them.
        logged: clicks and orders of the log that is continued, if there is one: this code must make the same.

    Raises:
        InputError: for a number of days that cannot be replayed, or if the log comes out otherwise than it was.
    """
    if not 1 <= days <= LATER_DAYS:
        raise InputError(f"a replay can go on for 1 to {LATER_DAYS} days after the log, found {days}")
    with progress() as bar:
        task = bar.add_task("replaying", total=world.warm_up_days + world.days + days * len(arms))
        state, engine = _lived_through(world, seed, logged, lambda: bar.advance(task))
        logs = {}
        for name, arm in arms.items():
            fork, later = _fork(state, engine, arm, (lucks or {}).get(name, 0)), state
            days_after = []
            for day in range(world.days, world.days + days):
                later = later.next_day(day)
                days_after.append(run_day(later, fork, day))
                bar.advance(task)
            logs[name] = _joined(state.seen, days_after)
    return logs


def _lived_through(
    world: WorldConfig, seed: int, logged: tuple[int, int] | None, advance: Callable[[], None]
) -> tuple[HiddenState, Engine]:
    """The marketplace at the end of its log."""
    state, engine = opened(make_state(world, seed), advance)
    clicks = orders = 0
    for day in range(world.days):
        state = state.next_day(day)
        waves = run_day(state, engine, day).waves
        clicks += sum(int(log.clicked.sum()) for _, log in waves)
        orders += sum(int(log.ordered.sum()) for _, log in waves)
        advance()
    if logged is not None and (clicks, orders) != logged:
        raise InputError(
            f"the log to be continued has {logged[0]:,} clicks and {logged[1]:,} orders, but the simulator now makes "
            f"{clicks:,} and {orders:,} in its place: it was made by another version; make the run again"
        )
    return state, engine


def _fork(state: HiddenState, engine: Engine, arm: Arm, luck: int) -> Engine:
    """The engine at the end of the log with another pre-ranker in it; what it learns from now on is its own."""
    pre_ranker: PreRanker | HiddenOracle
    assert not isinstance(engine.pre_ranker, HiddenOracle), "no log was ever made by the oracle"
    if arm is Bound.logging:
        pre_ranker = FrozenPreRanker(engine.pre_ranker)
    elif arm is Bound.random:
        pre_ranker = RandomPreRanker(state.seed)
    elif arm is Bound.oracle:
        pre_ranker = HiddenOracle()
    else:
        pre_ranker = arm(state.seen)
    return Engine(
        recall=engine.recall,
        scales=engine.scales,
        pre_ranker=pre_ranker,
        learned=copy.deepcopy(engine.learned),
        history=copy.deepcopy(engine.history),
        driving=engine.driving,
        luck=luck,
    )


def _joined(seen: Seen, days: list[DayLog]) -> ReplayLog:
    """The exposed rows of some days, by request and position."""
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("request", "item", "position", "clicked", "ordered")}
    prices, sizes = [], [len(day.requests) for day in days]
    for first, day in zip(np.cumsum([0, *sizes]), days, strict=False):
        for rows, log in day.waves:
            at = np.nonzero(log.stage == EXPOSED)
            columns["request"].append(first + rows[at[0]])
            prices.append(day.prices[log.items[at]])
            columns["item"].append(log.items[at])
            for name in ("position", "clicked", "ordered"):
                columns[name].append(getattr(log, name)[at])
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    order = np.lexsort((joined["position"], joined["request"]))
    joined = {name: values[order] for name, values in joined.items()}
    item = joined.pop("item").astype(np.int64)
    return ReplayLog(
        request_id=np.concatenate([day.requests.request_id for day in days]),
        request_user=np.concatenate([day.requests.user for day in days]),
        request_day=np.repeat(np.arange(len(days)), sizes),
        item=item,
        item_id=seen.catalogue.item_id[item],
        price=np.concatenate(prices)[order],
        **joined,
    )
