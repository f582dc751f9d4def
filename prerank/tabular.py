"""The encoded log as a plain matrix for tree models: the same columns that the networks see.

Trees cannot embed, so a column of ids becomes a category where it has few values, and otherwise how often the value was
seen and how well it did. Both are computed out of fold for training rows. A row must not see its own label; nor may it
count itself: every training row's value would have been seen, while most values of a test row have not (on Expedia that
mistake cost 11 points of AUC).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32, Int64

from prerank.batches import EncodedSplit

Hashes = npt.NDArray[np.int64]
MOST_CATEGORIES = 254
"""Above this many values a column of ids is described by its counts and rates instead."""
FOLDS = 5
PRIOR_ROWS = 20.0
"""Rows at the average rate that every value starts with."""


@dataclass
class Matrix:
    """Feature columns, side by side, with their names and which of them are categories."""

    names: list[str] = field(default_factory=list)
    columns: list[Float32[np.ndarray, rows]] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)

    def add(self, name: str, column: np.ndarray, category: bool = False) -> None:
        self.names.append(name)
        self.columns.append(column.astype(np.float32))
        if category:
            self.categories.append(name)

    def values(self) -> Float32[np.ndarray, "rows columns"]:
        return np.column_stack(self.columns)


class TabularEncoder:
    """Learns categories, counts and rates from training rows and applies them to any split.

    Args:
        train: the training split.
        feedback: its rows whose clicks are known.
    """

    def __init__(self, train: EncodedSplit, feedback: Int64[np.ndarray, known]) -> None:
        self.train = train
        self.feedback = feedback
        self.labels = {
            "click": np.asarray(train.clicked[feedback], np.float64),
            "order": np.asarray(train.ordered[feedback], np.float64),
        }
        # Folds by request: rows of one request share their context, and one of them often has the only click.
        self.fold = np.asarray(train.request[feedback], np.int64) * 2654435761 % 1000003 % FOLDS

    def matrix(self, split: EncodedSplit, rows: Int64[np.ndarray, rows], training: bool) -> Matrix:
        """The feature matrix of some rows of a split.

        Args:
            split: any split encoded with the same schema.
            rows: row numbers.
            training: the rows are the very rows that the rates were learnt from, so rates are out of fold.
        """
        made = Matrix()
        for name, values in split.raw_numbers(rows).items():
            made.add(name, values)
        for name, padded in split.raw_lists(rows).items():
            made.add(f"{name}:length", (padded != 0).sum(axis=1))
        learnt = self.train.raw_ids(self.feedback)
        for name, hashes in split.raw_ids(rows).items():
            self._add_ids(made, name, learnt[name], hashes, training)
        return made

    def _add_ids(self, made: Matrix, name: str, learnt: Hashes, values: Hashes, training: bool) -> None:
        known, codes = np.unique(learnt, return_inverse=True)
        place = np.searchsorted(known, values).clip(max=len(known) - 1)
        found = known[place] == values
        if len(known) <= MOST_CATEGORIES:
            made.add(name, np.where(found, place, np.nan), category=True)
            return
        count, own_fold = self._totals(codes, len(known), np.ones(len(codes)))
        # Out of fold a value is seen in FOLDS - 1 of FOLDS parts: scaled up to what the other splits are shown.
        elsewhere = (count[codes] - own_fold) * FOLDS / (FOLDS - 1) if training else count[place]
        made.add(f"{name}:count", np.where(found, elsewhere, 0))
        for task, label in self.labels.items():
            if 0 < label.sum() < len(label):
                rate = self._rates(codes, len(known), label, training, place, found)
                made.add(f"{name}:{task}_rate", rate)

    def _rates(
        self, codes: np.ndarray, size: int, label: np.ndarray, training: bool, place: np.ndarray, found: np.ndarray
    ) -> np.ndarray:
        average = label.mean()
        rows, rows_in_fold = self._totals(codes, size, np.ones(len(codes)))
        events, events_in_fold = self._totals(codes, size, label)
        if training:
            out_of_fold: np.ndarray = (events[codes] - events_in_fold + PRIOR_ROWS * average) / (
                rows[codes] - rows_in_fold + PRIOR_ROWS
            )
            return out_of_fold
        rates = (events[place] + PRIOR_ROWS * average) / (rows[place] + PRIOR_ROWS)
        filled: np.ndarray = np.where(found, rates, average)
        return filled

    def _totals(self, codes: np.ndarray, size: int, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sum of the weights of each value, and for each training row the part of it in the row's own fold."""
        in_fold: np.ndarray = np.bincount(self.fold * size + codes, weights, FOLDS * size).reshape(FOLDS, size)
        totals: np.ndarray = in_fold.sum(axis=0)
        return totals, in_fold[self.fold, codes]
