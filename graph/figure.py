"""A number with all that a reader needs to judge it: interval, count, unit and chance level.

Metrics, audits, comparisons and pages hand on these types; files hold what ``as_json`` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Figure:
    """A value, the ends of its interval, and the number of things that it was measured on.

    Attributes:
        value: None where the figure is undefined; ``reason`` then says why.
        low, high: ends of the interval; None where nothing in the figure is random (a base rate, a chance level), or
            where there are too few things to say.
        n: rows, requests, items or markets that it was measured on.
        unit: of the value, as a reader needs it (``share``, ``ms``, ``points``); empty for a plain number.
        chance: what a measure without knowledge would get, in the same unit; None where there is no such level.
        reason: why the value, or its interval, is None.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    unit: str = ""
    chance: float | None = None
    reason: str | None = None

    @classmethod
    def exact(cls, value: float, n: int) -> Self:
        """A figure that is computed, not estimated: its interval is empty."""
        return cls(value, None, None, n)

    @classmethod
    def undefined(cls, reason: str, n: int = 0) -> Self:
        """A figure that cannot be told from these data."""
        return cls(None, None, None, n, reason=reason)

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Figure:
        """What :meth:`as_json` wrote.

        Raises:
            KeyError: if value, low, high or n is missing.
        """
        return Figure(
            content["value"],
            content["low"],
            content["high"],
            content["n"],
            content.get("unit", ""),
            content.get("chance"),
            content.get("reason"),
        )

    def above(self, level: float) -> bool:
        """Whether all of the interval is; False without one."""
        return self.low is not None and self.low > level

    def below(self, level: float) -> bool:
        """Whether all of the interval is; False without one."""
        return self.high is not None and self.high < level

    def covers(self, value: float) -> bool:
        """Whether the interval holds a value; False without one."""
        return self.low is not None and self.high is not None and self.low <= value <= self.high

    def as_json(self) -> dict[str, Any]:
        """``{"value", "low", "high", "n"}``, and unit, chance and reason where there are any; strict JSON."""
        figure: dict[str, Any] = {"value": self.value, "low": self.low, "high": self.high, "n": self.n}
        optional = {"unit": self.unit or None, "chance": self.chance, "reason": self.reason}
        return figure | {name: value for name, value in optional.items() if value is not None}


@dataclass(frozen=True)
class Difference(Figure):
    """One figure less another, and how sure it is that they differ at all.

    Attributes:
        p: two-sided, of no difference; None where nothing can be tested.
        p_holm: p corrected for a family of tests (:func:`prerank.evaluation.significance.holm`); None outside of one.
        visible: the smallest true difference that a test by itself shows with 80 % power, in the value's unit.
        tests: how many there are in the family that p was corrected for; not in files, which name their family.
    """

    p: float | None = None
    p_holm: float | None = None
    visible: float | None = None
    tests: int | None = None

    def as_json(self) -> dict[str, Any]:
        """As a figure, with ``p`` and ``visible``, and ``p_holm`` where it was corrected; strict JSON."""
        corrected = {} if self.p_holm is None else {"p_holm": self.p_holm}
        return {**super().as_json(), "p": self.p, "visible": self.visible, **corrected}
