"""What each metric means, in words: for reports, so that nobody has to guess what a name stands for."""

from __future__ import annotations

import re

CHANCE = "_chance"
"""Ending of the name of a chance level that is measured beside its metric."""

DEFINITIONS = (
    (
        r"auc_(click|order)",
        "AUC of the {0} head on exposed rows: P(a row with the {0} scores above one without), pooled.",
    ),
    (r"auc_top(\d+)", "AUC of the rank head for [position ≤ {0}] on ranked rows of lists longer than {0}, pooled."),
    (r"auc_(\w+)_with_random", "auc_{0} with catalogue-random negatives added as negatives: easier, so always higher."),
    (r"score_auc_(click|order)", "AUC of the fused ranking score for the {0}, exposed rows, pooled."),
    (
        r"gauc_(click|order)",
        "AUC of the fused ranking score within each request that has rows with and without the {0}, averaged with the "
        "requests' impressions as weights. In an item segment: among the segment's rows of each request.",
    ),
    (
        r"recall_at_(\d+)",
        "Share of the ranking model's first {0} items that the pre-ranker also puts in its first {0}, mean over lists "
        "longer than {0}. In an item segment: of those {0} that belong to the segment; the cut is by the whole list.",
    ),
    (
        r"recall_full_at_(\d+)",
        "recall_at_{0} over all recalled items, by the ranking model's score, in the requests that are logged whole.",
    ),
    (
        r"top(\d+)_survival_full_at_(\d+)",
        "Share of the ranking model's first {0} of all recalled items left after a cut at {1}, in requests that are "
        "logged whole.",
    ),
    (r"top(\d+)_survival_at_(\d+)", "Share of the ranking model's first {0} items left after a cut at {1}."),
    (
        r"(\w+)_chance",
        "What {0} is for a random order: the cut divided by the list's length, mean over the same lists.",
    ),
    (
        r"hit_rate_order_at_(\d+)",
        "Share of a request's ordered items in the first {0} by the fused score, mean over lists longer than {0} with "
        "an order. It does not reward copying the ranking model.",
    ),
    (
        r"log_loss_(click|order)",
        "Mean negative log-likelihood of the {0} head on exposed rows, in nats; lower is better.",
    ),
)


def define(metric: str) -> str:
    """The definition of a metric by its name; empty for a name that is not one of ours."""
    for pattern, words in DEFINITIONS:
        match = re.fullmatch(pattern, metric)
        if match:
            return words.format(*match.groups())
    return ""


def lower_is_better(metric: str) -> bool:
    return metric.startswith("log_loss")


def unit_of(metric: str) -> str:
    """The unit of a metric; empty for shares and areas."""
    return "nats" if metric.startswith("log_loss") else ""


def chance_of(metric: str) -> float | None:
    """What any random order reaches, where that does not depend on the rows."""
    return 0.5 if "auc_" in metric else None
