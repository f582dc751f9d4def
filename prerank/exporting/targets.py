"""``export.target``: what a bundle is turned into for an engine that people have."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from configs.console import say
from configs.errors import InputError
from configs.schema import ExportTarget
from configs.stages import replacing
from prerank.encoding.batch_loader import BatchLoader
from prerank.encoding.batches import EncodedSplit
from prerank.exporting import opensearch, vespa
from prerank.exporting.first_phase import Lists, direction, recall
from prerank.exporting.golden import fused
from prerank.exporting.sources import Source
from prerank.serving.items import Catalogue
from prerank.systems.dssm import TowerOutputs, TwoTowers
from prerank.training.network_system import SCORING_ROWS, FittedNetwork

MARK = "first_phase.json"
"""The file that says that a folder is an engine's package."""
WRITERS = {ExportTarget.vespa: vespa.write_package, ExportTarget.opensearch: opensearch.write_package}


def write_target(source: Source, bundle: Path, target: ExportTarget) -> Path:
    """Write an engine's package beside the bundle that it is made from: ``<bundle>-<target>``.

    Returns:
        Its folder; one that was there is replaced.

    Raises:
        InputError: for a system without item vectors, or if something else lies in the folder's place.
    """
    folder = bundle.with_name(f"{bundle.name}-{target.value}")
    if folder.exists() and not (folder / MARK).exists():
        raise InputError(f"{folder} holds other files and is no package: give export.folder=FOLDER")
    with replacing(folder) as temporary:
        WRITERS[target](bundle, temporary, first_phase(source, bundle))
        if folder.exists():
            shutil.rmtree(folder)
    say(f"{target.value}: {folder}; its README.md says how to deploy it")
    return folder


def first_phase(source: Source, bundle: Path) -> dict[str, Any]:
    """The first phase of a fitted network, fitted on validation and measured on test.

    Returns:
        ``direction``, None for two towers and for a system without vectors, and ``recall``.
    """
    vectors = Catalogue.open(bundle / "items.safetensors").vectors
    fitted = source.fitted
    if vectors is None or not vectors.width or not isinstance(fitted, FittedNetwork):
        return {"direction": None, "recall": {}}
    test = _lists(source, bundle, source.test)
    if isinstance(fitted.module.network, TwoTowers):
        return {"direction": None, "recall": recall(test, _inner_products(fitted, source.test))}
    chosen = direction(_lists(source, bundle, source.encoded.split("validation")))
    return {"direction": [float(str(value)) for value in chosen], "recall": recall(test, test.items @ chosen)}


def _lists(source: Source, bundle: Path, split: EncodedSplit) -> Lists:
    """All rows of a split: what users saw, and what else was recalled."""
    catalogue = Catalogue.open(bundle / "items.safetensors")
    assert catalogue.vectors is not None
    order = np.argsort(split.request, kind="stable")
    items = catalogue.vectors.take(catalogue.find(split.items.item_hash)[split.item[order]])
    return Lists(
        split.request[order].astype(np.int64), items, fused(source.fitted.predict(split), source.fusion)[order]
    )


@torch.inference_mode()
def _inner_products(fitted: FittedNetwork, split: EncodedSplit) -> np.ndarray:
    """Of the two towers' vectors, in the order of the lists."""
    parts = []
    for batch in BatchLoader(split, SCORING_ROWS):
        outputs = fitted.module(batch)
        assert isinstance(outputs, TowerOutputs)
        parts.append((outputs.request * outputs.phi).sum(dim=1).numpy())
    products: np.ndarray = np.concatenate(parts)[np.argsort(split.request, kind="stable")]
    return products
