"""From finished fits to what the report shows of a data set: figures, chance levels, differences and their family."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from configs.errors import InputError
from configs.stages import read_json
from prerank.compare.jobs import DataSet
from prerank.compare.statistics import LEAST_SEEDS, BySeed, SeedFigure, add_holm, difference, summary
from prerank.evaluation.evaluation import Evaluation, read_evaluation
from prerank.evaluation.segments import SEGMENTS
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
CHANCE = "_chance"

Evaluations = Mapping[str, Mapping[int, Evaluation]]
"""System → seed → evaluation."""
Found = dict[str, dict[str, dict[str, dict[int, SeedFigure]]]]
"""System → segment → metric → seed → figure."""


def data_figures(data: DataSet, finished: Iterable[Fit], baseline: str, confidence: float) -> dict[str, Any]:
    """All that is known of a data set so far; strict JSON.

    Args:
        data: what was to be fitted.
        finished: the fits that are.
        baseline: system that the others are subtracted from.
        confidence: of the intervals.
    """
    there = set(finished)
    evaluations, left_out = _read(data, there)
    made = figures_of(evaluations, data.market, baseline, confidence)
    seeds = {system: sorted(by_seed) for system, by_seed in evaluations.items()}
    return {
        "name": data.entry.name,
        "title": data.entry.title,
        "simulated": data.market or _simulated(data, there),
        "kind": "markets" if data.market else "rows",
        "arguments": list(data.entry.arguments),
        "seeds_asked": len(data.seeds),
        "claims": bool(seeds) and min(len(each) for each in seeds.values()) >= LEAST_SEEDS,
        "seeds": seeds,
        "left_out": left_out,
        **made,
    }


def figures_of(evaluations: Evaluations, market: bool, baseline: str, confidence: float) -> dict[str, Any]:
    """Figures, chance levels, differences and the family of tests, from evaluations.

    Args:
        evaluations: by system and seed; those of a seed (of all seeds, without markets) are of the same rows.
        market: whether each seed has a log of its own.
        baseline: system that the others are subtracted from.
        confidence: of the intervals.
    """
    found = {system: _by_cell(by_seed) for system, by_seed in evaluations.items() if by_seed}
    differences = {
        system: _each_cell(
            cells,
            lambda segment, metric, figures: difference(
                figures, found[baseline].get(segment, {}).get(metric, {}), market, confidence
            ),
        )
        for system, cells in found.items()
        if system != baseline and baseline in found
    }
    metrics = [m for m in PRIMARY if any(m in cells.get(WHOLE, {}) for cells in differences.values())]
    family = [cells[WHOLE][m] for cells in differences.values() for m in metrics if m in cells.get(WHOLE, {})]
    protocol = next((each.protocol for by_seed in evaluations.values() for each in by_seed.values()), None)
    return {
        "figures": {
            system: _each_cell(cells, lambda _s, _m, figures: summary(figures, market, confidence))
            for system, cells in found.items()
        },
        "undefined": _undefined(evaluations),
        "chance": _chances(evaluations),
        "differences": differences,
        "family": {
            "baseline": baseline,
            "segment": WHOLE,
            "metrics": metrics,
            "systems": list(differences),
            "tests": add_holm(family),
        },
        **_protocol(protocol, market),
    }


def _read(data: DataSet, finished: set[Fit]) -> tuple[dict[str, dict[int, Evaluation]], list[str]]:
    """Evaluations of finished fits; what was evaluated on other rows than the first one is named and left out."""
    made: dict[str, dict[int, Evaluation]] = {}
    left_out: list[str] = []
    pairing: dict[int | None, Any] = {}
    for system, by_seed in data.fits.items():
        made[system] = {}
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
            made[system][seed] = evaluation
    return made, left_out


def _by_cell(by_seed: Mapping[int, Evaluation]) -> dict[str, dict[str, dict[int, SeedFigure]]]:
    """Segment → metric → seed → figure, of what is defined on the test split."""
    made: dict[str, dict[str, dict[int, SeedFigure]]] = {}
    for seed, evaluation in by_seed.items():
        for row, (split, segment, metric) in enumerate(evaluation.protocol["bootstrap"]):
            if split != SPLIT or metric.endswith(CHANCE):
                continue
            cell = evaluation.metrics[split][segment][metric]
            if cell["value"] is not None:
                figure = SeedFigure(cell["value"], evaluation.draws[row], cell["n"])
                made.setdefault(segment, {}).setdefault(metric, {})[seed] = figure
    return {segment: made[segment] for segment in (*SEGMENTS, *made) if segment in made}


def _each_cell(cells: Mapping[str, Mapping[str, BySeed]], make: Any) -> dict[str, dict[str, Any]]:
    return {
        segment: {metric: make(segment, metric, figures) for metric, figures in by_metric.items()}
        for segment, by_metric in cells.items()
    }


def _chances(evaluations: Evaluations) -> dict[str, dict[str, float]]:
    """Segment → metric → what a random order reaches; the same lists for all systems, so a mean over seeds."""
    found: dict[str, dict[str, list[float]]] = {}
    for by_seed in evaluations.values():
        for evaluation in by_seed.values():
            for segment, cells in evaluation.metrics[SPLIT].items():
                for metric, cell in cells.items():
                    of = metric.removesuffix(CHANCE)
                    level = cell["value"] if of != metric else 0.5 if "auc_" in metric else None
                    if level is not None and cells.get(of, {}).get("value") is not None:
                        found.setdefault(segment, {}).setdefault(of, []).append(level)
    return {
        segment: {metric: sum(levels) / len(levels) for metric, levels in cells.items()}
        for segment, cells in found.items()
    }


def _undefined(evaluations: Evaluations) -> dict[str, dict[str, str]]:
    """System → metric → why it has none over the whole split."""
    made: dict[str, dict[str, str]] = {}
    for system, by_seed in evaluations.items():
        for evaluation in by_seed.values():
            for metric, cell in evaluation.metrics[SPLIT].get(WHOLE, {}).items():
                if cell["value"] is None and not metric.endswith(CHANCE):
                    made.setdefault(system, {})[metric] = str(cell.get("reason", "undefined"))
    return made


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
