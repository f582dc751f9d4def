"""``python -m prerank.mechanisms``: what every module of GRACE gains where it should help, and where it must not.

The plan (``configs/mechanisms.yaml``) names modules as pairs of systems, and conditions as simulated markets. Each is
fitted in ``runs/<run>/mechanisms/<condition>/seed-<seed>``, several at a time; finished fits are not repeated and an
interrupted one resumes. The result is ``mechanisms.md``, ``mechanisms.svg`` and ``mechanisms.json``. All simulated.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from configs.command import Invocation
from configs.console import say, table
from configs.locks import alone
from configs.worlds import load_world
from prerank.experiment.progress import ExperimentProgress, cores
from prerank.mechanisms.gains import Gain, gains_of
from prerank.mechanisms.jobs import plan_jobs
from prerank.mechanisms.plan import PLAN, MechanismPlan, read_plan
from prerank.mechanisms.report import in_module_order, interval, write_report
from prerank.pages.numbers import points

SECONDS_PER_ROW = 0.00025
"""Of the training days, on one core, all of a fit included; for the first estimate."""
SECONDS_TO_START = 15


def mechanisms(invocation: Invocation) -> list[Path]:
    """Fit what is missing and report on all.

    Returns:
        The files of the report.

    Raises:
        InputError: if the plan or the command cannot be used, or if fits failed; the report then has the others.
    """
    config = invocation.config
    plan = read_plan(PLAN if config.mechanisms.plan is None else Path(config.mechanisms.plan).expanduser())
    folder = invocation.run.root / "mechanisms"
    jobs, pairs = plan_jobs(plan, invocation, folder)

    def report() -> list[Path]:
        return write_report(plan, gains_of(plan, pairs, progress.finished), config.mechanisms.seeds, folder)

    with alone(folder):
        invocation.save(folder / "config.yaml")
        progress = ExperimentProgress(folder, jobs, config.mechanisms.workers or cores(), report)
        progress.announce(f"in {len(jobs)} simulated markets", guess_seconds)
        try:
            progress.make_fits()
        finally:  # an interrupted command has a report too
            files = report()
    print_gains(plan, gains_of(plan, pairs, progress.finished))
    say("simulated: " + ", ".join(str(file) for file in files))
    progress.require_success()
    return files


def print_gains(plan: MechanismPlan, gains: Sequence[Gain]) -> None:
    """The primary figures."""
    rows = [
        [
            f"{gain.module}: {plan.conditions[gain.condition].title}",
            str(gain.measure),
            f"{points(gain.difference.value)}\n{interval(gain)}",
            len(gain.by_seed),
            "–" if gain.difference.p_holm is None else f"{gain.difference.p_holm:.3f}",
            f"{gain.expected}\n{gain.verdict}",
        ]
        for gain in in_module_order(plan, gains)
        if gain.primary
    ]
    title = "simulated: gain in points, 95 % interval over markets"
    table(title, ["module: condition", "figure", "gain", "markets", "p (Holm)", "expected\nfound"], rows)


def guess_seconds(world: str) -> float:
    """Of a fit in a world that none was made in."""
    parameters = load_world(world)
    logged = parameters.ranked + parameters.logged_passed + parameters.logged_recalled + parameters.logged_random
    return SECONDS_TO_START + SECONDS_PER_ROW * parameters.days * parameters.requests_per_day * logged
