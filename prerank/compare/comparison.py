"""``python -m prerank.compare``: systems side by side, on several seeds and data, with how sure each difference is.

Every system of ``compare.systems`` is fitted with every seed in ``runs/<run>/compare/<data>/seed-<seed>``, several
at a time; finished fits are not repeated and an interrupted one resumes. The result is ``comparison.json``,
``comparison.md`` and ``reports/comparison.html``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.command import Invocation
from configs.console import say, table, warn
from configs.errors import InputError
from prerank.compare.cost import measure_missing
from prerank.compare.jobs import Comparison, DataSet, plan_comparison
from prerank.compare.report import report_content, write_report
from prerank.experiment.jobs import Fit, seconds_by_source
from prerank.experiment.pool import carry_out
from prerank.experiment.progress import Progress, cores, minutes


@dataclass(frozen=True)
class Compared:
    """What a comparison has made.

    Attributes:
        content: everything, as in ``comparison.json``.
        files: ``comparison.json``, ``comparison.md`` and ``comparison.html``.
    """

    content: dict[str, Any]
    files: tuple[Path, ...]


def compare(invocation: Invocation) -> Compared:
    """Fit what is missing, measure what scoring costs, and report on all.

    Args:
        invocation: the ``compare`` section says what; keys of data, graph, model, prerank and evaluation go to
            every fit.

    Raises:
        InputError: if the plan or the command cannot be used, or if fits failed; the report then has the others.
    """
    config = invocation.config
    folder = invocation.run.root / "compare"
    comparison = plan_comparison(invocation, folder)
    invocation.save(folder / "config.yaml")
    jobs = comparison.jobs

    def report() -> Compared:
        content = report_content(comparison, config, progress.finished, progress.failed)
        return Compared(content, tuple(write_report(content, invocation.run)))

    def report_so_far() -> None:
        report()
        print_progress(comparison, progress.finished)

    progress = Progress.of(jobs, folder, report_so_far)
    workers = config.compare.workers or cores()
    tell_plan(comparison, workers)
    try:
        carry_out([job for job in jobs if job.waiting], workers, progress.told)
        measure_missing(first_fits(comparison, progress.finished))
    finally:  # an interrupted command has a report too
        compared = report()
    print_progress(comparison, progress.finished)
    print_verdicts(compared.content)
    say(", ".join(str(file) for file in compared.files))
    if progress.failed:
        raise InputError(progress.failures())
    return compared


def first_fits(comparison: Comparison, finished: set[Fit]) -> list[Fit]:
    """Of each system on each data set, the finished fit of the first seed."""
    every = [by_seed for data in comparison.data for by_seed in data.fits.values()]
    there = [[fit for _, fit in sorted(by_seed.items()) if fit in finished] for by_seed in every]
    return [fits[0] for fits in there if fits]


def tell_plan(comparison: Comparison, workers: int) -> None:
    """How many fits there are, and about how long the missing ones take where some were made before."""
    jobs = comparison.jobs
    waiting = sum(len(job.waiting) for job in jobs)
    every = sum(len(job.fits) for job in jobs)
    known = seconds_by_source(jobs)
    seconds = sum(len(job.waiting) * known.get(job.source, 0.0) for job in jobs) / workers
    estimate = f": about {minutes(seconds)}" if waiting and seconds and all(j.source in known for j in jobs) else ""
    say(
        f"{every} fits on {len(comparison.data)} data sets, {every - waiting} finished before, {waiting} to make, "
        f"{min(workers, max(len(jobs), 1))} at a time{estimate}"
    )


def print_progress(comparison: Comparison, finished: set[Fit]) -> None:
    """How many seeds of each system are finished on each data set."""
    rows = [[system, *(_seeds(data, system, finished) for data in comparison.data)] for system in comparison.tuned]
    table("seeds finished", ["system", *(_titled(data) for data in comparison.data)], rows)


def print_verdicts(content: dict[str, Any]) -> None:
    """Words first, then what to beware of."""
    for data in content["data"]:
        for sentence in data["verdict"]:
            say(sentence)
    for warning in content["warnings"]:
        warn(warning)


def _titled(data: DataSet) -> str:
    return f"{data.entry.title} (simulated)" if data.market else data.entry.title


def _seeds(data: DataSet, system: str, finished: set[Fit]) -> str:
    fits: Sequence[Fit] = list(data.fits[system].values())
    return f"{sum(fit in finished for fit in fits)}/{len(fits)}"
