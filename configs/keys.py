"""Which keys of the configuration a stage reads: it gets a view that has no others, and its identity is that view.

A key that is read but not declared raises in whatever runs the stage, so no key can be forgotten; one that is not
declared cannot change the identity.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Never

from configs.options import within
from configs.schema import Config


class UndeclaredKeyError(Exception):
    """A stage read a key that it does not declare: a defect of the stage, or of the system that it fits."""


@dataclass(frozen=True)
class Keys:
    """What a stage reads.

    Attributes:
        determining: sections and keys that its result depends on.
        indifferent: sections and keys that change nothing but the work: threads, memory, an engine; they may lie within
            determining sections.
    """

    determining: tuple[str, ...]
    indifferent: tuple[str, ...] = ()

    def view(self, config: Config) -> Config:
        """A copy of the configuration in which reading any other key raises :class:`UndeclaredKeyError`."""
        view: Config = _view(config, "", self)
        return view

    def settings(self, config: Config) -> dict[str, Any]:
        """Key → value of all that determines the result; JSON-like. ``config`` may be a view."""
        return {key: value for key, value in _leaves(self.view(config), "") if not within(key, self.indifferent)}


def _view(section: Any, prefix: str, keys: Keys) -> Any:
    values, hidden = {}, {}
    for name in (field.name for field in fields(section)):
        key, value = f"{prefix}{name}", vars(section).get(name)
        if is_dataclass(value):
            values[name] = _view(value, f"{key}.", keys)
        elif name in vars(section) and within(key, (*keys.determining, *keys.indifferent)):
            values[name] = copy.deepcopy(value)
        else:
            hidden[name] = _undeclared(key)
    kind = type(section)
    view: Any = object.__new__(type(kind.__name__, (kind,), hidden) if hidden else kind)
    vars(view).update(values)
    return view


def _undeclared(key: str) -> property:
    def read(_: Any) -> Never:
        raise UndeclaredKeyError(
            f"{key} is read by a stage or system that does not declare it: add it to its KEYS, so that it becomes part "
            "of its identity"
        )

    return property(read)


def values_of(config: Config) -> dict[str, Any]:
    """Key → value of all that a configuration has; of a view, what its stage reads."""
    return dict(_leaves(config, ""))


def _leaves(section: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in vars(section).items():
        if is_dataclass(value):
            yield from _leaves(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield f"{prefix}{name}", [vars(each) if is_dataclass(each) else each for each in value]
        else:
            yield f"{prefix}{name}", value
