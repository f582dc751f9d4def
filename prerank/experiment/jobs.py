"""What an experiment has to fit, and what of it was fitted before: shared by ``mechanisms`` and ``compare``.

A *fit* is one system on one log with one seed. A *job* is all fits that can share a log, a graph, ψ and an encoding,
one after the other in one process.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from configs.command import settings
from configs.schema import Config
from configs.stages import Run, fingerprint, read_json, write_json
from prerank.evaluation.evaluation import measured_with

MEANING = ("backend", "engine", "data", "graph", "pretrain", "model", "prerank", "evaluation")
"""Sections of the configuration that a fit depends on, besides its seed."""
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
        arguments: the command line of its fit.
        asked: fingerprint of the configuration and of the data.
    """

    root: Path
    group: str
    run: str
    system: str
    seed: int
    arguments: tuple[str, ...]
    asked: str

    @property
    def place(self) -> Run:
        return Run(self.root / self.group / self.run)

    @property
    def metrics(self) -> Path:
        return self.place.system(self.system) / "metrics.json"

    @property
    def record(self) -> Path:
        return self.root / FITTED / f"{self.group}-{self.run}-{self.system}.json"

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
        """Of the fitted system and of what its figures were made with; None where there is no such system."""
        folder = self.place.system(self.system)
        if not (folder / "manifest.json").exists():
            return None
        return fingerprint([read_json(folder / "manifest.json")["identity"], measured_with(folder)])

    def remember(self, seconds: float) -> None:
        """Record that it is finished; one that was merely found finished keeps the time that it took."""
        before = read_json(self.record) if self.record.exists() else {}
        if before.get("identity") == self._identity:
            seconds = max(seconds, before["seconds"])
        write_json(self.record, {"asked": self.asked, "identity": self._identity, "seconds": round(seconds, 1)})


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
        """The fits that are not finished."""
        return tuple(fit for fit in self.fits if not fit.finished)

    @property
    def output(self) -> Path:
        """Where its process writes what the fits print."""
        return self.fits[0].root / OUTPUT / f"{self.source}-seed-{self.seed}.log"

    def message(self) -> str:
        """The job as one line of JSON, for the process that does it."""
        fits = [{"root": str(fit.place.root), "arguments": fit.arguments} for fit in self.waiting]
        donors = [str(donor) for donor in self.donors]
        return json.dumps({"fits": fits, "donors": donors, "shared": self.shared}) + "\n"


def argument(key: str, value: object) -> str:
    """An override; a date that YAML read from a plan is written as a date again."""
    return f"{key}={json.dumps(value, default=str)}"


def asked_values(config: Config, keys: Iterable[str]) -> list[str]:
    """Keys of a configuration as overrides of another command."""
    values = settings(config)
    return [argument(key, _at(values, key)) for key in keys]


def meaning_of(config: Config) -> dict[str, Any]:
    """The part of a configuration that a fit depends on, besides its seed; JSON-like."""
    values = settings(config)
    return {section: values[section] for section in MEANING}


def _at(values: Any, key: str) -> Any:
    for name in key.split("."):
        values = values[name]
    return values


def seconds_by_source(jobs: Iterable[Job]) -> Mapping[str, float]:
    """Source → mean seconds of the fits that are recorded, for an estimate of what is left."""
    found: dict[str, list[float]] = {}
    for job in jobs:
        for fit in job.fits:
            if (seconds := fit.seconds) is not None:
                found.setdefault(job.source, []).append(seconds)
    return {source: sum(times) / len(times) for source, times in found.items()}
