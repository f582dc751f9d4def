"""Small systems on small logs, as the tests of every system need them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from configs.command import parse
from prerank.encoding.batches import EncodedLog
from prerank.encoding.schema import STAGES
from prerank.evaluation.metrics import auc
from prerank.fitting import system_keys
from prerank.training.contracts import Work
from prerank.training.network_system import NetworkSystem
from pretrain.embeddings import EmbeddingTable

SMALL = (
    "model.item.hash_vocabulary=64",
    "model.buckets=64",
    "model.dimension=4",
    "model.experts.hidden=[16]",
    "model.experts.tower=[8]",
    "prerank.batch_size=64",
    "prerank.threads=1",
    "prerank.max_epochs=1",
    "data.cutoffs=[3,5]",
)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Fresh networks are the same in every run: how far some steps bring them is a figure that tests compare."""
    torch.manual_seed(0)


@pytest.fixture
def work_of(tmp_path: Path) -> Callable[..., Work]:
    """Makes what a system is fitted from; ψ, where it is wanted, holds the first half of the catalogue."""

    def make(encoded: EncodedLog, name: str, *overrides: str, psi: bool = False, folder: str = "system") -> Work:
        config = parse([f"runs_folder={tmp_path}", f"model={name}", *SMALL, *overrides]).config
        count = encoded.schema.n_items // 2
        vectors = np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32)
        table = EmbeddingTable(encoded.item_ids[:count], vectors, encoded.schema.catalogue, "psi") if psi else None
        (tmp_path / folder).mkdir(exist_ok=True)
        torch.manual_seed(config.seed)  # as the command does before it fits
        keys = system_keys(config.model)  # a system that reads another key fails
        return Work(config=keys.view(config), encoded=encoded, psi=table, folder=tmp_path / folder)

    return make


@pytest.fixture
def overfit() -> Callable[..., float]:
    """Trains a module on all training rows at once; returns the AUC of its click head on those that users saw."""

    def train(module: NetworkSystem, encoded: EncodedLog, steps: int = 300) -> float:
        module._trainer = SimpleNamespace(is_last_batch=False, global_step=0)  # type: ignore[assignment]
        split = encoded.split("train")
        batch = split.batch(np.arange(split.rows))
        optimizer = module.configure_optimizers()
        for step in range(steps):
            module._trainer.global_step = step
            optimizer.zero_grad()
            torch.stack(list(module.training_terms(batch).values())).sum().backward()
            optimizer.step()
        with torch.no_grad():
            click = module(batch).click.numpy()
        shown = np.flatnonzero(split.stage == STAGES.index("exposed"))
        found = auc(split.clicked[shown], click[shown])
        assert found is not None
        return found

    return train
