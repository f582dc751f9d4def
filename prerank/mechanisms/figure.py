"""The experiment's picture, ``mechanisms.svg``: one file without script or request; every text in it is escaped.

Above, the primary gain of every condition, by module; below, dose-response curves. What was expected is told by colour
(Okabe and Ito's, which all eyes tell apart) and by shape: a circle helps, a square is null, a diamond is open.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from prerank.mechanisms.gains import Gain, along
from prerank.mechanisms.plan import Axis, Expectation, MechanismPlan
from prerank.pages.numbers import interval, points
from prerank.pages.plot import (
    CIRCLE,
    DIAMOND,
    SQUARE,
    Box,
    Line,
    PlotAxis,
    Point,
    lines,
    mark,
    segment,
    svg,
    text,
    whisker,
)

WIDTH = 900
LEFT, RIGHT = 300, 640
"""Where the plot of the rows begins and ends; the label stands left of it, figures and verdict right of it."""
ROW, HEAD, FOOT = 34, 44, 42
PANEL_WIDTH, PANEL_HEIGHT, PANEL_LEFT = 420, 250, 56
FAR = 2.5
"""An axis reaches this many times beyond the farthest market at most; an interval that goes on ends in an arrow."""

SHAPE = {Expectation.helps: CIRCLE, Expectation.null: SQUARE, Expectation.open: DIAMOND}
LEGEND = {Expectation.helps: "expected to help", Expectation.null: "must not help", Expectation.open: "no prediction"}
STYLE = """
text { font: 13px system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #1b1f24; }
.title { font-size: 20px; font-weight: 600; } .head { font-size: 15px; font-weight: 600; }
.quiet, .tick, .axis { fill: #57606a; font-size: 12px; } .number { font-variant-numeric: tabular-nums; }
.end { text-anchor: end; } .middle { text-anchor: middle; }
.grid { stroke: #e3e6ea; } .zero { stroke: #57606a; stroke-width: 1.5; } .row { stroke: #eef0f2; }
.helps { fill: #0072b2; stroke: #0072b2; } .null { fill: #d55e00; stroke: #d55e00; }
.open { fill: #57606a; stroke: #57606a; } .market { stroke: none; opacity: 0.35; }
.interval { stroke-width: 2.5; fill: none; } .line { stroke: #8c959f; stroke-dasharray: 4 3; fill: none; }
"""


def draw(plan: MechanismPlan, gains: Sequence[Gain]) -> str:
    """The picture as text.

    Args:
        plan: modules, conditions and axes, with their titles.
        gains: of the finished fits.
    """
    parts, y = _heading(gains), 112.0
    for name, module in plan.modules.items():
        rows = [gain for gain in gains if gain.module == name and gain.primary and gain.difference.value is not None]
        if rows:
            parts += _module(plan, module.title, rows, y)
            y += HEAD + ROW * len(rows) + FOOT
    known = [gain for gain in gains if gain.difference.value is not None]
    curves = [(axis, along(axis, plan, known)) for axis in plan.axes.values()]
    shown = [(axis, doses) for axis, doses in curves if len(doses) > 1]
    if shown:
        parts.append(text(20, y + 16, "Dose and response", "head"))
    for number, (axis, doses) in enumerate(shown):
        left = 10 + (number % 2) * (PANEL_WIDTH + 30)
        parts += _curve(plan, axis, doses, left, y + 34 + (number // 2) * PANEL_HEIGHT)
    height = y + (40 + math.ceil(len(shown) / 2) * PANEL_HEIGHT if shown else 0)
    return str(svg("Gains of GRACE's modules in simulated markets", WIDTH, height, parts, STYLE))


def _heading(gains: Sequence[Gain]) -> list[Markup]:
    counts = {len(gain.by_seed) for gain in gains if gain.primary and gain.by_seed}
    markets = "no market yet" if not counts else f"{min(counts)} to {max(counts)} markets"
    if len(counts) == 1:
        markets = f"{max(counts)} market{'' if counts == {1} else 's'}"
    words = f"Simulated. Gain on the test days in points, mean and 95 % t-interval over {markets} of each kind"
    parts = [text(20, 34, "What each module of GRACE gains", "title"), text(20, 58, words, "quiet")]
    x = 28.0
    for expected, called in LEGEND.items():
        parts += [mark(SHAPE[expected], str(expected), x, 80, size=1.25), text(x + 12, 84, called, "quiet")]
        x += 150
    return [*parts, _market(Expectation.open, x, 80), text(x + 10, 84, "one market", "quiet")]


def _module(plan: MechanismPlan, title: str, rows: Sequence[Gain], y: float) -> list[Markup]:
    """One module: a row for each condition, on a common axis."""
    axis = _axis(rows)
    across, top, bottom = axis.scale(LEFT, RIGHT), y + HEAD - 10, y + HEAD + ROW * len(rows)
    parts = [text(20, y + 16, title, "head")]
    for tick, label in axis.ticks:
        parts.append(segment("grid" if tick else "zero", across(tick), top, across(tick), bottom))
        parts.append(text(across(tick), bottom + 17, label, "quiet middle"))
    for number, gain in enumerate(rows):
        middle = y + HEAD + ROW * (number + 0.5) - 4
        parts += _row(plan.conditions[gain.condition].title, gain, axis, middle)
        if number:
            parts.append(segment("row", 20, middle - ROW / 2, WIDTH - 20, middle - ROW / 2))
    return parts


def _row(title: str, gain: Gain, axis: PlotAxis, y: float) -> list[Markup]:
    expected, across, label = gain.expected or Expectation.open, axis.scale(LEFT, RIGHT), _told(gain)
    low, mean, high = _in_points(gain)
    assert mean is not None
    return [
        text(20, y - 1, _shortened(title, 42)),
        text(20, y + 13, str(gain.measure), "quiet"),
        *(_market(expected, across(100 * value), y + 7) for value in gain.by_seed.values()),
        whisker(str(expected), axis, low, high, lambda value: (across(value), y)),
        mark(SHAPE[expected], str(expected), across(mean), y, f"{title}: {label}", 1.25),
        text(RIGHT + 16, y - 1, label, "number"),
        text(RIGHT + 16, y + 13, str(gain.verdict), "quiet"),
    ]


def _curve(
    plan: MechanismPlan, axis: Axis, doses: Sequence[tuple[float, Gain]], left: float, top: float
) -> list[Markup]:
    """One dose-response panel."""
    ticks = [(dose, f"{dose:,.10g}") for dose, _ in doses]
    x = PlotAxis(doses[0][0], doses[-1][0], ticks, axis.title, axis.logarithmic)
    joined, drawn = [], []
    for dose, gain in doses:
        expected, (low, mean, high) = str(gain.expected or Expectation.open), _in_points(gain)
        assert mean is not None
        title = f"{plan.conditions[gain.condition].title}: {_told(gain)}"
        joined.append(Point(dose, mean))
        markets = [Point(dose, 100 * value) for value in gain.by_seed.values()]
        drawn.append(Line("", f"{expected} market", markets, CIRCLE, joined=False, size=0.55, aside=9))
        shape = SHAPE[gain.expected or Expectation.open]
        drawn.append(Line("", expected, [Point(dose, mean, low, high, title)], shape, joined=False, size=1.25))
    box = Box(left + PANEL_LEFT, top + 38, PANEL_WIDTH - PANEL_LEFT, PANEL_HEIGHT - 100, inset=22)
    return [
        text(left + 10, top + 10, plan.modules[axis.module].title),
        text(left + 10, top + 26, str(axis.measure), "quiet"),
        lines(x, _axis([gain for _, gain in doses]), [Line("", "", joined, None), *drawn], box),
    ]


def _axis(gains: Sequence[Gain]) -> PlotAxis:
    """In points; holds 0, every market, and the intervals as far as ``FAR`` allows."""
    markets = [0.0, *(100 * value for gain in gains for value in gain.by_seed.values())]
    limit = FAR * max(*(abs(value) for value in markets), 1e-3)
    ends = [end for gain in gains for end in _in_points(gain) if end is not None]
    return PlotAxis.around(
        [*markets, *(min(max(end, -limit), limit) for end in ends)], lambda tick: f"{tick:+.3g}" if tick else "0"
    )


def _in_points(gain: Gain) -> tuple[float | None, float | None, float | None]:
    """Low, mean and high in hundredths of the metric."""
    ends = (gain.difference.low, gain.difference.value, gain.difference.high)
    low, mean, high = (None if end is None else 100 * end for end in ends)
    return low, mean, high


def _market(expected: Expectation, x: float, y: float) -> Markup:
    return mark(CIRCLE, f"{expected} market", x, y, size=0.55)


def _told(gain: Gain) -> str:
    """Mean and interval in points."""
    between = interval(gain.difference.low, gain.difference.high, points)
    return points(gain.difference.value) + (f"  ({between})" if between else "")


def _shortened(words: str, length: int) -> str:
    return words if len(words) <= length else words[: length - 1].rstrip() + "…"
