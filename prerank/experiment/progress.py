"""How far an experiment is: what is finished, what failed, and how long the rest takes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from configs.console import say, warn
from prerank.experiment.jobs import OUTPUT, Fit, Job

SECONDS_BETWEEN_REPORTS = 60


@dataclass
class Progress:
    """The fits that are finished so far.

    Attributes:
        root: the experiment's folder.
        waiting: fits that are to be made by this command.
        report: brings the report up to date; called now and then.
    """

    root: Path
    waiting: int
    report: Callable[[], object]
    finished: set[Fit] = field(default_factory=set)
    failed: dict[Fit, str] = field(default_factory=dict)
    answered: int = 0
    started: float = field(default_factory=time.monotonic)
    reported: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, jobs: Sequence[Job], root: Path, report: Callable[[], object]) -> Progress:
        """At the start of a command: what was finished before is finished."""
        finished = {fit for job in jobs for fit in job.fits} - {fit for job in jobs for fit in job.waiting}
        return cls(root, sum(len(job.waiting) for job in jobs), report, finished)

    def told(self, fit: Fit, answer: Mapping[str, Any]) -> None:
        """A fit has ended: say so, and now and then bring the report up to date."""
        self.answered += 1
        spent = time.monotonic() - self.started
        left = spent / self.answered * (self.waiting - self.answered)
        about = f"{fit.group}  seed {fit.seed}  {_called(fit)}"
        if "error" in answer:
            self.failed[fit] = str(answer["error"])
            warn(f"{about}  failed: {answer['error']}")
        else:
            fit.remember(float(answer["seconds"]))
            self.finished.add(fit)
            left_to_do = f"{self.answered}/{self.waiting}, {minutes(left)} left" if left else "all done"
            say(f"{about}  {answer['seconds']:.0f} s  ({left_to_do})")
            if time.monotonic() - self.reported > SECONDS_BETWEEN_REPORTS:
                self.report()
                self.reported = time.monotonic()

    def failures(self) -> str:
        """What failed, and where its output lies."""
        named = [f"{fit.group} seed {fit.seed} {_called(fit)} ({error})" for fit, error in self.failed.items()]
        return (
            f"{len(named)} fits failed; the output of the fits is in {self.root / OUTPUT}; run the same command again "
            f"to try them again: {'; '.join(named)}"
        )


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
