"""The pre-ranking systems: ``model=NAME`` picks ``prerank/systems/NAME.py`` and ``configs/model/NAME.yaml``.

A system's file has two functions, ``fit(work)`` and ``load(work)``, that return a :class:`FittedSystem`; all else
(encoding, fusion, evaluation, files) is common to all.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

import numpy as np
from jaxtyping import Float32

from configs.errors import InputError
from configs.schema import Config
from prerank.batches import EncodedLog, EncodedSplit
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
    """What a system is fitted from and where it keeps its files."""

    config: Config
    encoded: EncodedLog
    psi: EmbeddingTable | None
    folder: Path


@runtime_checkable
class FittedSystem(Protocol):
    """A system that can score rows."""

    parameters: int

    def predict(self, split: EncodedSplit) -> Predictions: ...

    def item_vectors(self, encoded: EncodedLog) -> Float32[np.ndarray, "items dimension"] | None:
        """φ of every catalogue item, or None for a system without an item network."""


@runtime_checkable
class System(Protocol):
    """The two functions of a system's file, and what it needs."""

    NEEDS_PSI: bool

    def fit(self, work: Work) -> FittedSystem: ...

    def load(self, work: Work) -> FittedSystem: ...


def find(name: str) -> System:
    """The system of a name.

    Raises:
        InputError: if ``configs/model`` has the name but there is no such system.
    """
    try:
        return cast(System, importlib.import_module(f"prerank.systems.{name}"))
    except ModuleNotFoundError as error:
        if error.name != f"prerank.systems.{name}":
            raise
        raise InputError(f"model={name}: there is no prerank/systems/{name}.py") from None
