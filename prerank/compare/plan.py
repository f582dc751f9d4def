"""What systems are compared on: the data of the command line, or those of a plan, strictly checked.

A plan is a YAML file of entries, ``name: {title: ..., arguments: {data: ..., data.path: ...}}``. The arguments are keys
of the command line; keys that the command line itself has go over them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.command import Invocation
from configs.errors import InputError
from configs.plans import EntryName, load_plan
from prerank.experiment.jobs import argument, arguments_of, asked_arguments

OWN_KEYS = ("run", "runs_folder", "seed", "experiment", "compare.", "mechanisms.", "model.name")
"""Keys that are about the comparison, not about its fits."""
DATA_KEYS = ("data.name", "data.path", "data.world")


@dataclass(frozen=True)
class PlannedData:
    """One entry of a plan."""

    name: EntryName
    title: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class ComparedData:
    """What systems are compared on.

    Attributes:
        name: of its folder.
        title: for readers.
        arguments: of the command lines of all its fits.
    """

    name: str
    title: str
    arguments: tuple[str, ...]


def compared_data(invocation: Invocation) -> list[ComparedData]:
    """The data of a command, each with what the command line asks for.

    Raises:
        InputError: if the plan cannot be read, or the command line names data beside a plan.
    """
    plan = invocation.config.compare.plan
    asked = sorted(key for key in invocation.asked if not key.startswith(OWN_KEYS))
    named = [key for key in asked if key in DATA_KEYS]
    if plan is None:
        return [_of_command_line(invocation, [key for key in asked if key not in DATA_KEYS])]
    if named:
        raise InputError(f"{', '.join(named)}: compare.plan names the data: leave data out")
    over = asked_arguments(invocation, asked)
    return [
        ComparedData(name, data.title, (*_arguments(data, leaving_out=asked), *over))
        for name, data in read_plan(Path(plan).expanduser()).items()
    ]


def read_plan(path: Path) -> Mapping[str, PlannedData]:
    """Read a plan.

    Raises:
        InputError: for a missing or unreadable file, an unknown or missing key, or an argument that is not of the data
            and their fits; values are checked when the fits are planned.
    """
    plan = load_plan(dict[str, PlannedData], path, "compare.plan")
    if not plan:
        raise InputError(f"{path} names no data: expected name: {{title: ..., arguments: {{data: ...}}}}")
    for name, data in plan.items():
        where = f"{path}: {name}.arguments"
        if not isinstance(data.arguments.get("data"), str):
            raise InputError(f"{where}: expected data, a file of configs/data, found {sorted(data.arguments)}")
        for key in data.arguments:
            if key == "model" or key.startswith(OWN_KEYS):
                raise InputError(f"{where}.{key} is the comparison's to say: leave it out")
    return plan


def _arguments(data: PlannedData, leaving_out: list[str]) -> list[str]:
    overrides = {key: value for key, value in data.arguments.items() if key not in ("data", *leaving_out)}
    return [f"data={data.arguments['data']}", *arguments_of(overrides)]


def _of_command_line(invocation: Invocation, asked: list[str]) -> ComparedData:
    data = invocation.config.data
    market = data.name == "marketplace"
    name = f"marketplace_{data.world}" if market else data.name
    title = f"marketplace, world {data.world}" if market else data.name
    place = argument("data.world", data.world) if market else argument("data.path", data.path)
    named = [f"data={data.name}", *([place] if market or data.path is not None else [])]
    return ComparedData(name, title, (*named, *asked_arguments(invocation, asked)))
