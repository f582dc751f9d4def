"""Pictures for the docs as self-contained SVG on a light ground: panels of lines, and rows of dots with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

COLOURS = {"simulated": "#0072b2", "trivago": "#d55e00", "expedia": "#117733", "reference": "#777777"}
"""Told apart by readers who see few colours; dashes and marks say the same again."""

WIDTH, PANEL, LEFT, TOP, GAP = 860, 300, 62, 46, 70
STYLE = """
text { font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #333; }
.title { font-size: 14px; font-weight: 600; fill: #111; } .small { font-size: 11px; fill: #555; }
.middle { text-anchor: middle; } .end { text-anchor: end; }
.grid { stroke: #e3e3e3; stroke-width: 1; fill: none; } .frame { stroke: #999; stroke-width: 1; fill: none; }
"""


@dataclass(frozen=True)
class Scale:
    """One axis: from and to in the figures' unit, on a linear or a logarithmic scale, with labelled ticks."""

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """Place between 0 and 1; values beyond the ends are drawn at the end."""
        low, high, value = ((math.log(max(v, 1e-12)) if self.logarithmic else v) for v in (self.low, self.high, value))
        return min(max((value - low) / (high - low), 0.0), 1.0)


@dataclass(frozen=True)
class Line:
    """A curve: name in the legend, colour, x and y, and (low, high) at each point where there is an interval."""

    name: str
    colour: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False
    marks: bool = False
    spans: Sequence[tuple[float, float]] = field(default_factory=tuple)


@dataclass(frozen=True)
class Panel:
    """One plot."""

    title: str
    x: Scale
    y: Scale
    x_name: str
    y_name: str
    lines: Sequence[Line]


@dataclass(frozen=True)
class Dot:
    """One row of a dot picture: a ratio with its interval; rows of one label stand together."""

    label: str
    name: str
    colour: str
    value: float
    low: float
    high: float
    faint: bool = False


@dataclass(frozen=True)
class Column:
    """One column of a dot picture: the same rows as its neighbours, on an axis of its own; ``band`` is shaded."""

    rows: Sequence[Dot]
    scale: Scale
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
    legend = 18 * max(len(panel.lines) for panel in drawn)
    height = TOP + PANEL + 52 + legend + (24 if note else 8)
    parts = []
    for place, panel in enumerate(drawn):
        left = LEFT + place * (wide + GAP)
        parts += [_axes(panel, left, wide), *(_line(line, panel, left, wide) for line in panel.lines)]
        parts += [_legend(line, left, TOP + PANEL + 58 + 18 * row) for row, line in enumerate(panel.lines)]
    parts.append(_text(note, LEFT, height - 8, "small"))
    return _svg(title, height, parts)


def dots(title: str, columns: Sequence[Column], note: str = "") -> str:
    """Figures with intervals, one row each, in columns side by side that share the rows' names."""
    left, step = (420 if len(columns) == 1 else 280), 20
    wide = (WIDTH - 20 - left - (len(columns) - 1) * 40) / len(columns)
    bottom = TOP + step * len(columns[0].rows) + 10
    parts, last = [_text(title, 12, 22, "title")], ""
    for place, row in enumerate(columns[0].rows):
        y = TOP + step * place + 10
        if row.label != last:
            parts.append(_text(row.label, left - 114 if len(columns) > 1 else left - 84, y, "end"))
        last = row.label
        parts.append(_text(row.name, left - 106 if len(columns) > 1 else left - 76, y, "small"))
    for place, column in enumerate(columns):
        parts.append(_dots(column, left + place * (wide + 40), wide, bottom, step))
    parts.append(_text(note, 12, bottom + 62, "small"))
    return _svg(title, bottom + (72 if note else 48), parts)


def _dots(column: Column, left: float, wide: float, bottom: float, step: float) -> Markup:
    def across(value: float) -> float:
        return left + wide * column.scale.at(value)

    start, end = map(across, column.band)
    parts = [
        Markup('<rect x="{:.1f}" y="{}" width="{:.1f}" height="{}" fill="#e8f1e4"/>').format(
            start, TOP - 10, max(end - start, 3), bottom - TOP + 10
        )
    ]
    for value, label in column.scale.ticks:
        parts.append(Markup('<path class="grid" d="M{:.1f} {}V{}"/>').format(across(value), TOP - 10, bottom))
        parts.append(_text(label, across(value), bottom + 16, "small middle"))
    parts.append(_text(column.x_name, left + wide / 2, bottom + 36, "middle"))
    for place, row in enumerate(column.rows):
        y = TOP + step * place + 6
        interval = Markup('<path d="M{:.1f} {}H{:.1f}" stroke="{}" stroke-width="2"/>').format(
            across(row.low), y, across(row.high), row.colour
        )
        drawn = interval + _mark(row.colour, across(row.value), y)
        parts.append(Markup('<g opacity="0.4">{}</g>').format(drawn) if row.faint else drawn)
    return Markup("").join(parts)


def _axes(panel: Panel, left: float, wide: float) -> Markup:
    bottom = TOP + PANEL
    parts = [_text(panel.title, left, 20, "title"), _text(panel.y_name, left, 38, "small")]
    for value, label in panel.y.ticks:
        y = bottom - PANEL * panel.y.at(value)
        parts.append(Markup('<path class="grid" d="M{:.1f} {:.1f}h{:.1f}"/>').format(left, y, wide))
        parts.append(_text(label, left - 6, y + 4, "small end"))
    for value, label in panel.x.ticks:
        x = left + wide * panel.x.at(value)
        parts.append(Markup('<path class="grid" d="M{:.1f} {}v{}"/>').format(x, TOP, PANEL))
        parts.append(_text(label, x, bottom + 16, "small middle"))
    parts.append(
        Markup('<rect class="frame" x="{:.1f}" y="{}" width="{:.1f}" height="{}"/>').format(left, TOP, wide, PANEL)
    )
    parts.append(_text(panel.x_name, left + wide / 2, bottom + 36, "middle"))
    return Markup("").join(parts)


def _line(line: Line, panel: Panel, left: float, wide: float) -> Markup:
    def place(x: float, y: float) -> tuple[float, float]:
        return left + wide * panel.x.at(x), TOP + PANEL * (1 - panel.y.at(y))

    points = [place(x, y) for x, y in zip(line.x, line.y, strict=True)]
    parts = []
    for (x, _), (low, high) in zip(points, line.spans, strict=False):
        ends = [TOP + PANEL * (1 - panel.y.at(end)) for end in (low, high)]
        parts.append(
            Markup('<path d="M{:.1f} {:.1f}V{:.1f}" stroke="{}" stroke-width="1.2" opacity="0.6"/>').format(
                x, *ends, line.colour
            )
        )
    parts.append(
        Markup('<polyline points="{}" fill="none" stroke="{}" stroke-width="2"{}/>').format(
            " ".join(f"{x:.1f},{y:.1f}" for x, y in points), line.colour, _dash(line)
        )
    )
    if line.marks:
        parts += [_mark(line.colour, x, y) for x, y in points]
    return Markup("").join(parts)


def _legend(line: Line, x: float, y: float) -> Markup:
    sample = Markup('<path d="M{:.1f} {:.1f}h26" stroke="{}" stroke-width="2"{}/>').format(
        x, y - 4, line.colour, _dash(line)
    )
    mark = _mark(line.colour, x + 13, y - 4) if line.marks else Markup("")
    return sample + mark + _text(line.name, x + 34, y, "small")


def _dash(line: Line) -> Markup:
    return Markup(' stroke-dasharray="6 4"') if line.dashed else Markup("")


def _mark(colour: str, x: float, y: float) -> Markup:
    """A circle for the simulated market, a square for trivago, a triangle for Expedia: shape says what colour says."""
    if colour == COLOURS["trivago"]:
        return Markup('<rect x="{:.1f}" y="{:.1f}" width="7" height="7" fill="{}"/>').format(x - 3.5, y - 3.5, colour)
    if colour == COLOURS["expedia"]:
        return Markup('<path d="M{:.1f} {:.1f}l4.5 8h-9z" fill="{}"/>').format(x, y - 5, colour)
    return Markup('<circle cx="{:.1f}" cy="{:.1f}" r="3.8" fill="{}"/>').format(x, y, colour)


def _text(words: str, x: float, y: float, style: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(style, x, y, words)


def _svg(title: str, height: float, parts: Sequence[Markup]) -> str:
    return str(
        Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {:.0f}" width="{}" height="{:.0f}" role="img" '
            'aria-label="{}"><style>{}</style><rect width="100%" height="100%" fill="#ffffff"/>{}</svg>\n'
        ).format(WIDTH, height, WIDTH, height, title, Markup(STYLE), Markup("").join(parts))
    )
