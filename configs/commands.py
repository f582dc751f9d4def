"""Every ``python -m`` command: what it is for, which sections of the configuration it reads, and where its story is.

The story is named, not imported: ``--help`` must answer before torch has loaded.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        name: as in ``python -m NAME``.
        purpose: what ``--help`` says first.
        story: what it does with the parsed command line: ``module:function``, imported when needed, or a function.
        short: keys that may be written without their section, as ``a=`` for ``index.a=``.
    """

    name: str
    purpose: str
    story: str | Callable[..., Any]
    short: tuple[str, ...] = ()

    def load(self) -> Callable[..., Any]:
        """The story, imported."""
        if callable(self.story):
            return self.story
        module, function = self.story.split(":")
        loaded: Callable[..., Any] = getattr(importlib.import_module(module), function)
        return loaded

    def spelt_out(self, arguments: Sequence[str]) -> list[str]:
        """The arguments with short keys written in full."""
        full = {key.rsplit(".", 1)[1]: key for key in self.short}
        return [_in_full(text, full) for text in arguments]


def _in_full(text: str, full: Mapping[str, str]) -> str:
    name, equals, value = text.partition("=")
    return f"{full.get(name, name)}=" + value if equals else text


COMMANDS = {
    command.name: command
    for command in (
        Command(
            "pretrain.run",
            "From a log to psi: read or simulate the log, build its graph, train GraphSAGE.",
            "pretrain.pipeline:run",
        ),
        Command("graph.build", "From a log to the co-engagement graph alone.", "graph.building:build"),
        Command(
            "prerank.fit",
            "Fit a pre-ranking system (model=grace, ple, lightgbm, ...) on a run made by pretrain.run.",
            "prerank.fitting:fit",
        ),
        Command(
            "prerank.evaluate",
            "Evaluate a fitted system on its run's log, or with data=... data.path=... on a new log.",
            "prerank.evaluating:evaluate",
        ),
        Command(
            "prerank.tune",
            "Search the hyper-parameters of a pre-ranking system on the validation split of a run.",
            "prerank.tune.tuning:tune",
        ),
        Command(
            "prerank.compare",
            "Compare systems side by side, on several seeds and data.",
            "prerank.compare.comparison:compare",
        ),
        Command(
            "prerank.mechanisms",
            "What every module of GRACE gains where it should help, and where it must not.",
            "prerank.mechanisms.experiment:mechanisms",
        ),
        Command(
            "prerank.ab",
            "A/B replay of fitted pre-rankers in the simulated marketplace, on one run or on ab.runs=[NAME,...].",
            "prerank.ab.experiment:compare_systems",
        ),
        Command(
            "index.audit",
            "Audit psi and phi of a fitted system: neighbours, purity, geometry, collisions, cold start; or, with "
            "a=FOLDER b=FOLDER items=items.parquet, any two embedding tables.",
            "index.audit.auditing:audit",
            short=("index.a", "index.b", "index.items"),
        ),
        Command(
            "index.serve",
            "Show all reports of runs_folder in a browser, with search over their items (serve.port=8765).",
            "index.serve.server:serve",
        ),
        Command(
            "index.trends",
            "Show how the figures of several runs moved (run=REPORT trends.runs=[a,b,c]).",
            "index.trends.command:trends",
        ),
    )
}
