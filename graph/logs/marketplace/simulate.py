"""Simulate a marketplace and write its log, one day at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from configs.console import progress, say
from configs.stages import write_json
from configs.worlds import WorldConfig
from graph.logs.marketplace.calibration import calibrate
from graph.logs.marketplace.cascade import EXPOSED, WaveLog, run_wave
from graph.logs.marketplace.catalogue import prices_on
from graph.logs.marketplace.choice import HiddenScales
from graph.logs.marketplace.demand import QueryPicker, requests_of
from graph.logs.marketplace.history import ClickHistory
from graph.logs.marketplace.retrieval import LoggingPreRanker, Recall
from graph.logs.marketplace.state import HiddenState, make_state
from graph.logs.marketplace.summary import HiddenSummary
from graph.logs.marketplace.writing import write_day, write_tables


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
    recall, picker = Recall(state), QueryPicker(state.queries, state.market)
    scales = calibrate(state, recall, picker)
    pre_ranker = LoggingPreRanker(seed, len(state.items.quality))
    history = ClickHistory(world.users, world.history_length)
    summary = HiddenSummary()
    write_tables(state.seen, folder)
    with progress() as bar:
        task = bar.add_task("simulating days", total=world.days, note="")
        for day in range(world.days):
            state = state.next_day(day)
            _run_day(state, day, scales, recall, picker, pre_ranker, history, summary, folder / "impressions")
            bar.advance(task)
    figures = summary.figures()
    write_json(folder / "world.json", figures)
    _tell(figures)
    return figures


def _run_day(
    state: HiddenState,
    day: int,
    scales: HiddenScales,
    recall: Recall,
    picker: QueryPicker,
    pre_ranker: LoggingPreRanker,
    history: ClickHistory,
    summary: HiddenSummary,
    folder: Path,
) -> None:
    """Run a day's requests, the n-th of every session together, and write them."""
    requests, intents = requests_of(state, picker, day)
    prices = prices_on(state.world, state.seed, state.seen.catalogue, day)
    waves: list[tuple[np.ndarray, WaveLog]] = []
    for turn in range(int(requests.turn.max()) + 1):
        rows = np.flatnonzero(requests.turn == turn)
        of_wave = requests.take(rows)
        log, outcome = run_wave(
            state, scales, recall, pre_ranker, of_wave, intents.take(rows), prices, history.of(of_wave.user)
        )
        history.add(of_wave.user, log.items, log.clicked)
        summary.add(log, outcome)
        waves.append((rows, log))
    pre_ranker.learn(_items(waves, lambda log: log.stage == EXPOSED), _items(waves, lambda log: log.clicked))
    write_day(state.seen, requests, waves, prices, folder)


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
        f"ranking model against simulated truth: NDCG@10 {ndcg['ranking_model']:.3f} (random {ndcg['random']:.3f}, "
        f"oracle 1); click AUC on exposed rows {_shown(auc['ranking_model'])}, of the true probabilities "
        f"{_shown(auc['oracle_without_position'])} without and {_shown(auc['oracle'])} with position"
    )


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
