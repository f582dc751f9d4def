"""The tables of docs/results.md: every system on one real log, several seeds, through the project's own commands.

    python benchmarks/real_logs.py trivago ../shared/data/trivago_recsys2019/train.parquet
    python benchmarks/real_logs.py expedia ../shared/data/expedia_icdm2013/train.csv.gz

Each seed is a run of its own (ψ included), and finished stages are skipped, so an interrupted table goes on where it
stopped. The bootstrap's seed is the same everywhere: seeds are averaged draw by draw, systems are compared in pairs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from configs.stages import read_json
from prerank.evaluation import Evaluation, read_evaluation
from prerank.significance import difference_of_draws, holm, interval

SYSTEMS = ("popularity", "lightgbm", "ple", "grace")
PSI = "pretrain.learning_rate=0.003"
"""The learning rate of ψ that the published tables were made with."""
SHOWN = (
    "auc_click", "score_auc_click", "gauc_click", "auc_order", "gauc_order", "recall_at_3", "recall_at_10",
    "recall_at_20", "log_loss_click",
)  # fmt: skip
COMPARED = ("gauc_click", "score_auc_click", "recall_at_3", "recall_at_10", "gauc_order")
SEGMENTS = ("all", "head", "torso", "tail", "cold", "outside_p", "first_request")
CONFIDENCE = 0.95


def fit_all(data: str, path: str, seeds: int, runs: Path) -> None:
    """Every system for every seed, through the commands that a user types."""
    for seed in range(seeds):
        run = f"{data}_{seed}"
        common = [f"run={run}", f"runs_folder={runs}"]
        commands = [["pretrain.run", f"data={data}", f"data.path={path}", f"seed={seed}", PSI]]
        commands += [["prerank.fit", f"model={system}"] for system in SYSTEMS]
        for module, *arguments in commands:
            print(f"{module} {' '.join(arguments)} run={run}", flush=True)
            with (runs / f"{run}.log").open("a") as log:
                subprocess.run([sys.executable, "-m", module, *arguments, *common], check=True, stdout=log, stderr=log)


def seed_mean(found: list[Evaluation], split: str, segment: str, metric: str) -> tuple[list[float], np.ndarray, int]:
    """Each seed's value, the draws averaged over seeds, and n."""
    values, draws, n = [], [], 0
    for evaluation in found:
        figure = evaluation.metrics[split].get(segment, {}).get(metric)
        if figure is None or figure["value"] is None:
            return [], np.empty(0), 0
        values.append(figure["value"])
        draws.append(evaluation.draws[evaluation.protocol["bootstrap"].index([split, segment, metric])])
        n = figure["n"]
    return values, np.mean(np.stack(draws).astype(np.float64), axis=0), n


def cell(found: list[Evaluation], segment: str, metric: str) -> str:
    """Mean over seeds, its interval, and the seeds' range."""
    values, draws, _ = seed_mean(found, "test", segment, metric)
    if not values:
        return "–"
    low, high = interval(float(np.mean(values)), draws, CONFIDENCE)
    between = "–" if low is None or high is None else f"{low:.3f}–{high:.3f}"
    return f"{np.mean(values):.4f} ({between}) [{min(values):.3f}…{max(values):.3f}]"


def figures_table(by_system: dict[str, list[Evaluation]], title: str, rows: dict[str, tuple[str, str]]) -> str:
    """Markdown: systems as columns; a row's label names its segment and metric."""
    lines = [f"| {title} | n | {' | '.join(by_system)} |", "|---|---|" + "---|" * len(by_system)]
    for label, (segment, metric) in rows.items():
        _, _, n = seed_mean(by_system["grace"], "test", segment, metric)
        if n:
            cells = [cell(found, segment, metric) for found in by_system.values()]
            lines.append(f"| {label} | {n:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def difference_table(by_system: dict[str, list[Evaluation]]) -> str:
    """Markdown: GRACE less each other system, seeds averaged, paired draws, Holm over the whole table."""
    found: list[tuple[str, str, dict[str, Any]]] = []
    for metric in COMPARED:
        grace, grace_draws, _ = seed_mean(by_system["grace"], "test", "all", metric)
        for system in (name for name in by_system if name != "grace"):
            other, draws, _ = seed_mean(by_system[system], "test", "all", metric)
            if grace and other:
                gap = float(np.mean(grace) - np.mean(other))
                found.append((metric, system, difference_of_draws(gap, grace_draws, draws, CONFIDENCE)))
    tested = [entry for entry in found if entry[2]["p"] is not None]
    corrected = holm([entry[2]["p"] for entry in tested])
    lines = [
        "| metric | GRACE less | difference | 95 % interval | p (Holm) | visible at 80 % power |",
        "|---|---|" + "---|" * 4,
    ]
    for (metric, system, gap), p in zip(tested, corrected, strict=True):
        bounds = f"{gap['low']:+.4f} … {gap['high']:+.4f}"
        lines.append(f"| {metric} | {system} | {gap['value']:+.4f} | {bounds} | {p:.3f} | {gap['visible']:.4f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=("trivago", "expedia"))
    parser.add_argument("path")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    arguments.runs.mkdir(parents=True, exist_ok=True)
    fit_all(arguments.data, arguments.path, arguments.seeds, arguments.runs)
    folders = [arguments.runs / f"{arguments.data}_{seed}" / "prerank" for seed in range(arguments.seeds)]
    by_system = {system: [read_evaluation(folder / system) for folder in folders] for system in SYSTEMS}
    print(f"\n{arguments.data}, test split, {arguments.seeds} seeds\n")
    print(figures_table(by_system, "all", {metric: ("all", metric) for metric in SHOWN}), end="\n\n")
    by_segment = {segment: (segment, "gauc_click") for segment in SEGMENTS}
    print(figures_table(by_system, "gauc_click", by_segment), end="\n\n")
    print(difference_table(by_system), end="\n\n")
    for system, folder in ((s, folders[0] / s) for s in SYSTEMS):
        manifest = read_json(folder / "manifest.json")
        print(f"{system}: {manifest['parameters']:,} parameters, {manifest['fit_seconds']} s to fit with seed 0")


if __name__ == "__main__":
    main()
