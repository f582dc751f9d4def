"""Where the curves of a training go besides the CSV that reports read: TensorBoard, MLflow or Weights & Biases.

Nothing is sent anywhere unless the environment says so: MLflow writes files and Weights & Biases works offline, beside
the CSV, until MLFLOW_TRACKING_URI or WANDB_MODE=online names another place.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path

from pytorch_lightning.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from configs.errors import InputError
from configs.keys import values_of
from configs.schema import TrainingLogger
from prerank.training.contracts import Work

ALONE = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_FILE_STORE": "true",  # a database of its own for each training takes 18 s to make
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_SILENT": "true",
}
"""Variables of the environment for which the user's own values stand."""


def make_loggers(work: Work) -> list[Logger]:
    """The CSV logger, which every training has, and the one of ``prerank.logger``.

    A resumed training adds a version to the CSV and a run to the others.

    Args:
        work: whose folder the logs go to; run and system are named after it.

    Raises:
        InputError: if the logger's package is not installed.
    """
    folder, wanted = work.folder / "log", work.config.prerank.logger
    # A resumed training adds a version: CSVLogger would clear a folder that it finds files in.
    curve = CSVLogger(folder, "curve")
    if wanted is TrainingLogger.csv:
        return [curve]
    if wanted is TrainingLogger.tensorboard:
        return [curve, TensorBoardLogger(folder, "tensorboard", version="")]
    _require(wanted.value)
    for name, value in ALONE.items():
        os.environ.setdefault(name, value)
    tracked = _mlflow(work, folder) if wanted is TrainingLogger.mlflow else _wandb(work, folder)
    tracked.log_hyperparams(values_of(work.config))
    return [curve, tracked]


def finish_logging(loggers: list[Logger]) -> None:
    """Close what would otherwise go on into the next training of this process."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()


def _names(work: Work) -> tuple[str, str]:
    """Of the run, and of the system within it; one that is fitted anew lies in ``.NAME.next`` for now."""
    return work.folder.parent.parent.name, work.folder.name.removeprefix(".").removesuffix(".next")


def _mlflow(work: Work, folder: Path) -> Logger:
    run, system = _names(work)
    place = os.environ.get("MLFLOW_TRACKING_URI") or (folder / "mlflow").resolve().as_uri()
    return MLFlowLogger(run, run_name=system, tracking_uri=place)


def _wandb(work: Work, folder: Path) -> Logger:
    run, system = _names(work)
    folder.mkdir(parents=True, exist_ok=True)
    online = os.environ.get("WANDB_MODE", "offline") == "online"
    return WandbLogger(system, save_dir=folder, project=run, offline=not online)


def _require(package: str) -> None:
    try:
        importlib.import_module(package)
    except ImportError:
        raise InputError(
            f"prerank.logger={package} needs the package {package}, which is not installed here: install the extra "
            "[tracking], as by `pip install 'grace-prerank[tracking]'`, or leave the key out"
        ) from None
