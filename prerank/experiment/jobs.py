"""What an experiment has to fit, and what of it was fitted before: shared by ``mechanisms`` and ``compare``.

A *fit* is one system on one log with one seed. A *job* is all fits that can share a log, a graph, ψ and an encoding,
one after the other in one process.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from pathlib import Path
from typing import Any

from configs.command import Invocation, settings
from configs.options import within
from configs.schema import Config
from configs.stages import Run, fingerprint, read_json, source_fingerprint, write_json
from configs.worlds import load_world
from prerank import systems
from prerank.evaluation.evaluation import measured_with
from prerank.experiment.pool import Task

SECTIONS = ("backend", "engine", "data", "graph", "pretrain", "model", "prerank", "evaluation")
"""Sections of the configuration that a fit depends on, besides its seed."""
ONE_THREAD = ("prerank.threads=1", "pretrain.threads=1")
"""Of every fit: several run at a time."""
FITTED = "_fits"
"""Folder of the records of finished fits; no group can have this name, nor that of the workers' output."""
OUTPUT = "_output"
STAGES = ("logs", "graph", "pretrain", "prerank/encoded")
"""Stages, as folders of a run, that runs of one log and seed have in common."""


@dataclass(frozen=True)
class Fit:
    """One system on one log with one seed.

    Attributes:
        root: the experiment's folder.
        group: what it belongs to (a condition of ``mechanisms``, a data set of ``compare``): a folder of ``root``.
        run: name of the run folder within the group's.
        system: the model.
        seed: of training, and of the market where there is one.
        overrides: the command line of its fit but for its place and seed.
        configuration: fingerprint of the configuration and of the data (:func:`fingerprint_of`).
    """

    root: Path
    group: str
    run: str
    system: str
    seed: int
    overrides: tuple[str, ...]
    configuration: str

    @property
    def arguments(self) -> tuple[str, ...]:
        """The command line of its fit."""
        place = argument("runs_folder", str(self.root / self.group))
        return (*self.overrides, place, f"run={self.run}", f"seed={self.seed}")

    @property
    def place(self) -> Run:
        return Run(self.root / self.group / self.run)

    @property
    def folder(self) -> Path:
        """Of the fitted system."""
        return self.place.system(self.system)

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.json"

    @property
    def record(self) -> Path:
        return self.root / FITTED / f"{self.group}-{self.run}-{self.system}.json"

    @property
    def finished(self) -> bool:
        """Whether this very fit was recorded and is still what its folder holds."""
        record = self._recorded
        return (
            self.metrics.exists()
            and record.get("configuration") == self.configuration
            and record.get("identity") == self._identity
        )

    @property
    def seconds(self) -> float | None:
        """How long it took, simulation and ψ included where it was the first to need them."""
        return self._recorded.get("seconds")

    @property
    def _recorded(self) -> dict[str, Any]:
        return dict(read_json(self.record)) if self.record.exists() else {}

    @property
    def _identity(self) -> str | None:
        """Of the fitted system and of what its figures were made with; None where there is no such system."""
        if not (self.folder / "manifest.json").exists():
            return None
        return fingerprint([read_json(self.folder / "manifest.json")["identity"], measured_with(self.folder)])

    def remember(self, seconds: float) -> None:
        """Record that it is finished; one that was finished before keeps the time that it took."""
        record, identity = self._recorded, self._identity
        if record.get("identity") == identity:
            seconds = max(seconds, record.get("seconds", 0.0))
        facts = {"configuration": self.configuration, "identity": identity, "seconds": round(seconds, 1)}
        write_json(self.record, facts)


@dataclass(frozen=True)
class Job:
    """All fits of one log and seed, in order.

    Attributes:
        source: name of what the log comes from: a world, a data set.
        seed: of the fits.
        fits: those first whose log, graph and ψ the others can share.
        donors: run folders that may hold finished stages to share.
        shared: the stages that donors may give.
    """

    source: str
    seed: int
    fits: tuple[Fit, ...]
    donors: tuple[Path, ...]
    shared: tuple[str, ...] = STAGES

    @cached_property
    def waiting(self) -> tuple[Fit, ...]:
        """The fits that were not finished when it was first asked."""
        return tuple(fit for fit in self.fits if not fit.finished)

    @property
    def task(self) -> Task[Job]:
        """The waiting fits, for a process."""
        arguments = {
            "fits": [{"root": str(fit.place.root), "arguments": fit.arguments} for fit in self.waiting],
            "donors": [str(donor) for donor in self.donors],
            "stages": self.shared,
        }
        output = self.fits[0].root / OUTPUT / f"{self.source}-seed-{self.seed}.log"
        return Task(self, "prerank.experiment.fits:fit_all", arguments, output)


def argument(key: str, value: object) -> str:
    """An override; a date that YAML read from a plan is written as a date again."""
    return f"{key}={json.dumps(value, default=str)}"


def arguments_of(overrides: Mapping[str, object]) -> list[str]:
    """Overrides as arguments of a command line."""
    return [argument(key, value) for key, value in overrides.items()]


def asked_arguments(invocation: Invocation, keys: Iterable[str]) -> list[str]:
    """Keys of a command as arguments of another one."""
    values = settings(invocation.config)
    return [argument(key, reduce(lambda place, name: place[name], key.split("."), values)) for key in keys]


def read_by(system: str, arguments: Iterable[str]) -> list[str]:
    """Arguments of several systems' fits less those of ``model`` that this one does not read and would refuse."""
    read = systems.named(system).KEYS
    keys = {text: text.split("=", 1)[0] for text in arguments}
    return [text for text, key in keys.items() if not within(key, ("model",)) or within(key, read)]


def fingerprint_of(config: Config) -> str:
    """Of all that a fit depends on besides its seed: its configuration, and the world's parameters or the files."""
    values = settings(config)
    return fingerprint([{section: values[section] for section in SECTIONS}, _source(config)])


def _source(config: Config) -> object:
    if config.data.name == "marketplace":
        return settings(load_world(config.data.world))
    path = None if config.data.path is None else Path(config.data.path).expanduser()
    return source_fingerprint(path) if path is not None and path.exists() else None


def seconds_by_source(jobs: Iterable[Job]) -> Mapping[str, float]:
    """Source → mean seconds of the fits that are recorded, for an estimate of what is left."""
    times: dict[str, list[float]] = defaultdict(list)
    for job in jobs:
        times[job.source] += [fit.seconds for fit in job.fits if fit.seconds is not None]
    return {source: sum(each) / len(each) for source, each in times.items() if each}
