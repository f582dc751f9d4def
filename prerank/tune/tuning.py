"""``python -m prerank.tune``: search the few hyper-parameters of a system on the validation split.

The same number of trials for every system, of which the first is what is configured, so that tuning is never worse than
not tuning there. Each trial is fitted as ``python -m prerank.fit`` does and judged by the same figures of the fused
score. The test split is neither predicted nor measured. An interrupted search goes on where it stopped.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

from configs.command import Invocation, settings
from configs.console import say, warn
from configs.errors import InputError
from configs.schema import Config
from configs.stages import Run, fingerprint
from prerank.encoding.batches import EncodedLog
from prerank.encoding.features import encode_log
from prerank.experiment.progress import cores, minutes
from prerank.fitting import open_log, open_work, system_stage
from prerank.tune.objective import check_objective
from prerank.tune.pool import Processes
from prerank.tune.report import Found, print_report, write_report
from prerank.tune.search import Asked, Outcome, Records, Search, Trial
from prerank.tune.space import SPACES, Space, configured, leaves, read_space, with_values
from prerank.tune.trial import measure

HANDED_ON = ("model.", "prerank.", "evaluation.", "runs_folder", "seed")
"""Keys of this command line that the fit with the best values needs too."""


@dataclass(frozen=True)
class Tuned:
    """The result of a search.

    Attributes:
        folder: ``runs/<run>/tune/<system>``, with ``tune.json`` and ``tune.md``.
        best_file: ``best.yaml`` there, for ``--config``: the tuned keys and nothing else.
        trials: all, by number; ``values``, ``objective``, and ``outcome.parts`` of each.
        best: the one with the highest objective.
    """

    folder: Path
    best_file: Path
    trials: tuple[Trial, ...]
    best: Trial


def tune(invocation: Invocation) -> Tuned:
    """Make the trials of ``config.model`` on ``config.run`` that are missing, and report on all.

    Raises:
        InputError: if the run, the space or the objective cannot be used, or if every trial failed.
    """
    config, name = invocation.config, invocation.config.model.name
    space = read_space(SPACES if config.tune.space is None else Path(config.tune.space).expanduser(), name)
    defaults = configured(config, space)
    encoded = encode_log(invocation, open_log(invocation))
    check_objective(encoded, config.evaluation, config.tune.objective)
    tuning = open_tuning(invocation, encoded, space)
    search = Search(space, defaults, config.seed, tuning.finished(), tuning.asked)
    tuning.tell_plan(search)
    try:
        if tuning.workers == 1:
            tuning.one_by_one(search)
        else:
            tuning.several(search)
    finally:  # an interrupted search has a report too
        found = tuning.report(search)
    if found.best is None:
        raise InputError(
            f"model={name}: all {len(found.trials)} trials failed, the first with: {found.trials[0].outcome.reason}; "
            f"what they printed is in {tuning.output}; delete {tuning.records.folder} to try again"
        )
    print_report(found)
    say(f"all trials: {tuning.folder / 'tune.md'}")
    say(f"next: {next_command(invocation, space, tuning.folder / 'best.yaml')}")
    return Tuned(tuning.folder, tuning.folder / "best.yaml", found.trials, found.best)


@dataclass
class Tuning:
    """A search on its way.

    Attributes:
        folder: of the system's search.
        asked: trials that it has when it is finished.
        made: trials of this command, with the seconds they took together.
    """

    config: Config
    run: Run
    encoded: EncodedLog
    space: Space
    folder: Path
    records: Records
    asked: int
    workers: int
    made: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def output(self) -> Path:
        """What the trials print."""
        return self.folder / "output.log"

    def finished(self) -> dict[int, Trial]:
        """The trials that were recorded before, as far as they are asked for now."""
        return {number: trial for number, trial in self.records.read().items() if number < self.asked}

    def tell_plan(self, search: Search) -> None:
        """What is searched, and how much of it is done."""
        name, others = self.config.model.name, self.records.others()
        if others:
            say(
                f"model={name}: {others} trials of other searches are not read: they had another log, ψ, configuration,"
                " space, objective or seed"
            )
        if not self.space:
            say(f"model={name} has nothing to tune: what is configured is measured, and that is all")
        before = f", {len(search.finished)} of them made before" if search.finished else ""
        say(
            f"model={name}: {self.asked} trials of {len(self.space)} keys{before}, "
            f"{min(self.workers, max(len(search.waiting), 1))} at a time, on validation: mean of "
            f"{', '.join(self.config.tune.objective)}"
        )
        for key, searched in self.space.items():
            say(f"  {key}: {searched}, configured {search.defaults[key]}")

    def one_by_one(self, search: Search) -> None:
        """Make the trials in this process."""
        while (asked := search.ask()) is not None:
            config = with_values(self.config, asked.values)
            with self._printing_to_output(asked):
                outcome = measure(config, self.run, self.encoded, self._place(asked), self.config.tune.objective)
            self.told(search, asked, outcome)

    def several(self, search: Search) -> None:
        """Make the trials in processes of their own, some at a time."""
        running: dict[Future[Outcome], Asked] = {}
        with Processes(self.workers, self.output) as processes:
            while True:
                while len(running) < self.workers and (asked := search.ask()) is not None:
                    message = {
                        "run": str(self.run.root),
                        "config": str(self.folder / "config.yaml"),
                        "folder": str(self._place(asked)),
                        "values": asked.values,
                        "objective": list(self.config.tune.objective),
                    }
                    running[processes.submit(message)] = asked
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    self.told(search, running.pop(future), future.result())

    def told(self, search: Search, asked: Asked, outcome: Outcome) -> None:
        """A trial has ended: record it and say so."""
        trial = search.tell(asked, outcome)
        self.records.write(trial)
        self.made += 1
        missing = self.asked - len(search.finished)
        left = (time.monotonic() - self.started) / self.made * missing
        about = f"trial {trial.number} ({len(search.finished)}/{self.asked})"
        spent = f"{minutes(outcome.seconds)}{f', {minutes(left)} left' if missing else ''}"
        if trial.failed:
            warn(f"{about}  failed: {outcome.reason}  ({spent})")
            return
        parts = "  ".join(f"{name} {value:.4f}" for name, value in outcome.parts.items())
        best = "  best so far" if trial is search.best else ""
        say(f"{about}  {parts}  mean {trial.objective:.4f}{best}  ({spent})")

    def report(self, search: Search) -> Found:
        """Write what is known."""
        found = Found(
            run=self.config.run,
            system=self.config.model.name,
            identity=self.records.folder.name,
            seed=self.config.seed,
            objective=tuple(self.config.tune.objective),
            space=self.space,
            asked=self.asked,
            trials=tuple(trial for _, trial in sorted(search.finished.items())),
            best=search.best,
        )
        if found.trials:
            write_report(found, self.folder)
        return found

    def _place(self, asked: Asked) -> Path:
        return self.folder / "work" / f"{asked.number:03}"

    @contextmanager
    def _printing_to_output(self, asked: Asked) -> Iterator[None]:
        """The fits' own lines are for who looks into a trial; the console gets a line for each."""
        with self.output.open("a", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
            say(f"trial {asked.number}: {asked.values}")
            yield


def open_tuning(invocation: Invocation, encoded: EncodedLog, space: Space) -> Tuning:
    """The search's folder, with the records of the same search if there are any."""
    config, run = invocation.config, invocation.run
    folder = run.root / "tune" / config.model.name
    records = Records(folder / "trials", search_identity(config, run, encoded, space))
    invocation.save(folder / "config.yaml")
    # One trial is all that a system without keys can have: the others would be the same.
    asked = config.tune.trials if space else 1
    return Tuning(config, run, encoded, space, folder, records, asked, min(config.tune.workers or cores(), asked))


def search_identity(config: Config, run: Run, encoded: EncodedLog, space: Space) -> str:
    """What trials depend on besides their number: trials of another search say nothing about this one.

    The number of trials is no part of it, so that a search can be prolonged, nor is that of threads.
    """
    return fingerprint(
        {
            "inputs": system_stage(config, run, open_work(config, run, encoded)).inputs,
            "dimension": config.pretrain.dimension,
            "system": config.model.name,
            "configured": dict(leaves(config)),
            "seed": config.seed,
            "space": {key: searched.facts for key, searched in space.items()},
            "objective": list(config.tune.objective),
        }
    )


def next_command(invocation: Invocation, space: Space, best: Path) -> str:
    """The command that fits the system with the best values, and evaluates it on test."""
    config = invocation.config
    values = settings(config)
    command = ["python", "-m", "prerank.fit", f"run={config.run}", f"model={config.model.name}", "--config", str(best)]
    for key in sorted(invocation.asked - set(space) - {"model.name"}):
        if key.startswith(HANDED_ON):
            value = values
            for name in key.split("."):
                value = value[name]
            command.append(f"{key}={value if isinstance(value, str) else json.dumps(value)}")
    return shlex.join(command)
