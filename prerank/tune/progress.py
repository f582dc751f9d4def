"""The course of a search: its trials are made, recorded and told, and the report has those that are finished."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

from configs.console import say, warn
from configs.errors import InputError
from configs.schema import Config
from configs.stages import Run
from prerank.encoding.batches import EncodedLog
from prerank.experiment.pool import Answer, Task, carry_out
from prerank.experiment.progress import minutes
from prerank.tune.report import TuningReport, write_report
from prerank.tune.search import HyperparameterSearch, Outcome, PendingTrial, TrialRecords
from prerank.tune.space import Space, with_values
from prerank.tune.trial import measure


@dataclass
class TuningProgress:
    """A search on its way.

    Attributes:
        folder: of the system's search, with its ``config.yaml``.
        records: of the finished trials.
        workers: trials at a time.
        count: of the trials that this command has made.
        started: since then, for an estimate of what is left; seconds.
    """

    config: Config
    run: Run
    encoded: EncodedLog
    folder: Path
    search: HyperparameterSearch
    records: TrialRecords
    workers: int
    count: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def output(self) -> Path:
        """What the trials print."""
        return self.folder / "output.log"

    @property
    def asked(self) -> int:
        """Number of trials that the search has when it is finished."""
        return self.search.trials

    def announce(self, space: Space) -> None:
        """What is searched, and how much of it is done."""
        name, others, search = self.config.model.name, self.records.others(), self.search
        if others:
            say(
                f"model={name}: {others} trials of other searches are not read: they had another log, ψ, configuration,"
                " space, objective or seed"
            )
        if not space:
            say(f"model={name} has nothing to tune: what is configured is measured, and that is all")
        before = f", {len(search.finished)} of them made before" if search.finished else ""
        say(
            f"model={name}: {self.asked} trials of {len(space)} keys{before}, "
            f"{min(self.workers, max(len(search.waiting), 1))} at a time, on validation: mean of "
            f"{', '.join(self.config.tune.objective)}"
        )
        for key, searched in space.items():
            say(f"  {key}: {searched}, configured {search.defaults[key]}")

    def make_trials(self) -> None:
        """Make the trials that are missing: one in this process, or several at a time in processes of their own."""
        if self.workers > 1:
            carry_out(map(self._task, self._pending()), self.workers, self._hear)
            return
        for pending in self._pending():
            config = with_values(self.config, pending.values)
            with self._printing_to_output(pending):
                outcome = measure(config, self.run, self.encoded, self._place(pending), self.config.tune.objective)
            self._end(pending, outcome)

    def report(self, space: Space) -> TuningReport:
        """Write what is known."""
        report = TuningReport(
            run=self.config.run,
            system=self.config.model.name,
            identity=self.records.folder.name,
            seed=self.config.seed,
            objective=tuple(self.config.tune.objective),
            space=space,
            asked=self.asked,
            trials=tuple(trial for _, trial in sorted(self.search.finished.items())),
            best=self.search.best,
        )
        if report.trials:
            write_report(report, self.folder)
        return report

    def _pending(self) -> Iterator[PendingTrial]:
        while (pending := self.search.ask()) is not None:
            yield pending

    def _task(self, pending: PendingTrial) -> Task[PendingTrial]:
        arguments = {
            "run": str(self.run.root),
            "config": str(self.folder / "config.yaml"),
            "encoded": str(self.encoded.folder),
            "folder": str(self._place(pending)),
            "values": pending.values,
            "objective": list(self.config.tune.objective),
        }
        return Task(pending, "prerank.tune.trial:measure_alone", arguments, self.output)

    def _hear(self, answer: Answer[PendingTrial]) -> None:
        if answer.error is not None:
            reason = f"{answer.error}; what it printed is in {self.output}"
            self._end(answer.subject, Outcome(time.monotonic() - answer.subject.started, reason=reason))
        elif "fault" in answer.content:
            raise InputError(answer.content["fault"])
        else:
            self._end(answer.subject, Outcome(**answer.content))

    def _end(self, pending: PendingTrial, outcome: Outcome) -> None:
        """A trial has ended: record it and say so."""
        trial = self.search.tell(pending, outcome)
        self.records.write(trial)
        self.count += 1
        missing = self.asked - len(self.search.finished)
        left = (time.monotonic() - self.started) / self.count * missing
        about = f"trial {trial.number} ({len(self.search.finished)}/{self.asked})"
        spent = f"{minutes(outcome.seconds)}{f', {minutes(left)} left' if missing else ''}"
        if trial.failed:
            warn(f"{about}  failed: {outcome.reason}  ({spent})")
            return
        parts = "  ".join(f"{name} {value:.4f}" for name, value in outcome.parts.items())
        best = "  best so far" if trial is self.search.best else ""
        say(f"{about}  {parts}  mean {trial.objective:.4f}{best}  ({spent})")

    def _place(self, pending: PendingTrial) -> Path:
        return self.folder / "work" / f"{pending.number:03}"

    @contextmanager
    def _printing_to_output(self, pending: PendingTrial) -> Iterator[None]:
        """The fits' own lines are for who looks into a trial; the console gets a line for each."""
        with self.output.open("a", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
            say(f"trial {pending.number}: {pending.values}")
            yield
