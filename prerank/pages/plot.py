"""Plots as inline SVG: no script, no request, every text escaped; colours and dashes are classes of the page's style.

Lines with marks and intervals (:func:`lines`), grouped columns, bars against chance, and the parts that they are drawn
of. A style such as ``psi`` says what a thing is; ``line``, ``interval`` and ``fill`` beside it say how it is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from markupsafe import Markup

from graph.figure import Figure
from prerank.pages.numbers import interval, percent

SHAPES = (
    "M0-4.4A4.4 4.4 0 1 0 .01-4.4Z",
    "M-4-4H4V4H-4Z",
    "M0-5.4L5 0L0 5.4L-5 0Z",
    "M0-5L4.8 4H-4.8Z",
    "M-1.7-5H1.7V-1.7H5V1.7H1.7V5H-1.7V1.7H-5V-1.7H-1.7Z",
    "M0 5L4.8-4H-4.8Z",
    "M0-6L1.5-1.6L6 0L1.5 1.6L0 6L-1.5 1.6L-6 0L-1.5-1.6Z",
    "M-5.5-2.2H5.5V2.2H-5.5Z",
)
"""Circle, square, diamond, triangle, cross, triangle on its tip, star, dash, around 0: they tell what colours tell."""
CIRCLE, SQUARE, DIAMOND, TRIANGLE = range(4)

WIDTH = 440
"""Of a plot on a page, in its own units; the page makes it as wide as there is room."""
ARROW = 8


@dataclass(frozen=True)
class PlotAxis:
    """From ``low`` to ``high`` in the figures' unit, linear or logarithmic, with labelled ticks."""

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    name: str = ""
    logarithmic: bool = False

    @classmethod
    def shares(cls, values: Sequence[float], low: float = 0.0) -> PlotAxis:
        """From ``low`` to a round share not below any value, in quarters."""
        high = ceiling(values)
        return cls(low, high, [(tick, f"{100 * tick:.3g}%") for tick in _quarters(low, high)])

    @classmethod
    def groups(cls, labels: Sequence[str], name: str) -> PlotAxis:
        """Places 0, 1, … of named groups."""
        return cls(-0.5, max(len(labels), 1) - 0.5, [*enumerate(labels)], name)

    @classmethod
    def around(cls, values: Sequence[float], say: Callable[[float], str], margin: float = 0.06) -> PlotAxis:
        """All values with a margin, and about five round ticks."""
        low, high = min(values), max(values)
        room = margin * (high - low or 1.0)
        return cls(low - room, high + room, [(tick, say(tick)) for tick in round_steps(low - room, high + room)])

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    def scale(self, start: float, stop: float) -> Callable[[float], float]:
        """From values to pixels; what lies beyond an end is drawn at it."""

        def along(value: float) -> float:
            return math.log(max(value, 1e-12)) if self.logarithmic else value

        low, high = along(self.low), along(self.high)
        return lambda value: start + (min(max(along(value), low), high) - low) / (high - low or 1.0) * (stop - start)


@dataclass(frozen=True)
class Box:
    """Where the axes of a plot lie, in pixels; values begin an inset from its sides."""

    left: float = 48
    top: float = 12
    width: float = 384
    height: float = 190
    inset: float = 0.0

    @property
    def bottom(self) -> float:
        return self.top + self.height

    def across(self, axis: PlotAxis) -> Callable[[float], float]:
        return axis.scale(self.left + self.inset, self.left + self.width - self.inset)

    def up(self, axis: PlotAxis) -> Callable[[float], float]:
        return axis.scale(self.bottom, self.top)


@dataclass(frozen=True)
class Point:
    """A place in a plot, with its interval where it has one, and what a pointer is told there."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    title: str = ""


@dataclass(frozen=True)
class Line:
    """Points of one kind.

    Attributes:
        name: in a legend.
        style: class that says what it is.
        points: in the order in which they are joined.
        shape: of their marks, of ``SHAPES``; None: no marks.
        joined: whether there is a line.
        size: of the marks.
        aside: pixels to the right, so that what is measured at the same place can be told apart.
    """

    name: str
    style: str
    points: Sequence[Point]
    shape: int | None = CIRCLE
    joined: bool = True
    size: float = 1.0
    aside: float = 0.0


@dataclass(frozen=True)
class Bar:
    """One row of a bar picture: a share, and the level that chance would reach."""

    name: str
    style: str
    share: Figure


def lines(x: PlotAxis, y: PlotAxis, drawn: Sequence[Line], box: Box) -> Markup:
    """Axes with grid, and lines over them; an interval that goes on beyond the axis ends in an arrow."""
    across, up = box.across(x), box.up(y)
    parts = [_grid_up(y, up, box), *_ticks_below(x, across, box)]
    for line in drawn:
        spots = [(across(point.x) + line.aside, up(point.y)) for point in line.points]
        for point, (at, _) in zip(line.points, spots, strict=True):
            parts.append(whisker(line.style, y, point.low, point.high, partial(_above, at, up)))
        if line.joined:
            joined = '<polyline class="line {}" points="{}"/>'
            parts.append(Markup(joined).format(line.style, " ".join(f"{at:.1f},{height:.1f}" for at, height in spots)))
        if line.shape is not None:
            marks = zip(line.points, spots, strict=True)
            parts += [mark(line.shape, line.style, *spot, point.title, line.size) for point, spot in marks]
    return Markup("").join(parts)


def lines_by_group(
    title: str, axis: str, groups: Sequence[str], series: Sequence[tuple[str, str, int, Sequence[Figure]]]
) -> Markup:
    """Shares over ordered groups as a plot of its own.

    Args:
        title: read out for the whole plot.
        axis: what the groups are.
        groups: their labels.
        series: name, style, shape, and a share for each group.
    """
    drawn = []
    for place, (name, style, shape, shares) in enumerate(series):
        points = [
            Point(group, share.value, share.low, share.high, tooltip(name, groups[group], share))
            for group, share in enumerate(shares)
            if share.value is not None
        ]
        drawn.append(Line(name, style, points, shape, aside=4 * (place - (len(series) - 1) / 2)))
    tops = [share.high or share.value or 0.0 for *_, shares in series for share in shares]
    box = Box()
    return svg(title, WIDTH, box.bottom + 48, [lines(PlotAxis.groups(groups, axis), PlotAxis.shares(tops), drawn, box)])


def columns(title: str, axis: str, groups: Sequence[str], series: Sequence[tuple[str, str, Sequence[float]]]) -> Markup:
    """Grouped columns as a plot of its own: name, style and a share for each group."""
    box, x, y = (
        Box(),
        PlotAxis.groups(groups, axis),
        PlotAxis.shares([share for *_, shares in series for share in shares]),
    )
    across, up = box.across(x), box.up(y)
    wide = 0.8 / max(len(series), 1)
    parts = [_grid_up(y, up, box), *_ticks_below(x, across, box)]
    for place, (name, style, shares) in enumerate(series):
        for group, share in enumerate(shares):
            left, right = (across(group + wide * (side - len(series) / 2)) for side in (place, place + 1))
            title_of = f"{name}, {groups[group]}: {percent(share)}"
            parts.append(rectangle(style, left, up(share), right - left, box.bottom - up(share), title_of))
    return svg(title, WIDTH, box.bottom + 48, parts)


def bars(title: str, rows: Sequence[Bar]) -> Markup:
    """Horizontal bars as a plot of its own: each with its interval, its share in words, and a mark where chance is."""
    step, high = 40, 14
    reach = [end or 0.0 for row in rows for end in (row.share.value, row.share.high, row.share.chance)]
    across = PlotAxis.shares(reach).scale(2, WIDTH - 94)
    parts = []
    for place, row in enumerate(rows):
        top, share = 12 + place * step, row.share
        parts.append(text(2, top + 9, row.name))
        if share.value is None:
            parts.append(text(2, top + 26, "undefined", "value"))
            continue
        parts.append(rectangle(row.style, 2, top + 14, across(share.value) - 2, high, tooltip(row.name, "", share)))
        end = max(across(each) for each in (share.value, share.high or 0.0, share.chance or 0.0))
        if share.low is not None and share.high is not None:
            middle = top + 14 + high / 2
            parts.append(segment("whisker", across(share.low), middle, across(share.high), middle))
        if share.chance is not None:
            at = across(share.chance)
            parts.append(segment("level", at, top + 11, at, top + 17 + high, f"chance: {percent(share.chance)}"))
        parts.append(text(end + 9, top + 25, percent(share.value), "value"))
    return svg(title, WIDTH, 12 + len(rows) * step, parts)


def svg(title: str, width: float, height: float, parts: Sequence[Markup], style: str = "") -> Markup:
    """A picture; with a style it is a file of its own on a white ground, else a page has the style."""
    alone = Markup('xmlns="http://www.w3.org/2000/svg" width="{}" height="{:.0f}" ').format(width, height)
    ground = Markup('<style>{}</style><rect width="100%" height="100%" fill="#fff"/>').format(Markup(style))
    return Markup('<svg {}viewBox="0 0 {} {:.0f}" role="img" aria-label="{}">{}{}</svg>{}').format(
        alone if style else "",
        width,
        height,
        title,
        ground if style else "",
        Markup("").join(parts),
        "\n" * bool(style),
    )


def text(x: float, y: float, words: str, style: str = "") -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(style, x, y, words)


def segment(style: str, x1: float, y1: float, x2: float, y2: float, title: str = "") -> Markup:
    """A straight line."""
    return Markup('<path class="{}" d="M{:.1f} {:.1f}L{:.1f} {:.1f}">{}</path>').format(
        style, x1, y1, x2, y2, _tooltip(title)
    )


def rectangle(style: str, x: float, y: float, width: float, height: float, title: str = "") -> Markup:
    return Markup('<rect class="fill {}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">{}</rect>').format(
        style, x, y, width, height, _tooltip(title)
    )


def mark(shape: int, style: str, x: float, y: float, title: str = "", size: float = 1.0) -> Markup:
    """One of ``SHAPES``, with what a pointer is told there."""
    return Markup('<path class="fill {}" transform="translate({:.1f} {:.1f}) scale({:g})" d="{}">{}</path>').format(
        style, x, y, size, SHAPES[shape], _tooltip(title)
    )


def whisker(
    style: str, axis: PlotAxis, low: float | None, high: float | None, at: Callable[[float], tuple[float, float]]
) -> Markup:
    """An interval, with an arrow where it goes on beyond the axis; ``at`` puts a value of the axis on the picture."""
    if low is None or high is None:
        return Markup("")
    start, stop = at(low), at(high)
    parts = [segment(f"interval {style}", *start, *stop)]
    length = math.dist(start, stop) or 1.0
    for value, (x, y), (other_x, other_y) in ((low, start, stop), (high, stop, start)):
        if not axis.holds(value):
            inward_x, inward_y = ARROW * (other_x - x) / length, ARROW * (other_y - y) / length
            parts.append(
                Markup('<path class="fill {}" d="M{:.1f} {:.1f}L{:.1f} {:.1f}L{:.1f} {:.1f}Z"/>').format(
                    style, x, y, x + inward_x + inward_y / 2, y + inward_y - inward_x / 2,
                    x + inward_x - inward_y / 2, y + inward_y + inward_x / 2,
                )
            )  # fmt: skip
    return Markup("").join(parts)


def tooltip(name: str, group: str, share: Figure) -> str:
    """What a pointer is told at a share."""
    between = interval(share.low, share.high, percent)
    words = f"{percent(share.value)} ({between}, n = {share.n:,})" if between else percent(share.value)
    return f"{name}{f', {group}' if group else ''}: {words}"


def ceiling(values: Sequence[float]) -> float:
    """The end of an axis from 0: a round number not below any value."""
    most = max([*values, 0.0])
    if most <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(most))
    end = next(unit * step for step in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10) if unit * step >= most * 0.9999)
    return float(min(end, 1.0)) if most <= 1 else float(end)


def round_steps(low: float, high: float, most: int = 5) -> list[float]:
    """About so many round numbers from low to high."""
    rough = (high - low) / most
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.999)
    return [round(place * step, 10) for place in range(math.ceil(low / step), math.floor(high / step) + 1)]


def decades(low: float, high: float) -> list[float]:
    """Powers of ten around two values, two at least."""
    first = math.floor(math.log10(low))
    return [10.0**power for power in range(first, max(math.ceil(math.log10(high)), first + 1) + 1)]


def _above(x: float, up: Callable[[float], float], value: float) -> tuple[float, float]:
    return x, up(value)


def _quarters(low: float, high: float) -> list[float]:
    return [low + (high - low) * step / 4 for step in range(5)]


def _grid_up(axis: PlotAxis, up: Callable[[float], float], box: Box) -> Markup:
    return Markup("").join(
        segment("zero" if value == 0 else "grid", box.left, up(value), box.left + box.width, up(value))
        + text(box.left - 6, up(value) + 4, label, "tick end")
        for value, label in axis.ticks
    )


def _ticks_below(axis: PlotAxis, across: Callable[[float], float], box: Box) -> list[Markup]:
    labels = [text(across(value), box.bottom + 17, label, "tick middle") for value, label in axis.ticks]
    return [*labels, text(box.left + box.width / 2, box.bottom + 40, axis.name, "axis middle")]


def _tooltip(title: str) -> Markup:
    return Markup("<title>{}</title>").format(title) if title else Markup("")
