"""What an engine may know when it orders candidates, and what takes part in the cascade by that knowledge alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float32, Float64, Int, Int32

from graph.marketplace.world.demand import Requests
from graph.marketplace.world.state import Seen


@dataclass(frozen=True)
class Candidates:
    """Recalled items, one row a request; -1 pads where fewer were found."""

    items: Int32[np.ndarray, "r m"]
    overlap: Float64[np.ndarray, "r m"]
    """Share of the query's words that the title has."""

    def arranged(self, columns: Int[np.ndarray, "r l"]) -> Candidates:
        """Some of each row's candidates, in another order."""
        return Candidates(*(np.take_along_axis(values, columns, axis=1) for values in (self.items, self.overlap)))


@dataclass(frozen=True)
class Observed:
    """A wave's requests and their candidates as a platform sees them: nothing hidden, nothing later."""

    seen: Seen
    requests: Requests
    candidates: Candidates
    prices: Float32[np.ndarray, " items"]
    """Today's, of every item."""
    history: Int32[np.ndarray, "r h"]
    """Items that the user clicked before, most recent first; -1 pads."""

    def take(self, rows: Any) -> Observed:
        """Some of the requests, by number or slice."""
        return replace(
            self,
            requests=self.requests.take(rows),
            candidates=Candidates(self.candidates.items[rows], self.candidates.overlap[rows]),
            history=self.history[rows],
        )

    def arranged(self, columns: Int[np.ndarray, "r l"]) -> Observed:
        """The same requests with some of their candidates, in another order."""
        return replace(self, candidates=self.candidates.arranged(columns))


class PreRanker(Protocol):
    """The second stage of the cascade: what passes to the ranking model."""

    def score(self, observed: Observed) -> Float64[np.ndarray, "r m"]:
        """A score for each candidate, higher is better; that of padding means nothing."""

    def learn(self, shown: Int32[np.ndarray, " n"], clicked: Int32[np.ndarray, " c"]) -> None:
        """Take in the items that a day exposed and those that were clicked; a frozen one does nothing."""
