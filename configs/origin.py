"""The run that another one goes on from (``from=``): where it lies, and what of it a stage was made from.

A run that goes on is whole by itself: once a stage of it has finished, its origin may be made again or deleted.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from configs.command import run_config
from configs.errors import InputError
from configs.keys import Keys
from configs.schema import Config
from configs.stages import MANIFEST, Run, identity_of, read_json

ORIGIN = "from"
"""Name of the origin's stage among a stage's inputs."""


def origin_of(config: Config) -> Run | None:
    """The run that ``from=`` names; None for a run of its own.

    Raises:
        InputError: if that is the run itself.
    """
    if not config.from_run:
        return None
    if config.from_run == config.run:
        raise InputError(f"from={config.from_run} is the run itself: give run= a new name, or from= another one")
    return Run(Path(config.runs_folder) / config.from_run)


def origin_input(config: Config, own: Path, stage: Callable[[Run], Path], made_by: str) -> dict[str, str]:
    """The input of a stage that its origin's stage is; empty for a run of its own.

    Args:
        config: of the run.
        own: folder of the stage, which says what it was made from where the origin is gone.
        stage: folder of the stage in a run.
        made_by: command without its run that makes the stage, for an origin that has not.

    Raises:
        InputError: if neither the origin's stage nor the run's own is finished.
    """
    origin = origin_of(config)
    if origin is None:
        return {}
    if (own / MANIFEST).exists():
        recorded: dict[str, str] = read_json(own / MANIFEST).get("inputs", {})
        if ORIGIN not in recorded and not config.overwrite:
            raise InputError(
                f"{own} was made without from=, asked for from={config.from_run}: give run=NAME to keep both, or "
                "overwrite=true to replace it"
            )
        if ORIGIN in recorded and not (stage(origin) / MANIFEST).exists():
            return {ORIGIN: recorded[ORIGIN]}
    return {ORIGIN: identity_of(stage(origin), f"{made_by} run={origin.root.name}")}


def require_own_start(config: Config) -> None:
    """Refuse what would train anew on the rows of a run that goes on, which are those of its last days.

    Raises:
        InputError: for such a run.
    """
    if config.from_run:
        raise InputError(
            f"run={config.run} goes on from {config.from_run} and holds the rows that were new since: take a run of "
            "its own that holds all days"
        )


def require_alike(config: Config, keys: Keys) -> None:
    """Refuse to go on from a run with other values of the keys that decide what a graph or a network means.

    Args:
        config: of the run that goes on.
        keys: that must be the same; those that are indifferent may differ.

    Raises:
        InputError: naming every key with both values.
    """
    origin = origin_of(config)
    if origin is None or not origin.config.exists():
        return
    own, before = keys.settings(config), keys.settings(run_config(origin))
    differing = [f"{key}={own[key]} ({origin.root.name} has {before[key]})" for key in own if own[key] != before[key]]
    if differing:
        raise InputError(
            f"run={config.run} goes on from {origin.root.name} and must have its keys: {'; '.join(differing)}: leave "
            "them out, or make a run of its own without from="
        )
