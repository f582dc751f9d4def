"""``python -m prerank.ab``: fitted pre-rankers drive the simulated marketplace for the days after the log (Table 4).

Each arm ranks the same requests of the same users and meets the same luck → what every user brought → uplift over the
control by user, overall and on the long tail → mean and interval over worlds, which is the claim → an A/A beside it.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from configs.command import Invocation
from configs.console import say, warn
from configs.errors import InputError
from configs.schema import Config
from configs.stages import Run, replacing, write_json
from prerank.ab.replays import ReplayPlan, fitted_systems, plan, replayed
from prerank.ab.report import as_markdown, print_report, report_of


def replay_systems(invocation: Invocation) -> Path:
    """Replay every run of ``ab.runs`` (or ``run``), and compare its systems with the control.

    Returns:
        The ``ab.json`` written, in the folder of ``run``.

    Raises:
        InputError: if a run is not of the marketplace or lacks a system, or two runs hold the same marketplace.
    """
    config = invocation.config
    plans = plans_of(config, invocation.run)
    replays = {chosen.run.root.name: replayed(chosen) for chosen in plans}
    report = report_of(replays, config)
    folder = invocation.run.root / "ab"
    write_json(folder / "ab.json", report)
    with replacing(folder / "ab.md") as temporary:
        temporary.write_text(as_markdown(report), encoding="utf-8")
    print_report(report)
    for name, replay in replays.items():
        if not replay.facts["control_repeated_itself"]:
            warn(f"{name}: the control did not repeat itself on the same luck: its scores depend on something else")
    return folder / "ab.json"


def plans_of(config: Config, run: Run) -> list[ReplayPlan]:
    """What is to be replayed, checked for all runs before the first replay starts."""
    runs = [Run(run.root.parent / name) for name in config.ab.runs] or [run]
    fitted = Counter(name for each in runs for name in fitted_systems(each))
    systems = config.ab.systems or [name for name, times in fitted.items() if times == len(runs)]
    plans = [plan(each, config, systems) for each in runs]
    lacking = sorted(set(fitted) - {config.ab.control, *systems})
    if lacking and not config.ab.systems:
        say(f"left out, because not every run has them fitted: {', '.join(lacking)}")
    markets = Counter((chosen.world, chosen.seed) for chosen in plans)
    for (world, seed), times in markets.items():
        if times > 1:
            raise InputError(
                f"ab.runs: {times} runs hold the same marketplace, data.world={world} seed={seed}: an interval over "
                "worlds needs another world or seed for each run"
            )
    return plans
