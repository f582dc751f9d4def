"""A training that is killed at any moment goes on from its last validation, to the bit; what it ends with is its best.

::

    checkpoints/last.ckpt     while it trains: all that the last validation left, and the best one's weights
    checkpoints/best.ckpt     once it has ended: the weights of the best validation; last.ckpt is removed
    checkpoints/rows/         the embedding tables of both (:mod:`prerank.training.table_files`)

``last.ckpt`` is what a resumed training reads, and is written last, under another name that is then changed. In both
files, a table and the optimiser's state of it are one value that stands for every row. Both are read without running
code that they might hold.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor, nn

from configs.console import say
from configs.errors import InputError
from configs.stages import replacing
from prerank.training.table_files import TableFiles, joined, read_tables, remove_others

FOLDER, LAST, BEST, ROWS = "checkpoints", "last.ckpt", "best.ckpt", "rows"
AGAIN = "fit the system again with `python -m prerank.fit`"


class WholeCheckpoints(TorchCheckpointIO):
    """Writes beside the file and renames; Lightning's own copies over the old file, from another disk if need be."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Raises:
            OSError: if the disk is full; the checkpoint that was there is kept.
        """
        assert storage_options is None
        with replacing(Path(path)) as temporary:
            torch.save(checkpoint, temporary)


class Checkpoints(Checkpoint):
    """Writes ``last.ckpt`` at every validation.

    Args:
        folder: of the system.
        monitor: name of the figure of which the highest is the best.
        precision: that is trained with, and that a resumed training has to go on with.

    Attributes:
        best_score: of the validations so far.
        seconds: that the training has waited for its checkpoints.
    """

    def __init__(self, folder: Path, monitor: str, precision: str) -> None:
        self.folder = folder / FOLDER
        self.monitor = monitor
        self.precision = precision
        self.best_score: float | None = None
        self.seconds = 0.0
        self._best: dict[str, Any] | None = None
        self._files: list[str] = []
        self._resumed: list[str] | None = None
        self._tables: TableFiles | None = None
        self._improved = False

    def state_dict(self) -> dict[str, Any]:
        return {"best_score": self.best_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_score = state_dict["best_score"]

    def on_load_checkpoint(self, _trainer: Trainer, _module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._resumed, self._best = checkpoint["files"], checkpoint["best"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._tables = TableFiles(self.folder / ROWS, pl_module, trainer.optimizers[0])
        if self._resumed is None:
            self._tables.start()
        else:
            self._tables.resume(self._resumed)

    def on_before_optimizer_step(self, *_: Any) -> None:
        assert self._tables is not None
        self._tables.mark()

    def on_validation_end(self, trainer: Trainer, _module: LightningModule) -> None:
        started = time.perf_counter()
        score = float(trainer.callback_metrics[self.monitor])
        self._improved = self.best_score is None or score > self.best_score
        if self._improved:
            self.best_score = -math.inf if math.isnan(score) else score
        trainer.save_checkpoint(self.folder / LAST)
        assert self._best is not None
        remove_others(self.folder / ROWS, [*self._files, *self._best["files"]])
        self.seconds += time.perf_counter() - started

    def on_save_checkpoint(self, trainer: Trainer, _module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Write the tables' rows to files of their own, and take the tables out of the checkpoint."""
        assert self._tables is not None
        files = self._files = self._tables.write()
        stand_ins = self._tables.stand_ins()
        checkpoint["state_dict"] = _replaced(checkpoint["state_dict"], stand_ins)
        for states in checkpoint["optimizer_states"]:
            states["state"] = {place: _replaced(state, stand_ins) for place, state in states["state"].items()}
        if self._improved:
            # A copy of what stands in for a table would be as large as the table.
            weights = {
                name: values if 0 in values.stride() else values.clone()
                for name, values in checkpoint["state_dict"].items()
            }
            self._best = {"state_dict": weights, "global_step": trainer.global_step, "files": files}
        # EarlyStopping has looked at this validation by now.
        facts = {"files": files, "best": self._best, "ended": trainer.should_stop, "precision": self.precision}
        checkpoint.update(facts)

    def on_exception(self, *_: Any) -> None:
        if self._tables is not None:
            self._tables.close()


def _replaced(values: Mapping[str, Any], by: Mapping[int, Tensor]) -> dict[str, Any]:
    return {
        name: by.get(value.data_ptr(), value) if isinstance(value, Tensor) else value for name, value in values.items()
    }


def resume_point(folder: Path) -> dict[str, Any] | None:
    """What a training that was killed has left in a system's folder; None where there is nothing to go on from.

    Raises:
        InputError: if ``last.ckpt`` is damaged.
    """
    path = folder / FOLDER / LAST
    if not path.exists():
        return None
    checkpoint = _read(path, "delete it to train from the beginning")
    if "files" not in checkpoint:
        say(f"{path} is of an older version of this program: training from the beginning")
        shutil.rmtree(path.parent)
        return None
    return checkpoint


def conclude(module: nn.Module, folder: Path) -> None:
    """Once training has ended: read the best weights, and keep them as ``best.ckpt``; what else there is goes."""
    checkpoints = folder / FOLDER
    best = _read(checkpoints / LAST, AGAIN)["best"]
    _load(module, best, checkpoints / LAST)
    best["files"] = joined(module, checkpoints / ROWS, best["files"])
    with replacing(checkpoints / BEST) as temporary:
        torch.save(best, temporary)
    (checkpoints / LAST).unlink()
    remove_others(checkpoints / ROWS, best["files"])


def load_weights(module: nn.Module, path: Path) -> None:
    """Read the weights of a ``best.ckpt`` into a module of the same shape.

    Raises:
        InputError: if a file is missing, damaged, or its weights have other names or shapes.
    """
    if not path.exists():
        raise InputError(f"{path} is missing: {AGAIN}")
    _load(module, _read(path, AGAIN), path)


def _load(module: nn.Module, checkpoint: dict[str, Any], path: Path) -> None:
    try:
        module.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise InputError(f"{path} is a checkpoint of another configuration: {reason} {AGAIN}") from None
    # Older versions wrote the tables into the checkpoint itself.
    read_tables(module, path.parent / ROWS, checkpoint.get("files", []))


def _read(path: Path, remedy: str) -> dict[str, Any]:
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Its words would advise to read the file in a way in which it can run code.
        raise InputError(f"{path} is not a readable checkpoint ({type(error).__name__}): {remedy}") from None
    return checkpoint
