"""YAML files of plans (worlds, conditions, data sets, spaces): described as dataclasses, checked key by key.

OmegaConf, which reads the configuration, turns ``3`` into a title and ``no`` into ``False``; here a value is what its
type says or is refused, and the message names the file, the place in it, what was expected and what was found.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

from configs.errors import InputError
from configs.options import suggestion

NAME = re.compile(r"[a-z][a-z0-9_]*")
SIMPLE = {str: "text", bool: "true or false", int: "a whole number", float: "a finite number"}

EntryName = Annotated[str, "entry name"]
"""A field that is the key under which its dataclass stands; it may become a folder, so it is a plain word."""
Plan = TypeVar("Plan")


@dataclass(frozen=True)
class PlanPlace:
    """Where a value stands, for the message: a file, and the keys above the value."""

    file: str
    keys: tuple[str, ...] = ()

    def below(self, key: str) -> PlanPlace:
        return PlanPlace(self.file, (*self.keys, key))

    def __str__(self) -> str:
        return f"{self.file}: {'.'.join(self.keys)}" if self.keys else self.file


def load_plan(schema: type[Plan], path: Path, key: str) -> Plan:
    """Read a YAML file that a key of the configuration names.

    Args:
        schema: a dataclass, or a mapping of text to dataclasses.
        path: of the file.
        key: of the configuration.

    Raises:
        InputError: if the file is missing, is not YAML, or does not fit the schema.
    """
    plan: Plan = checked(schema, load_yaml(path, key), PlanPlace(str(path)))
    return plan


def load_yaml(path: Path, key: str) -> Any:
    """What a YAML file holds.

    Raises:
        InputError: if the file is missing, or is not YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{key}: {path} does not exist") from None
    except (yaml.YAMLError, ValueError, RecursionError, OSError) as error:  # ValueError: 2024-13-45 is no day
        raise InputError(f"{path} is not readable YAML: {' '.join(str(error).split())}") from None


def checked(kind: Any, value: Any, place: PlanPlace) -> Any:
    """A value as its type says.

    Args:
        kind: a dataclass (its fields are the keys, less a ``_`` at the end where the key is a word of Python's; those
            without a default must be there), a mapping of text or of an enumeration, a tuple of any length, an
            enumeration, ``str``, ``bool``, ``int``, ``float``, ``Any``, or ``Annotated[kind, read]``, which is read by
            ``read(value, place)``.
        value: as YAML has it.
        place: for the message.

    Raises:
        InputError: for an unknown or missing key, or a value of another type.
    """
    container = get_origin(kind)
    if kind is Any:
        return value
    if container is Annotated:
        return kind.__metadata__[0](value, place)
    if container is tuple:
        if not isinstance(value, list):
            raise InputError(f"{place} must be a list, found {value!r}")
        return tuple(checked(get_args(kind)[0], each, place) for each in value)
    if container is not None:
        names, entries = get_args(kind)
        return _mapping_of(names, entries, mapping(value, place), place)
    if is_dataclass(kind):
        return _dataclass(kind, mapping(value, place), place)
    if issubclass(kind, Enum):
        return kind(require_known(value, [member.value for member in kind], place))
    return _simple(kind, value, place)


def mapping(value: Any, place: object) -> dict[str, Any]:
    """Names and values; nothing at all is none of them, and YAML reads an unquoted ``null`` as nothing."""
    content = {} if value is None else value
    if not isinstance(content, dict) or not all(isinstance(name, str | None) for name in content):
        raise InputError(f"{place} must hold names and values, found {value!r}")
    return {"null" if name is None else name: entry for name, entry in content.items()}


def require_known(name: Any, known: Iterable[str], place: object) -> str:
    """Refuse a name that stands for nothing, with the nearest one that does."""
    names = list(known)
    if name not in names:
        near = suggestion(str(name), names)
        hint = f"{near} There are" if near else ": there are"
        raise InputError(f"{place}: {name!r} is unknown{hint} {', '.join(names) or 'none'}")
    return str(name)


def _dataclass(kind: Any, content: Mapping[str, Any], place: PlanPlace) -> Any:
    hints = get_type_hints(kind, include_extras=True)
    by_key = {each.name.removesuffix("_"): each for each in fields(kind) if hints[each.name] != EntryName}
    for key in content:
        require_known(key, by_key, place)
    required = [key for key, each in by_key.items() if each.default is each.default_factory is MISSING]
    if missing := [key for key in required if key not in content]:
        raise InputError(f"{place}: {', '.join(missing)} is missing")
    values = {name: place.keys[-1] for name, hint in hints.items() if hint == EntryName}
    for key, value in content.items():
        name = by_key[key].name
        values[name] = checked(hints[name], value, place.below(key))
    return kind(**values)


def _mapping_of(names: Any, kind: Any, content: Mapping[str, Any], place: PlanPlace) -> dict[Any, Any]:
    plain = is_dataclass(kind) and EntryName in get_type_hints(kind, include_extras=True).values()
    for name in content:
        if plain and not NAME.fullmatch(name):
            raise InputError(f"{place.below(name)}: names are small letters, digits and _, a letter first")
    return {checked(names, name, place): checked(kind, value, place.below(name)) for name, value in content.items()}


def _simple(kind: Any, value: Any, place: PlanPlace) -> Any:
    accepted = isinstance(value, int | float if kind is float else kind) and isinstance(value, bool) == (kind is bool)
    if not accepted or (kind is str and not value.strip()) or (kind is float and not math.isfinite(value)):
        raise InputError(f"{place} must be {SIMPLE[kind]}, found {value!r}")
    return kind(value)
