"""Items by their smoothed click rate (and order rate) on training days: the floor of every table."""

from __future__ import annotations

import numpy as np

from prerank.batches import EncodedLog, EncodedSplit
from prerank.systems import FittedSystem, Predictions, Work

NEEDS_PSI = False
PRIOR_IMPRESSIONS = 20.0
"""Impressions at the average rate that every item starts with; an unseen item has just those."""


class Popularity:
    """Logits of the smoothed rates, the same for every request."""

    parameters = 0

    def __init__(self, encoded: EncodedLog) -> None:
        counts = encoded.training_counts
        self.click = (
            _smoothed_logit(counts.clicks, counts.impressions) if encoded.schema.tasks["click"]["available"] else None
        )
        self.order = (
            _smoothed_logit(counts.orders, counts.impressions) if encoded.schema.tasks["order"]["available"] else None
        )

    def predict(self, split: EncodedSplit) -> Predictions:
        click = None if self.click is None else self.click[split.item]
        order = None if self.order is None else self.order[split.item]
        return Predictions(click=click, order=order, rank=None)

    def item_vectors(self, encoded: EncodedLog) -> None:  # noqa: ARG002
        return None


def _smoothed_logit(events: np.ndarray, impressions: np.ndarray) -> np.ndarray:
    average = np.clip(events.sum() / max(impressions.sum(), 1), 1e-6, 1 - 1e-6)
    rate = (events + PRIOR_IMPRESSIONS * average) / (impressions + PRIOR_IMPRESSIONS)
    logit: np.ndarray = np.log(rate / (1 - np.minimum(rate, 1 - 1e-6))).astype(np.float32)
    return logit


def fit(work: Work) -> FittedSystem:
    return Popularity(work.encoded)


def load(work: Work) -> FittedSystem:
    """Nothing is stored: the counts lie with the encoded log."""
    return fit(work)
