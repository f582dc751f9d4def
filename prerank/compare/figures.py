"""From finished fits to what the report shows of a data set: figures, chance levels, differences and their family."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from configs.errors import InputError
from configs.stages import read_json
from graph.figure import Figure
from prerank.compare.jobs import DataSet
from prerank.compare.statistics import (
    LEAST_SEEDS,
    SEEDS_FOR_AN_INTERVAL,
    SeedDifference,
    SeedFigure,
    SeedMean,
    difference,
    summary,
)
from prerank.evaluation.definitions import CHANCE
from prerank.evaluation.evaluation import Evaluation, read_evaluation
from prerank.evaluation.segments import SEGMENTS
from prerank.evaluation.significance import holm
from prerank.experiment.jobs import Fit

SPLIT, WHOLE = "test", "all"
PRIMARY = ("gauc_click", "score_auc_click", "gauc_order", "recall_at_10", "recall_full_at_10", "hit_rate_order_at_10")
"""Metrics, over the whole split, whose differences make the family of tests; those that the data has."""
INTERVALS = {
    True: "t interval over seeds; each seed is another market, with its own log, graph, ψ and training",
    False: "paired bootstrap of the test rows by {unit}, draws averaged over seeds; it holds the trained models fixed",
}
RECALLS = {
    True: "recall_at_k orders the ranked lists again; recall_full_at_k is the cut of whole recalled sets",
    False: "recall_at_k orders the ranked lists again (a log without whole recalled sets has no recall_full_at_k)",
}
ABOUT = ("rows", "requests", "clicks", "orders", "unit", "clusters", "longest_list", "whole_recalled_sets")

Evaluations = Mapping[str, Mapping[int, Evaluation]]
"""System → seed → evaluation."""
Place = tuple[str, str, str]
"""System, segment and metric."""
Cell = TypeVar("Cell", bound=Figure)


def data_figures(data: DataSet, finished: Iterable[Fit], baseline: str, confidence: float) -> dict[str, Any]:
    """All that is known of a data set so far, as ``comparison.json`` holds it, its figures typed.

    Args:
        data: what was to be fitted.
        finished: the fits that are.
        baseline: system that the others are subtracted from.
        confidence: of the intervals.
    """
    there = set(finished)
    evaluations, left_out = _read(data, there)
    seeds = {system: sorted(by_seed) for system, by_seed in evaluations.items()}
    return {
        "name": data.name,
        "title": data.title,
        "simulated": data.market or _simulated(data, there),
        "kind": "markets" if data.market else "rows",
        "arguments": list(data.arguments),
        "seeds_asked": len(data.seeds),
        "claims": bool(seeds) and min(len(each) for each in seeds.values()) >= LEAST_SEEDS,
        "seeds": seeds,
        "left_out": left_out,
        **figures_of(evaluations, data.market, baseline, confidence),
    }


def figures_of(evaluations: Evaluations, market: bool, baseline: str, confidence: float) -> dict[str, Any]:
    """Figures, chance levels, differences and the family of tests, from evaluations.

    Args:
        evaluations: by system and seed; those of a seed (of all seeds, without markets) are of the same rows.
        market: whether each seed has a log of its own.
        baseline: system that the others are subtracted from.
        confidence: of the intervals.
    """
    cells = _cells(evaluations)
    systems = [system for system, by_seed in evaluations.items() if by_seed]
    others = [system for system in systems if system != baseline and baseline in systems]
    differences = {
        (system, segment, metric): difference(by_seed, cells.get((baseline, segment, metric), {}), market, confidence)
        for (system, segment, metric), by_seed in cells.items()
        if system in others
    }
    metrics = [metric for metric in PRIMARY if any((system, WHOLE, metric) in differences for system in others)]
    family = holm({place: each for place, each in differences.items() if place[1] == WHOLE and place[2] in metrics})
    protocol = next((each.protocol for by_seed in evaluations.values() for each in by_seed.values()), None)
    return {
        "confidence": confidence,
        "figures": _nested({place: summary(by_seed, market, confidence) for place, by_seed in cells.items()}, systems),
        "undefined": _undefined(evaluations),
        "chance": _chances(evaluations),
        "differences": _nested({**differences, **family}, others),
        "family": {
            "baseline": baseline,
            "segment": WHOLE,
            "metrics": metrics,
            "systems": others,
            "tests": sum(each.p is not None for each in family.values()),
        },
        **_protocol(protocol, market),
    }


def as_shown(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """A data set without the intervals that two markets give: Student's t reaches from below 0 to beyond 1 then."""
    if data["kind"] != "markets":
        return data
    return {**data, **{kind: _without_wide_intervals(data[kind]) for kind in ("figures", "differences")}}


def _without_wide_intervals(cells: Mapping[str, Any]) -> dict[str, Any]:
    def shown(cell: SeedMean | SeedDifference) -> SeedMean | SeedDifference:
        if len(cell.by_seed) >= SEEDS_FOR_AN_INTERVAL:
            return cell
        bare = replace(cell, low=None, high=None)
        return replace(bare, visible=None) if isinstance(bare, SeedDifference) else bare

    return {
        system: {segment: {metric: shown(cell) for metric, cell in by.items()} for segment, by in by_segment.items()}
        for system, by_segment in cells.items()
    }


def _read(data: DataSet, finished: set[Fit]) -> tuple[dict[str, dict[int, Evaluation]], list[str]]:
    """Evaluations of finished fits; what was evaluated on other rows than the first one is named and left out."""
    evaluations: dict[str, dict[int, Evaluation]] = {}
    left_out: list[str] = []
    pairing: dict[int | None, Any] = {}
    for system, by_seed in data.fits.items():
        evaluations[system] = {}
        for seed, fit in by_seed.items():
            if fit not in finished:
                continue
            try:
                evaluation = read_evaluation(fit.metrics.parent)
            except InputError as error:
                left_out.append(f"{system}, seed {seed}: {error}")
                continue
            rows = evaluation.protocol["splits"].get(SPLIT, {}).get("pairing")
            if rows is None or rows != pairing.setdefault(seed if data.market else None, rows):
                left_out.append(f"{system}, seed {seed}: evaluated on other test rows than the others")
                continue
            evaluations[system][seed] = evaluation
    return evaluations, left_out


def _cells(evaluations: Evaluations) -> dict[Place, dict[int, SeedFigure]]:
    """The figures of each seed, of what is defined on the test split."""
    cells: dict[Place, dict[int, SeedFigure]] = {}
    for system, by_seed in evaluations.items():
        for seed, evaluation in by_seed.items():
            for (split, segment, metric), row in evaluation.places.items():
                if split != SPLIT or metric.endswith(CHANCE):
                    continue
                figure = evaluation.metrics[split][segment][metric]
                if figure.value is not None:
                    of_seed = SeedFigure(figure.value, evaluation.draws[row], figure.n)
                    cells.setdefault((system, segment, metric), {})[seed] = of_seed
    return cells


def _nested(cells: Mapping[Place, Cell], systems: Sequence[str]) -> dict[str, dict[str, dict[str, Cell]]]:
    """System → segment → metric → figure, segments in the order in which tables show them."""
    nested: dict[str, dict[str, dict[str, Cell]]] = {system: {} for system in systems}
    for (system, segment, metric), cell in sorted(cells.items(), key=lambda each: _order(each[0][1])):
        nested[system].setdefault(segment, {})[metric] = cell
    return nested


def _order(segment: str) -> int:
    return SEGMENTS.index(segment) if segment in SEGMENTS else len(SEGMENTS)


def _chances(evaluations: Evaluations) -> dict[str, dict[str, float]]:
    """Segment → metric → what a random order reaches; the same lists for all systems, so a mean over seeds."""
    levels: dict[str, dict[str, list[float]]] = {}
    for by_seed in evaluations.values():
        for evaluation in by_seed.values():
            for segment, cells in evaluation.metrics[SPLIT].items():
                for metric, figure in cells.items():
                    if figure.chance is not None:
                        levels.setdefault(segment, {}).setdefault(metric, []).append(figure.chance)
    return {
        segment: {metric: sum(of) / len(of) for metric, of in by_metric.items()}
        for segment, by_metric in levels.items()
    }


def _undefined(evaluations: Evaluations) -> dict[str, dict[str, str]]:
    """System → metric → why it has none over the whole split."""
    reasons: dict[str, dict[str, str]] = {}
    for system, by_seed in evaluations.items():
        for evaluation in by_seed.values():
            for metric, figure in evaluation.metrics[SPLIT].get(WHOLE, {}).items():
                if figure.value is None and not metric.endswith(CHANCE):
                    reasons.setdefault(system, {})[metric] = figure.reason or "undefined"
    return reasons


def _protocol(protocol: Mapping[str, Any] | None, market: bool) -> dict[str, Any]:
    """How it was measured, of the first fit (a market's counts are of its first seed)."""
    if protocol is None:
        return {"about": {}, "segments": {}, "segments_left_out": {}, "tasks_off": {}, "interval": "", "recall": ""}
    facts = protocol["splits"][SPLIT]
    unit = facts["unit"]
    return {
        "about": {name: facts[name] for name in ABOUT if name in facts} | {"draws": protocol["draws"]},
        "segments": {name: about["definition"] for name, about in facts["segments"].items()},
        "segments_left_out": protocol["segments_left_out"],
        "tasks_off": protocol["tasks_off"],
        "interval": f"{protocol['confidence']:.0%} {INTERVALS[market].format(unit=unit)}",
        "recall": RECALLS[bool(facts["whole_recalled_sets"])],
    }


def _simulated(data: DataSet, finished: set[Fit]) -> bool:
    """Whether the log that was fitted says so of itself."""
    for fit in finished & {fit for by_seed in data.fits.values() for fit in by_seed.values()}:
        facts = fit.place.logs / "log.json"
        if facts.exists() and read_json(facts).get("simulated"):
            return True
    return False


def shown_systems(data: Mapping[str, Any], systems: Sequence[str]) -> list[str]:
    """Systems that have figures, in the order of the command."""
    return [system for system in systems if system in data["figures"]]
