"""Every key of the configuration as the schema states it: for a command line's checks, its help and its reference."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, get_type_hints

from configs.schema import Config


@dataclass(frozen=True)
class Option:
    """One key of the configuration.

    Attributes:
        name: in full, as ``data.split.by``.
        kind: its type, or the values of an enumeration.
        default: its plain value.
        limits: which values it takes, in words; empty: all of its type.
        meaning: what it is, with its unit.
    """

    name: str
    kind: str
    default: Any
    limits: str
    meaning: str


@cache
def options() -> tuple[Option, ...]:
    """All keys, in the schema's order."""
    return tuple(_options(Config, ""))


@cache
def names() -> tuple[str, ...]:
    """The names of all keys."""
    return tuple(option.name for option in options())


@cache
def is_text(name: str) -> bool:
    """Whether a key holds text, or a list of texts."""
    return any(option.name == name and option.kind in ("str", "str | None", "list[str]") for option in options())


@cache
def sections() -> frozenset[str]:
    """The names of all sections, and of the sections within them."""
    return frozenset(name.rsplit(".", depth)[0] for name in names() for depth in range(1, name.count(".") + 1))


def within(name: str, parts: Sequence[str]) -> bool:
    """Whether a key is one of these keys, or lies in one of these sections."""
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def suggestion(name: str, among: Sequence[str]) -> str:
    """The nearest of some names, as the end of an error; empty where none is near.

    After one that is a letter away, a name that only lacks its section is nearest to the key that has it.
    """
    last = name.rsplit(".", 1)[-1]
    same = [full for full in among if full.rsplit(".", 1)[-1] == last]
    tries = ((among, 0.95), (same, 0), (among, 0.5))
    near = next((nearest for names, cutoff in tries if (nearest := _nearest(name, names, cutoff))), [])
    return f": did you mean {near[0]!r}?" if near else ""


def _nearest(name: str, among: Sequence[str], cutoff: float) -> list[str]:
    return difflib.get_close_matches(name, among, n=1, cutoff=cutoff)


def _options(schema: type, prefix: str) -> Iterator[Option]:
    hints = get_type_hints(schema)
    section = schema()
    for entry in fields(schema):
        kind, default = hints[entry.name], getattr(section, entry.name)
        if is_dataclass(kind):
            yield from _options(kind, f"{prefix}{entry.name}.")  # type: ignore[arg-type]
            continue
        limits = " and ".join(limit.text for limit in entry.metadata["limits"])
        if isinstance(default, Enum):
            shown, default = "|".join(member.value for member in type(default)), default.value
        else:
            shown = re.sub(r"configs\.schema\.\w+\.", "", str(kind)) if hasattr(kind, "__args__") else kind.__name__
        yield Option(f"{prefix}{entry.name}", shown, default, limits, entry.metadata["help"])
