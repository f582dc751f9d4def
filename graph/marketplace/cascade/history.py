"""What each user clicked before: the ``history`` that is logged with a request."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int32, Int64

NOTHING = -1


class ClickHistory:
    """The last items that each user clicked, most recent first, each once."""

    def __init__(self, users: int, length: int) -> None:
        self._items = np.full((users, length), NOTHING, dtype=np.int32)

    def of(self, users: Int64[np.ndarray, " r"]) -> Int32[np.ndarray, "r h"]:
        """Item indices, -1 pads; a copy."""
        rows: Int32[np.ndarray, "r h"] = self._items[users]
        return rows

    def add(
        self, users: Int64[np.ndarray, " r"], items: Int32[np.ndarray, "r l"], clicked: Bool[np.ndarray, "r l"]
    ) -> None:
        """Take in the clicks of one request of each user, made from the top of the list to its end."""
        for row in np.flatnonzero(clicked.any(axis=1)):
            new = items[row, clicked[row]][::-1]
            old = self._items[users[row]]
            merged = np.concatenate([new, old[~np.isin(old, new)]])
            self._items[users[row]] = merged[: len(old)]
