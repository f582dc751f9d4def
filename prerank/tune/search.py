"""The search itself: which values are tried next, and the records of those that were.

Optuna's study lives in memory only. It is made again from the records, a small JSON file for each finished trial, so an
interrupted search goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState

from configs.errors import InputError
from configs.stages import read_json, write_json
from prerank.tune.space import Space

STARTUP = 8
"""Finished trials before TPE has a say; until then values are random. Optuna's 10 would be half of a search."""


@dataclass(frozen=True)
class Outcome:
    """What came out of a trial.

    Attributes:
        seconds: it took, with fitting and measuring.
        parts: figures of the objective; empty where the trial failed.
        reason: why it failed; None where it did not.
        parameters: of the fitted system.
        fusion: weights of the fused score, as chosen on validation.
    """

    seconds: float
    parts: dict[str, float] = field(default_factory=dict)
    reason: str | None = None
    parameters: int | None = None
    fusion: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """A finished trial.

    Attributes:
        number: 0 for what is configured.
        values: key → what it was set to.
        outcome: what came out.
    """

    number: int
    values: dict[str, Any]
    outcome: Outcome

    @property
    def failed(self) -> bool:
        return self.outcome.reason is not None

    @property
    def objective(self) -> float | None:
        """The plain mean of the parts; None where the trial failed."""
        return None if self.failed else float(np.mean(list(self.outcome.parts.values())))

    @property
    def facts(self) -> dict[str, Any]:
        """Strict JSON."""
        state = "failed" if self.failed else "complete"
        return {
            "number": self.number,
            "state": state,
            "values": self.values,
            "objective": self.objective,
            **dataclasses.asdict(self.outcome),
        }


class TrialRecords:
    """The finished trials of one search on disk; those of another one lie beside them and are not read.

    Args:
        folder: of the system's records.
        identity: of the search: whatever a trial's outcome depends on besides its values and number.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.root = folder
        self.folder = folder / identity

    def read(self) -> dict[int, Trial]:
        """Number → trial.

        Raises:
            InputError: if a file is not what :meth:`write` wrote.
        """
        trials = {}
        for path in sorted(self.folder.glob("*.json")):
            try:
                record = read_json(path)
                outcome = Outcome(**{each.name: record[each.name] for each in dataclasses.fields(Outcome)})
                trials[int(record["number"])] = Trial(int(record["number"]), dict(record["values"]), outcome)
            except (InputError, KeyError, TypeError, ValueError):
                raise InputError(f"{path} is no record of a trial: delete it, and run the same command again") from None
        return trials

    def write(self, trial: Trial) -> None:
        write_json(self.folder / f"{trial.number:03}.json", trial.facts)

    def others(self) -> int:
        """How many records of other searches lie here."""
        return sum(path.parent != self.folder for path in self.root.glob("*/*.json"))


@dataclass(frozen=True)
class PendingTrial:
    """A trial to be made; ``started`` is when it was asked for, in seconds of the monotonic clock."""

    number: int
    values: dict[str, Any]
    trial: optuna.Trial
    started: float = field(default_factory=time.monotonic)


class HyperparameterSearch:
    """Trial 0 is what is configured; the others are chosen by TPE.

    The sampler is seeded anew for each trial from the seed and the trial's number, so that with one trial at a time a
    search that was interrupted makes the same trials as one that was not. Of several at a time, TPE counts those that
    are running as bad ones, which keeps them apart (constant liar).

    Args:
        space: what is searched.
        defaults: what is configured of it.
        seed: of the search.
        finished: number → trial, from the records.
        trials: how many there shall be.
    """

    def __init__(
        self, space: Space, defaults: Mapping[str, Any], seed: int, finished: Mapping[int, Trial], trials: int
    ) -> None:
        self.seed, self.defaults, self.trials = seed, dict(defaults), trials
        self.distributions: dict[str, BaseDistribution] = {key: each.distribution for key, each in space.items()}
        self.finished = {number: trial for number, trial in finished.items() if number < trials}
        self.waiting = [number for number in range(trials) if number not in finished]
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.study = optuna.create_study(direction="maximize")
        for _, trial in sorted(self.finished.items()):
            self._remember(trial)

    def ask(self) -> PendingTrial | None:
        """The next trial; None when there are no more."""
        if not self.waiting:
            return None
        number = self.waiting.pop(0)
        self.study.sampler = _sampler(self.seed, number)
        if number == 0:
            self.study.enqueue_trial(self.defaults)
        trial = self.study.ask(self.distributions)
        return PendingTrial(number, dict(trial.params), trial)

    def tell(self, pending: PendingTrial, outcome: Outcome) -> Trial:
        """A trial has ended."""
        trial = Trial(pending.number, pending.values, outcome)
        self.study.tell(pending.trial, trial.objective, state=_state(trial))
        self.finished[trial.number] = trial
        return trial

    @property
    def best(self) -> Trial | None:
        """The finished trial with the highest objective, of equal ones the first; None if all failed."""
        return max(
            (trial for _, trial in sorted(self.finished.items()) if not trial.failed),
            key=lambda trial: trial.objective or 0.0,
            default=None,
        )

    def _remember(self, trial: Trial) -> None:
        self.study.add_trial(
            optuna.trial.create_trial(
                state=_state(trial),
                value=trial.objective,
                params=trial.values,
                distributions=self.distributions,
            )
        )


def _state(trial: Trial) -> TrialState:
    return TrialState.FAIL if trial.failed else TrialState.COMPLETE


def _sampler(seed: int, number: int) -> optuna.samplers.BaseSampler:
    mixed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    with warnings.catch_warnings():
        # Some versions call these two arguments experimental, some have them as defaults: they are meant.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(n_startup_trials=STARTUP, seed=mixed, multivariate=True, constant_liar=True)
