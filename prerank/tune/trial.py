"""One trial: fit with other values in a folder of its own, measure on validation, leave nothing behind.

``python -m prerank.tune.trial`` does so in a process of its own, started by ``python -m prerank.tune``: it reads a line
of JSON and answers with another; what the fit prints goes to its error output.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from configs.command import config_from
from configs.errors import InputError, system_fault
from configs.schema import Config
from configs.stages import Run
from prerank.encoding.batches import EncodedLog
from prerank.experiment.pool import end_with_parent, read_line
from prerank.fitting import fit_system, open_work, predict_validation
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
        system = fit_system(work)
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


def main() -> int:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the fit prints belongs to the log, and the answer to nobody else
    asked = json.loads(read_line("expected a trial on the input: this is started by `python -m prerank.tune`"))
    end_with_parent()
    run, folder = Run(Path(asked["run"])), Path(asked["folder"])
    config = with_values(config_from(Path(asked["config"])), {**asked["values"], "prerank.threads": 1})
    try:
        outcome = measure(config, run, EncodedLog.open(run.encoded), folder, asked["objective"])
        answer = dataclasses.asdict(outcome)
    except Exception as error:
        fault = system_fault(error, folder)
        if fault is None:
            raise
        answer = {"fault": fault}
    answers.write(json.dumps(answer))
    answers.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
