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
from prerank.network.inputs import NumberEncoder
from prerank.training.table_files import TableFiles, joined, read_states, read_tables, remove_others, tables_of

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
        warm: whether the optimiser starts with the state that an earlier training has left.

    Attributes:
        best_score: of the validations so far.
        seconds: that the training has waited for its checkpoints.
    """

    def __init__(self, folder: Path, monitor: str, precision: str, warm: bool = False) -> None:
        self.folder = folder / FOLDER
        self.monitor = monitor
        self.precision = precision
        self.warm = warm
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
            self._tables.start(with_states=self.warm)
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

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Write the tables' rows to files of their own, and take the tables out of the checkpoint."""
        assert self._tables is not None
        files = self._files = self._tables.write()
        stand_ins = self._tables.stand_ins()
        checkpoint["state_dict"] = _replaced(checkpoint["state_dict"], stand_ins)
        for states in checkpoint["optimizer_states"]:
            states["state"] = {place: _replaced(state, stand_ins) for place, state in states["state"].items()}
        if self._improved:
            names = [name for name, _ in pl_module.named_parameters()]
            states = checkpoint["optimizer_states"][0]["state"]
            self._best = {
                "state_dict": _copied(checkpoint["state_dict"]),
                "states": {names[place]: _copied(state) for place, state in states.items()},
                "global_step": trainer.global_step,
                "files": files,
            }
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


def _copied(values: Mapping[str, Any]) -> dict[str, Any]:
    """Copies; of what stands in for a table none, which would be as large as the table."""
    return {
        name: value.clone() if isinstance(value, Tensor) and 0 not in value.stride() else value
        for name, value in values.items()
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
    best["files"] = joined(module, checkpoints / ROWS, best["files"], _of_tables(module, best))
    with replacing(checkpoints / BEST) as temporary:
        torch.save(best, temporary)
    (checkpoints / LAST).unlink()
    remove_others(checkpoints / ROWS, best["files"])


def _of_tables(module: nn.Module, best: Mapping[str, Any]) -> dict[str, Tensor]:
    """What stands for the optimiser's states of a module's tables, by name in the tables' files."""
    return {
        f"{name}/{key}": values
        for name in tables_of(module)
        for key, values in best.get("states", {}).get(name, {}).items()
        if values.dim() > 0
    }


def read_start(module: nn.Module, folder: Path) -> dict[str, dict[str, Tensor]]:
    """Read what a fitted system ended with into a module that goes on from it.

    Args:
        module: of the same shape; the statistics that it standardises numbers by stay its own.
        folder: of the fitted system.

    Returns:
        Parameter → the optimiser's state of it; empty where an older version has not kept it.

    Raises:
        InputError: if a file is missing, damaged, or its weights have other names or shapes.
    """
    own = {
        encoder: (encoder.mean.clone(), encoder.scale.clone())
        for encoder in module.modules()
        if isinstance(encoder, NumberEncoder)
    }
    path = folder / FOLDER / BEST
    load_weights(module, path)
    for encoder, (mean, scale) in own.items():
        encoder.mean.copy_(mean)
        encoder.scale.copy_(scale)
    best = _read(path, AGAIN)
    states: dict[str, dict[str, Tensor]] = {name: dict(state) for name, state in best.get("states", {}).items()}
    for name, values in read_states(path.parent / ROWS, best.get("files", []), _of_tables(module, best)).items():
        parameter, key = name.rsplit("/", 1)
        states[parameter][key] = values
    return states


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
