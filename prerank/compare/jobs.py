"""Which fits a comparison needs: every system with every seed on every data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from configs.command import Invocation, parse
from configs.errors import InputError
from configs.layers import group_names
from configs.options import within
from configs.schema import Config
from prerank import systems
from prerank.compare.plan import ComparedData, compared_data
from prerank.compare.tuned import TunedKeys, read_tuned
from prerank.experiment.jobs import ONE_THREAD, STAGES, Fit, Job, arguments_of, fingerprint_of, read_by

DRAWS = {True: 200, False: 2000}
"""Bootstrap draws where the command does not say: of a market (its interval comes from seeds), of a real log."""
OF_ANY_SEED = tuple(stage for stage in STAGES if stage != "pretrain")
"""Stages of a real log that its seeds have in common: the seed changes ψ and training only."""


@dataclass(frozen=True)
class DataSet(ComparedData):
    """A data set of the comparison, with its fits.

    Attributes:
        market: whether each seed simulates a market of its own; else all seeds have the same log.
        seeds: of the fits.
        fits: system → seed → fit.
    """

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
    tuned: Mapping[str, TunedKeys]
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
    data_sets = [_data_set(data, seeds, tuned, root) for data in compared_data(invocation)]
    jobs = [_job(data, seed) for seed in seeds for data in data_sets]
    overriding = {text.split("=", 1)[0] for data in data_sets for text in data.arguments}
    overridden = {key for each in tuned.values() for key in each.keys if key in overriding}
    return Comparison(tuple(data_sets), tuple(jobs), tuned, tuple(sorted(overridden)))


def _check(invocation: Invocation) -> None:
    config, compare = invocation.config, invocation.config.compare
    if invocation.run.config.exists():
        raise InputError(
            f"run={config.run} is a run with data of its own: a comparison makes runs below its folder, so give it "
            "another name"
        )
    if config.model.name != Config().model.name or "model.name" in invocation.asked:
        raise InputError(f"model={config.model.name}: compare.systems names the systems: leave model out")
    known = set(group_names("model"))
    unknown = [system for system in compare.systems if system not in known]
    if unknown or len(set(compare.systems)) != len(compare.systems) or len(compare.systems) < 2:
        raise InputError(
            f"compare.systems must be two or more different ones of {', '.join(sorted(known))}, found {compare.systems}"
        )
    if compare.baseline not in compare.systems:
        raise InputError(f"compare.baseline={compare.baseline} must be one of compare.systems {compare.systems}")
    unread = set.intersection(*(set(passed_over(system, invocation)) for system in compare.systems))
    if unread:
        raise InputError(f"{min(unread)} is read by none of compare.systems {compare.systems}: leave it out")


def passed_over(system: str, invocation: Invocation) -> list[str]:
    """Keys of ``model`` that the command was told and this system's fits go without, because it does not read them."""
    asked = (key for key in sorted(invocation.overrides) if within(key, ("model",)))
    return [key for key in asked if not within(key, systems.named(system).KEYS)]


def _data_set(data: ComparedData, seeds: tuple[int, ...], tuned: Mapping[str, TunedKeys], root: Path) -> DataSet:
    fits: dict[str, dict[int, Fit]] = {}
    market = "data=marketplace" in data.arguments
    for system, tuning in tuned.items():
        overrides = (
            f"evaluation.draws={DRAWS[market]}",
            *arguments_of(tuning.keys),
            *read_by(system, data.arguments),
            f"model={system}",
            *ONE_THREAD,
        )
        configuration = fingerprint_of(parse(overrides, remember=False).config)
        fits[system] = {
            seed: Fit(root, data.name, f"seed-{seed}", system, seed, overrides, configuration) for seed in seeds
        }
    return DataSet(**vars(data), market=market, seeds=seeds, fits=fits)


def _job(data: DataSet, seed: int) -> Job:
    fits = tuple(by_seed[seed] for by_seed in data.fits.values())
    if data.market:
        return Job(data.name, seed, fits, donors=())
    others = [by_seed.place.root for other, by_seed in next(iter(data.fits.values())).items() if other != seed]
    return Job(data.name, seed, fits, tuple(others), OF_ANY_SEED)
