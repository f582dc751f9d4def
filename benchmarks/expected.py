"""Whether a small run still comes to the figures of expected.yaml, each within its tolerance; the tests ask this too.

    python benchmarks/expected.py            # exit status 1 where a figure has left its tolerance
    python benchmarks/expected.py --write    # after a change that was meant to move figures: say which and why

The tiny market with seed 0, two epochs of ψ, one of each network. Counts are exact. Other figures may move by rounding:
processors add up in other orders, and so do other versions of the libraries. Speed is left out: shared cores move it by
more than any change would.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from configs.command import parse
from configs.commands import COMMANDS
from configs.stages import Run, read_json

EXPECTED = Path(__file__).with_suffix(".yaml")
SYSTEMS = ("popularity", "lightgbm", "grace")
METRICS = ("score_auc_click", "gauc_click", "recall_at_10")


def make(folder: Path) -> Run:
    """The small run, in a folder of runs; what is finished there is not made again."""
    place = [f"runs_folder={folder}", "run=expected", "evaluation.draws=50"]
    commands = [("pretrain.run", ["data.world=tiny", "pretrain.max_epochs=2"])]
    commands += [("prerank.fit", [f"model={system}", "prerank.max_epochs=1"]) for system in SYSTEMS]
    for name, arguments in commands:
        command = COMMANDS[name]
        command.load()(parse([*place, *arguments], command=command))
    return Run(folder / "expected")


def figures_of(run: Run) -> dict[str, float]:
    """Name → value: counts of the log and the graph, and what ψ and each system came to."""
    log, graph, psi = (
        read_json(run.root / path) for path in ("logs/log.json", "graph/graph.json", "pretrain/metrics.json")
    )
    figures = {f"log.{key}": log[key] for key in ("rows", "requests", "items")}
    figures |= {f"log.{split}.rows": facts["rows"] for split, facts in log["splits"].items()}
    figures |= {f"graph.edges.{relation}": count for relation, count in graph["edges"].items()}
    figures |= {f"psi.{name}.mrr": figure["mrr"]["value"] for name, figure in psi["validation"].items()}
    for system in SYSTEMS:
        test = read_json(run.system(system) / "metrics.json")["test"]["all"]
        figures |= {f"{system}.{metric}": test[metric]["value"] for metric in METRICS}
        figures[f"{system}.n"] = test[METRICS[0]]["n"]
    return figures


def departures(figures: Mapping[str, float], expected: Mapping[str, Mapping[str, float]]) -> list[str]:
    """What is not as expected, a sentence each; empty where all is."""
    names = sorted({*figures} ^ {*expected})
    said = [f"{name} is {'not expected' if name in figures else 'missing'}" for name in names]
    for name in figures.keys() & expected.keys():
        value, within = expected[name]["value"], expected[name]["within"]
        if not abs(figures[name] - value) <= within:
            said.append(f"{name} is {figures[name]:.6g}, expected {value:.6g} within {within:g}")
    return sorted(said)


def read_expected() -> dict[str, dict[str, float]]:
    """Name → value and tolerance."""
    expected: dict[str, dict[str, float]] = yaml.safe_load(EXPECTED.read_text(encoding="utf-8"))
    return expected


def _write(figures: Mapping[str, Any]) -> None:
    """Write what was measured; counts are exact, and a tolerance that stands in the file stays."""
    known = read_expected() if EXPECTED.exists() else {}
    lines = ["# Written by benchmarks/expected.py --write; a tolerance that is changed here stays."]
    for name, value in figures.items():
        within = known.get(name, {}).get("within", 0 if isinstance(value, int) else 0.02)
        shown = value if isinstance(value, int) else round(value, 5)
        lines.append(f"{name}: {{value: {shown}, within: {within}}}")
    EXPECTED.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="take what was measured as what is expected")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = figures_of(make(Path(folder)))
    if arguments.write:
        _write(figures)
        return 0
    said = departures(figures, read_expected())
    print("\n".join(said) or f"{len(figures)} figures are as expected")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
