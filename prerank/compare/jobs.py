"""Which fits a comparison needs: every system with every seed on every data set."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from configs.command import CONFIGS, Invocation, parse, settings
from configs.errors import InputError
from configs.schema import Config
from configs.stages import fingerprint, source_fingerprint
from configs.worlds import load_world
from prerank.compare.plan import Entry, entries_of
from prerank.compare.tuned import Tuned, read_tuned
from prerank.experiment.jobs import STAGES, Fit, Job, argument, meaning_of

DRAWS = {True: 200, False: 2000}
"""Bootstrap draws where the command does not say: of a market (its interval comes from seeds), of a real log."""
OF_ANY_SEED = tuple(stage for stage in STAGES if stage != "pretrain")
"""Stages of a real log that its seeds have in common: the seed changes ψ and training only."""


@dataclass(frozen=True)
class DataSet:
    """A data set of the comparison.

    Attributes:
        entry: its name, title and arguments.
        market: whether each seed simulates a market of its own; else all seeds have the same log.
        seeds: of the fits.
        fits: system → seed → fit.
    """

    entry: Entry
    market: bool
    seeds: tuple[int, ...]
    fits: Mapping[str, Mapping[int, Fit]]


@dataclass(frozen=True)
class Comparison:
    """All that a command asks for.

    Attributes:
        tuned: system → what tuning gave it.
        overridden: tuned keys that the command line or the plan goes over.
    """

    data: tuple[DataSet, ...]
    jobs: tuple[Job, ...]
    tuned: Mapping[str, Tuned]
    overridden: tuple[str, ...]


def plan_comparison(invocation: Invocation, root: Path) -> Comparison:
    """Every fit, the first seed of each data set before the second.

    Raises:
        InputError: if the command, the plan or a tuned file asks for what the configuration refuses.
    """
    config = invocation.config
    _check(invocation)
    tuned = read_tuned(config.compare.tuned, config.compare.systems)
    seeds = tuple(range(config.seed, config.seed + config.compare.seeds))
    made = [_data_set(entry, config, seeds, tuned, root) for entry in entries_of(invocation)]
    jobs = [_job(data, seed) for seed in seeds for data in made]
    return Comparison(tuple(made), tuple(jobs), tuned, _overridden(tuned, made))


def _check(invocation: Invocation) -> None:
    config, compare = invocation.config, invocation.config.compare
    if invocation.run.config.exists():
        raise InputError(
            f"run={config.run} is a run with data of its own: a comparison makes runs below its folder, so give it "
            "another name"
        )
    if config.model.name != Config().model.name or "model.name" in invocation.asked:
        raise InputError(f"model={config.model.name}: compare.systems names the systems: leave model out")
    known = {path.stem for path in (CONFIGS / "model").glob("*.yaml")}
    unknown = [system for system in compare.systems if system not in known]
    if unknown or len(set(compare.systems)) != len(compare.systems) or len(compare.systems) < 2:
        raise InputError(
            f"compare.systems must be two or more different ones of {', '.join(sorted(known))}, found {compare.systems}"
        )
    if compare.baseline not in compare.systems:
        raise InputError(f"compare.baseline={compare.baseline} must be one of compare.systems {compare.systems}")


def _data_set(entry: Entry, config: Config, seeds: tuple[int, ...], tuned: Mapping[str, Tuned], root: Path) -> DataSet:
    fits: dict[str, dict[int, Fit]] = {}
    market = False
    for system in config.compare.systems:
        arguments = [argument(key, value) for key, value in tuned[system].keys.items()]
        arguments += [*entry.arguments, f"model={system}", "prerank.threads=1", "pretrain.threads=1"]
        given = parse(arguments, remember=False).config
        market = given.data.name == "marketplace"
        if not any(text.startswith("evaluation.draws=") for text in entry.arguments):
            arguments.append(f"evaluation.draws={DRAWS[market]}")
            given = replace(given, evaluation=replace(given.evaluation, draws=DRAWS[market]))
        asked = fingerprint([meaning_of(given), _source(given)])
        fits[system] = {
            seed: Fit(root, entry.name, f"seed-{seed}", system, seed, (*arguments, *_own(root, entry, seed)), asked)
            for seed in seeds
        }
    return DataSet(entry, market, seeds, fits)


def _own(root: Path, entry: Entry, seed: int) -> Sequence[str]:
    return f"runs_folder={json.dumps(str(root / entry.name))}", f"run=seed-{seed}", f"seed={seed}"


def _source(config: Config) -> object:
    """What the data are made from: the world's parameters, or the files as they are now."""
    if config.data.name == "marketplace":
        return settings(load_world(config.data.world))
    path = None if config.data.path is None else Path(config.data.path).expanduser()
    return source_fingerprint(path) if path is not None and path.exists() else None


def _job(data: DataSet, seed: int) -> Job:
    fits = tuple(by_seed[seed] for by_seed in data.fits.values())
    others = [fits[0].root / data.entry.name / f"seed-{other}" for other in data.seeds if other != seed]
    if data.market:
        return Job(data.entry.name, seed, fits, ())
    return Job(data.entry.name, seed, fits, tuple(others), OF_ANY_SEED)


def _overridden(tuned: Mapping[str, Tuned], data: Sequence[DataSet]) -> tuple[str, ...]:
    given = {text.split("=", 1)[0] for each in data for text in each.entry.arguments}
    return tuple(sorted({key for each in tuned.values() for key in each.keys if key in given}))
