"""The plan of the experiment on GRACE's modules, ``configs/mechanisms.yaml``, strictly checked.

A *module* is a pair of systems, with it and without it. A *condition* is a world and what differs in it from the
defaults. For every module that a condition measures, the plan says beforehand what should come out: ``helps``,
``null`` (it must not help), or ``open`` (no prediction); and on which figures, the first of them being the one that
enters the family of tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from configs.command import CONFIGS
from configs.errors import InputError
from configs.plans import EntryName, PlanPlace, checked, load_plan, mapping, require_known
from prerank.evaluation.definitions import define
from prerank.evaluation.segments import SEGMENTS

PLAN = CONFIGS / "mechanisms.yaml"


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
class SystemVariant:
    """One system of a pair: a file of ``configs/model``, and keys that differ from it."""

    model: str
    overrides: Mapping[str, Any]


def _measure(value: object, place: PlanPlace) -> Measure:
    """``metric segment``, e.g. ``gauc_click tail``."""
    words = checked(str, value, place).split()
    if len(words) != 2:
        raise InputError(f"{place}: expected a metric and a segment, like `gauc_click tail`, found {value!r}")
    metric, segment = words
    if not define(metric):
        raise InputError(f"{place}: {metric!r} is no metric of metrics.json (docs/reference/evaluation.md lists them)")
    return Measure(metric, require_known(segment, SEGMENTS, place))


def _variant(value: object, place: PlanPlace) -> SystemVariant:
    """``model`` beside the keys that differ."""
    overrides = mapping(value, place)
    if "model" not in overrides:
        raise InputError(f"{place}: expected model, a file of configs/model, found {sorted(overrides)}")
    return SystemVariant(checked(str, overrides.pop("model"), place.below("model")), overrides)


MeasureInPlan = Annotated[Measure, _measure]
SystemInPlan = Annotated[SystemVariant, _variant]


@dataclass(frozen=True)
class Module:
    """A part of GRACE, measured as the system with it less the system without it."""

    name: EntryName
    title: str
    with_: SystemInPlan
    without: SystemInPlan


@dataclass(frozen=True)
class Axis:
    """A dose-response curve: the gain of a module in the conditions that state a dose."""

    name: EntryName
    title: str
    module: str
    measure: MeasureInPlan
    logarithmic: bool = False


@dataclass(frozen=True)
class Claim:
    """What should come out for a module in a condition; the first measure is the primary one."""

    module: str
    expected: Expectation
    measures: tuple[Measure, ...]


@dataclass(frozen=True)
class Condition:
    """A world of ``configs/world`` with configuration keys that differ, its doses, and what is claimed for it."""

    name: EntryName
    title: str
    world: str
    expect: Mapping[str, Mapping[Expectation, tuple[MeasureInPlan, ...]]]
    overrides: Mapping[str, Any] = field(default_factory=dict)
    doses: Mapping[str, float] = field(default_factory=dict)

    @property
    def claims(self) -> tuple[Claim, ...]:
        """What is expected of each module that is measured, in the plan's order."""
        return tuple(
            Claim(module, expectation, measures)
            for module, expected in self.expect.items()
            for expectation, measures in expected.items()
        )


@dataclass(frozen=True)
class MechanismPlan:
    """Everything that ``configs/mechanisms.yaml`` says, in its order; the command line goes over ``overrides``."""

    modules: Mapping[str, Module]
    conditions: Mapping[str, Condition]
    axes: Mapping[str, Axis] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def chosen(self, names: Iterable[str]) -> list[Condition]:
        """The conditions of some names in the plan's order; all of them for none.

        Raises:
            InputError: for a name that the plan does not have.
        """
        chosen = [require_known(name, self.conditions, "mechanisms.conditions") for name in names]
        return [condition for condition in self.conditions.values() if not chosen or condition.name in chosen]


def read_plan(path: Path) -> MechanismPlan:
    """Read a plan.

    Raises:
        InputError: for a missing or unreadable file, an unknown or missing key, a name that stands for nothing, or a
            figure that does not exist.
    """
    plan = load_plan(MechanismPlan, path, "mechanisms.plan")
    for name, module in plan.modules.items():
        if module.with_ == module.without:
            raise InputError(
                f"{path}: modules.{name}: with and without are the same system, so there is nothing to compare"
            )
    for name, axis in plan.axes.items():
        require_known(axis.module, plan.modules, f"{path}: axes.{name}.module")
    for name, condition in plan.conditions.items():
        _check_claims(plan, condition, f"{path}: conditions.{name}.expect")
        _check_doses(plan, condition, f"{path}: conditions.{name}")
    return plan


def _check_claims(plan: MechanismPlan, condition: Condition, where: str) -> None:
    if not condition.expect:
        raise InputError(f"{where} is empty: name the modules to measure in it")
    for module, expected in condition.expect.items():
        require_known(module, plan.modules, where)
        if len(expected) != 1:
            raise InputError(f"{where}.{module}: expected one of {', '.join(Expectation)}, found {sorted(expected)}")
        for expectation, measures in expected.items():
            if not measures:
                raise InputError(f"{where}.{module}.{expectation} must list the figures that it is about, found []")


def _check_doses(plan: MechanismPlan, condition: Condition, where: str) -> None:
    for axis, dose in condition.doses.items():
        measured = plan.axes[require_known(axis, plan.axes, f"{where}.doses")]
        if measured.logarithmic and dose <= 0:
            raise InputError(f"{where}.doses.{axis} must be above 0 on a logarithmic axis, found {dose:g}")
        if measured.module not in condition.expect:
            raise InputError(
                f"{where}.doses.{axis} is a dose of {measured.module}, which {where}.expect does not measure"
            )
