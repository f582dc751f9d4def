"""One trial: fit with other values in a folder of its own, measure on validation, leave nothing behind."""

from __future__ import annotations

import dataclasses
import shutil
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.command import config_from
from configs.errors import InputError, system_fault
from configs.schema import Config
from configs.stages import Run
from prerank.encoding.batches import EncodedLog
from prerank.fitting import open_work, predict_validation, train
from prerank.tune.objective import objective_parts
from prerank.tune.search import Outcome
from prerank.tune.space import with_values


def measure(config: Config, run: Run, encoded: EncodedLog, folder: Path, objective: Sequence[str]) -> Outcome:
    """Fit the configured system and measure it on validation; no row of test is predicted.

    Args:
        config: with the trial's values.
        run: whose log and ψ it is fitted on.
        encoded: its log.
        folder: emptied before, since what an interrupted trial left there would change this one, and gone afterwards.
        objective: names of figures.

    Returns:
        The figures, or why the trial failed.

    Raises:
        OSError: if the disk is full or cannot be written; that says nothing about the values.
    """
    started = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
        work = dataclasses.replace(open_work(config, run, encoded), folder=folder)
        system = train(work)
        predictions, weights = predict_validation(work, system)
        parts = objective_parts(encoded, predictions, weights, config.evaluation, objective)
    except Exception as error:
        if system_fault(error, folder) is not None:
            raise
        traceback.print_exc()
        reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        return Outcome(time.monotonic() - started, reason=reason)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    fusion = {"click": weights.click, "order": weights.order, "rank": weights.rank}
    return Outcome(time.monotonic() - started, parts, None, system.parameters, fusion)


def measure_alone(
    run: str, config: str, encoded: str, folder: str, values: Mapping[str, Any], objective: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """:func:`measure` in a process of its own, with one thread.

    Args:
        run, config, encoded, folder: paths of the run folder, the search's configuration, the encoded log and the
            trial's own folder.
        values: of this trial.
        objective: names of figures.

    Yields:
        The outcome as JSON, or ``{"fault": ...}`` where the disk is full or cannot be written.
    """
    place = Run(Path(run))
    configuration = with_values(config_from(Path(config)), {**values, "prerank.threads": 1})
    try:
        yield dataclasses.asdict(measure(configuration, place, EncodedLog.open(Path(encoded)), Path(folder), objective))
    except Exception as error:
        fault = system_fault(error, folder)
        if fault is None:
            raise
        yield {"fault": fault}
