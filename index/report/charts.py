"""Pictures as inline SVG: no script, no request, every text escaped; colours and fonts come from the page's style."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from prerank.evaluation.figure import Figure

WIDTH = 440
LEFT, RIGHT, TOP, BOTTOM = 48, 8, 12, 48
PLOT_HEIGHT = 190
BAR_HEIGHT, BAR_STEP = 14, 40


@dataclass(frozen=True)
class Series:
    """One line or one set of columns.

    Args:
        name: in the legend.
        style: class of the page's style sheet (``psi``, ``phi``, ``chance``), which gives colour, dash and shape.
        values: one figure per label.
    """

    name: str
    style: str
    values: Sequence[Figure]


@dataclass(frozen=True)
class Place:
    """One point of the picture of recall against time.

    Args:
        name: of its line, e.g. HNSW.
        setting: what distinguishes it on its line, e.g. ef=64.
        milliseconds: a query; above 0.
        recall: share of the exact neighbours found.
    """

    name: str
    setting: str
    milliseconds: float
    recall: float


@dataclass(frozen=True)
class Bar:
    """One row of a bar picture: a figure, and the level that chance would reach."""

    name: str
    style: str
    value: Figure
    chance: float | None


def percent(value: float | None) -> str:
    """A share as a percentage with as many digits as it deserves."""
    if value is None:
        return "undefined"
    hundred = 100 * value
    digits = 0 if abs(hundred) >= 99.95 else 1 if abs(hundred) >= 1 or hundred == 0 else 2
    return f"{hundred:.{digits}f}\N{NO-BREAK SPACE}%"


def interval(figure: Figure) -> str:
    """The interval of a share, or nothing where it has none."""
    if figure.low is None or figure.high is None:
        return ""
    return f"{percent(figure.low)} to {percent(figure.high)}"


def count(value: float) -> str:
    """A count in few characters: 950, 1.2k, 3.4M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.1f}".rstrip("0").rstrip(".") + letter
    return f"{value:.0f}"


def trend(title: str, axis: str, labels: Sequence[str], series: Sequence[Series]) -> Markup:
    """Lines over ordered groups, each point with its interval."""
    top = _ceiling([figure.high or figure.value or 0.0 for line in series for figure in line.values])
    parts = [_grid(top), *_labels_below(labels, axis)]
    for place, line in enumerate(series):
        points = []
        for group, figure in enumerate(line.values):
            if figure.value is None:
                continue
            # Lines are set a little apart, so that intervals at the same group can be told from each other.
            x = _middle(group, len(labels)) + 4 * (place - (len(series) - 1) / 2)
            y = _height(figure.value, top)
            points.append(f"{x:.1f},{y:.1f}")
            parts.append(_whisker(line.style, x, figure, top))
            parts.append(_point(line.style, x, y, _told(line.name, labels[group], figure)))
        parts.append(Markup('<polyline class="line {}" points="{}"/>').format(line.style, " ".join(points)))
    return _svg(title, TOP + PLOT_HEIGHT + BOTTOM, parts)


def columns(title: str, axis: str, labels: Sequence[str], series: Sequence[Series]) -> Markup:
    """Grouped columns."""
    top = _ceiling([figure.value or 0.0 for one in series for figure in one.values])
    parts = [_grid(top), *_labels_below(labels, axis)]
    wide = (WIDTH - LEFT - RIGHT) / max(len(labels), 1) * 0.8 / max(len(series), 1)
    for place, one in enumerate(series):
        for group, figure in enumerate(one.values):
            value = figure.value or 0.0
            x = _middle(group, len(labels)) + wide * (place - len(series) / 2)
            y = _height(value, top)
            parts.append(
                Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">{}</rect>').format(
                    f"fill {one.style}", x, y, wide, TOP + PLOT_HEIGHT - y, _told(one.name, labels[group], figure)
                )
            )
    return _svg(title, TOP + PLOT_HEIGHT + BOTTOM, parts)


def bars(title: str, rows: Sequence[Bar]) -> Markup:
    """Horizontal bars with their interval, and a mark where chance would be."""
    reach = [max(row.value.high or 0.0, row.value.value or 0.0, row.chance or 0.0) for row in rows]
    top, across = _ceiling(reach), WIDTH - 96
    parts: list[Markup] = []
    for place, row in enumerate(rows):
        y = TOP + place * BAR_STEP
        parts.append(Markup('<text class="label" x="2" y="{}">{}</text>').format(y + 9, row.name))
        value = row.value.value
        if value is None:
            parts.append(Markup('<text class="value" x="2" y="{}">undefined</text>').format(y + 26))
            continue
        end = max(value, 0.0) / top * across
        parts.append(
            Markup('<rect class="{}" x="2" y="{}" width="{:.1f}" height="{}">{}</rect>').format(
                f"fill {row.style}", y + 14, end, BAR_HEIGHT, _told(row.name, "", row.value)
            )
        )
        right = end
        if row.value.low is not None and row.value.high is not None:
            low, right = max(row.value.low, 0.0) / top * across, max(row.value.high, 0.0) / top * across
            parts.append(
                Markup('<path class="whisker" d="M{:.1f} {}H{:.1f}"/>').format(
                    low + 2, y + 14 + BAR_HEIGHT / 2, right + 2
                )
            )
        if row.chance is not None:
            mark = row.chance / top * across + 2
            parts.append(
                Markup('<path class="mark" d="M{:.1f} {}v{}"><title>chance: {}</title></path>').format(
                    mark, y + 11, BAR_HEIGHT + 6, percent(row.chance)
                )
            )
            right = max(right, mark)
        parts.append(
            Markup('<text class="value" x="{:.1f}" y="{}">{}</text>').format(right + 9, y + 25, percent(value))
        )
    return _svg(title, TOP + len(rows) * BAR_STEP, parts)


def recall_by_time(title: str, places: Sequence[Place]) -> Markup:
    """A line for each index, its settings from quick to slow; time by powers of ten, recall from a round number up."""
    logs = [math.log10(place.milliseconds) for place in places]
    first, last = math.floor(min(logs)), max(math.ceil(max(logs)), math.floor(min(logs)) + 1)
    least = min(place.recall for place in places)
    floor = next(level for level in (0.9, 0.8, 0.6, 0.2, 0.0) if level <= least or level == 0.0)
    wide, span = WIDTH - LEFT - RIGHT, last - first
    parts = [_grid(1.0, floor)]
    for power in range(first, last + 1):
        parts.append(
            Markup('<text class="tick middle" x="{:.1f}" y="{}">{}</text>').format(
                LEFT + wide * (power - first) / span, TOP + PLOT_HEIGHT + 17, f"{10.0**power:g}"
            )
        )
    axis = '<text class="axis middle" x="{}" y="{}">milliseconds a query</text>'
    parts.append(Markup(axis).format(LEFT + wide / 2, TOP + PLOT_HEIGHT + 40))
    for name in dict.fromkeys(place.name for place in places):
        style = shape_of(name, places)
        line = sorted((place for place in places if place.name == name), key=lambda place: place.milliseconds)
        spots = [
            (
                LEFT + wide * (math.log10(place.milliseconds) - first) / span,
                _height(place.recall - floor, 1.0 - floor),
            )
            for place in line
        ]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        parts.append(Markup('<polyline class="line {}" points="{}"/>').format(style[0], points))
        for place, (x, y) in zip(line, spots, strict=True):
            told = f"{name}, {place.setting}: {percent(place.recall)} in {place.milliseconds:.3g} ms"
            parts.append(
                Markup('<path class="key {}" transform="translate({:.1f} {:.1f})" d="{}">{}</path>').format(
                    style[0], x - 6, y - 6, style[1], Markup("<title>{}</title>").format(told)
                )
            )
    return _svg(title, TOP + PLOT_HEIGHT + BOTTOM, parts)


SHAPES = (
    "M6 1.5A4.5 4.5 0 1 0 6.01 1.5Z",
    "M2 2H10V10H2Z",
    "M6 1L11 10.5H1Z",
    "M6 .5L11.5 6L6 11.5L.5 6Z",
    "M1 1.5H11L6 11Z",
    "M4.3 1H7.7V4.3H11V7.7H7.7V11H4.3V7.7H1V4.3H4.3Z",
)
"""Circle, square, triangle, diamond, triangle on its tip, cross: 12 × 12."""


def shape_of(name: str, places: Sequence[Place]) -> tuple[str, str]:
    """Class and shape of an index in the picture of recall against time."""
    number = [*dict.fromkeys(place.name for place in places)].index(name) % len(SHAPES)
    return f"index-{number}", SHAPES[number]


def _svg(title: str, height: float, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg viewBox="0 0 {} {:.0f}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, height, title, Markup("").join(parts)
    )


def _grid(top: float, floor: float = 0.0) -> Markup:
    lines = []
    for step in range(5):
        value = floor + (top - floor) * step / 4
        y = TOP + PLOT_HEIGHT * (1 - step / 4)
        lines.append(Markup('<path class="grid" d="M{} {:.1f}H{}"/>').format(LEFT, y, WIDTH - RIGHT))
        lines.append(
            Markup('<text class="tick end" x="{}" y="{:.1f}">{}</text>').format(LEFT - 6, y + 4, f"{100 * value:.3g}%")
        )
    return Markup("").join(lines)


def _labels_below(labels: Sequence[str], axis: str) -> list[Markup]:
    base = TOP + PLOT_HEIGHT
    made = [
        Markup('<text class="tick middle" x="{:.1f}" y="{}">{}</text>').format(
            _middle(place, len(labels)), base + 17, label
        )
        for place, label in enumerate(labels)
    ]
    centre = LEFT + (WIDTH - LEFT - RIGHT) / 2
    return [*made, Markup('<text class="axis middle" x="{}" y="{}">{}</text>').format(centre, base + 40, axis)]


def _point(style: str, x: float, y: float, told: Markup) -> Markup:
    """A circle for φ, a square for ψ, a dash for chance: the shape tells what the colour tells."""
    if style == "phi":
        return Markup('<circle class="fill phi" cx="{:.1f}" cy="{:.1f}" r="4.5">{}</circle>').format(x, y, told)
    size = 8 if style == "psi" else 3
    return Markup('<rect class="fill {}" x="{:.1f}" y="{:.1f}" width="8" height="{}">{}</rect>').format(
        style, x - 4, y - size / 2, size, told
    )


def _whisker(style: str, x: float, figure: Figure, top: float) -> Markup:
    if figure.low is None or figure.high is None:
        return Markup("")
    low, high = _height(figure.low, top), _height(figure.high, top)
    return Markup('<path class="interval {}" d="M{:.1f} {:.1f}V{:.1f}"/>').format(style, x, low, high)


def _told(name: str, group: str, figure: Figure) -> Markup:
    """The tooltip of a mark."""
    where = f", {group}" if group else ""
    span = f" ({interval(figure)}, n = {figure.n:,})" if figure.low is not None else ""
    return Markup("<title>{}</title>").format(f"{name}{where}: {percent(figure.value)}{span}")


def _middle(place: int, groups: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (place + 0.5) / max(groups, 1)


def _height(value: float, top: float) -> float:
    return TOP + PLOT_HEIGHT * (1 - min(max(value / top, 0.0), 1.0))


def _ceiling(values: Sequence[float]) -> float:
    """The end of an axis from 0: a round number not below any value."""
    most = max([*values, 0.0])
    if most <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(most))
    found = next(unit * step for step in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10) if unit * step >= most * 0.9999)
    return float(min(found, 1.0)) if most <= 1 else float(found)
