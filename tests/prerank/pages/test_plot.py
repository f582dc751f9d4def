"""Plots: places of values, arrows where an interval goes on, and texts that cannot become markup."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from graph.figure import Figure
from prerank.pages import plot
from prerank.pages.plot import Bar, Box, Line, PlotAxis, Point

HOSTILE = "</text><script>alert(1)</script>&\"'"


def test_a_scale_is_linear_or_logarithmic_and_ends_at_its_ends() -> None:
    linear = PlotAxis(0, 10, []).scale(100, 0)
    assert [linear(value) for value in (-5, 0, 2.5, 10, 20)] == [100, 100, 75, 0, 0]
    decades = PlotAxis(1, 100, [], logarithmic=True).scale(0, 50)
    assert decades(10) == pytest.approx(25)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (-3, 7, [-2, 0, 2, 4, 6]), (0.0, 0.0004, [0, 0.0001, 0.0002, 0.0003, 0.0004])],
)
def test_steps_are_round(low: float, high: float, expected: list[float]) -> None:
    assert plot.round_steps(low, high) == pytest.approx(expected)


@pytest.mark.parametrize(("values", "end"), [([], 1), ([0.0], 1), ([0.41], 0.6), ([0.99], 1), ([7, 13], 16)])
def test_an_axis_of_shares_ends_at_a_round_number(values: list[float], end: float) -> None:
    assert plot.ceiling(values) == pytest.approx(end)


def test_every_point_interval_and_arrow_is_drawn() -> None:
    axis = PlotAxis(0, 1, [(0, "0"), (1, "1")], HOSTILE)
    points = [Point(0, 0.5, 0.4, 0.6, HOSTILE), Point(1, 0.5, -1, 2), Point(0.5, 0.2)]
    picture = plot.svg(HOSTILE, 100, 100, [plot.lines(axis, axis, [Line("a", "psi", points)], Box())], "text {}")
    root = ElementTree.fromstring(picture)
    drawn = [element.get("class") for element in root.iter("{http://www.w3.org/2000/svg}path")]
    assert drawn.count("fill psi") == 3 + 2  # the marks, and an arrow at either end of the interval beyond the axis
    assert drawn.count("interval psi") == 2
    assert not list(root.iter("{http://www.w3.org/2000/svg}script"))


def test_bars_without_a_value_say_so() -> None:
    picture = plot.bars("t", [Bar(HOSTILE, "phi", Figure.undefined("why")), Bar("b", "psi", Figure(0.5, 0.4, 0.6, 9))])
    texts = [element.text for element in ElementTree.fromstring(picture).iter("text")]
    assert texts == [HOSTILE, "undefined", "b", "50.0\N{NO-BREAK SPACE}%"]
