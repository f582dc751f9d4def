"""``python -m graph.check``: read, map and check a log, say what was understood; nothing but ``init`` is written."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from configs.command import Invocation
from configs.console import say
from configs.errors import InputError
from configs.schema import Config, DataConfig
from graph.logs.log import SearchLog
from graph.logs.prepare import understand_log
from graph.understanding import report
from graph.understanding.advice import Judge, advice, unseen

TellFeatures = Callable[[DataConfig, SearchLog], None]
"""Prints the features that a system would be fitted with; they are the business of a later room."""


def check(invocation: Invocation, tell_features: TellFeatures) -> None:
    """Read, map, check and describe the log of ``data``.

    Raises:
        InputError: if the log cannot be used as it is, with all that stands in its way.
    """
    config = invocation.config
    with tempfile.TemporaryDirectory(prefix="graph-check-") as scratch:
        _check_log(config, Path(scratch) / "log", tell_features)


def _check_log(config: Config, folder: Path, tell_features: TellFeatures) -> None:
    """Read and check into ``folder``, and print what became of the log.

    Raises:
        InputError: if it cannot be read, or more of its rows are bad than ``data.rejected_share`` allows.
    """
    problems: list[str] = []

    def hear(rejected: dict[str, int], rows: int, allowed: float, path: Path, where: Path) -> None:
        report.tell_checks(rejected, rows, path.parent)
        bad = sum(rejected.values())
        if bad > allowed * rows:
            problems.append(
                f"{bad:,} of {rows:,} rows ({bad / max(rows, 1):.2%}) of {where} are bad, more than "
                f"data.rejected_share={allowed} allows: "
                + "; ".join(f"{n:,} rows: {why}" for why, n in rejected.items())
            )

    try:
        log = understand_log(config, folder, hear)
    except InputError as error:
        raise InputError("\n".join([*problems, str(error)])) from None
    report.tell_rows(log)
    judge = Judge(log)
    report.tell_unseen(unseen(judge))
    tell_features(config.data, log)
    report.tell_list("advice", advice(judge))
    if problems:
        raise InputError("\n".join(problems))
    say("\nthe log can be read")
