"""What has to be fitted for the experiment on GRACE's modules, and in which order.

A fit is one system in one condition and one market (a seed). A job is all fits of one world and seed, so that
conditions that differ in their models only share a log, a graph and an encoding.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from configs.command import Invocation, parse
from configs.errors import InputError
from configs.schema import Config
from prerank.experiment.jobs import ONE_THREAD, Fit, Job, arguments_of, asked_arguments, fingerprint_of, read_by
from prerank.mechanisms.plan import Condition, MechanismPlan, Module, SystemVariant

DRAWS = 200
"""Bootstrap draws within a fit where the command does not say: intervals come from seeds, not from these."""
OWN_KEYS = ("run", "runs_folder", "seed", "mechanisms.", "data.name", "data.world", "data.path", "model.name")
"""Keys of the command line that are about the experiment and not about its fits."""

FitPairs = Mapping[tuple[str, str, int], tuple[Fit, Fit]]
"""Condition, module and seed → the fit with the module and the fit without it."""


def plan_jobs(plan: MechanismPlan, invocation: Invocation, root: Path) -> tuple[list[Job], FitPairs]:
    """Every job, the markets of the first seed before those of the second, and the comparisons to be made of them.

    Raises:
        InputError: if the command asks for other data or another model than the plan names, or a condition has a key
            or a value that the configuration refuses.
    """
    common = _common(invocation, plan)
    pairs: dict[tuple[str, str, int], tuple[Fit, Fit]] = {}
    markets: dict[tuple[int, str], dict[Fit, None]] = defaultdict(dict)
    first = invocation.config.seed
    seeds = range(first, first + invocation.config.mechanisms.seeds)
    for condition in _bases_first(plan.chosen(invocation.config.mechanisms.conditions)):
        modules = [plan.modules[module] for module in condition.expect]
        sides = {(called, side.model): side for module in modules for side, called in _sides(module)}
        fits = {key: _fits(condition, side, key[0], seeds, root, common) for key, side in sides.items()}
        for module in modules:
            with_it, without = (fits[called, side.model] for side, called in _sides(module))
            pairs |= {(condition.name, module.name, seed): (with_it[seed], without[seed]) for seed in seeds}
    for (condition_name, _, seed), pair in sorted(pairs.items(), key=lambda entry: entry[0][2]):
        markets[seed, plan.conditions[condition_name].world] |= dict.fromkeys(pair)
    jobs = [
        Job(world, seed, tuple(fits), _donors(plan, world, seed, root, fits)) for (seed, world), fits in markets.items()
    ]
    return jobs, pairs


def _common(invocation: Invocation, plan: MechanismPlan) -> list[str]:
    """Arguments of every fit: the plan's, over them what the command asks for, few draws."""
    config = invocation.config
    if config.data.name != "marketplace" or "data.world" in invocation.asked:
        raise InputError(
            f"data={config.data.name}, data.world={config.data.world}: mechanisms are measured in the simulated "
            "markets that the plan names (mechanisms.plan): leave data out, and take a run that holds no other data"
        )
    if config.model.name != Config().model.name:
        raise InputError(f"model={config.model.name}: the plan names the systems (mechanisms.plan): leave model out")
    asked = sorted(key for key in invocation.asked if not key.startswith(OWN_KEYS))
    planned = {key: value for key, value in plan.overrides.items() if key not in asked}
    return [f"evaluation.draws={DRAWS}", *arguments_of(planned), *asked_arguments(invocation, asked), *ONE_THREAD]


def _sides(module: Module) -> list[tuple[SystemVariant, str]]:
    """Both systems, each with the name of its variant: empty for a file of ``configs/model`` as it is."""
    sides = {"with": module.with_, "without": module.without}
    return [(variant, f"{module.name}_{side}" if variant.overrides else "") for side, variant in sides.items()]


def _fits(
    condition: Condition, variant: SystemVariant, called: str, seeds: Iterable[int], root: Path, common: Sequence[str]
) -> dict[int, Fit]:
    """Seed → fit of a system in a condition."""
    shared = read_by(variant.model, [*common, *arguments_of(condition.overrides)])
    own = ["data=marketplace", f"data.world={condition.world}", f"model={variant.model}"]
    arguments = (*shared, *own, *arguments_of(variant.overrides))
    configuration = fingerprint_of(parse(arguments, remember=False).config)
    return {
        seed: Fit(root, condition.name, _run_name(seed, called), variant.model, seed, arguments, configuration)
        for seed in seeds
    }


def _run_name(seed: int, called: str) -> str:
    return f"seed-{seed}-{called}" if called else f"seed-{seed}"


def _bases_first(conditions: Iterable[Condition]) -> list[Condition]:
    """Conditions without overrides make the log, graph and ψ that the others can share."""
    return sorted(conditions, key=lambda condition: bool(condition.overrides))


def _donors(plan: MechanismPlan, world: str, seed: int, root: Path, fits: Iterable[Fit]) -> tuple[Path, ...]:
    """Run folders of this market, also of conditions that are not chosen now: they may be there from before."""
    same = _bases_first(condition for condition in plan.conditions.values() if condition.world == world)
    usual = [root / condition.name / _run_name(seed, "") for condition in same]
    return tuple(dict.fromkeys([*usual, *(fit.place.root for fit in fits)]))
