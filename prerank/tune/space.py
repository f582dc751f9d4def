"""What is searched for each system: ``configs/tune.yaml``, read strictly."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from configs.command import CONFIGS, settings
from configs.errors import InputError
from configs.ranges import check_ranges
from configs.schema import Config

SPACES = CONFIGS / "tune.yaml"
SECTIONS = ("model", "prerank")
"""What makes a system: the other sections are about the data, or the same for all."""
NOT_TUNED = ("model.name", "prerank.threads")
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
    def facts(self) -> dict[str, Any]:
        """As in the file."""
        return {"low": self.low, "high": self.high, "log": self.log, "integer": self.integer}

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

    values: tuple[Any, ...]

    @property
    def distribution(self) -> CategoricalDistribution:
        return CategoricalDistribution(self.values)

    @property
    def facts(self) -> dict[str, Any]:
        """As in the file."""
        return {"choices": list(self.values)}

    @property
    def tried(self) -> tuple[Any, ...]:
        """As of a range."""
        return self.values

    def __contains__(self, value: Any) -> bool:
        return value in self.values

    def __str__(self) -> str:
        return f"one of {', '.join(map(str, self.values))}"

    def beyond(self, _value: Any) -> None:
        """Choices have no edge."""


Space = dict[str, Range | Choices]
"""Key of the configuration → what is searched of it; empty for a system with nothing to tune."""
Entry = tuple[str, str, Range | Choices]
"""Where it stands in the file, its key, and what is searched."""


def read_space(path: Path, system: str) -> Space:
    """What is searched for a system.

    Args:
        path: of a file as ``configs/tune.yaml``; all of it is checked, whatever the system.
        system: a name of ``configs/model``.

    Raises:
        InputError: for a missing or unreadable file, an unknown system or key, a range that is none, or one in which
            the configuration refuses a value; or if the file does not have the system.
    """
    spaces = read_spaces(path)
    if system not in spaces:
        raise InputError(
            f"{path}: systems has no {system}: add `{system}: {{keys: {{...}}}}` with what is to be searched, or "
            f"`{system}: {{common: false}}` if there is nothing"
        )
    return spaces[system]


def read_spaces(path: Path) -> dict[str, Space]:
    """What is searched for each system that the file has.

    Raises:
        InputError: as :func:`read_space`.
    """
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"tune.space: {path} does not exist") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path} is not readable YAML: {' '.join(str(error).split())}") from None
    content = _mapping(given, str(path), ("common", "systems"))
    entries: list[Entry] = []
    common = _space(content.get("common"), f"{path}: common", entries)
    names = sorted(file.stem for file in (CONFIGS / "model").glob("*.yaml"))
    found = _mapping(content.get("systems"), f"{path}: systems", names)
    spaces = {name: _of_system(value, f"{path}: systems.{name}", common, entries) for name, value in found.items()}
    _require_taken(entries)
    return spaces


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """A copy of a configuration with other values of some keys.

    Raises:
        InputError: for a key or value that the configuration refuses.
    """
    made = OmegaConf.structured(config)
    for key, value in values.items():
        try:
            OmegaConf.update(made, key, value)
        except OmegaConfBaseException as error:
            raise InputError(f"{key}: {str(error).splitlines()[0]}") from None
    changed = OmegaConf.to_object(made)
    assert isinstance(changed, Config)
    check_ranges(changed)
    return changed


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


def _of_system(given: object, where: str, common: Space, entries: list[Entry]) -> Space:
    content = _mapping(given, where, ("common", "keys"))
    takes_common = _flag(content.get("common", True), f"{where}.common")
    own = _space(content.get("keys"), f"{where}.keys", entries)
    twice = sorted(set(own) & set(common)) if takes_common else []
    if twice:
        raise InputError(f"{where}.keys: {', '.join(twice)} is searched by all systems alike (common): leave it out")
    return {**(common if takes_common else {}), **own}


def _space(given: object, where: str, entries: list[Entry]) -> Space:
    """A section's keys; each is added to ``entries`` too."""
    content = _mapping(given, where, _defaults())
    made = {key: _searched(value, _defaults()[key], f"{where}.{key}") for key, value in content.items()}
    entries += [(f"{where}.{key}", key, searched) for key, searched in made.items()]
    return made


@cache
def _defaults() -> dict[str, Any]:
    return dict(leaves(Config()))


def _searched(given: object, default: object, where: str) -> Range | Choices:
    content = _mapping(given, where, ("low", "high", "log", "integer", "choices"))
    if "choices" not in content:
        return _range(content, default, where)
    if len(content) > 1:
        raise InputError(f"{where}: choices stand alone, found {', '.join(content)}")
    return _choices(content["choices"], where)


def _require_taken(entries: Sequence[Entry]) -> None:
    """Refuse a range with an end, or a choice, that the configuration does not take.

    A configuration takes long to check, so values of different keys are tried together; one by one only to name the bad
    one.
    """
    waiting = {(key, value): where for where, key, searched in entries for value in searched.tried}
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


def _choices(given: object, where: str) -> Choices:
    plain = isinstance(given, list) and all(isinstance(value, bool | int | float | str) for value in given)
    if not plain or not isinstance(given, list) or len(given) < 2 or len({repr(value) for value in given}) < len(given):
        raise InputError(f"{where}.choices must list two or more different plain values, found {given!r}")
    return Choices(tuple(given))


def _range(content: Mapping[str, Any], default: object, where: str) -> Range:
    if isinstance(default, bool) or not isinstance(default, int | float):
        raise InputError(f"{where} is no number (its default is {default!r}): give choices")
    ends = []
    for name in ("low", "high"):
        value = content.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(f"{where}.{name} must be a finite number, found {value!r}")
        ends.append(value)
    low, high = ends
    made = Range(low, high, *(_flag(content.get(name, False), f"{where}.{name}") for name in ("log", "integer")))
    if low >= high:
        raise InputError(f"{where}: low must be below high, found {low} and {high}")
    if made.log and low <= 0:
        raise InputError(f"{where}: a logarithmic range begins above 0, found low: {low}")
    if made.integer and not all(isinstance(end, int) for end in ends):
        raise InputError(f"{where}: integer: true needs whole numbers, found {low} and {high}")
    if isinstance(default, int) and not made.integer:
        raise InputError(f"{where} takes whole numbers: add integer: true")
    return made


def _flag(given: object, where: str) -> bool:
    if not isinstance(given, bool):
        raise InputError(f"{where} must be true or false, found {given!r}")
    return given


def _mapping(given: object, where: str, known: Iterable[str]) -> dict[str, Any]:
    """Names and values, of which every name is known; nothing at all is an empty one."""
    content = {} if given is None else given
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise InputError(f"{where} must hold names and values, found {given!r}")
    among = list(known)
    for name in content:
        if name not in among:
            near = difflib.get_close_matches(name, among, n=1, cutoff=0.5)
            hint = f": did you mean {near[0]!r}?" if near else f"; there are: {', '.join(among)}"
            raise InputError(f"{where}: {name!r} is unknown{hint}")
    return content
