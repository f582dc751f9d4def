"""The course of an experiment: its fits are made, and the user sees what is finished, what failed and what is left."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from configs.console import say, warn
from configs.errors import InputError
from prerank.experiment.jobs import OUTPUT, Fit, Job, seconds_by_source
from prerank.experiment.pool import Answer, carry_out

SECONDS_BETWEEN_REPORTS = 60


@dataclass
class ExperimentProgress:
    """The fits of an experiment.

    Attributes:
        root: the experiment's folder.
        jobs: all of it.
        workers: processes at a time.
        report: brings the report up to date; called now and then.
        finished: fits that are, before this command or now.
        failed: fits that broke, with why.
    """

    root: Path
    jobs: Sequence[Job]
    workers: int
    report: Callable[[], object]
    finished: set[Fit] = field(init=False)
    failed: dict[Fit, str] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    reported: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.waiting = [fit for job in self.jobs for fit in job.waiting]
        self.fits = [fit for job in self.jobs for fit in job.fits]
        self.finished = set(self.fits) - set(self.waiting)

    def announce(self, places: str, guess: Callable[[str], float] | None = None) -> None:
        """How many fits there are, and about how long the missing ones take.

        Args:
            places: where they are made, in words.
            guess: seconds of a fit on a source that none was made on; without it there is no estimate then.
        """
        known = seconds_by_source(self.jobs)
        seconds = [
            len(job.waiting) * (known.get(job.source) or (guess(job.source) if guess else float("nan")))
            for job in self.jobs
            if job.waiting
        ]
        left = sum(seconds) / self.workers
        say(
            f"{len(self.fits)} fits {places}, {len(self.finished)} finished before, {len(self.waiting)} to make, "
            f"{min(self.workers, max(len(self.jobs), 1))} at a time" + (f": about {minutes(left)}" if left > 0 else "")
        )

    def make_fits(self) -> None:
        """Make the fits that are missing, one process for each job."""
        carry_out((job.task for job in self.jobs if job.waiting), self.workers, self._hear)

    def require_success(self) -> None:
        """Refuse to end well where fits failed.

        Raises:
            InputError: naming them, and where their output lies.
        """
        if self.failed:
            reasons = [f"{fit.group} seed {fit.seed} {_called(fit)} ({error})" for fit, error in self.failed.items()]
            raise InputError(
                f"{len(reasons)} fits failed; the output of the fits is in {self.root / OUTPUT}; run the same command "
                f"again to try them again: {'; '.join(reasons)}"
            )

    def _hear(self, answer: Answer[Job]) -> None:
        job = answer.subject
        if answer.error is not None:  # what its process did not come to has failed
            for fit in job.waiting:
                if fit not in self.finished and fit not in self.failed:
                    self._fail(fit, answer.error)
        elif "error" in answer.content:
            self._fail(job.waiting[answer.content["fit"]], answer.content["error"])
        else:
            self._finish(job.waiting[answer.content["fit"]], answer.content["seconds"])

    def _fail(self, fit: Fit, error: str) -> None:
        self.failed[fit] = error
        warn(f"{fit.group}  seed {fit.seed}  {_called(fit)}  failed: {error}")

    def _finish(self, fit: Fit, seconds: float) -> None:
        fit.remember(seconds)
        self.finished.add(fit)
        ended = sum(fit in self.finished or fit in self.failed for fit in self.waiting)
        missing = len(self.waiting) - ended
        left = (time.monotonic() - self.started) / ended * missing
        state = f"{ended}/{len(self.waiting)}, {minutes(left)} left" if missing else "all done"
        say(f"{fit.group}  seed {fit.seed}  {_called(fit)}  {seconds:.0f} s  ({state})")
        if time.monotonic() - self.reported > SECONDS_BETWEEN_REPORTS:
            self.report()
            self.reported = time.monotonic()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def minutes(seconds: float) -> str:
    """A duration for a reader."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _called(fit: Fit) -> str:
    variant = fit.run.removeprefix(f"seed-{fit.seed}").lstrip("-")
    return f"{fit.system} ({variant})" if variant else fit.system
