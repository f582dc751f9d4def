"""What a pre-ranking system is: what it is fitted from, what it says of rows, and how it is fitted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from configs.schema import Config
from prerank.encoding.batches import EncodedLog, EncodedSplit
from pretrain.embeddings import EmbeddingTable


@dataclass(frozen=True)
class Predictions:
    """Logits of one split's rows, in their order; a head that a system does not have is None.

    Attributes:
        click: logit of P(click | impression).
        order: logit of P(order | impression), whatever space the head was trained in.
        rank: logit of P[pos ≤ k] for each k, or of what the system has in its place.
    """

    click: Float32[np.ndarray, rows] | None
    order: Float32[np.ndarray, rows] | None
    rank: Float32[np.ndarray, "rows cutoffs"] | None


@dataclass(frozen=True)
class Work:
    """What a system is fitted from and where it keeps its files.

    Attributes:
        start: folder of the fitted system that it goes on from; None: it starts anew.
    """

    config: Config
    encoded: EncodedLog
    psi: EmbeddingTable | None
    folder: Path
    start: Path | None = None


@runtime_checkable
class FittedSystem(Protocol):
    """A system that can score rows."""

    parameters: int

    def predict(self, split: EncodedSplit) -> Predictions: ...

    def item_vectors(self, encoded: EncodedLog) -> Float32[np.ndarray, "items dimension"] | None:
        """φ of every catalogue item, or None for a system without an item network."""


@runtime_checkable
class System(Protocol):
    """How a system is fitted and read back, and what it needs: the ``SYSTEM`` of its module.

    Attributes:
        NEEDS_PSI: whether it is fitted with ψ.
        KEYS: sections and keys of the configuration that it reads, besides ``model.name``, ``model.system`` and
            ``seed``. It can read no others, and they are its identity: fitting again with another value makes another
            system.
        CONTINUES: whether it goes on from ``Work.start``; one that does not say so is refused with ``from=``.
    """

    NEEDS_PSI: bool
    KEYS: tuple[str, ...]

    def fit(self, work: Work) -> FittedSystem: ...

    def load(self, work: Work) -> FittedSystem: ...
