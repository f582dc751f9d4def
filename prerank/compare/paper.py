"""The figures that the paper prints, for a column of their own: of its private data set, never mixed with ours.

"Optimizing E-commerce Search: Toward a Generalizable and Rank-Consistent Pre-Ranking Model", SIGIR 2024. The paper does
not say which task its AUC is of, nor how many candidates or seeds there were, nor an interval.
"""

from __future__ import annotations

from collections.abc import Mapping

SOURCE = "the paper (GRACE, SIGIR 2024), Tables 1 to 3: another, private data set; not comparable with ours"
AUC_NOTE = "the paper does not say of which task its AUC is"

AUC: Mapping[str, float] = {
    "ple": 0.7713,
    "mmoe": 0.7705,
    "distillation": 0.7727,
    "grace": 0.7788,
    "grace_no_consistency": 0.7753,
    "grace_no_generalization": 0.7747,
    "pretrained_item_id": 0.7775,
    "grace_no_hash_id": 0.7775,
}
"""System → AUC: Table 1, and the ablations of Table 2."""

RECALL: Mapping[str, Mapping[int, float]] = {
    "ple": {3: 0.5316, 10: 0.4995, 20: 0.4908, 50: 0.5067, 100: 0.5422},
    "grace": {3: 0.5549, 10: 0.5216, 20: 0.5110, 50: 0.5256, 100: 0.5612},
}
"""System → k → Recall@k: Table 3."""


def paper_figures() -> dict[str, dict[str, float]]:
    """Metric of ours whose row the figure stands beside → system → the paper's figure."""
    figures: dict[str, dict[str, float]] = {"auc_click": dict(AUC)}
    for system, recalls in RECALL.items():
        for k, value in recalls.items():
            figures.setdefault(f"recall_at_{k}", {})[system] = value
    return figures
