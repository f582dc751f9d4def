"""The Lightning trainer of every network system: checkpoints, early stopping, logs.

A run may be killed at any step: a checkpoint holds weights, optimiser, and the position in the epoch's shuffle, so
that the rest of the epoch is trained on the rows that are left, each once.
"""

from __future__ import annotations

import logging
import warnings

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import EarlyStopping

from prerank.training.checkpoints import Checkpoints, WholeCheckpoints
from prerank.training.contracts import Work
from prerank.training.loggers import make_loggers
from prerank.training.progress import Progress

MONITOR = "validation/objective"
"""What stopping and checkpoints look at."""


def make_trainer(work: Work, every: int, checkpoints: Checkpoints, progress: Progress) -> lightning.Trainer:
    """The Lightning trainer of a system: early stopping, logs, and the given callbacks.

    Args:
        work: whose folder the logs go to.
        every: steps between two validations.
        checkpoints, progress: of this training.
    """
    settings = work.config.prerank
    return lightning.Trainer(
        accelerator="auto",
        devices=1,
        precision=checkpoints.precision,  # type: ignore[arg-type]
        max_epochs=settings.max_epochs,
        val_check_interval=every,
        num_sanity_val_steps=0,
        log_every_n_steps=max(every // 4, 1),
        callbacks=[progress, EarlyStopping(MONITOR, mode="max", patience=settings.patience), checkpoints],
        logger=make_loggers(work),
        enable_progress_bar=False,
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
