"""Items by their smoothed click rate (and order rate) on training days: the floor of every table."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from prerank.encoding.batches import EncodedLog, EncodedSplit
from prerank.training.contracts import Predictions, Work

PRIOR_IMPRESSIONS = 20.0
"""Impressions at the average rate that every item starts with; an unseen item has just those."""

Counts = npt.NDArray[np.int64]


class Popularity:
    """Logits of the smoothed rates, the same for every request.

    Args:
        encoded: the log whose training days give the average rates.
    """

    NEEDS_PSI = False
    KEYS: tuple[str, ...] = ()
    CONTINUES = True  # the counts of all days so far lie with the encoded log
    parameters = 0

    def __init__(self, encoded: EncodedLog) -> None:
        counts, tasks = encoded.training_counts, encoded.schema.tasks
        self.click = _average(counts.clicks, counts.impressions) if tasks["click"]["available"] else None
        self.order = _average(counts.orders, counts.impressions) if tasks["order"]["available"] else None

    @classmethod
    def fit(cls, work: Work) -> Popularity:
        return cls(work.encoded)

    @classmethod
    def load(cls, work: Work) -> Popularity:
        """Nothing is stored: the counts lie with the encoded log."""
        return cls.fit(work)

    def predict(self, split: EncodedSplit) -> Predictions:
        """Logits of a split's rows: its own catalogue's items by what training days told of each, if anything."""
        counts = split.items.counts
        click = None if self.click is None else _smoothed_logit(counts.clicks, counts.impressions, self.click)
        order = None if self.order is None else _smoothed_logit(counts.orders, counts.impressions, self.order)
        return Predictions(
            click=None if click is None else click[split.item],
            order=None if order is None else order[split.item],
            rank=None,
        )

    def item_vectors(self, encoded: EncodedLog) -> None:  # noqa: ARG002
        return None


def _average(events: Counts, impressions: Counts) -> float:
    return float(np.clip(events.sum() / max(impressions.sum(), 1), 1e-6, 1 - 1e-6))


def _smoothed_logit(events: Counts, impressions: Counts, average: float) -> npt.NDArray[np.float32]:
    rate = (events + PRIOR_IMPRESSIONS * average) / (impressions + PRIOR_IMPRESSIONS)
    logit: npt.NDArray[np.float32] = np.log(rate / (1 - np.minimum(rate, 1 - 1e-6))).astype(np.float32)
    return logit


SYSTEM = Popularity
