"""The batch loader: a split's batches, in order or shuffled, resumable at any batch.

The shuffle of an epoch is a function of (seed, epoch) alone, so the place within it is two integers. They are what a
checkpoint keeps, and what lets a killed training go on with exactly the rows that are left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from configs.errors import InputError
from prerank.encoding.batches import Batch, EncodedSplit, Rows


class BatchLoader:
    """Batches of a split, in order or shuffled by (seed, epoch); the last one holds what is left.

    Lightning takes it as a dataloader as it is: it calls ``set_epoch`` through :attr:`sampler` at the start of each
    epoch, and keeps ``state_dict`` in its checkpoints. Because ``len`` is known, Lightning fetches no batch ahead, so
    the batches handed out are the batches trained on.

    Args:
        split: the rows.
        batch_size: rows of a batch, at least 1.
        seed: of the shuffle; None: rows in the split's order.
        whole_requests: shuffle requests instead of rows, so that a batch holds lists; those at its two ends may be cut.
    """

    batch_sampler = None
    """Lightning asks a validation loader that has a sampler for it."""

    def __init__(
        self, split: EncodedSplit, batch_size: int, seed: int | None = None, whole_requests: bool = False
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.split = split
        self.batch_size = batch_size
        self.seed = seed
        self.whole_requests = whole_requests
        self.epoch = 0
        self._handed_out = 0
        self._first = 0

    @property
    def rows(self) -> int:
        return self.split.rows

    @property
    def sampler(self) -> BatchLoader:
        """Itself: Lightning looks for ``set_epoch`` on a dataloader's sampler."""
        return self

    def __len__(self) -> int:
        return -(-self.rows // self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose shuffle comes next; another epoch than the current one starts at its first batch."""
        if epoch != self.epoch:
            self.epoch = epoch
            self._handed_out = self._first = 0

    def __iter__(self) -> Iterator[Batch]:
        """The epoch's batches: all of them, or after ``load_state_dict`` those that are left.

        A generator, so that nothing is decided before the first batch is asked for: Lightning makes the iterator
        before it sets the epoch.
        """
        first, self._first = self._first, 0
        order = self._order()
        for number in range(first, len(self)):
            rows = order[number * self.batch_size : (number + 1) * self.batch_size]
            self._handed_out = number + 1
            # Ascending within the batch: the order there means nothing to a model, and memory is read forwards.
            yield self.split.batch(rows if self.seed is None else np.sort(rows))

    def state_dict(self) -> dict[str, Any]:
        """The place within the epoch, and what it depends on; plain values, so checkpoints load with weights only."""
        return {"epoch": self.epoch, "handed_out": self._handed_out, **self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state_dict`` was taken.

        Raises:
            InputError: if the rows, the batch size or the seed differ: rows would be repeated and skipped.
        """
        saved = {name: state.get(name) for name in self._identity()}
        if saved != self._identity():
            raise InputError(
                f"the checkpoint was made with {saved}, now it is {self._identity()}: resume with the same log, "
                "prerank.batch_size and seed, or delete the checkpoint to start over"
            )
        self.epoch = state["epoch"]
        self._handed_out = self._first = state["handed_out"]

    def _identity(self) -> dict[str, int | None]:
        return {
            "rows": self.rows,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "whole_requests": self.whole_requests,
        }

    def _order(self) -> Rows:
        if self.seed is None:
            return np.arange(self.rows)
        random = np.random.default_rng((self.seed, self.epoch))
        if not self.whole_requests:
            return random.permutation(self.rows)
        # A request's rows lie together: its place in a random order of the requests sorts them, and keeps their order.
        place = random.permutation(int(self.split.request[-1]) + 1) if self.rows else np.zeros(0, np.int64)
        order: Rows = np.argsort(place[self.split.request], kind="stable")
        return order
