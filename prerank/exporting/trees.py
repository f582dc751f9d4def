"""Boosted trees and popularity in a bundle."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import InputError
from configs.schema import TablePrecision
from prerank.exporting.sources import Source
from prerank.exporting.tables import Arrays, write_tensors
from prerank.systems.lightgbm import BoostedTrees
from prerank.systems.popularity import Popularity


class Exact:
    """A system without embedding tables on its way into a bundle: nothing of it is rounded.

    Args:
        source: of the fitted system.

    Raises:
        InputError: if tables are to be stored otherwise than as float32.
    """

    phi = None

    def __init__(self, source: Source) -> None:
        if source.precision is not TablePrecision.fp32:
            raise InputError(
                f"export.tables={source.precision.value}: model={source.config.model.name} has no embedding tables; "
                "leave the key out"
            )
        self.source = source

    def stored_predictions(self) -> None:
        """The training code's own."""


class ExportedTrees(Exact):
    """Boosted trees, and what their features are made of.

    Args:
        source: of fitted trees.
        fitted: the trees.
    """

    kind = "trees"

    def __init__(self, source: Source, fitted: BoostedTrees) -> None:
        super().__init__(source)
        self.fitted = fitted

    @property
    def items(self) -> Arrays:
        """The encoded item columns: ``id:``, ``number:`` and ``length:`` (of a text or list) with the column's name."""
        encoded = self.source.encoded
        features, schema = encoded.items.features, encoded.schema.sides["item"]
        arrays: Arrays = {f"id:{name}": features.ids[:, place] for place, name in enumerate(schema.ids)}
        arrays |= {f"number:{each.name}": features.numbers[:, place] for place, each in enumerate(schema.numbers)}
        lengths = {name: (values != 0).sum(axis=1).astype(np.int32) for name, values in features.lists.items()}
        return arrays | {f"length:{name}": length for name, length in lengths.items()}

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the trees, their lines and what training rows say of ids' values.

        Returns:
            What ``features.json`` says of them.
        """
        encoder, arrays = self.fitted.encoder, Arrays()
        for name, seen in encoder.seen.items():
            arrays |= {f"{name}.known": seen.known, f"{name}.count": seen.count}
            arrays |= {f"{name}.{task}": events for task, events in seen.events.items()}
        write_tensors(arrays, folder / "tables.safetensors")
        for name in ("lines.json", *(f"{task}.txt" for task in self.fitted.boosters)):
            shutil.copyfile(self.source.home / name, folder / name)
        averages = {task: float(labels.mean()) for task, labels in encoder.labels.items()}
        return {"sides": {}, "history": None, "heads": list(self.fitted.boosters), "trees": {"averages": averages}}


class ExportedPopularity(Exact):
    """Smoothed rates of items: the counts that they are made of lie with the items of every bundle.

    Args:
        source: of the log.
        fitted: the average rates.
    """

    kind = "popularity"

    def __init__(self, source: Source, fitted: Popularity) -> None:
        super().__init__(source)
        self.fitted = fitted

    @property
    def items(self) -> Arrays:
        return {}

    def write(self, _folder: Path) -> dict[str, Any]:
        """What ``features.json`` says of it; there are no files."""
        rates = {"click": self.fitted.click, "order": self.fitted.order}
        heads = [task for task, rate in rates.items() if rate is not None]
        return {"sides": {}, "history": None, "heads": heads}
