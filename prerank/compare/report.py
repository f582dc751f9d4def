"""The comparison's report: ``comparison.json`` with everything, ``comparison.md``, and ``reports/comparison.html``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from configs.schema import Config
from configs.stages import Run, read_json, replacing, write_json
from prerank.compare.cost import read_cost
from prerank.compare.figures import data_figures
from prerank.compare.jobs import Comparison, DataSet
from prerank.compare.markdown import as_markdown
from prerank.compare.page import page
from prerank.compare.paper import AUC_NOTE, SOURCE, paper_figures
from prerank.compare.statistics import LEAST_SEEDS
from prerank.compare.tuned import tuning_warnings, tuning_words
from prerank.compare.verdict import verdict
from prerank.evaluation.definitions import define, lower_is_better
from prerank.experiment.jobs import Fit
from prerank.pages.provenance import Facts, provenance, written


def report_content(
    comparison: Comparison, config: Config, finished: Iterable[Fit], failed: Mapping[Fit, str]
) -> dict[str, Any]:
    """Everything that the report says, as ``comparison.json`` holds it, its figures typed.

    Args:
        comparison: what was asked for.
        config: of the command.
        finished: fits that are.
        failed: fits that broke, with why.
    """
    there = set(finished)
    data = [_data_set(each, config, there, failed) for each in comparison.data]
    metrics = dict.fromkeys(
        metric
        for each in data
        for cells in each["figures"].values()
        for by_metric in cells.values()
        for metric in by_metric
    )
    return {
        "run": config.run,
        "systems": list(config.compare.systems),
        "baseline": config.compare.baseline,
        "seeds_asked": config.compare.seeds,
        "least_seeds": LEAST_SEEDS,
        "split": "test",
        "provenance": _provenance(comparison, config, there),
        "data": data,
        "tuning": {
            system: {"tuned": each.tuned, "trials": each.trials, "keys": dict(each.keys), "words": tuning_words(each)}
            for system, each in comparison.tuned.items()
        },
        "tuning_note": None if any(each.tuned for each in comparison.tuned.values()) else _untuned(),
        "warnings": _warnings(comparison, data),
        "paper": {"source": SOURCE, "auc_note": AUC_NOTE, "figures": paper_figures()},
        "metrics": [
            {"name": metric, "definition": define(metric), "lower_is_better": lower_is_better(metric)}
            for metric in metrics
        ],
    }


def _provenance(comparison: Comparison, config: Config, finished: set[Fit]) -> Facts:
    """What the header says: each data set with the days of its first finished fit, seeds, epochs, and when."""
    facts = []
    for data in comparison.data:
        first = next((fit for by_seed in data.fits.values() for fit in by_seed.values() if fit in finished), None)
        days = dict(provenance(first.place, [])).get("dates") if first is not None else None
        facts.append(("data", data.title + (", simulated" if data.market else "") + (f" ({days})" if days else "")))
    seeds = sorted({seed for data in comparison.data for seed in data.seeds})
    facts.append(("seeds", ", ".join(map(str, seeds))))
    facts.append(("epochs at most", f"ψ {config.pretrain.max_epochs}, systems {config.prerank.max_epochs}"))
    return [*facts, *written(fit.metrics for fit in finished)]


def write_report(content: Mapping[str, Any], run: Run) -> list[Path]:
    """Write the three files of a report.

    Args:
        content: as :func:`report_content` makes it.
        run: the comparison's.

    Returns:
        The JSON file, the Markdown file and the page.
    """
    folder = run.root / "compare"
    files = [folder / "comparison.json", folder / "comparison.md", run.reports / "comparison.html"]
    write_json(files[0], content)
    for path, text in zip(files[1:], (as_markdown(content), page(content)), strict=True):
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return files


def _data_set(data: DataSet, config: Config, finished: set[Fit], failed: Mapping[Fit, str]) -> dict[str, Any]:
    figures = data_figures(data, finished, config.compare.baseline, config.evaluation.confidence)
    figures["verdict"] = verdict(figures)
    figures["cost"] = {
        system: _cost([fit for fit in by_seed.values() if fit in finished]) for system, by_seed in data.fits.items()
    }
    figures["failed"] = [
        {"system": fit.system, "seed": fit.seed, "reason": reason}
        for fit, reason in failed.items()
        if fit.group == data.name
    ]
    return figures


def _cost(fits: Sequence[Fit]) -> dict[str, Any]:
    """Parameters and seconds of finished fits, over seeds; the latency of the first one, where it is measured.

    Seconds are the median: a machine that sleeps during one fit says nothing about the system.
    """
    if not fits:
        return {"parameters": None, "fit_seconds": None, "latency": None}
    facts = [read_json(fit.metrics.parent / "manifest.json") for fit in fits]
    return {
        "parameters": round(float(np.mean([each["parameters"] for each in facts]))),
        "fit_seconds": float(np.median([each["fit_seconds"] for each in facts])),
        "latency": read_cost(min(fits, key=lambda fit: fit.seed)),
    }


def _warnings(comparison: Comparison, data: Sequence[Mapping[str, Any]]) -> list[str]:
    warnings = tuning_warnings(comparison.tuned)
    if comparison.overridden:
        warnings.append(
            f"the command line or the plan goes over tuned keys of some systems: {', '.join(comparison.overridden)}"
        )
    for each in data:
        warnings += [f"{each['title']}: left out: {reason}" for reason in each["left_out"]]
        warnings += [
            f"{each['title']}: {fit['system']} with seed {fit['seed']} failed: {fit['reason']}"
            for fit in each["failed"]
        ]
    return warnings


def _untuned() -> str:
    return "No system was tuned: all run with the keys of configs/model and of the command line."
