"""The Lightning trainer of every network system: best and last checkpoints, early stopping, logs.

A run may be killed at any step: ``last.ckpt`` holds weights, optimiser, and the position in the epoch's shuffle, so
that the rest of the epoch is trained on the rows that are left, each once.
"""

from __future__ import annotations

import logging
import sys
import warnings

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from prerank.training.checkpoints import WholeCheckpoints
from prerank.training.contracts import Work

MONITOR = "validation/objective"
"""What stopping and checkpoints look at."""


def make_trainer(work: Work, every: int) -> lightning.Trainer:
    """The Lightning trainer of a system: best and last checkpoints, early stopping, CSV and TensorBoard logs."""
    settings, folder = work.config.prerank, work.folder
    interactive = sys.stdout.isatty()
    best = ModelCheckpoint(
        folder / "checkpoints", "best", monitor=MONITOR, mode="max", save_last=True, enable_version_counter=False
    )
    return lightning.Trainer(
        accelerator="auto",
        devices=1,
        precision=settings.precision,  # type: ignore[arg-type]
        max_epochs=settings.max_epochs,
        val_check_interval=every,
        num_sanity_val_steps=0,
        log_every_n_steps=max(every // 4, 1),
        callbacks=[
            best,
            EarlyStopping(MONITOR, mode="max", patience=settings.patience),
            *([RichProgressBar()] if interactive else []),
        ],
        # A resumed training adds a version: CSVLogger would clear a folder that it finds files in.
        logger=[CSVLogger(folder / "log", "curve"), TensorBoardLogger(folder / "log", "tensorboard", version="")],
        enable_progress_bar=interactive,
        enable_model_summary=False,
        plugins=[WholeCheckpoints()],
    )


def quiet_lightning() -> None:
    """Keep Lightning's advice out of what a user reads; its errors are raised all the same."""
    for name in ("pytorch_lightning", "lightning.pytorch", "pytorch_lightning.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    torch.sparse.check_sparse_tensor_invariants.disable()  # type: ignore[no-untyped-call]
    warnings.filterwarnings("ignore", message=".*isinstance.treespec.*")
