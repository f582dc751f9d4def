"""How long fitted systems take to score 1,000 candidates, one system after another, when all fits are done.

Every system is timed in the same way, from rows of features in memory to logits; a network is also timed alone, with
its batch ready (:mod:`prerank.training.cost`).
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from configs.command import config_from, parse
from configs.console import warn
from configs.errors import InputError
from configs.stages import read_json, write_json
from prerank import systems
from prerank.encoding.batches import EncodedLog, EncodedSplit
from prerank.encoding.places import encoding_of
from prerank.experiment.jobs import OUTPUT, Fit
from prerank.experiment.pool import Answer, Task, carry_out
from prerank.fitting import open_work
from prerank.training.cost import CANDIDATES, PASSES, median_ms, serving_cost
from prerank.training.network_system import FittedNetwork

COSTS = "_cost"
"""Folder of the measured costs, beside the data sets'."""
CPU_FACTS = Path("/proc/cpuinfo")


def measure_missing(fits: Iterable[Fit]) -> None:
    """Measure the fits that have no measurement yet, one after another in a process of their own with one thread.

    Args:
        fits: finished ones, of the first seed.
    """
    missing = [fit for fit in fits if read_cost(fit) is None]
    if not missing:
        return
    arguments = {"fits": [{"arguments": fit.arguments, "system": fit.system} for fit in missing]}
    output = missing[0].root / OUTPUT / "cost.log"
    costs = iter(missing)

    def hear(answer: Answer[None]) -> None:
        if answer.error is not None:
            warn(f"the scoring latency was not measured: {answer.error}; what it printed is in {output}")
            return
        fit = next(costs)
        if "error" in answer.content:
            warn(f"{fit.system}: the scoring latency was not measured: {answer.content['error']}")
        else:
            write_json(cost_path(fit), {"identity": _identity(fit), **answer.content})

    carry_out([Task(None, "prerank.compare.cost:measure_all", arguments, output)], 1, hear)


def read_cost(fit: Fit) -> dict[str, Any] | None:
    """The measured cost of a fit; ``None`` if there is none of this very fit."""
    cost: dict[str, Any] | None = read_json(cost_path(fit)) if cost_path(fit).exists() else None
    return cost if cost is not None and cost["identity"] == _identity(fit) else None


def cost_path(fit: Fit) -> Path:
    return fit.root / COSTS / f"{fit.group}-{fit.system}.json"


def measure_all(fits: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """:func:`measure` each of the fits, or say why one cannot be measured."""
    for fit in fits:
        try:
            yield measure(**fit)
        except InputError as error:
            yield {"error": str(error)}


def measure(arguments: Iterable[str], system: str) -> dict[str, Any]:
    """Load a fitted system from disk and time it.

    Args:
        arguments: the command line of its fit.
        system: its name.

    Returns:
        ``scoring_ms``: median milliseconds for 1,000 candidates from features in memory to logits, ``network_ms`` and
        ``flops`` (a candidate) of a network alone, ``cpu``, ``candidates``, ``passes``.
    """
    run = parse(list(arguments), remember=False).run
    encoded = EncodedLog.open(encoding_of(run, system))
    config = config_from(run.system(system) / "config.yaml")
    fitted = systems.find(config.model).load(open_work(config, run, encoded))
    split = encoded.split("test")
    rows = np.resize(np.arange(split.rows, dtype=np.int64), CANDIDATES)
    candidates = in_memory(split, rows)
    cost: dict[str, Any] = {
        "scoring_ms": median_ms(lambda: fitted.predict(candidates)),
        "network_ms": None,
        "flops": None,
        "cpu": cpu_model(),
        "candidates": CANDIDATES,
        "passes": PASSES,
    }
    if isinstance(fitted, FittedNetwork):
        network = serving_cost(fitted.module.network, candidates)
        cost |= {"network_ms": network.latency_ms, "flops": network.flops}
    return cost


def in_memory(split: EncodedSplit, rows: Int64[np.ndarray, " rows"]) -> EncodedSplit:
    """Some rows of a split as a split of their own, copied from the disk's maps."""
    return replace(
        split,
        **{
            name: getattr(split, name).take(rows)
            for name in ("item", "request", "clicked", "ordered", "position", "stage", "price", "rank_score")
        },
        pair_features=split.pair_features.map(lambda values: values.take(rows, axis=0)),
    )


def cpu_model() -> str:
    """What the machine calls its processor."""
    if CPU_FACTS.exists():
        for line in CPU_FACTS.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()


def _identity(fit: Fit) -> str:
    identity: str = read_json(fit.folder / "manifest.json")["identity"]
    return identity
