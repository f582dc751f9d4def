"""``python -m prerank.mechanisms``: what every module of GRACE gains where it should help, and where it must not.

The plan (``configs/mechanisms.yaml``) names modules as pairs of systems, and conditions as simulated markets. Each is
fitted in ``runs/<run>/mechanisms/<condition>/seed-<seed>``, several at a time; finished fits are not repeated and an
interrupted one resumes. The result is ``mechanisms.md``, ``mechanisms.svg`` and ``mechanisms.json``. All simulated.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from configs.command import Request, main, save
from configs.console import say, table, warn
from configs.errors import InputError
from configs.schema import Config
from configs.worlds import load_world
from prerank.mechanism_gains import Gain, gains_of
from prerank.mechanism_jobs import Fit, Job, Pairs, plan_jobs, seconds_by_world
from prerank.mechanism_plan import PLAN, Plan, read_plan
from prerank.mechanism_pool import carry_out
from prerank.mechanism_report import in_module_order, interval, points, write_report

SECONDS_PER_ROW = 0.00025
"""Of the training days, on one core, all of a fit included; for the first estimate."""
SECONDS_TO_START = 15
SECONDS_BETWEEN_REPORTS = 60


def mechanisms(request: Request) -> list[Path]:
    """Fit what is missing and report on all.

    Returns:
        The files of the report.

    Raises:
        InputError: if the plan or the command cannot be used, or if fits failed; the report then has the others.
    """
    config = request.config
    plan = read_plan(PLAN if config.mechanisms.plan is None else Path(config.mechanisms.plan).expanduser())
    folder = request.run.root / "mechanisms"
    jobs, pairs = plan_jobs(plan, request, folder)
    save(config, folder / "config.yaml")
    experiment = Experiment(plan, pairs, config, folder, sum(len(job.waiting) for job in jobs))
    experiment.finished.update(fit for job in jobs for fit in job.fits if fit.finished)
    workers = config.mechanisms.workers or cores()
    tell_plan(jobs, workers)
    try:
        carry_out([job for job in jobs if job.waiting], workers, experiment.told)
    finally:  # an interrupted command has a report too
        files = experiment.report()
    print_gains(plan, experiment.gains())
    say("simulated: " + ", ".join(str(file) for file in files))
    if experiment.failed:
        raise InputError(experiment.failures())
    return files


@dataclass
class Experiment:
    """What is finished so far.

    Attributes:
        waiting: fits that are to be made by this command.
    """

    plan: Plan
    pairs: Pairs
    config: Config
    folder: Path
    waiting: int
    finished: set[Fit] = field(default_factory=set)
    failed: dict[Fit, str] = field(default_factory=dict)
    answered: int = 0
    started: float = field(default_factory=time.monotonic)
    reported: float = field(default_factory=time.monotonic)

    def told(self, fit: Fit, answer: Mapping[str, Any]) -> None:
        """A fit has ended: say so, and now and then bring the report up to date."""
        self.answered += 1
        spent = time.monotonic() - self.started
        left = spent / self.answered * (self.waiting - self.answered)
        about = f"{fit.condition}  seed {fit.seed}  {_called(fit)}"
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

    def gains(self) -> list[Gain]:
        return gains_of(self.plan, self.pairs, self.finished)

    def report(self) -> list[Path]:
        """Write the report on what is finished."""
        self.reported = time.monotonic()
        return write_report(self.plan, self.gains(), self.config.mechanisms.seeds, self.folder)

    def failures(self) -> str:
        """What failed, and where its output lies."""
        named = [f"{fit.condition} seed {fit.seed} {_called(fit)} ({error})" for fit, error in self.failed.items()]
        return (
            f"{len(named)} fits failed; the output of each market's fits is in {self.folder / '_output'}; run the same "
            f"command again to try them again: {'; '.join(named)}"
        )


def tell_plan(jobs: Sequence[Job], workers: int) -> None:
    """How many fits there are, and about how long the missing ones take."""
    fits = [fit for job in jobs for fit in job.fits]
    waiting = [fit for job in jobs for fit in job.waiting]
    known = seconds_by_world(jobs)
    estimate = sum(len(job.waiting) * known.get(job.world, _guess(job.world)) for job in jobs) / workers
    say(
        f"simulated markets: {len(fits)} fits in {len(jobs)} markets, {len(fits) - len(waiting)} finished before, "
        f"{len(waiting)} to make, {min(workers, max(len(jobs), 1))} at a time: about {minutes(estimate)}"
    )


def print_gains(plan: Plan, gains: Sequence[Gain]) -> None:
    """The primary figures."""
    rows = [
        [
            f"{gain.module}: {plan.conditions[gain.condition].title}",
            str(gain.measure),
            f"{points(gain.estimate.mean)}\n{interval(gain)}",
            len(gain.by_seed),
            "–" if gain.p_holm is None else f"{gain.p_holm:.3f}",
            f"{gain.expected}\n{gain.verdict}",
        ]
        for gain in in_module_order(plan, gains)
        if gain.primary
    ]
    title = "simulated: gain in points, 95 % interval over markets"
    table(title, ["module: condition", "figure", "gain", "markets", "p (Holm)", "expected\nfound"], rows)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def minutes(seconds: float) -> str:
    """A duration for a reader."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _guess(world: str) -> float:
    """Seconds of a fit in a world that none was made in."""
    made = load_world(world)
    logged = made.ranked + made.logged_passed + made.logged_recalled + made.logged_random
    return SECONDS_TO_START + SECONDS_PER_ROW * made.days * made.requests_per_day * logged


def _called(fit: Fit) -> str:
    variant = fit.run.removeprefix(f"seed-{fit.seed}").lstrip("-")
    return f"{fit.system} ({variant})" if variant else fit.system


def _body(request: Request) -> None:
    mechanisms(request)


if __name__ == "__main__":
    sys.exit(main(_body, __doc__ or ""))
