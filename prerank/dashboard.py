"""The long-tail dashboard, ``reports/segments.html``: every system's figures by segment, on one offline page.

The page holds its data as JSON and draws it with a small script of its own; it asks the network for nothing. Every
string in it (system and segment names, reasons) is untrusted: Jinja escapes it, and the script only ever sets text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from configs.console import warn
from configs.errors import InputError
from configs.stages import Run, replacing, write_json
from prerank.definitions import define, lower_is_better
from prerank.evaluation import SPLITS, Evaluation, is_paired, read_evaluation
from prerank.segments import SEGMENTS
from prerank.significance import difference_of_draws, holm

MINIMUM_N = 100
"""Cells with fewer rows (pooled metrics) or requests (metrics by request) are greyed: too few to compare systems on."""

BASELINES = ("popularity", "lightgbm", "ple", "grace")
"""Systems that others are compared with on the page, where they are there; the first ones by name fill up to four."""

NOT_SHOWN = ("bootstrap", "definitions")
"""Parts of ``evaluation.json`` that the page does not repeat."""

DECIMALS = 5

Figures = dict[str, dict[str, dict[str, dict[str, Any]]]]
"""split → segment → metric → figure."""


def write_dashboard(run: Run) -> Path:
    """Write ``reports/segments.html`` and ``segments.json`` from the metrics of every system of a run.

    Raises:
        InputError: if no system of the run has been evaluated.
    """
    evaluations = _evaluations(run)
    if not evaluations:
        raise InputError(f"{run.root / 'prerank'} has no evaluated system: run `python -m prerank.fit` first")
    content = dashboard_content(run.root.name, evaluations)
    write_json(run.reports / "segments.json", content)
    path = run.reports / "segments.html"
    with replacing(path) as temporary:
        temporary.write_text(render(content), encoding="utf-8")
    return path


def render(content: Mapping[str, Any]) -> str:
    """The page as text."""
    folder = Path(__file__).parent / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    return environment.get_template("segments.html").render(content=content)


def dashboard_content(name: str, evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
    """What the page shows, JSON-like.

    Args:
        name: of the run.
        evaluations: system → its evaluation.
    """
    systems = sorted(evaluations, key=lambda system: (_order(system, BASELINES), system))
    found = [evaluation.metrics[split] for evaluation in evaluations.values() for split in evaluation.metrics]
    metrics = list(dict.fromkeys(metric for split in found for cells in split.values() for metric in cells))
    segments = {segment for split in found for segment in split}
    return {
        "run": name,
        "systems": systems,
        "baselines": systems[: len(BASELINES)],
        "splits": [split for split in reversed(SPLITS) if any(split in e.metrics for e in evaluations.values())],
        "segments": sorted(segments, key=lambda segment: (_order(segment, SEGMENTS), segment)),
        "metrics": [
            {"name": metric, "definition": define(metric), "lower_is_better": lower_is_better(metric)}
            for metric in metrics
            if not metric.endswith("_chance")
        ],
        "minimum_n": MINIMUM_N,
        "figures": {system: _rounded(evaluations[system].metrics) for system in systems},
        "differences": {baseline: _compared(baseline, systems, evaluations) for baseline in systems[: len(BASELINES)]},
        "protocols": {
            system: {key: value for key, value in evaluations[system].protocol.items() if key not in NOT_SHOWN}
            for system in systems
        },
    }


def _evaluations(run: Run) -> dict[str, Evaluation]:
    evaluations = {}
    for path in sorted((run.root / "prerank").glob("*/metrics.json")):
        try:
            evaluations[path.parent.name] = read_evaluation(path.parent)
        except InputError as error:
            warn(f"the dashboard leaves out {path.parent.name}: {error}")
    return evaluations


def _compared(baseline: str, systems: Sequence[str], evaluations: Mapping[str, Evaluation]) -> dict[str, Figures]:
    """Paired differences of every other system to a baseline, with Holm's correction.

    The family of a comparison is what the page shows at once: one metric of one split, all systems and segments.
    """
    compared = {
        system: _differences(evaluations[system], evaluations[baseline]) for system in systems if system != baseline
    }
    families: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for figures in compared.values():
        for split, segments in figures.items():
            for cells in segments.values():
                for metric, cell in cells.items():
                    if cell["p"] is not None:
                        families.setdefault((split, metric), []).append(cell)
    for family in families.values():
        for cell, adjusted in zip(family, holm([cell["p"] for cell in family]), strict=True):
            cell["p_holm"] = adjusted
    return {system: _rounded(figures) for system, figures in compared.items()}


def _differences(of: Evaluation, baseline: Evaluation) -> Figures:
    """System less baseline where both were resampled alike; a split of other rows or other draws is left out."""
    places = {tuple(key): row for row, key in enumerate(baseline.protocol["bootstrap"])}
    made: Figures = {}
    for row, (split, segment, metric) in enumerate(of.protocol["bootstrap"]):
        place = places.get((split, segment, metric))
        if place is None or metric.endswith("_chance") or not is_paired(of, baseline, split):
            continue
        value = of.metrics[split][segment][metric]["value"]
        reference = baseline.metrics[split][segment][metric]["value"]
        if value is None or reference is None:
            continue
        made.setdefault(split, {}).setdefault(segment, {})[metric] = difference_of_draws(
            value - reference, np.asarray(of.draws[row]), np.asarray(baseline.draws[place]), of.protocol["confidence"]
        )
    return made


def _rounded(figures: Figures) -> Figures:
    """Figures with as many decimals as a reader can use, so that the page stays small."""
    return {
        split: {
            segment: {
                metric: {
                    key: round(entry, DECIMALS) if isinstance(entry, float) else entry for key, entry in cell.items()
                }
                for metric, cell in cells.items()
            }
            for segment, cells in segments.items()
        }
        for split, segments in figures.items()
    }


def _order(name: str, known: Sequence[str]) -> int:
    return known.index(name) if name in known else len(known)
