"""COLD under its budget: quality against operations and measured time, for a few or all feature groups.

    python -m pretrain.run run=market_0 seed=0 data=marketplace data.world=laboratory   # and _1, _2 with their seeds
    python benchmarks/cold.py market_0 market_1 market_2 --groups 1 2 4 8 16

Each run is a seed of its own. The reference systems are fitted in RUN itself, every budget in a run folder beside it,
``RUN_cold_GROUPS``, which shares the log, the graph, ψ, the encoding and the ranking of the groups. Fits take the
``prerank`` settings that the run was made with, and ``--overrides``. Finished fits are skipped, so an interrupted table
goes on where it stopped; ``--unfinished`` makes a table of what is there.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from pictures import Curve, Panel, panels

from configs.command import config_from, parse, run_config, save, settings
from configs.console import say
from configs.stages import Run, read_json, replacing
from prerank.compare.cost import measure
from prerank.compare.statistics import SeedFigure, SeedMean, difference, summary
from prerank.encoding.features import encode_log
from prerank.evaluation.evaluation import read_evaluation
from prerank.experiment.fits import share
from prerank.experiment.jobs import STAGES, argument
from prerank.fitting import fit_system, open_log, open_work, system_stage
from prerank.pages.plot import PlotAxis
from prerank.systems.cold import RANKING

METRICS = ("gauc_click", "recall_at_10")
CONFIDENCE = 0.95
ROUNDS = 5
"""Measurements of a system's time, all systems in turns; the lowest is taken, since other work only ever adds."""


@dataclass(frozen=True)
class Variant:
    """One row of the table: a system, or COLD with a budget.

    Attributes:
        label: in the table.
        system: name of the model.
        groups: budget of COLD, 0 for another system.
    """

    label: str
    system: str
    groups: int = 0

    def arguments(self, run: Run, overrides: Sequence[str]) -> list[str]:
        """The command line of its fit for a prepared run."""
        config = run_config(run)
        place = f"{run.root.name}_cold_{self.groups}" if self.groups else run.root.name
        training = [argument(f"prerank.{key}", value) for key, value in settings(config.prerank).items()]
        budget = [f"model.cold.groups={self.groups}"] if self.groups else []
        common = [f"run={place}", f"runs_folder={run.root.parent}", f"seed={config.seed}", f"model={self.system}"]
        return [*common, *training, *budget, *overrides]

    def folder(self, run: Run, overrides: Sequence[str]) -> Path:
        return parse(self.arguments(run, overrides)).run.system(self.system)


@dataclass
class Row:
    """What is known of a variant, over its runs.

    Attributes:
        folders: finished fits' folders, by run.
        flops, scoring_ms, network_ms: of the first run's fit, of one candidate and of 1,000 candidates.
    """

    variant: Variant
    folders: dict[str, Path] = field(default_factory=dict)
    flops: int = 0
    scoring_ms: float = 0.0
    network_ms: float = 0.0

    def by_run(self, split: str, metric: str) -> dict[int, SeedFigure]:
        """The figure of each run, with its draws."""
        figures = {}
        for place, folder in enumerate(self.folders.values()):
            evaluation = read_evaluation(folder)
            figure = evaluation.metrics[split]["all"][metric]
            assert figure.value is not None
            figures[place] = SeedFigure(figure.value, evaluation.draws_of(split, "all", metric), figure.n)
        return figures

    def quality(self, split: str, metric: str) -> SeedMean:
        """Mean over runs with its interval."""
        return summary(self.by_run(split, metric), market=False, confidence=CONFIDENCE)


def fit_variant(variant: Variant, run: Run, ranked: Path | None, overrides: Sequence[str]) -> None:
    """Fit a variant for a run, unless that was done; ``ranked`` is a folder with the ranking of its groups, if any."""
    arguments = variant.arguments(run, overrides)
    invocation = parse(arguments)
    if variant.groups and not invocation.run.config.exists():
        share(invocation.run, [run], STAGES)
        save(config_from(run.config), invocation.run.config)
        invocation = parse(arguments)
    work = open_work(invocation.config, invocation.run, encode_log(invocation, open_log(invocation)))
    stage = system_stage(invocation.config, invocation.run, work)
    place = (work.folder / RANKING).parent
    if variant.groups and ranked is not None and not stage.finished:
        stage.start()
        if not place.exists():
            with replacing(place) as temporary:
                shutil.copytree((ranked / RANKING).parent, temporary, copy_function=os.link)
    fit_system(invocation)


def fit_all(variants: Sequence[Variant], runs: Sequence[Run], overrides: Sequence[str]) -> None:
    """Every variant of every run; the first budget ranks the groups for the others."""
    for run in runs:
        budgets = [variant.folder(run, overrides) for variant in variants if variant.groups]
        for variant in variants:
            say(f"== {run.root.name}: {variant.label}")
            ranked = next((folder for folder in budgets if (folder / RANKING).exists()), None)
            fit_variant(variant, run, ranked, overrides)


def measured(variants: Sequence[Variant], runs: Sequence[Run], overrides: Sequence[str]) -> list[Row]:
    """A row for each variant that is fitted for every run, with its costs for the first run, one thread."""
    rows = []
    for variant in variants:
        folders = {run.root.name: variant.folder(run, overrides) for run in runs}
        if all((folder / "manifest.json").exists() for folder in folders.values()):
            rows.append(Row(variant, folders))
    torch.set_num_threads(1)
    costs = [
        [measure(row.variant.arguments(runs[0], overrides), row.variant.system) for row in rows] for _ in range(ROUNDS)
    ]
    for place, row in enumerate(rows):
        of_row = [each[place] for each in costs]
        row.flops = of_row[0]["flops"]
        row.scoring_ms = min(each["scoring_ms"] for each in of_row)
        row.network_ms = min(each["network_ms"] for each in of_row)
    return rows


def table(rows: Sequence[Row], every: Row) -> str:
    """Markdown: a row for each variant; differences are from COLD with all groups, paired draw by draw."""
    names = [f"{split} {metric}" for split in ("validation", "test") for metric in METRICS]
    head = ["", "FLOPs a candidate", "ms, network", "ms, with lookup of features", "parameters", *names]
    head.append("test gauc_click less all groups'")
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row in rows:
        parameters = [read_json(folder / "manifest.json")["parameters"] for folder in row.folders.values()]
        cells = [row.variant.label, f"{row.flops:,}", f"{row.network_ms:.2f}", f"{row.scoring_ms:.2f}"]
        cells.append(f"{round(np.mean(parameters)):,}")
        cells += [_quality(row, split, metric) for split in ("validation", "test") for metric in METRICS]
        lines.append(f"| {' | '.join([*cells, _difference(row, every)])} |")
    return "\n".join(lines)


def _quality(row: Row, split: str, metric: str) -> str:
    mean = row.quality(split, metric)
    values = mean.by_seed.values()
    return f"{mean.value:.4f} ({mean.low:.3f}–{mean.high:.3f}) [{min(values):.3f}…{max(values):.3f}]"


def _difference(row: Row, every: Row) -> str:
    if row is every:
        return "–"
    ours, whole = (each.by_run("test", "gauc_click") for each in (row, every))
    gap = difference(ours, whole, market=False, confidence=CONFIDENCE)
    return f"{gap.value:+.4f} ({gap.low:+.4f} … {gap.high:+.4f})"


def choices(rows: Sequence[Row]) -> str:
    """How often each group was among the first of a run's order, and whether runs agree more than by chance."""
    ranked = {}
    for row in rows:
        for run, folder in row.folders.items():
            if (folder / RANKING).exists():
                ranked[run] = read_json(folder / RANKING)
    by = {
        "loss when closed": {run: each["order"] for run, each in ranked.items()},
        "mean s": {run: sorted(each["weights"], key=lambda g: -each["weights"][g]) for run, each in ranked.items()},
    }
    lines = []
    for run, each in ranked.items():
        listed = ", ".join(
            f"{group} {each['losses'][group]:+.4f} (s {each['weights'][group]:.3f})" for group in each["order"]
        )
        lines.append(f"{run}: {listed}")
    for criterion, orders in by.items():
        for row in rows:
            if row.variant.groups and len(orders) > 1:
                lines.append(f"{criterion}, first {row.variant.groups}: {_agreement(orders, row.variant.groups)}")
    return "\n".join(lines)


def _agreement(orders: Mapping[str, Sequence[str]], groups: int) -> str:
    """Mean share of groups that two runs have in common, beside chance."""
    pairs = list(combinations(orders.values(), 2))
    shared = np.mean([len(set(a[:groups]) & set(b[:groups])) / groups for a, b in pairs])
    chance = groups / len(pairs[0][0])
    return f"two runs share {shared:.2f} of them, {chance:.2f} by chance"


def picture(rows: Sequence[Row], seeds: int) -> str:
    """Test GAUC against operations and against time."""
    axes: dict[str, Callable[[Row], float]] = {
        "FLOPs a candidate, thousands": lambda row: row.flops / 1000,
        "ms for 1,000 candidates, network alone": lambda row: row.network_ms,
    }
    quality = {row.variant.label: row.quality("test", "gauc_click") for row in rows}
    ends = [end for mean in quality.values() for end in (mean.low, mean.high) if end is not None]
    step = 0.02 if max(ends) - min(ends) < 0.15 else 0.05
    low, high = np.floor(min(ends) / step) * step, np.ceil(max(ends) / step) * step
    vertical = PlotAxis(low, high, [(value, f"{value:.2f}") for value in np.arange(low, high + step / 2, step)])
    drawn = []
    for name, of_row in axes.items():
        places = [of_row(row) for row in rows]
        across = PlotAxis(0.0, 1.1 * max(places), _ticks(1.1 * max(places)))
        title = "Quality against operations" if "FLOPs" in name else "Quality against measured time"
        drawn.append(Panel(title, across, vertical, name, "GAUC of clicks, test", _lines(rows, quality, of_row)))
    budgets = ", ".join(str(row.variant.groups) for row in rows if row.variant.groups)
    note = f"Simulated, {seeds} markets, 95 % intervals. COLD's points, from left to right: {budgets} feature groups."
    return panels("COLD: quality against operations and measured time", drawn, note)


def _lines(rows: Sequence[Row], quality: Mapping[str, SeedMean], of_row: Callable[[Row], float]) -> list[Curve]:
    lines = []
    for system, colour in (("cold", "simulated"), ("ple", "trivago"), ("grace", "expedia")):
        chosen = [row for row in rows if row.variant.system == system]
        means = [quality[row.variant.label] for row in chosen]
        spans = [(mean.low, mean.high) for mean in means]
        x, y = [of_row(row) for row in chosen], [mean.value for mean in means]
        if chosen:
            lines.append(Curve(system.upper(), colour, x, y, marks=True, spans=spans))
    return lines


def _ticks(high: float) -> list[tuple[float, str]]:
    """Round steps from 0, four to ten of them."""
    power = 10.0 ** np.floor(np.log10(high))
    step = power if high >= 5 * power else power / 2 if high >= 2 * power else power / 5
    return [(value, f"{value:,.6g}") for value in np.arange(0.0, high, step)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", help="prepared runs (python -m pretrain.run), one a seed")
    parser.add_argument("--runs-folder", type=Path, default=Path("runs"))
    parser.add_argument("--groups", type=int, nargs="+", default=[1, 2, 4, 8, 16], help="budgets, fitted in this order")
    parser.add_argument("--references", nargs="+", default=["ple", "grace"], help="fitted first, and after the budgets")
    parser.add_argument("--output", type=Path, default=Path("runs"), help="folder of cold.md and cold.svg")
    parser.add_argument("--unfinished", action="store_true", help="fit nothing; show the variants that every run has")
    parser.add_argument("--overrides", nargs="*", default=[], help="of every fit, such as prerank.threads=1")
    asked = parser.parse_args()
    runs = [Run(asked.runs_folder / name) for name in asked.runs]
    budgets = [Variant(f"COLD, groups: {groups}", "cold", groups) for groups in asked.groups]
    references = [Variant(system.upper(), system) for system in asked.references]
    variants = [*references[:1], *budgets, *references[1:]]
    if not asked.unfinished:
        fit_all(variants, runs, asked.overrides)
    shown = [*sorted(budgets, key=lambda variant: variant.groups), *references]
    rows = measured(shown, runs, asked.overrides)
    every = next(row for row in reversed(rows) if row.variant.groups)
    text = f"{table(rows, every)}\n\n{choices(rows)}\n"
    print(text)
    asked.output.mkdir(parents=True, exist_ok=True)
    for name, content in (("cold.md", text), ("cold.svg", picture(rows, len(runs)))):
        with replacing(asked.output / name) as temporary:
            temporary.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
