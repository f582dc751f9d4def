"""``python -m index.audit``: does φ know what ψ knows, and does it know it of items that the graph has never seen?

Exact FAISS indexes of ψ and φ → neighbours, overlap, purity, geometry → the cold-start protocol → ``index/audit.json``,
``reports/embeddings.html``, and the long-tail dashboard afresh.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from configs.command import Request, main, save
from configs.console import say, table
from configs.stages import write_json
from graph.store import Graph
from index import ann, measures
from index.browser import neighbour_lists
from index.cold_start import Held, Vectors, cold_start, hold_out, stage_of
from index.figures import Figure
from index.report import write_report
from index.sources import Rows, Sources, open_sources, rows_to_audit, subject_of
from index.verdict import findings, read_figure
from prerank.dashboard import write_dashboard
from pretrain.psi import train_psi

PURPOSE = "Audit psi and phi of a fitted system: neighbours, purity, geometry, cold start (run=..., model=...)."


def audit(request: Request) -> dict[str, Any]:
    """Audit φ of ``config.model`` against ψ of ``config.run``.

    Returns:
        What ``audit.json`` holds.

    Raises:
        InputError: if ψ or φ is missing, damaged, of another catalogue, or too small to have neighbourhoods.
    """
    sources = open_sources(request)
    config, run = sources.config, sources.run
    say(f"auditing {config.model.name} of run {config.run}, {ann.device()}")
    items, outside = rows_to_audit(sources)
    subject = subject_of(sources, items, outside)
    for embeddings, name in ((sources.psi, "psi"), (sources.phi, "phi")):
        index = ann.exact_index(ann.normalised(np.asarray(embeddings.vectors)))
        ann.save_index(index, embeddings.ids, run.index / f"{name}.faiss")
    lists = measures.find_neighbours(subject)
    found = {
        **facts_of(sources, subject),
        "overlap": as_json(measures.overlap_figures(subject, lists)),
        "purity": {name: as_json(part) for name, part in measures.purity_figures(subject, lists).items()},
        "geometry": {name: as_json(part) for name, part in measures.geometry_figures(subject, lists).items()},
        "approximate": {name: as_json(part) for name, part in measures.approximate_figures(subject).items()},
        "popularity": measures.popularity_rows(subject, lists),
        "occurrence": measures.occurrence_rows(subject, lists),
        "cold_start": hold_out_and_learn(sources, subject, items),
    }
    write_json(run.index / "audit.json", found)
    save(config, run.index / "config.yaml")
    say_findings(found)
    browser = neighbour_lists(subject, lists, sources.catalogue, items, outside, config.seed)
    say(f"figures: {run.index / 'audit.json'}")
    say(f"embeddings report: {write_report(run.reports, found, browser)}")
    write_dashboard(run)
    return found


def hold_out_and_learn(sources: Sources, subject: measures.Subject, items: Rows) -> dict[str, Any]:
    """The cold-start protocol, a stage of its own that is not run again once it has finished."""
    config, run = sources.config, sources.run
    inputs = {name: identity for name, identity in sources.inputs.items() if name != "system"}
    stage = stage_of(config, run.index / "cold_start", inputs)
    held, kept = hold_out(subject.impressions, config.index.hold_out, config.seed)
    attributes = np.array([*subject.attributes.values()], dtype=np.int64).reshape(-1, len(items)).T
    protocol = Held(sources.psi, items, attributes, held, kept)

    epochs = min(config.pretrain.max_epochs, config.index.hold_out_max_epochs)
    briefly = replace(config, pretrain=replace(config.pretrain, max_epochs=epochs))

    def train_without(hidden: Rows, folder: Path) -> Vectors:
        return train_psi(Graph.open(run.graph), sources.log, briefly, folder, hidden).induce(items)

    return cold_start(config, stage, protocol, sources.encoded, train_without)


def facts_of(sources: Sources, subject: measures.Subject) -> dict[str, Any]:
    """What was audited, with which settings."""
    config = sources.config
    return {
        "run": config.run,
        "system": config.model.name,
        "simulated": bool(sources.log.facts["simulated"]),
        "catalogue": sources.log.catalogue,
        "inputs": sources.inputs,
        "items": len(sources.catalogue),
        "items_of_p": len(sources.psi),
        "queries": len(subject.queries),
        "neighbours": subject.neighbours,
        "attributes": list(subject.attributes),
        "main_attribute": subject.main_attribute,
        "confidence": config.evaluation.confidence,
        "draws": config.evaluation.draws,
        "seed": config.seed,
        "device": ann.device(),
    }


def say_findings(found: dict[str, Any]) -> None:
    """The verdict and the overlaps, as the report opens."""
    for finding in findings(found):
        say(f"{finding.headline}. {finding.sentence}")
    rows = []
    for name, entry in found["overlap"].items():
        figure = read_figure(entry)
        span = "" if figure.low is None or figure.high is None else f"{figure.low:.4f} .. {figure.high:.4f}"
        rows.append((name, "undefined" if figure.value is None else f"{figure.value:.4f}", span, f"{figure.n:,}"))
    table("neighbours of phi and psi", ("figure", "value", "interval", "n"), rows)


def as_json(figures: dict[str, Figure]) -> dict[str, Any]:
    """Figures as ``audit.json`` holds them."""
    return {name: figure.as_json() for name, figure in figures.items()}


def _body(request: Request) -> None:
    audit(request)


if __name__ == "__main__":
    sys.exit(main(_body, PURPOSE))
