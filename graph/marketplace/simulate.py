"""Simulate a marketplace and write its log, one day at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from configs.console import progress, say
from configs.stages import write_json
from configs.worlds import RankerKind, WorldConfig
from graph.marketplace.calibration import calibrate
from graph.marketplace.cascade.cascade import EXPOSED, Engine, WaveLog, run_wave
from graph.marketplace.cascade.history import ClickHistory
from graph.marketplace.cascade.pre_rankers import new_pre_ranker
from graph.marketplace.cascade.retrieval import Recall
from graph.marketplace.ranker.learned_ranker import LearnedRanker
from graph.marketplace.summary import HiddenSummary
from graph.marketplace.world.catalogue import DAY_MS, first_moment, prices_on
from graph.marketplace.world.demand import QueryPicker, Requests, requests_of
from graph.marketplace.world.state import HiddenState, make_state
from graph.marketplace.writing import write_day, write_tables


@dataclass(frozen=True)
class DayLog:
    """What a day brought: its requests in order of time, the waves they ran in, and the prices."""

    requests: Requests
    waves: list[tuple[np.ndarray, WaveLog]]
    """Row numbers in ``requests``, and what happened there."""
    prices: Float32[np.ndarray, " items"]


def simulate(world: WorldConfig, seed: int, folder: Path) -> dict[str, Any]:
    """Write ``impressions/``, ``items.parquet``, ``users.parquet``, ``queries.parquet`` and ``world.json``.

    The same world and seed give the same bytes, whatever the number of threads. Memory holds one day.

    Args:
        world: the marketplace's parameters.
        seed: which marketplace of that kind.
        folder: where to write; made if missing.

    Returns:
        The figures of ``world.json``: the funnel, and the ranking model against simulated truth.
    """
    state = make_state(world, seed)
    summary = HiddenSummary()
    write_tables(state.seen, first_moment(world) + world.days * DAY_MS, folder)
    with progress() as bar:
        task = bar.add_task("simulating days", total=world.warm_up_days + world.days)
        state, engine = opened(state, lambda: bar.advance(task))
        for day in range(world.days):
            state = state.next_day(day)
            log = run_day(state, engine, day, summary)
            write_day(state.seen, log.requests, log.waves, log.prices, folder / "impressions")
            bar.advance(task)
    figures = summary.figures() | {"ranking_model": world.ranker.value, "warm_up_days": world.warm_up_days}
    write_json(folder / "world.json", figures)
    _tell(figures)
    return figures


def opened(state: HiddenState, advance: Callable[[], None] = lambda: None) -> tuple[HiddenState, Engine]:
    """The marketplace on the eve of its log: the warm-up days are over, and the ranking model is trained on them.

    Args:
        state: as drawn.
        advance: called after each day.
    """
    world = state.world
    recall = Recall(state)
    engine = Engine(
        recall=recall,
        scales=calibrate(state, recall, QueryPicker(state.queries, state.market)),
        pre_ranker=new_pre_ranker(state),
        learned=LearnedRanker(world, state.seed, state.seen) if world.ranker is RankerKind.learned else None,
        history=ClickHistory(world.users, world.history_length),
    )
    for day in range(-world.warm_up_days, 0):
        state = state.next_day(day)
        run_day(state, engine, day)
        advance()
    if engine.learned is not None:
        engine.learned.train()
        engine.driving = True
    return state, engine


def run_day(state: HiddenState, engine: Engine, day: int, summary: HiddenSummary | None = None) -> DayLog:
    """Run a day's requests, the n-th of every session together; then pre-ranker and ranking model learn from it."""
    picker = QueryPicker(state.queries, state.market)
    requests, intents = requests_of(state, picker, day)
    prices = prices_on(state.world, state.seed, state.items, day)
    waves: list[tuple[np.ndarray, WaveLog]] = []
    for turn in range(int(requests.turn.max()) + 1):
        rows = np.flatnonzero(requests.turn == turn)
        log, outcome = run_wave(state, engine, requests.take(rows), intents.take(rows), prices)
        if summary is not None:
            summary.add(log, outcome)
        waves.append((rows, log))
    engine.pre_ranker.learn(_items(waves, lambda log: log.stage == EXPOSED), _items(waves, lambda log: log.clicked))
    if engine.learned is not None:
        engine.learned.end_day()
    return DayLog(requests, waves, prices)


def _items(waves: list[tuple[np.ndarray, WaveLog]], where: Any) -> np.ndarray:
    return np.concatenate([log.items[where(log)] for _, log in waves])


def _tell(figures: dict[str, Any]) -> None:
    ndcg, auc = figures["ndcg_at_10"], figures["click_auc_exposed"]
    say(
        f"simulated {figures['rows']:,} rows of {figures['requests']:,} requests: {figures['exposed']:,} exposed, "
        f"{figures['clicks']:,} clicks ({figures['click_rate']:.1%}), {figures['orders']:,} orders "
        f"({figures['order_rate']:.1%} of clicks)"
    )
    say(
        f"ranking model ({figures['ranking_model']}) against simulated truth: NDCG@10 {ndcg['ranking_model']:.3f} "
        f"(random {ndcg['random']:.3f}, oracle 1); click AUC on exposed rows {_shown(auc['ranking_model'])}, of the "
        f"true probabilities {_shown(auc['oracle_without_position'])} without and {_shown(auc['oracle'])} with position"
    )


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
