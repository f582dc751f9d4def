"""The plan of the experiment on GRACE's modules, ``configs/mechanisms.yaml``, strictly checked.

A *module* is a pair of systems, with it and without it. A *condition* is a world and what differs in it from the
defaults. For every module that a condition measures, the plan says beforehand what should come out: ``helps``,
``null`` (it must not help), or ``open`` (no prediction); and on which figures, the first of them being the one that
enters the family of tests.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from configs.command import CONFIGS
from configs.errors import InputError
from prerank.evaluation.definitions import define
from prerank.evaluation.segments import SEGMENTS

PLAN = CONFIGS / "mechanisms.yaml"
NAME = re.compile(r"[a-z][a-z0-9_]*")


class Expectation(StrEnum):
    """What was said of a module in a condition before it was fitted."""

    helps = "helps"
    null = "null"
    open = "open"


@dataclass(frozen=True)
class Measure:
    """A figure of ``metrics.json``, on the test split."""

    metric: str
    segment: str

    def __str__(self) -> str:
        return f"{self.metric}, {self.segment}"


@dataclass(frozen=True)
class Side:
    """One system of a pair: a file of ``configs/model``, and keys that differ from it."""

    model: str
    overrides: Mapping[str, Any]


@dataclass(frozen=True)
class Module:
    """A part of GRACE, measured as the system with it less the system without it."""

    name: str
    title: str
    with_it: Side
    without: Side


@dataclass(frozen=True)
class Claim:
    """What should come out for a module in a condition; the first measure is the primary one."""

    module: str
    expected: Expectation
    measures: tuple[Measure, ...]


@dataclass(frozen=True)
class Axis:
    """A dose-response curve: the gain of a module in the conditions that state a dose."""

    name: str
    title: str
    module: str
    measure: Measure
    logarithmic: bool


@dataclass(frozen=True)
class Condition:
    """A world of ``configs/world`` with configuration keys that differ, its doses, and what is claimed for it."""

    name: str
    title: str
    world: str
    overrides: Mapping[str, Any]
    doses: Mapping[str, float]
    claims: tuple[Claim, ...]


@dataclass(frozen=True)
class Plan:
    """Everything that ``configs/mechanisms.yaml`` says, in its order."""

    modules: Mapping[str, Module]
    axes: Mapping[str, Axis]
    conditions: Mapping[str, Condition]
    overrides: Mapping[str, Any]
    """Configuration keys of every fit; the command line goes over them."""

    def chosen(self, names: Iterable[str]) -> list[Condition]:
        """The conditions of some names in the plan's order; all of them for none.

        Raises:
            InputError: for a name that the plan does not have.
        """
        wanted = list(names)
        for name in wanted:
            _require_known(name, self.conditions, "mechanisms.conditions")
        return [condition for condition in self.conditions.values() if not wanted or condition.name in wanted]


def read_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        InputError: for a missing or unreadable file, an unknown or missing key, a name that stands for nothing, or a
            figure that does not exist.
    """
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"mechanisms.plan: {path} does not exist") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path} is not readable YAML: {' '.join(str(error).split())}") from None
    content = _keys(given, str(path), ("modules", "conditions"), ("axes", "overrides"))
    modules = {name: _module(name, value, where) for name, value, where in _named(content, "modules", path)}
    axes = {name: _axis(name, value, where, modules) for name, value, where in _named(content, "axes", path)}
    found = _named(content, "conditions", path)
    conditions = {name: _condition(name, value, where, modules, axes) for name, value, where in found}
    return Plan(modules, axes, conditions, _mapping(content.get("overrides", {}), f"{path}: overrides"))


def _module(name: str, given: object, where: str) -> Module:
    content = _keys(given, where, ("title", "with", "without"))
    sides = [_side(content[key], f"{where}.{key}") for key in ("with", "without")]
    if sides[0] == sides[1]:
        raise InputError(f"{where}: with and without are the same system, so there is nothing to compare")
    return Module(name, _text(content["title"], f"{where}.title"), *sides)


def _side(given: object, where: str) -> Side:
    content = _mapping(given, where)
    if "model" not in content:
        raise InputError(f"{where}: expected model, a file of configs/model, found {sorted(content)}")
    return Side(_text(content["model"], f"{where}.model"), {k: v for k, v in content.items() if k != "model"})


def _axis(name: str, given: object, where: str, modules: Mapping[str, Module]) -> Axis:
    content = _keys(given, where, ("title", "module", "measure"), ("logarithmic",))
    module = _require_known(_text(content["module"], f"{where}.module"), modules, f"{where}.module")
    logarithmic = content.get("logarithmic", False)
    if not isinstance(logarithmic, bool):
        raise InputError(f"{where}.logarithmic must be true or false, found {logarithmic!r}")
    measure = _measure(content["measure"], f"{where}.measure")
    return Axis(name, _text(content["title"], f"{where}.title"), module, measure, logarithmic)


def _condition(
    name: str, given: object, where: str, modules: Mapping[str, Module], axes: Mapping[str, Axis]
) -> Condition:
    content = _keys(given, where, ("title", "world", "expect"), ("overrides", "doses"))
    claims = tuple(
        _claim(_require_known(module, modules, f"{where}.expect"), claim, f"{where}.expect.{module}")
        for module, claim in _mapping(content["expect"], f"{where}.expect").items()
    )
    if not claims:
        raise InputError(f"{where}.expect is empty: name the modules to measure in it")
    doses: dict[str, float] = {}
    for axis, dose in _mapping(content.get("doses", {}), f"{where}.doses").items():
        measured = axes[_require_known(axis, axes, f"{where}.doses")].module
        if isinstance(dose, bool) or not isinstance(dose, int | float) or (axes[axis].logarithmic and dose <= 0):
            raise InputError(f"{where}.doses.{axis} must be a number (above 0 on a logarithmic axis), found {dose!r}")
        if measured not in {claim.module for claim in claims}:
            raise InputError(f"{where}.doses.{axis} is a dose of {measured}, which {where}.expect does not measure")
        doses[axis] = float(dose)
    overrides = _mapping(content.get("overrides", {}), f"{where}.overrides")
    title = _text(content["title"], f"{where}.title")
    return Condition(name, title, _text(content["world"], f"{where}.world"), overrides, doses, claims)


def _claim(module: str, given: object, where: str) -> Claim:
    if isinstance(given, dict):  # YAML reads an unquoted null as nothing
        given = {"null" if name is None else name: measures for name, measures in given.items()}
    content = _keys(given, where, (), tuple(each.value for each in Expectation))
    if len(content) != 1:
        raise InputError(f"{where}: expected one of {', '.join(Expectation)}, found {sorted(content)}")
    ((expected, measures),) = content.items()
    if not isinstance(measures, list) or not measures:
        raise InputError(f"{where}.{expected} must list the figures that it is about, found {measures!r}")
    return Claim(module, Expectation(expected), tuple(_measure(found, f"{where}.{expected}") for found in measures))


def _measure(given: object, where: str) -> Measure:
    """``metric segment``, e.g. ``gauc_click tail``."""
    words = _text(given, where).split()
    if len(words) != 2:
        raise InputError(f"{where}: expected a metric and a segment, like `gauc_click tail`, found {given!r}")
    metric, segment = words
    if not define(metric):
        raise InputError(f"{where}: {metric!r} is no metric of metrics.json (docs/reference/evaluation.md lists them)")
    return Measure(metric, _require_known(segment, SEGMENTS, where))


def _named(content: Mapping[str, Any], section: str, path: Path) -> list[tuple[str, object, str]]:
    """The entries of a section with where they stand; their names become folders, so they are plain."""
    found = []
    for name, value in _mapping(content.get(section, {}), f"{path}: {section}").items():
        if not NAME.fullmatch(name):
            raise InputError(f"{path}: {section}.{name}: names are small letters, digits and _, a letter first")
        found.append((name, value, f"{path}: {section}.{name}"))
    return found


def _keys(given: object, where: str, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    content = _mapping(given, where)
    for name in content:
        _require_known(name, (*required, *optional), where)
    missing = [name for name in required if name not in content]
    if missing:
        raise InputError(f"{where}: {', '.join(missing)} is missing")
    return content


def _mapping(given: object, where: str) -> dict[str, Any]:
    if not isinstance(given, dict) or not all(isinstance(name, str) for name in given):
        raise InputError(f"{where} must hold names and values, found {given!r}")
    return given


def _text(given: object, where: str) -> str:
    if not isinstance(given, str) or not given.strip():
        raise InputError(f"{where} must be text, found {given!r}")
    return given


def _require_known(name: str, known: Iterable[str], where: str) -> str:
    among = list(known)
    if name not in among:
        near = difflib.get_close_matches(name, among, n=1, cutoff=0.5)
        hint = f": did you mean {near[0]!r}?" if near else f"; there are: {', '.join(among) or 'none'}"
        raise InputError(f"{where}: {name!r} is unknown{hint}")
    return name
