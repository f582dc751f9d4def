"""How good the teacher is: figures against simulated truth, which no log of a real platform could give."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from graph.marketplace.cascade.cascade import EXPOSED, RANKED, HiddenOutcome, WaveLog

CUTOFF = 10
BINS = 4096


class BinnedAUC:
    """AUC over any number of rows in bounded memory: scores are counted in bins, ties within a bin count half."""

    def __init__(self, low: float, high: float) -> None:
        self._edges = np.linspace(low, high, BINS - 1)
        self._counts = np.zeros((2, BINS))

    def add(self, scores: Float64[np.ndarray, " n"], labels: Bool[np.ndarray, " n"]) -> None:
        """Take in scored rows."""
        bins = np.searchsorted(self._edges, scores)
        for label in (0, 1):
            self._counts[label] += np.bincount(bins[labels == bool(label)], minlength=BINS)

    @property
    def value(self) -> float | None:
        """The AUC, or None while one class is missing."""
        negative, positive = self._counts
        if negative.sum() == 0 or positive.sum() == 0:
            return None
        below = np.cumsum(negative) - negative
        return float((positive * (below + 0.5 * negative)).sum() / (positive.sum() * negative.sum()))


class HiddenSummary:
    """Adds up a log's funnel and its truth, wave by wave."""

    def __init__(self) -> None:
        self._ndcg: list[Float64[np.ndarray, " r"]] = []
        self._chance: list[Float64[np.ndarray, " r"]] = []
        self._counts = dict.fromkeys(("rows", "requests", "ranked", "exposed", "clicks", "orders"), 0)
        self._auc = {
            "oracle": BinnedAUC(-12.0, 0.0),
            "oracle_without_position": BinnedAUC(-12.0, 0.0),
            "ranking_model": BinnedAUC(-6.0, 6.0),
        }

    def add(self, log: WaveLog, outcome: HiddenOutcome) -> None:
        """Take in one wave."""
        ndcg, chance = ndcg_and_chance(np.exp(outcome.truth.utility), outcome.present)
        self._ndcg.append(ndcg)
        self._chance.append(chance)
        exposed = log.stage[:, : outcome.click.shape[1]] == EXPOSED
        masks = {
            "rows": log.logged,
            "ranked": (log.stage <= RANKED) & log.logged,
            "exposed": exposed,
            "clicks": log.clicked,
            "orders": log.ordered,
        }
        for name, mask in masks.items():
            self._counts[name] += int(mask.sum())
        self._counts["requests"] += len(log.items)
        clicked = log.clicked[:, : exposed.shape[1]][exposed]
        self._auc["oracle"].add(np.log(outcome.click[exposed]), clicked)
        self._auc["oracle_without_position"].add(np.log(outcome.appeal[exposed]), clicked)
        self._auc["ranking_model"].add(log.score[:, : exposed.shape[1]][exposed], clicked)

    def figures(self) -> dict[str, Any]:
        """Strict-JSON figures; ``None`` where undefined."""
        counts = self._counts
        return {
            "simulated": True,
            **counts,
            "click_rate": counts["clicks"] / max(counts["exposed"], 1),
            "order_rate": counts["orders"] / max(counts["clicks"], 1),
            "ndcg_at_10": {
                "oracle": 1.0,
                "ranking_model": float(np.concatenate(self._ndcg).mean()),
                "random": float(np.concatenate(self._chance).mean()),
                "gain": "expected worth of an item looked at: click probability x (1 + worth x order probability)",
            },
            "click_auc_exposed": {name: auc.value for name, auc in self._auc.items()} | {"random": 0.5},
        }


def ndcg_and_chance(
    gains: Float64[np.ndarray, "r l"], present: Bool[np.ndarray, "r l"]
) -> tuple[Float64[np.ndarray, " r"], Float64[np.ndarray, " r"]]:
    """NDCG@10 of the given order, and what a random order would get.

    Args:
        gains: true gain of each item, in the order to be judged.
        present: False where a short list is padded (at its end).
    """
    gains = np.where(present, gains, 0.0)
    discount = 1.0 / np.log2(np.arange(2, min(CUTOFF, gains.shape[1]) + 2))
    top = len(discount)
    ideal = (-np.sort(-gains, axis=1)[:, :top] * discount).sum(axis=1)
    lengths = present.sum(axis=1)
    filled = np.where(np.arange(top) < lengths[:, None], discount, 0.0).sum(axis=1)
    return (gains[:, :top] * discount).sum(axis=1) / ideal, gains.sum(axis=1) / lengths * filled / ideal
