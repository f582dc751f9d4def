"""The long-tail dashboard, ``reports/segments.html``: every system's figures by segment, on one offline page.

``metrics.json`` of each system gives the segments; its predictions and the run's log give attributes, calibration, gain
curves and the requests where systems differ (``dashboard_details``), as far as they are there. The page holds its data
as JSON and draws it with a small script of its own; it asks the network for nothing. Every string in it (names,
queries, titles, reasons) is untrusted: Jinja escapes it, and the script only ever sets text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.console import warn
from configs.errors import InputError
from configs.locks import alone
from configs.stages import Run, replacing
from graph.figure import Difference
from prerank.dashboard.budget import compact_json, within_budget
from prerank.dashboard.details import details_content, run_details
from prerank.evaluation.claims import MINIMUM_N, claim_of, judged, unit_of_difference, visible_among
from prerank.evaluation.definitions import CHANCE, define, lower_is_better
from prerank.evaluation.evaluation import (
    SPLITS,
    Evaluation,
    is_paired,
    metrics_as_json,
    paired_difference,
    read_evaluation,
)
from prerank.evaluation.segments import SEGMENTS
from prerank.evaluation.significance import holm
from prerank.pages.provenance import Facts, is_simulated, provenance
from prerank.pages.render import render_page

BASELINES = ("popularity", "lightgbm", "ple", "grace")
"""Systems that others are compared with on the page, where they are there; the first ones by name fill up to four."""

NOT_SHOWN = ("bootstrap", "definitions", "made_with")
"""Parts of ``evaluation.json`` that the page does not repeat."""

PROTOCOL = frozenset(("bootstrap", "confidence", "splits"))
"""What the page cannot do without in ``evaluation.json``."""

DECIMALS = 5

Figures = dict[str, dict[str, dict[str, dict[str, Any]]]]
"""split → segment → metric → figure."""


def write_dashboard(run: Run) -> Path:
    """Write ``reports/segments.html`` and ``segments.json`` from the metrics of every system of a run.

    Raises:
        InputError: if no system of the run has been evaluated.
    """
    with alone(run.reports):  # whoever fits beside this waits, and its page has this system too
        return _write_page(run)


def _write_page(run: Run) -> Path:
    evaluations = _evaluations(run)
    if not evaluations:
        raise InputError(f"{run.root / 'prerank'} has no evaluated system: run `python -m prerank.fit` first")
    systems = ordered_systems(evaluations)
    details = run_details(run, systems, systems[: len(BASELINES)])
    origin = provenance(run, systems, [run.system(system) / "metrics.json" for system in systems])
    content = dashboard_content(run.root.name, evaluations, details)
    content = within_budget({**content, "simulated": is_simulated(run)})
    page = run.reports / "segments.html"
    for path, text in ((run.reports / "segments.json", compact_json(content)), (page, render(content, origin))):
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return page


def ordered_systems(evaluations: Iterable[str]) -> list[str]:
    """The systems in the order of the page: those that others are compared with first."""
    return sorted(evaluations, key=lambda system: (_order(system, BASELINES), system))


def render(content: Mapping[str, Any], origin: Facts = ()) -> str:
    """The page as text; ``origin`` stands in its header."""
    return render_page("segments.html", Path(__file__).parent, content=content, provenance=origin)


def dashboard_content(
    name: str, evaluations: Mapping[str, Evaluation], details: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What the page shows, JSON-like.

    Args:
        name: of the run.
        evaluations: system → its evaluation.
        details: as :func:`prerank.dashboard.details.run_details` makes them; None: of no system.
    """
    systems = ordered_systems(evaluations)
    splits = [evaluation.metrics[split] for evaluation in evaluations.values() for split in evaluation.metrics]
    metrics = list(dict.fromkeys(metric for split in splits for cells in split.values() for metric in cells))
    segments = {segment for split in splits for segment in split}
    return {
        "run": name,
        "systems": systems,
        "baselines": systems[: len(BASELINES)],
        "splits": [split for split in reversed(SPLITS) if any(split in e.metrics for e in evaluations.values())],
        "segments": sorted(segments, key=lambda segment: (_order(segment, SEGMENTS), segment)),
        "metrics": [
            {
                "name": metric,
                "definition": define(metric),
                "lower_is_better": lower_is_better(metric),
                "unit": unit_of_difference(metric),
            }
            for metric in metrics
            if not metric.endswith(CHANCE)
        ],
        "minimum_n": MINIMUM_N,
        "figures": {system: _rounded(metrics_as_json(evaluations[system].metrics)) for system in systems},
        "differences": {baseline: _compared(baseline, systems, evaluations) for baseline in systems[: len(BASELINES)]},
        "protocols": {
            system: {key: value for key, value in evaluations[system].protocol.items() if key not in NOT_SHOWN}
            for system in systems
        },
        "details": details or details_content({}, (), {}, {}, None),
        "cut": [],
        "simulated": False,
    }


def _evaluations(run: Run) -> dict[str, Evaluation]:
    evaluations = {}
    for path in sorted((run.root / "prerank").glob("[!.]*/metrics.json")):
        try:
            evaluations[path.parent.name] = _checked(read_evaluation(path.parent), path.parent)
        except InputError as error:
            warn(f"the dashboard leaves out {path.parent.name}: {error}")
    return evaluations


def _checked(evaluation: Evaluation, folder: Path) -> Evaluation:
    """The evaluation, if its three files belong together: a copy or a killed command may leave some of them behind.

    Raises:
        InputError: if they do not.
    """
    metrics, protocol = evaluation.metrics, evaluation.protocol
    if not isinstance(protocol, dict) or PROTOCOL - protocol.keys():
        raise InputError(f"{folder}: metrics.json and evaluation.json are not an evaluation's: evaluate it again")
    index = protocol["bootstrap"]
    if evaluation.draws.ndim != 2 or len(evaluation.draws) != len(index):
        raise InputError(
            f"{folder}: bootstrap.npy has shape {list(evaluation.draws.shape)}, evaluation.json names {len(index)} "
            "figures: evaluate it again"
        )
    for split, segment, metric in index:
        if metric not in metrics.get(split, {}).get(segment, {}):
            raise InputError(f"{folder}: metrics.json lacks {metric} of {segment} on {split}: evaluate it again")
    return evaluation


def _compared(baseline: str, systems: Sequence[str], evaluations: Mapping[str, Evaluation]) -> dict[str, Figures]:
    """Paired differences of every other system to a baseline, with Holm's correction.

    The family of a comparison is what the page shows at once: one metric of one split, all systems and segments. A
    difference says how many ``tests`` that is and what may be claimed of it.
    """
    others = [system for system in systems if system != baseline]
    differences = {
        (system, *place): difference
        for system in others
        for place, difference in _differences(evaluations[system], evaluations[baseline]).items()
    }
    compared: dict[str, Figures] = {system: {} for system in others}
    for key, difference in holm(differences, family=lambda key: (key[1], key[3])).items():
        system, split, segment, metric = key
        confidence = evaluations[system].protocol["confidence"]
        compared[system].setdefault(split, {}).setdefault(segment, {})[metric] = {
            **{name: fact for name, fact in difference.as_json().items() if name != "visible"},
            **_said_of(difference, metric, confidence),
        }
    return {system: _rounded(figures) for system, figures in compared.items()}


def _said_of(difference: Difference, metric: str, confidence: float) -> dict[str, Any]:
    """``claim``: better, worse, or nothing; ``visible_among``: what its ``tests`` together would tell apart."""
    claim = judged(claim_of(difference), lower_is_better(metric))
    among = visible_among(difference, confidence)
    facts = {"claim": claim or None, "visible_among": among, "tests": difference.tests}
    return {name: fact for name, fact in facts.items() if fact is not None}


def _differences(of: Evaluation, baseline: Evaluation) -> dict[tuple[str, str, str], Difference]:
    """System less baseline where both were resampled alike; a split of other rows or other draws is left out."""
    differences = {
        (split, segment, metric): paired_difference(of, baseline, metric, split, segment)
        for split, segment, metric in of.places
        if (split, segment, metric) in baseline.places
        and not metric.endswith(CHANCE)
        and is_paired(of, baseline, split)
    }
    return {place: difference for place, difference in differences.items() if difference.value is not None}


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
