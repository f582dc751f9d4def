"""What another seed of training does to a figure, from runs that repeat each other but for their seed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri, stdtrit

from configs.command import config_from, settings
from configs.stages import Run, fingerprint, read_json
from graph.figure import Difference

MAKES_A_FIGURE = ("backend", "engine", "data", "graph", "pretrain", "model", "prerank", "evaluation")
"""Sections of a configuration that a system's figures depend on, besides the seed."""
OF_THE_LOG = ("catalogue", "splits")
"""What tells a log from another one in ``log.json``."""
FARTHEST = 35.0
"""Standard errors beyond which no p-value is looked for: it is below 1e-267 there."""


@dataclass(frozen=True)
class Training:
    """How a figure came about.

    Args:
        seed: of training; None where its ``config.yaml`` is gone.
        setup: digest of the log and of every setting but the seed; None where log or settings are gone.
    """

    seed: int | None = None
    setup: str | None = None


@dataclass(frozen=True)
class SeedNoise:
    """Spread of a figure over trainings that differ in their seed alone.

    Args:
        deviation: standard deviation of one training, in the figure's unit.
        degrees: degrees of freedom of that estimate: trainings less the logs that they share.
    """

    deviation: float
    degrees: int


def training_of(run: Run, config: Path) -> Training:
    """How what lies beside a configuration was trained.

    Args:
        run: whose log it was.
        config: a ``config.yaml`` as the commands save it.
    """
    log = run.logs / "log.json"
    if not config.is_file():
        return Training()
    asked = config_from(config)
    if not log.is_file():
        return Training(asked.seed)
    facts, options = read_json(log), settings(asked)
    setup = [{name: facts.get(name) for name in OF_THE_LOG}, {name: options[name] for name in MAKES_A_FIGURE}]
    return Training(asked.seed, fingerprint(setup))


def audit_training(run: Run, system: Training) -> Training:
    """How what an audit is about was trained: the run's ψ and the system's φ, together if of one seed."""
    psi, asked = training_of(run, run.config), run.index / "config.yaml"
    if psi.setup is None or psi.seed != system.seed or not asked.is_file():
        return Training(psi.seed)
    return Training(psi.seed, fingerprint([psi.setup, system.setup, settings(config_from(asked).index)]))


def seed_noise(figures: Iterable[tuple[Training, float]]) -> SeedNoise | None:
    """The spread over seeds, pooled over all setups that were trained with two seeds or more; None without any.

    Args:
        figures: one figure of each run that has it; of runs with one setup and one seed the last counts.
    """
    by_setup: dict[str, dict[int, float]] = {}
    for training, value in figures:
        if training.setup is not None and training.seed is not None:
            by_setup.setdefault(training.setup, {})[training.seed] = value
    repeats = [np.array([*by_seed.values()]) for by_seed in by_setup.values() if len(by_seed) > 1]
    degrees = sum(len(values) - 1 for values in repeats)
    if not degrees:
        return None
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in repeats)
    return SeedNoise(math.sqrt(squares / degrees), degrees)


def with_noise(difference: Difference, error: float, noise: SeedNoise, level: float) -> Difference:
    """A difference of two trainings, with the noise of both in its interval and its p-value.

    The half-widths of sampling (normal) and of training (Student's t, since few runs tell its spread) are added as
    squares; p is the level whose interval just reaches zero.

    Args:
        difference: with its interval and p from sampling alone; returned as it is where nothing is random.
        error: standard error from sampling alone.
        noise: of one training.
        level: of confidence.
    """
    training, value = math.sqrt(2) * noise.deviation, difference.value
    if training == 0 or difference.p is None or value is None:
        return difference

    def reach(normal: float) -> float:
        return math.hypot(normal * error, float(stdtrit(noise.degrees, ndtr(-normal))) * training)

    half = reach(float(ndtri((1 + level) / 2)))
    normal = FARTHEST if reach(FARTHEST) < abs(value) else brentq(lambda at: reach(at) - abs(value), 0.0, FARTHEST)
    return replace(difference, low=value - half, high=value + half, p=2 * float(ndtr(-normal)), visible=None)
