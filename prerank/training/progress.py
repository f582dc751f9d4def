"""A training says every few seconds how far it is, also where its output is a file; at the end, what took its time."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback

from configs.console import SECONDS_APART, say
from configs.stages import write_json
from prerank.training.checkpoints import Checkpoints
from prerank.training.precision import PrecisionTimes


class Progress(Callback):
    """One line every few seconds: the share of all epochs that is done, rows a second, the last validation.

    Args:
        name: of the system.
        monitor: name of the validation's figure.
        times: what the precision was chosen by, if it was measured.
    """

    def __init__(self, name: str, monitor: str, times: PrecisionTimes | None) -> None:
        self.name = name
        self.monitor = monitor
        self.times = times
        self.rows = 0
        self.validation_seconds = 0.0
        self._started = self._said = self._validating = time.perf_counter()

    def on_train_start(self, *_: Any) -> None:
        self._started = self._said = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, _module: LightningModule, _outputs: Any, batch: Any, index: int
    ) -> None:
        self.rows += len(batch)
        now = time.perf_counter()
        if now - self._said >= SECONDS_APART:
            self._said = now
            epoch, steps, epochs = trainer.current_epoch, int(trainer.num_training_batches), trainer.max_epochs or 1
            done = (epoch + (index + 1) / steps) / epochs
            rate = self.rows / (now - self._started)
            figure = trainer.callback_metrics.get(self.monitor)
            validation = "" if figure is None else f", validation {float(figure):.4f}"
            say(
                f"{self.name}: epoch {epoch + 1} of at most {epochs}, {done:.0%} of all, {rate:,.0f} rows/s{validation}"
            )

    def on_validation_start(self, *_: Any) -> None:
        self._validating = time.perf_counter()

    def on_validation_epoch_end(self, *_: Any) -> None:
        self.validation_seconds += time.perf_counter() - self._validating

    def write(self, folder: Path, checkpoints: Checkpoints) -> None:
        """Write ``training.json``: how the training ended, and what this process's part of it took."""
        fit = time.perf_counter() - self._started
        parts = {"fit": fit, "validation": self.validation_seconds, "checkpoints": checkpoints.seconds}
        write_json(
            folder / "training.json",
            {
                "precision": checkpoints.precision,
                "precision_times": None if self.times is None else asdict(self.times),
                "best_validation": checkpoints.best_score,
                "rows": self.rows,
                "seconds": {name: round(seconds, 3) for name, seconds in parts.items()},
            },
        )
