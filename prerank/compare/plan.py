"""What systems are compared on: the data of the command line, or those of a plan, strictly checked.

A plan is a YAML file of entries, ``name: {title: ..., arguments: {data: ..., data.path: ...}}``. The arguments are keys
of the command line; keys that the command line itself has go over them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from configs.command import Invocation
from configs.errors import InputError
from prerank.experiment.jobs import argument, asked_values

NAME = re.compile(r"[a-z][a-z0-9_]*")
KEYS = ("title", "arguments")
OWN_KEYS = ("run", "runs_folder", "seed", "experiment", "compare.", "mechanisms.", "model.name")
"""Keys that are about the comparison, not about its fits."""
DATA_KEYS = ("data.name", "data.path", "data.world")


@dataclass(frozen=True)
class Entry:
    """One data set.

    Attributes:
        name: of its folder.
        title: for readers.
        arguments: overrides of all its fits.
    """

    name: str
    title: str
    arguments: tuple[str, ...]


def entries_of(invocation: Invocation) -> list[Entry]:
    """The data sets of a command, each with what the command line asks for.

    Raises:
        InputError: if the plan cannot be read, or the command line names data beside a plan.
    """
    compare = invocation.config.compare
    common = asked_keys(invocation)
    if compare.plan is None:
        return [_of_command_line(invocation, [key for key in common if key not in DATA_KEYS])]
    named = [key for key in invocation.asked if key in DATA_KEYS]
    if named:
        raise InputError(f"{', '.join(sorted(named))}: compare.plan names the data: leave data out")
    given = read_plan(Path(compare.plan).expanduser())
    over = asked_values(invocation.config, common)
    return [Entry(entry.name, entry.title, (*_without(entry.arguments, common), *over)) for entry in given]


def asked_keys(invocation: Invocation) -> list[str]:
    """Keys of the command line that go to every fit."""
    return sorted(key for key in invocation.asked if not key.startswith(OWN_KEYS))


def read_plan(path: Path) -> list[Entry]:
    """Read a plan.

    Raises:
        InputError: for a missing or unreadable file, an unknown or missing key, or an argument that is not of the data
            and their fits; values are checked when the fits are planned.
    """
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"compare.plan: {path} does not exist") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path} is not readable YAML: {' '.join(str(error).split())}") from None
    content = _mapping(given, str(path))
    if not content:
        raise InputError(f"{path} names no data: expected name: {{title: ..., arguments: {{data: ...}}}}")
    return [_entry(name, value, path) for name, value in content.items()]


def _of_command_line(invocation: Invocation, common: list[str]) -> Entry:
    data = invocation.config.data
    market = data.name == "marketplace"
    name = f"marketplace_{data.world}" if market else data.name
    title = f"marketplace, world {data.world}" if market else data.name
    values = {"data.world": data.world} if market else {"data.path": data.path}
    named = [f"data={data.name}", *(argument(key, value) for key, value in values.items() if value is not None)]
    return Entry(name, title, (*named, *asked_values(invocation.config, common)))


def _entry(name: str, given: object, path: Path) -> Entry:
    where = f"{path}: {name}"
    if not NAME.fullmatch(name):
        raise InputError(f"{where}: names are small letters, digits and _, a letter first")
    content = _mapping(given, where)
    for key in content:
        _require_known(key, where)
    missing = [key for key in KEYS if key not in content]
    if missing:
        raise InputError(f"{where}: {', '.join(missing)} is missing")
    title = content["title"]
    if not isinstance(title, str) or not title.strip():
        raise InputError(f"{where}.title must be text, found {title!r}")
    arguments = _mapping(content["arguments"], f"{where}.arguments")
    if not isinstance(arguments.get("data"), str):
        raise InputError(f"{where}.arguments: expected data, a file of configs/data, found {sorted(arguments)}")
    for key in arguments:
        if key == "model" or key.startswith(OWN_KEYS):
            raise InputError(f"{where}.arguments.{key} is the comparison's to say: leave it out")
    made = [f"data={arguments['data']}"]
    made += [argument(key, value) for key, value in arguments.items() if key != "data"]
    return Entry(name, title, tuple(made))


def _without(arguments: tuple[str, ...], keys: list[str]) -> list[str]:
    return [text for text in arguments if text.split("=", 1)[0] not in keys]


def _mapping(given: object, where: str) -> Mapping[str, Any]:
    if not isinstance(given, dict) or not all(isinstance(name, str) for name in given):
        raise InputError(f"{where} must hold names and values, found {given!r}")
    return given


def _require_known(name: str, where: str) -> None:
    if name not in KEYS:
        near = difflib.get_close_matches(name, KEYS, n=1, cutoff=0.5)
        hint = f": did you mean {near[0]!r}?" if near else f"; there are: {', '.join(KEYS)}"
        raise InputError(f"{where}: {name!r} is unknown{hint}")
