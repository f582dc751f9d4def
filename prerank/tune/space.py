"""What is searched for each system: ``configs/tune.yaml``, read strictly."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from configs.command import CONFIGS, settings
from configs.errors import InputError
from configs.layers import group_names
from configs.options import within
from configs.plans import PlanPlace, checked, load_plan, mapping, require_known
from configs.ranges import check_ranges
from configs.schema import Config
from prerank import systems

SPACES = CONFIGS / "tune.yaml"
SECTIONS = ("model", "prerank")
"""What makes a system: the other sections are about the data, or the same for all."""
NOT_TUNED = ("model.name", "model.system", "model.fixed", "prerank.threads", "prerank.logger")
EDGE = 0.02
"""Share of a range, at either end, within which a value lies at its edge."""


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included.

    Attributes:
        log: searched evenly on a logarithmic scale.
        integer: whole numbers only.
    """

    low: float
    high: float
    log: bool = False
    integer: bool = False

    @property
    def distribution(self) -> FloatDistribution | IntDistribution:
        if self.integer:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    @property
    def tried(self) -> tuple[Any, ...]:
        """The values that tell whether the configuration takes all."""
        return self.low, self.high

    def __contains__(self, value: Any) -> bool:
        return bool(self.low <= value <= self.high)

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"

    def beyond(self, value: float) -> float | None:
        """A value outside the range next to a ``value`` that lies at its edge; None for a value further inside."""
        place = self._scaled(value)
        low, high = self._scaled(self.low), self._scaled(self.high)
        margin = EDGE * (high - low)
        if place <= low + margin:
            return self.low - 1 if self.integer else self._unscaled(low - margin)
        if place >= high - margin:
            return self.high + 1 if self.integer else self._unscaled(high + margin)
        return None

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.log else value

    def _unscaled(self, place: float) -> float:
        return math.exp(place) if self.log else place


@dataclass(frozen=True)
class Choices:
    """One of some values."""

    choices: tuple[Any, ...]

    @property
    def distribution(self) -> CategoricalDistribution:
        return CategoricalDistribution(self.choices)

    @property
    def tried(self) -> tuple[Any, ...]:
        """As of a range."""
        return self.choices

    def __contains__(self, value: Any) -> bool:
        return value in self.choices

    def __str__(self) -> str:
        return f"one of {', '.join(map(str, self.choices))}"

    def beyond(self, _value: Any) -> None:
        """Choices have no edge."""


def _searched_key(value: str, place: PlanPlace) -> str:
    return require_known(value, _defaults(), place)


def _system(value: str, place: PlanPlace) -> str:
    return require_known(value, group_names("model"), place)


def _searched(value: object, place: PlanPlace) -> Range | Choices:
    content = mapping(value, place)
    if "choices" not in content:
        return _checked_range(checked(Range, content, place), place)
    if len(content) > 1:
        raise InputError(f"{place}: choices stand alone, found {', '.join(content)}")
    choices: Choices = checked(Choices, content, place)
    values = choices.choices
    plain = all(isinstance(each, bool | int | float | str) for each in values)
    if not plain or len(values) < 2 or len(set(map(repr, values))) < len(values):
        raise InputError(f"{place}.choices must list two or more different plain values, found {list(values)}")
    return choices


Searches = Mapping[Annotated[str, _searched_key], Annotated[Range | Choices, _searched]]
"""Key of the configuration → what is searched of it."""


@dataclass(frozen=True)
class SpaceFile:
    """A file as ``configs/tune.yaml``: what is searched of every system that reads the key, and of some systems."""

    common: Searches = field(default_factory=dict)
    systems: Mapping[Annotated[str, _system], Searches] = field(default_factory=dict)


Space = dict[str, Range | Choices]
"""Key of the configuration → what is searched of it; empty for a system with nothing to tune."""


def read_space(path: Path, system: str) -> Space:
    """What is searched for a system: the common keys that it reads, and its own if the file has some.

    Args:
        path: of a file as ``configs/tune.yaml``; all of it is checked, whatever the system.
        system: a name of ``configs/model``.

    Raises:
        InputError: for a missing or unreadable file, an unknown system or key, a range that is none, or one in which
            the configuration refuses a value.
    """
    file = load_plan(SpaceFile, path, "tune.space")
    _require_taken(file, path)
    for name, own in file.systems.items():
        if twice := sorted(set(own) & set(file.common)):
            raise InputError(
                f"{path}: systems.{name}: {', '.join(twice)} is searched by all systems alike (common): leave it out"
            )
    read = systems.named(system).KEYS
    common = {key: searched for key, searched in file.common.items() if within(key, read)}
    return {**common, **file.systems.get(system, {})}


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """A copy of a configuration with other values of some keys.

    Raises:
        InputError: for a key or value that the configuration refuses.
    """
    changed = OmegaConf.structured(config)
    for key, value in values.items():
        try:
            OmegaConf.update(changed, key, value)
        except OmegaConfBaseException as error:
            raise InputError(f"{key}: {str(error).splitlines()[0]}") from None
    copy = OmegaConf.to_object(changed)
    assert isinstance(copy, Config)
    check_ranges(copy)
    return copy


def configured(config: Config, space: Space) -> dict[str, Any]:
    """The configured values of the keys that are searched: trial 0.

    Raises:
        InputError: if one lies outside what is searched.
    """
    values = {key: value for key, value in leaves(config) if key in space}
    for key, searched in space.items():
        if values[key] not in searched:
            raise InputError(
                f"{key}={values[key]} is configured, and trial 0 is what is configured, but {key} is searched in "
                f"{searched}: leave the key out, or search in another space (tune.space)"
            )
    return {key: values[key] for key in space}


def leaves(config: Config) -> Iterator[tuple[str, Any]]:
    """Every key that could be searched, with its plain value."""
    for section in SECTIONS:
        for key, value in _flat(settings(getattr(config, section)), section):
            if key not in NOT_TUNED:
                yield key, value


def _flat(content: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(content, dict):
        for name, value in content.items():
            yield from _flat(value, f"{key}.{name}")
    else:
        yield key, content


@cache
def _defaults() -> dict[str, Any]:
    return dict(leaves(Config()))


def _checked_range(numbers: Range, place: PlanPlace) -> Range:
    default = _defaults()[place.keys[-1]]
    ends = f"{numbers.low:g} and {numbers.high:g}"
    if isinstance(default, bool) or not isinstance(default, int | float):
        raise InputError(f"{place} is no number (its default is {default!r}): give choices")
    if numbers.low >= numbers.high:
        raise InputError(f"{place}: low must be below high, found {ends}")
    if numbers.log and numbers.low <= 0:
        raise InputError(f"{place}: a logarithmic range begins above 0, found low: {numbers.low:g}")
    if isinstance(default, int) and not numbers.integer:
        raise InputError(f"{place} takes whole numbers: add integer: true")
    if not numbers.integer:
        return numbers
    if not (numbers.low.is_integer() and numbers.high.is_integer()):
        raise InputError(f"{place}: integer: true needs whole numbers, found {ends}")
    return replace(numbers, low=int(numbers.low), high=int(numbers.high))


def _require_taken(file: SpaceFile, path: Path) -> None:
    """Refuse a range with an end, or a choice, that the configuration does not take.

    A configuration takes long to check, so values of different keys are tried together; one by one only to name the bad
    one.
    """
    sections = {"common": file.common, **{f"systems.{name}": own for name, own in file.systems.items()}}
    waiting = {
        (key, value): f"{path}: {section}.{key}"
        for section, searches in sections.items()
        for key, searched in searches.items()
        for value in searched.tried
    }
    while waiting:
        together = dict(waiting.keys())
        try:
            with_values(Config(), together)
        except InputError:
            for key, value in together.items():
                try:
                    with_values(Config(), {key: value})
                except InputError as error:
                    raise InputError(f"{waiting[key, value]}: {error}") from None
        waiting = {(key, value): where for (key, value), where in waiting.items() if together[key] != value}
