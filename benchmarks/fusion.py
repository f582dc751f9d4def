"""What the weight of the rank logit decides: the figures of docs/results/why.md, from a comparison's fits.

    python benchmarks/fusion.py runs/trivago_results/compare/trivago --systems ple grace grace_plus

Test figures, means over the seeds: of the order that the ranking model itself gave; of click + w·rank for some w,
where nothing is chosen; and with the weights of all heads chosen on validation by GAUC, as the project does, or by the
mean of GAUC and Recall@10. It looks at the test split again and again, so nothing may be chosen by it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.special import logit

from configs.stages import read_json
from prerank.evaluation.bootstrap import Statistic, Undefined
from prerank.evaluation.fusion import GRID, FusionWeights, fuse
from prerank.evaluation.measures import SplitMeasures, SplitRows, split_rows
from prerank.evaluation.metrics import gauc

SHOWN = ("gauc_click", "gauc_order", "recall_at_10", "recall_full_at_10", "hit_rate_order_at_10")
CUT = 10
RANK_WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, float("inf"))
RANK_ALONE = ((0.0, 0.0, 1.0), "rank alone")


Weights = tuple[float, float, float]
"""Of the click, order and rank logit."""


@dataclass(frozen=True)
class ScoredSplit:
    """The predictions of one fitted system on one split; ``heads`` are the click, order and rank logits, if any."""

    rows: SplitRows
    heads: tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]

    def figures(self, weights: Weights) -> dict[str, float]:
        """The figures of a weighted sum of the heads."""
        score = fuse(*self.heads, FusionWeights(*weights, None, ()))
        measures = SplitMeasures(replace(self.rows, score=score.astype(np.float32)), {}, [CUT], [CUT])
        statistics = measures.statistics(np.ones(len(score), dtype=bool))
        return {name: _value(statistics.get(name)) for name in SHOWN}


def _value(statistic: Statistic | None) -> float:
    return np.nan if statistic is None or isinstance(statistic, Undefined) or not statistic.n else statistic.value


def read(folder: Path, split: str) -> ScoredSplit:
    """A system's predictions of a split."""
    table = pq.read_table(folder / "predictions.parquet")
    table = table.filter(pc.equal(table["split"].cast(pa.string()), split)).combine_chunks()
    probabilities = [table[f"p_{head}"].to_numpy().astype(float) for head in ("click", "order", "rank")]
    tiny = np.finfo(np.float64).eps
    heads = [None if np.isnan(each).all() else logit(np.clip(each, tiny, 1 - tiny)) for each in probabilities]
    return ScoredSplit(split_rows(table), (heads[0], heads[1], heads[2]))


def ranking_model(fit: ScoredSplit) -> float | None:
    """GAUC of clicks of the order that the ranking model gave, over exposed rows of known position."""
    rows = fit.rows
    known = rows.exposed & np.isfinite(rows.position)
    return gauc(rows.clicked[known], -rows.position[known], rows.request[known])


def chosen_with_agreement(fit: ScoredSplit, labels: Sequence[str]) -> Weights:
    """The weights of the same grid that maximise the mean of GAUC and Recall@10; the smaller ones of equals."""
    grids = [GRID if head is not None else (0.0,) for head in fit.heads[1:]]
    tried: list[Weights] = [(1.0, order, rank) for order, rank in product(*grids)]
    tried.sort(key=lambda weights: (sum(weights), weights[2]))
    figures = [fit.figures(weights) for weights in tried]
    objective = [np.mean([each[f"gauc_{label}"] for label in labels]) + each["recall_at_10"] for each in figures]
    return tried[int(np.argmax(objective))]


def rules(validation: ScoredSplit, folder: Path) -> dict[str, Weights]:
    """Rule → the weights that it chooses: the project's, which are the system's own, and the other."""
    own = read_json(folder / "fusion.json")
    agreed = chosen_with_agreement(validation, own["chosen_by"])
    return {"GAUC": (own["click"], own["order"], own["rank"]), "GAUC and Recall@10": agreed}


def line(label: str, figures: Sequence[dict[str, float]]) -> str:
    means = [np.mean([each[name] for each in figures]) for name in SHOWN]
    return f"| {label} | " + " | ".join("–" if np.isnan(mean) else f"{mean:.4f}" for mean in means) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparison", type=Path, help="folder of seed-* runs")
    parser.add_argument("--systems", nargs="+", default=["ple", "grace", "grace_plus", "copr", "rankflow"])
    asked = parser.parse_args()
    seeds = sorted(asked.comparison.glob("seed-*"))
    orders = [ranking_model(read(seed / "prerank" / asked.systems[0], "test")) for seed in seeds]
    print(f"ranking model's own order: GAUC of clicks {np.mean([each for each in orders if each is not None]):.4f}\n")
    print(f"| {len(seeds)} seeds | " + " | ".join(SHOWN) + " |\n|---|" + "---|" * len(SHOWN))
    for system in asked.systems:
        folders = [seed / "prerank" / system for seed in seeds]
        fits = [(read(folder, "validation"), read(folder, "test")) for folder in folders]
        for weight in RANK_WEIGHTS if fits[0][1].heads[2] is not None else RANK_WEIGHTS[:1]:
            weights, label = ((1.0, 0.0, weight), f"click + {weight:g}·rank") if np.isfinite(weight) else RANK_ALONE
            print(line(f"{system}: {label}", [test.figures(weights) for _, test in fits]), flush=True)
        weights_by_rule = [rules(validation, folder) for (validation, _), folder in zip(fits, folders, strict=True)]
        for rule in weights_by_rule[0]:
            figures = [test.figures(each[rule]) for (_, test), each in zip(fits, weights_by_rule, strict=True)]
            ranks = ", ".join(f"{each[rule][2]:g}" for each in weights_by_rule)
            print(line(f"{system}: chosen by {rule} (rank weights {ranks})", figures), flush=True)


if __name__ == "__main__":
    main()
