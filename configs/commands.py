"""Every ``python -m`` command: what it is for, which keys of the configuration it reads, and where its story is.

The story is named, not imported: ``--help`` must answer before torch has loaded.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from configs.errors import InputError
from configs.options import within
from configs.schema import Config

ALL = tuple(entry.name for entry in fields(Config))
PLACE = ("run", "runs_folder")
REMEMBERED = ("from_run", "seed", "backend", "engine", "data", "graph", "pretrain")
"""What a run's first command settles for the later ones."""
ROOMS = ("configs", "graph", "pretrain", "prerank", "index")
BRINGS_TRAIN = "; [cpu] and [gpu] bring it with FAISS"
ENCODED = ("data.features", "data.add_features", "data.remove_features", "data.cutoffs")
"""What a system can be told of the columns that it sees."""
ONE_THREAD = ("pretrain.threads", "prerank.threads")
"""Keys that are settled where several fits share the cores."""


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        name: as in ``python -m NAME``.
        purpose: what ``--help`` says first.
        story: what it does with the parsed command line: ``module:function``, imported when needed, or a function.
        reads: sections and keys that it can be told.
        but: those within ``reads`` that it can not.
        inherits: sections and keys that it takes as the run, or the fitted system, has them.
        before: commands that follow it on the same run: keys that they read, and it does not, are passed over.
        short: keys that may be written without their section, as ``a=`` for ``index.a=``.
        extra: of the package, with what the story imports.
        alias: its word after ``grace``, where that is not the last part of its name.
    """

    name: str
    purpose: str
    story: str | Callable[..., Any]
    reads: tuple[str, ...] = ALL
    but: tuple[str, ...] = ()
    inherits: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    short: tuple[str, ...] = ()
    extra: str = "train"
    alias: str = ""

    @property
    def word(self) -> str:
        """What it is called in ``grace WORD``."""
        return self.alias or self.name.rpartition(".")[2]

    def takes(self, key: str) -> bool:
        """Whether the command can be told this key."""
        return within(key, self.reads) and not within(key, self.but)

    def uses(self, key: str) -> bool:
        """Whether the key decides what the command makes, told or inherited."""
        return key != "overwrite" and (self.takes(key) or within(key, self.inherits))

    def load(self) -> Callable[..., Any]:
        """The story, imported.

        Raises:
            InputError: if a package of its extra is not installed.
        """
        if callable(self.story):
            return self.story
        module, function = self.story.split(":")
        try:
            loaded: Callable[..., Any] = getattr(importlib.import_module(module), function)
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if missing in ("", *ROOMS):
                raise
            raise InputError(
                f"python -m {self.name} needs the package {missing}, which is not installed here: install the extra "
                f"[{self.extra}], as by `pip install '.[{self.extra}]'`{BRINGS_TRAIN if self.extra == 'train' else ''}"
            ) from None
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
            "pretrain.pipeline:make_psi",
            reads=(*PLACE, "overwrite", "experiment", *REMEMBERED, "evaluation.draws", "evaluation.confidence"),
            before=("prerank.fit",),
            alias="pretrain",
        ),
        Command(
            "graph.check",
            "Read, map and check a log and say what was understood; with init=FILE write the mapping that it suggests.",
            "prerank.understanding:understand",
            reads=("check", "overwrite", "seed", "data", "graph.memory_limit_gb"),
            before=("pretrain.run", "prerank.fit"),
            short=("check.init",),
        ),
        Command(
            "graph.build",
            "From a log to the co-engagement graph alone.",
            "graph.building:build",
            reads=(*PLACE, "overwrite", "experiment", "from_run", "seed", "engine", "data", "graph"),
            before=("pretrain.run", "prerank.fit"),
        ),
        Command(
            "prerank.fit",
            "Fit a pre-ranking system (model=grace, ple, lightgbm, ...) on a run made by pretrain.run.",
            "prerank.fitting:fit_system",
            reads=(
                *(*PLACE, "name", "overwrite", "experiment", "seed"),
                *(*ENCODED, "model", "prerank", "evaluation"),
            ),
            inherits=REMEMBERED,
        ),
        Command(
            "prerank.evaluate",
            "Evaluate a fitted system on its run's log, or with data=... data.path=... on a new log.",
            "prerank.evaluating:evaluate_system",
            reads=(
                *(*PLACE, "name", "experiment", "model", "evaluation"),
                *("data.name", "data.path", "data.table", "data.ubi", "data.world", "data.rejected_share"),
            ),
            inherits=(*REMEMBERED, "prerank"),
        ),
        Command(
            "prerank.score",
            "Score a new log by a fitted system (data=... data.path=...): predictions and phi; no clicks are needed.",
            "prerank.scoring:score_log",
            reads=(
                *(*PLACE, "name", "model.name", "score"),
                *("data.name", "data.path", "data.table", "data.ubi", "data.world", "data.rejected_share"),
            ),
            inherits=(*REMEMBERED, "model", "prerank", "evaluation"),
        ),
        Command(
            "prerank.export",
            "Write a fitted system as a bundle: one folder that is served without the training code.",
            "prerank.exporting.bundle:export_bundle",
            reads=(*PLACE, "name", "overwrite", "model.name", "export"),
            inherits=(*REMEMBERED, "model", "prerank", "evaluation"),
        ),
        Command(
            "prerank.tune",
            "Search the hyper-parameters of a pre-ranking system on the validation split of a run.",
            "prerank.tune.tuning:tune_system",
            reads=(
                *(*PLACE, "overwrite", "experiment", "seed", *ENCODED),
                *("model", "prerank", "evaluation", "tune"),
            ),
            inherits=REMEMBERED,
        ),
        Command(
            "prerank.compare",
            "Compare systems side by side, on several seeds and data.",
            "prerank.compare.comparison:compare_systems",
            reads=(*PLACE, "experiment", *REMEMBERED, "model", "prerank", "evaluation", "compare"),
            but=("from_run", *ONE_THREAD),
        ),
        Command(
            "prerank.mechanisms",
            "What every module of GRACE gains where it should help, and where it must not.",
            "prerank.mechanisms.experiment:mechanisms",
            reads=(*PLACE, "experiment", *REMEMBERED, "model", "prerank", "evaluation", "mechanisms"),
            but=("from_run", *ONE_THREAD, "data.path"),
        ),
        Command(
            "prerank.ab",
            "A/B replay of fitted pre-rankers in the simulated marketplace, on one run or on ab.runs=[NAME,...].",
            "prerank.ab.experiment:replay_systems",
            reads=(
                *PLACE,
                "ab",
                "evaluation.seed",
                "evaluation.confidence",
                "evaluation.head_share",
                "evaluation.tail_share",
            ),
            inherits=REMEMBERED,
        ),
        Command(
            "index.audit",
            "Audit psi and phi of a fitted system: neighbours, purity, geometry, collisions, cold start; or, with "
            "a=FOLDER b=FOLDER items=items.parquet, any two embedding tables.",
            "index.audit.auditing:audit",
            reads=(
                *PLACE,
                "name",
                "seed",
                "model.name",
                "evaluation.draws",
                "evaluation.confidence",
                "index",
            ),
            inherits=(*REMEMBERED, "model", "prerank"),
            short=("index.a", "index.b", "index.items"),
            extra="cpu",
        ),
        Command(
            "index.serve",
            "Show all reports of runs_folder in a browser, with search over their items (serve.port=8765).",
            "index.serve.server:serve",
            reads=("runs_folder", "serve"),
            extra="cpu",
            alias="reports",
        ),
        Command(
            "prerank.serve",
            "Answer /score, /top and /explain over HTTP from a bundle (bundle=FOLDER service.port=8080).",
            "prerank.service.serving:serve",
            reads=("service",),
            short=("service.bundle",),
            extra="serve",
        ),
        Command(
            "index.trends",
            "Show how the figures of several runs moved (run=REPORT trends.runs=[a,b,c]).",
            "index.trends.command:trends",
            reads=(*PLACE, "trends"),
        ),
    )
}
"""The commands, each before those that need what it makes."""


def readers(key: str) -> list[str]:
    """The commands that can be told a key."""
    return [command.name for command in COMMANDS.values() if command.takes(key)]
