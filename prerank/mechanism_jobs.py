"""What has to be fitted for the experiment on GRACE's modules, in which order, and what was fitted before.

A *fit* is one system in one condition and one market (a seed). A *job* is all fits of one world and seed, one after the
other in one process, so that conditions that differ in their models only share a log, a graph and an encoding.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from configs.command import Request, parse, settings
from configs.errors import InputError
from configs.schema import Config
from configs.stages import Run, fingerprint, read_json, write_json
from configs.worlds import load_world
from prerank.mechanism_plan import Condition, Module, Plan, Side

DRAWS = 200
"""Bootstrap draws within a fit where the command does not say: intervals come from seeds, not from these."""
OWN_KEYS = ("run", "runs_folder", "seed", "mechanisms.", "data.name", "data.world", "data.path", "model.name")
"""Keys of the command line that are about the experiment and not about its fits."""
MEANING = ("backend", "engine", "data", "graph", "pretrain", "model", "prerank", "evaluation")
"""Sections of the configuration that a fit depends on, besides its seed."""
FITTED = "_fits"
"""Folder of the records of finished fits; no condition can have this name, nor that of the workers' output."""
OUTPUT = "_output"


@dataclass(frozen=True)
class Fit:
    """One system in one condition and one market.

    Attributes:
        root: the experiment's folder.
        condition: its name.
        run: name of the run folder within the condition's.
        system: the model.
        seed: of the market and of training.
        arguments: the command line of its fit.
        asked: fingerprint of the configuration and the world.
    """

    root: Path
    condition: str
    run: str
    system: str
    seed: int
    arguments: tuple[str, ...]
    asked: str

    @property
    def place(self) -> Run:
        return Run(self.root / self.condition / self.run)

    @property
    def metrics(self) -> Path:
        return self.place.system(self.system) / "metrics.json"

    @property
    def record(self) -> Path:
        return self.root / FITTED / f"{self.condition}-{self.run}-{self.system}.json"

    @property
    def finished(self) -> bool:
        """Whether this very fit was recorded and is still what its folder holds."""
        if not self.record.exists() or not self.metrics.exists():
            return False
        found = read_json(self.record)
        return bool(found["asked"] == self.asked and found["identity"] == self._identity)

    @property
    def seconds(self) -> float | None:
        """How long it took, simulation and ψ included where it was the first to need them."""
        return float(read_json(self.record)["seconds"]) if self.record.exists() else None

    @property
    def _identity(self) -> str | None:
        manifest = self.place.system(self.system) / "manifest.json"
        return str(read_json(manifest)["identity"]) if manifest.exists() else None

    def remember(self, seconds: float) -> None:
        """Record that it is finished; one that was merely found finished keeps the time that it took."""
        before = read_json(self.record) if self.record.exists() else {}
        if before.get("identity") == self._identity:
            seconds = max(seconds, before["seconds"])
        write_json(self.record, {"asked": self.asked, "identity": self._identity, "seconds": round(seconds, 1)})


@dataclass(frozen=True)
class Job:
    """All fits of one world and seed, in order.

    Attributes:
        world: its name.
        seed: of the market.
        fits: the base condition's first.
        donors: runs of the same market that may hold finished stages to share.
    """

    world: str
    seed: int
    fits: tuple[Fit, ...]
    donors: tuple[Path, ...]

    @cached_property
    def waiting(self) -> tuple[Fit, ...]:
        """The fits that are not finished."""
        return tuple(fit for fit in self.fits if not fit.finished)

    @property
    def output(self) -> Path:
        """Where its process writes what the fits print."""
        return self.fits[0].root / OUTPUT / f"{self.world}-seed-{self.seed}.log"

    def message(self) -> str:
        """The job as one line of JSON, for the process that does it."""
        fits = [{"root": str(fit.place.root), "arguments": fit.arguments} for fit in self.waiting]
        return json.dumps({"fits": fits, "donors": [str(donor) for donor in self.donors]}) + "\n"


@dataclass
class Pairs:
    """Which fits are compared: condition, module and seed → the fit with the module and the fit without it."""

    fits: dict[tuple[str, str, int], tuple[Fit, Fit]] = field(default_factory=dict)


def plan_jobs(plan: Plan, request: Request, root: Path) -> tuple[list[Job], Pairs]:
    """Every job, the markets of the first seed before those of the second, and the comparisons to be made of them.

    Raises:
        InputError: if the command asks for other data or another model than the plan names, or a condition has a key
            or a value that the configuration refuses.
    """
    common = _common(request, plan)
    chosen = plan.chosen(request.config.mechanisms.conditions)
    variants: dict[tuple[str, str], tuple[list[str], str]] = {}
    pairs = Pairs()
    by_market: dict[tuple[int, str], dict[tuple[str, str, str], Fit]] = {}
    for seed in range(request.config.seed, request.config.seed + request.config.mechanisms.seeds):
        for condition in _bases_first(chosen):
            for claim in condition.claims:
                made = []
                for side, called in _sides(plan.modules[claim.module]):
                    key = (condition.name, f"{called} {side.model}")
                    if key not in variants:
                        variants[key] = _configured(condition, side, common)
                    fit = _fit(condition, side, called, seed, root, variants[key])
                    market = by_market.setdefault((seed, condition.world), {})
                    made.append(market.setdefault((fit.condition, fit.run, fit.system), fit))
                pairs.fits[condition.name, claim.module, seed] = (made[0], made[1])
    jobs = [
        Job(world, seed, tuple(fits.values()), _donors(plan, world, seed, root, fits.values()))
        for (seed, world), fits in by_market.items()
    ]
    return jobs, pairs


def _common(request: Request, plan: Plan) -> list[str]:
    """Arguments of every fit: the plan's, over them what the command asks for, one thread, few draws."""
    config = request.config
    if config.data.name != "marketplace" or "data.world" in request.asked:
        raise InputError(
            f"data={config.data.name}, data.world={config.data.world}: mechanisms are measured in the simulated "
            "markets that the plan names (mechanisms.plan): leave data out, and take a run that holds no other data"
        )
    if config.model.name != Config().model.name:
        raise InputError(f"model={config.model.name}: the plan names the systems (mechanisms.plan): leave model out")
    asked = sorted(key for key in request.asked if not key.startswith(OWN_KEYS))
    values = settings(config)
    given = [_argument(key, value) for key, value in plan.overrides.items() if key not in asked]
    given += [_argument(key, _at(values, key)) for key in asked]
    return ["data=marketplace", f"evaluation.draws={DRAWS}", *given, "prerank.threads=1", "pretrain.threads=1"]


def _argument(key: str, value: object) -> str:
    """An override; a date that YAML read from the plan is written as a date again."""
    return f"{key}={json.dumps(value, default=str)}"


def _at(values: Any, key: str) -> Any:
    for name in key.split("."):
        values = values[name]
    return values


def _sides(module: Module) -> list[tuple[Side, str]]:
    """Both systems, each with the name of its variant: empty for a file of ``configs/model`` as it is."""
    sides = {"with": module.with_it, "without": module.without}
    return [(side, f"{module.name}_{which}" if side.overrides else "") for which, side in sides.items()]


def _configured(condition: Condition, side: Side, common: Sequence[str]) -> tuple[list[str], str]:
    """The command line of a fit but for its place and seed, and the fingerprint of what it means."""
    overrides = {**condition.overrides, **side.overrides}
    given = [_argument(key, value) for key, value in overrides.items()]
    arguments = [*common, f"data.world={condition.world}", f"model={side.model}", *given]
    config = parse(arguments, remember=False).config
    values = settings(config)
    meaning = {section: values[section] for section in MEANING}
    return arguments, fingerprint([meaning, settings(load_world(condition.world))])


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


def seconds_by_world(jobs: Iterable[Job]) -> Mapping[str, float]:
    """World → mean seconds of the fits that are recorded, for an estimate of what is left."""
    found: dict[str, list[float]] = {}
    for job in jobs:
        for fit in job.fits:
            if (seconds := fit.seconds) is not None:
                found.setdefault(job.world, []).append(seconds)
    return {world: sum(times) / len(times) for world, times in found.items()}
