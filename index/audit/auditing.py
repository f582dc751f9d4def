"""``python -m index.audit``: does φ know what ψ knows, and does it know it of items that the graph has never seen?

Exact FAISS indexes of ψ and φ → neighbours, overlap, purity, geometry, collisions → the cold-start protocol →
``index/audit.json``, ``reports/embeddings.html``, and the long-tail dashboard afresh. With ``a=`` and ``b=``, any two
embedding tables instead.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from configs.command import Invocation
from configs.console import say, table
from configs.keys import Keys
from configs.locks import alone
from configs.schema import Config
from configs.stages import MANIFEST, Stage, differing_settings, replacing_together, write_json
from graph.figure import Figure
from graph.store import Graph
from index.audit.tables import (
    NO_COLD_START,
    NO_COLLISIONS,
    open_tables,
    output_of,
    subject_of_tables,
    table_facts,
    wants_tables,
)
from index.measures import ann
from index.measures import suite as measures
from index.measures.approximate import approximate_figures
from index.measures.cold_start import HoldOut, Vectors, cold_start, hold_out, stage_of
from index.measures.collisions import collision_figures, no_collisions
from index.measures.sources import Rows, Sources, open_sources, rows_to_audit, subject_of
from index.report.figures import typed
from index.report.neighbour_browser import browser_content
from index.report.page import write_report
from index.report.verdict import findings
from prerank.dashboard.page import write_dashboard
from prerank.pages.provenance import provenance
from pretrain.psi import train_psi

AUDIT_KEYS = Keys(
    (
        *("index.neighbours", "index.queries", "index.hold_out", "index.hold_out_max_epochs"),
        *("evaluation.draws", "evaluation.confidence", "seed"),
    )
)
"""What an audit depends on besides the stages of the run that it reads; one with other keys replaces it and says so."""


def audit(invocation: Invocation) -> dict[str, Any]:
    """The command: :func:`audit_tables` where ``index.a`` and ``index.b`` name two tables, else :func:`audit_run`."""
    return audit_tables(invocation) if wants_tables(invocation.config) else audit_run(invocation)


def audit_run(invocation: Invocation) -> dict[str, Any]:
    """Audit φ of ``config.model`` against ψ of ``config.run``.

    Returns:
        What ``audit.json`` holds.

    Raises:
        InputError: if ψ or φ is missing, damaged, of another catalogue, or too small to have neighbourhoods.

    Examples:
        >>> from configs import parse
        >>> from index import audit_run
        >>> figures = audit_run(parse(["run=notebook", "model=grace", "index.hold_out_max_epochs=1"]))
        >>> 0 <= figures["overlap"]["overlap@10"]["value"] <= 1
        True
    """
    sources = open_sources(invocation)
    with alone(invocation.run.index):
        return _audit_and_write(invocation, sources)


def _audit_and_write(invocation: Invocation, sources: Sources) -> dict[str, Any]:
    settings = {"system": invocation.config.system, **AUDIT_KEYS.settings(invocation.config)}
    stage = Stage(invocation.run.index, settings, sources.inputs, overwrite=True)
    say_replaced(stage)
    config, run = sources.config, sources.run
    say(f"auditing {config.system} of run {config.run}, {ann.device()}")
    items, outside = rows_to_audit(sources)
    subject = subject_of(sources, items, outside)
    lists = measures.find_neighbours(subject)
    figures = {
        **facts_of(sources, subject),
        **figures_of(subject, lists),
        "collisions": collision_figures(subject, lists, sources.encoded.items.item_hash, items, config.model.item),
        "cold_start": hold_out_and_learn(sources, subject, items),
    }
    with replacing_together(run.index, last="audit.json") as folder:
        for embeddings, name in ((sources.psi, "psi"), (sources.phi, "phi")):
            index = ann.exact_index(ann.normalised(np.asarray(embeddings.vectors)))
            ann.save_index(index, embeddings.ids, folder / f"{name}.faiss")
        write_json(folder / "audit.json", figures)
        replace(invocation, config=config).save(folder / "config.yaml")
        (run.index / MANIFEST).unlink(missing_ok=True)  # from here on it would be of other files
    stage.finish()
    say_findings(figures)
    browser = browser_content(subject, lists, sources.catalogue, items, outside, config.seed, Graph.open(run.graph))
    say(f"figures: {run.index / 'audit.json'}")
    origin = provenance(run, [config.system], [run.index / "audit.json"])
    say(f"embeddings report: {write_report(run.reports, figures, browser, origin)}")
    write_dashboard(run)
    return figures


def say_replaced(stage: Stage) -> None:
    """Say which audit the new one will take the place of, if it is another: an audit is measured, not trained."""
    if (stage.home / MANIFEST).exists() and (differences := differing_settings(stage.home, stage.settings)):
        say(f"{stage.home} holds an audit with {differences}; the new one takes its place when it is done")


def audit_tables(invocation: Invocation) -> dict[str, Any]:
    """Audit the table ``index.b`` against ``index.a``, whoever made them: all but collisions and the cold start.

    Returns:
        What ``audit.json`` holds, a in the place of ψ and b in that of φ.

    Raises:
        InputError: if a table is missing or damaged, or they share too little.

    Examples:
        >>> from configs import parse
        >>> from index import audit_tables
        >>> run = parse(["run=notebook"]).run
        >>> tables = [f"index.a={run.psi}", f"index.b={run.system('grace') / 'phi'}"]
        >>> figures = audit_tables(parse(["run=notebook", *tables]))
        >>> 0 <= figures["overlap"]["overlap@10"]["value"] <= 1
        True
    """
    config, folder = invocation.config, output_of(invocation)
    tables = open_tables(config)
    say(f"auditing b against a on the {len(tables.catalogue):,} items that both hold, {ann.device()}")
    say(f"left out: the cold start ({NO_COLD_START}) and collisions ({NO_COLLISIONS})")
    subject = subject_of_tables(tables, config)
    lists = measures.find_neighbours(subject)
    figures = {
        **table_facts(tables),
        **settings_of(config, subject),
        **figures_of(subject, lists),
        "collisions": no_collisions(NO_COLLISIONS, len(tables.catalogue)),
        "cold_start": None,
        "cold_start_reason": NO_COLD_START,
    }
    write_json(folder / "audit.json", figures)
    invocation.save(folder / "config.yaml")
    say_overlaps(figures)
    say(f"figures: {folder / 'audit.json'}")
    rows = np.arange(len(tables.catalogue))
    browser = browser_content(subject, lists, tables.catalogue, rows, rows[:0], config.seed)
    say(f"embeddings report: {write_report(folder, figures, browser)}")
    return figures


def figures_of(subject: measures.Subject, lists: measures.Neighbours) -> dict[str, Any]:
    """Every figure that two embeddings of the same items give, as ``audit.json`` holds them."""
    overlaps = measures.overlap_figures(subject, lists)
    purities = measures.purity_figures(subject, lists)
    geometries = measures.geometry_figures(subject, lists)
    approximate, curve = approximate_figures(subject)
    return {
        "overlap": as_json(overlaps),
        "purity": {name: as_json(part) for name, part in purities.items()},
        "geometry": {name: as_json(part) for name, part in geometries.items()},
        "approximate": {name: as_json(part) for name, part in approximate.items()},
        "curve": curve,
        "popularity": measures.popularity_rows(subject, lists),
        "occurrence": measures.occurrence_rows(subject, lists),
    }


def hold_out_and_learn(sources: Sources, subject: measures.Subject, items: Rows) -> dict[str, Any]:
    """The cold-start protocol, a stage of its own that is not run again once it has finished."""
    config, run = sources.config, sources.run
    inputs = {name: identity for name, identity in sources.inputs.items() if name != "system"}
    stage = stage_of(config, run.index / "cold_start", inputs)
    held, kept = hold_out(subject.impressions, config.index.hold_out, config.seed)
    attributes = np.array([*subject.attributes.values()], dtype=np.int64).reshape(-1, len(items)).T
    protocol = HoldOut(sources.psi, items, attributes, held, kept)

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
        "system": config.system,
        "simulated": bool(sources.log.facts["simulated"]),
        "catalogue": sources.log.catalogue,
        "inputs": sources.inputs,
        "items": len(sources.catalogue),
        "items_of_p": len(sources.psi),
        **settings_of(config, subject),
    }


def settings_of(config: Config, subject: measures.Subject) -> dict[str, Any]:
    """What the figures of an audit depend on besides the vectors."""
    return {
        "queries": len(subject.queries),
        "neighbours": subject.neighbours,
        "attributes": list(subject.attributes),
        "main_attribute": subject.main_attribute,
        "confidence": config.evaluation.confidence,
        "draws": config.evaluation.draws,
        "seed": config.seed,
        "device": ann.device(),
    }


def say_findings(figures: dict[str, Any]) -> None:
    """The verdict and the overlaps, as the report opens."""
    for finding in findings(typed(figures)):
        say(f"{finding.headline}. {finding.sentence}")
    say_overlaps(figures)


def say_overlaps(figures: dict[str, Any]) -> None:
    """Every overlap of the two embeddings' neighbours, as a table."""
    rows = []
    for name, figure in typed(figures["overlap"]).items():
        span = "" if figure.low is None or figure.high is None else f"{figure.low:.4f} .. {figure.high:.4f}"
        rows.append((name, "undefined" if figure.value is None else f"{figure.value:.4f}", span, f"{figure.n:,}"))
    table("neighbours of phi and psi", ("figure", "value", "interval", "n"), rows)


def as_json(figures: dict[str, Figure]) -> dict[str, Any]:
    """Figures as ``audit.json`` holds them."""
    return {name: figure.as_json() for name, figure in figures.items()}
