"""What has to be fitted for the experiment on GRACE's modules, and in which order.

A fit is one system in one condition and one market (a seed). A job is all fits of one world and seed, so that
conditions that differ in their models only share a log, a graph and an encoding.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from configs.command import Invocation, parse, settings
from configs.errors import InputError
from configs.schema import Config
from configs.stages import fingerprint
from configs.worlds import load_world
from prerank.experiment.jobs import Fit, Job, argument, asked_values, meaning_of
from prerank.mechanisms.plan import Condition, Module, Plan, Side

DRAWS = 200
"""Bootstrap draws within a fit where the command does not say: intervals come from seeds, not from these."""
OWN_KEYS = ("run", "runs_folder", "seed", "mechanisms.", "data.name", "data.world", "data.path", "model.name")
"""Keys of the command line that are about the experiment and not about its fits."""


@dataclass
class Pairs:
    """Which fits are compared: condition, module and seed → the fit with the module and the fit without it."""

    fits: dict[tuple[str, str, int], tuple[Fit, Fit]] = field(default_factory=dict)


def plan_jobs(plan: Plan, invocation: Invocation, root: Path) -> tuple[list[Job], Pairs]:
    """Every job, the markets of the first seed before those of the second, and the comparisons to be made of them.

    Raises:
        InputError: if the command asks for other data or another model than the plan names, or a condition has a key
            or a value that the configuration refuses.
    """
    common = _common(invocation, plan)
    chosen = plan.chosen(invocation.config.mechanisms.conditions)
    variants: dict[tuple[str, str], tuple[list[str], str]] = {}
    pairs = Pairs()
    by_market: dict[tuple[int, str], dict[tuple[str, str, str], Fit]] = {}
    for seed in range(invocation.config.seed, invocation.config.seed + invocation.config.mechanisms.seeds):
        for condition in _bases_first(chosen):
            for claim in condition.claims:
                made = []
                for side, called in _sides(plan.modules[claim.module]):
                    key = (condition.name, f"{called} {side.model}")
                    if key not in variants:
                        variants[key] = _configured(condition, side, common)
                    fit = _fit(condition, side, called, seed, root, variants[key])
                    market = by_market.setdefault((seed, condition.world), {})
                    made.append(market.setdefault((fit.group, fit.run, fit.system), fit))
                pairs.fits[condition.name, claim.module, seed] = (made[0], made[1])
    jobs = [
        Job(world, seed, tuple(fits.values()), _donors(plan, world, seed, root, fits.values()))
        for (seed, world), fits in by_market.items()
    ]
    return jobs, pairs


def _common(invocation: Invocation, plan: Plan) -> list[str]:
    """Arguments of every fit: the plan's, over them what the command asks for, one thread, few draws."""
    config = invocation.config
    if config.data.name != "marketplace" or "data.world" in invocation.asked:
        raise InputError(
            f"data={config.data.name}, data.world={config.data.world}: mechanisms are measured in the simulated "
            "markets that the plan names (mechanisms.plan): leave data out, and take a run that holds no other data"
        )
    if config.model.name != Config().model.name:
        raise InputError(f"model={config.model.name}: the plan names the systems (mechanisms.plan): leave model out")
    asked = sorted(key for key in invocation.asked if not key.startswith(OWN_KEYS))
    given = [argument(key, value) for key, value in plan.overrides.items() if key not in asked]
    given += asked_values(config, asked)
    return ["data=marketplace", f"evaluation.draws={DRAWS}", *given, "prerank.threads=1", "pretrain.threads=1"]


def _sides(module: Module) -> list[tuple[Side, str]]:
    """Both systems, each with the name of its variant: empty for a file of ``configs/model`` as it is."""
    sides = {"with": module.with_it, "without": module.without}
    return [(side, f"{module.name}_{which}" if side.overrides else "") for which, side in sides.items()]


def _configured(condition: Condition, side: Side, common: Sequence[str]) -> tuple[list[str], str]:
    """The command line of a fit but for its place and seed, and the fingerprint of what it means."""
    overrides = {**condition.overrides, **side.overrides}
    given = [argument(key, value) for key, value in overrides.items()]
    arguments = [*common, f"data.world={condition.world}", f"model={side.model}", *given]
    config = parse(arguments, remember=False).config
    return arguments, fingerprint([meaning_of(config), settings(load_world(condition.world))])


def _fit(
    condition: Condition, side: Side, called: str, seed: int, root: Path, configured: tuple[list[str], str]
) -> Fit:
    arguments, asked = configured
    run = _run_name(seed, called)
    own = [f"runs_folder={json.dumps(str(root / condition.name))}", f"run={run}", f"seed={seed}"]
    return Fit(root, condition.name, run, side.model, seed, (*arguments, *own), asked)


def _run_name(seed: int, called: str) -> str:
    return f"seed-{seed}-{called}" if called else f"seed-{seed}"


def _bases_first(conditions: Iterable[Condition]) -> list[Condition]:
    """Conditions without overrides make the log, graph and ψ that the others can share."""
    return sorted(conditions, key=lambda condition: bool(condition.overrides))


def _donors(plan: Plan, world: str, seed: int, root: Path, fits: Iterable[Fit]) -> tuple[Path, ...]:
    """Run folders of this market, also of conditions that are not chosen now: they may be there from before."""
    same = _bases_first(condition for condition in plan.conditions.values() if condition.world == world)
    usual = [root / condition.name / _run_name(seed, "") for condition in same]
    return tuple(dict.fromkeys([*usual, *(fit.place.root for fit in fits)]))
