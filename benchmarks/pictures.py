"""Pictures for the docs as self-contained SVG on a light ground: panels of curves, and rows of dots with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from markupsafe import Markup

from prerank.pages.plot import (
    CIRCLE,
    DIAMOND,
    SQUARE,
    TRIANGLE,
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

COLOURS = {
    "simulated": "#0072b2",
    "trivago": "#d55e00",
    "expedia": "#117733",
    "fifth": "#aa4499",
    "sixth": "#8a6d00",
    "reference": "#777777",
}
"""Told apart by readers who see few colours; dashes and marks say the same again."""
SHAPES = {"trivago": SQUARE, "expedia": TRIANGLE, "fifth": DIAMOND, "sixth": SQUARE}
"""Of the marks; the others are circles."""

WIDTH, PANEL, LEFT, TOP, GAP = 860, 300, 62, 46, 70
STYLE = """
text { font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #333; }
.title { font-size: 14px; font-weight: 600; fill: #111; } .small, .tick { font-size: 11px; fill: #555; }
.middle { text-anchor: middle; } .end { text-anchor: end; }
.grid, .zero { stroke: #e3e3e3; stroke-width: 1; fill: none; } .band { fill: #e8f1e4; } .faint { opacity: 0.4; }
""" + "".join(f".{name} {{ fill: {colour}; stroke: {colour}; }} " for name, colour in COLOURS.items())
STYLE += (
    ".line, .interval { fill: none; stroke-width: 2; } .dashed { stroke-dasharray: 6 4; } .fill { stroke: none; }\n"
)


@dataclass(frozen=True)
class Curve:
    """Name in the legend, a name of ``COLOURS``, x and y, and (low, high) at each point where there is an interval."""

    name: str
    style: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False
    marks: bool = False
    spans: Sequence[tuple[float, float]] = field(default_factory=tuple)

    def drawn(self) -> Line:
        """As a plot draws it."""
        spans = [*self.spans] or [(None, None)] * len(self.x)
        points = [Point(x, y, low, high) for x, y, (low, high) in zip(self.x, self.y, spans, strict=True)]
        return Line(
            self.name, f"{self.style}{' dashed' * self.dashed}", points, _shape(self.style) if self.marks else None
        )


@dataclass(frozen=True)
class Panel:
    """One plot."""

    title: str
    x: PlotAxis
    y: PlotAxis
    x_name: str
    y_name: str
    curves: Sequence[Curve]


@dataclass(frozen=True)
class Dot:
    """One row of a dot picture: a figure with its interval; rows of one label stand together."""

    label: str
    name: str
    style: str
    value: float
    low: float
    high: float
    faint: bool = False


@dataclass(frozen=True)
class DotColumn:
    """One column of a dot picture: the same rows as its neighbours, on an axis of its own; ``band`` is shaded."""

    rows: Sequence[Dot]
    axis: PlotAxis
    band: tuple[float, float]
    x_name: str


def panels(title: str, drawn: Sequence[Panel], note: str = "") -> str:
    """Plots side by side, each with its legend below.

    Args:
        title: read out for the whole picture.
        drawn: two panels at most fit.
        note: one line under all.
    """
    wide = (WIDTH - LEFT - 32 - (len(drawn) - 1) * GAP) / len(drawn)
    legend = 18 * max(len(panel.curves) for panel in drawn)
    height = TOP + PANEL + 52 + legend + (24 if note else 8)
    parts = []
    for place, panel in enumerate(drawn):
        box = Box(LEFT + place * (wide + GAP), TOP, wide, PANEL)
        parts += [text(box.left, 20, panel.title, "title"), text(box.left, 38, panel.y_name, "small")]
        x = replace(panel.x, name=panel.x_name)
        across = box.across(x)
        parts += [segment("grid", across(tick), box.top, across(tick), box.bottom) for tick, _ in x.ticks]
        parts.append(lines(x, panel.y, [curve.drawn() for curve in panel.curves], box))
        parts += [_legend(curve, box.left, box.bottom + 58 + 18 * row) for row, curve in enumerate(panel.curves)]
    parts.append(text(LEFT, height - 8, note, "small"))
    return str(svg(title, WIDTH, height, parts, STYLE))


def dots(title: str, columns: Sequence[DotColumn], note: str = "") -> str:
    """Figures with intervals, one row each, in columns side by side that share the rows' names."""
    left, step, beside = (420, 20, 84) if len(columns) == 1 else (280, 20, 114)
    wide = (WIDTH - 20 - left - (len(columns) - 1) * 40) / len(columns)
    bottom = TOP + step * len(columns[0].rows) + 10
    parts, last = [text(12, 22, title, "title")], ""
    for place, row in enumerate(columns[0].rows):
        y = TOP + step * place + 10
        if row.label != last:
            parts.append(text(left - beside, y, row.label, "end"))
        last = row.label
        parts.append(text(left - beside + 8, y, row.name, "small"))
    for place, column in enumerate(columns):
        parts.append(_dots(column, Box(left + place * (wide + 40), TOP - 10, wide, bottom - TOP + 10), step))
    parts.append(text(12, bottom + 62, note, "small"))
    return str(svg(title, WIDTH, bottom + (72 if note else 48), parts, STYLE))


def _dots(column: DotColumn, box: Box, step: float) -> Markup:
    across = box.across(column.axis)
    start, end = map(across, column.band)
    band = Markup('<rect class="band" x="{:.1f}" y="{}" width="{:.1f}" height="{}"/>')
    parts = [band.format(start, box.top, max(end - start, 3), box.height)]
    for tick, label in column.axis.ticks:
        parts.append(segment("grid", across(tick), box.top, across(tick), box.bottom))
        parts.append(text(across(tick), box.bottom + 16, label, "small middle"))
    parts.append(text(box.left + box.width / 2, box.bottom + 36, column.x_name, "middle"))
    for place, row in enumerate(column.rows):
        y = TOP + step * place + 6
        span = whisker(row.style, column.axis, row.low, row.high, lambda value, y=y: (across(value), y))
        drawn = span + mark(_shape(row.style), row.style, across(row.value), y, size=0.9)
        parts.append(Markup('<g class="{}">{}</g>').format("faint" if row.faint else "", drawn))
    return Markup("").join(parts)


def _legend(curve: Curve, x: float, y: float) -> Markup:
    style = f"line {curve.drawn().style}"
    sample = mark(_shape(curve.style), curve.style, x + 13, y - 4) if curve.marks else Markup("")
    return segment(style, x, y - 4, x + 26, y - 4) + sample + text(x + 34, y, curve.name, "small")


def _shape(style: str) -> int:
    return SHAPES.get(style, CIRCLE)
