"""The experiment's picture, ``mechanisms.svg``: one file without script or request; every text in it is escaped.

Above, the primary gain of every condition, by module; below, dose-response curves. What was expected is told by colour
(Okabe and Ito's, which all eyes tell apart) and by shape: a circle helps, a square is null, a diamond is open.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from prerank.mechanisms.gains import Gain, along
from prerank.mechanisms.plan import Axis, Expectation, MechanismPlan

WIDTH = 900
LEFT, RIGHT = 300, 640
"""Where the plot of the rows begins and ends; the label stands left of it, figures and verdict right of it."""
ROW, HEAD, FOOT = 34, 44, 42
PANEL_WIDTH, PANEL_HEIGHT, PANEL_LEFT = 420, 250, 56
FAR = 2.5
"""An axis reaches this many times beyond the farthest market at most; an interval that goes on ends in an arrow."""

COLOUR = {Expectation.helps: "helps", Expectation.null: "null", Expectation.open: "open"}
STYLE = """
text { font: 13px system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #1b1f24; }
.title { font-size: 20px; font-weight: 600; } .head { font-size: 15px; font-weight: 600; }
.quiet { fill: #57606a; font-size: 12px; } .number { font-variant-numeric: tabular-nums; }
.end { text-anchor: end; } .middle { text-anchor: middle; }
.grid { stroke: #e3e6ea; } .zero { stroke: #57606a; stroke-width: 1.5; } .row { stroke: #eef0f2; }
.whisker { stroke-width: 2.5; fill: none; } .curve { stroke: #8c959f; stroke-dasharray: 4 3; fill: none; }
.helps { fill: #0072b2; stroke: #0072b2; } .null { fill: #d55e00; stroke: #d55e00; }
.open { fill: #57606a; stroke: #57606a; } .market { stroke: none; opacity: 0.35; }
"""

Place = Callable[[float], float]


@dataclass(frozen=True)
class Scale:
    """Gains in points to pixels.

    Args:
        low, high: ends, in points.
        start, stop: their pixels; ``stop`` is the smaller one on a vertical axis.
    """

    low: float
    high: float
    start: float
    stop: float

    @classmethod
    def of(cls, gains: Sequence[Gain], start: float, stop: float) -> Scale:
        """Holds 0, every market, and the intervals as far as ``FAR`` allows."""
        markets = [0.0, *(100 * value for gain in gains for value in gain.by_seed.values())]
        limit = FAR * max(*(abs(value) for value in markets), 1e-3)
        ends = [100 * end for gain in gains for end in (gain.difference.low, gain.difference.high) if end is not None]
        reached = [*markets, *(min(max(end, -limit), limit) for end in ends)]
        margin = 0.06 * (max(reached) - min(reached) or 1.0)
        return cls(min(reached) - margin, max(reached) + margin, start, stop)

    def __call__(self, value: float) -> float:
        share = (100 * value - self.low) / (self.high - self.low)
        return self.start + min(max(share, 0.0), 1.0) * (self.stop - self.start)

    def holds(self, value: float) -> bool:
        return self.low <= 100 * value <= self.high

    @property
    def ticks(self) -> list[float]:
        """Round values between the ends, in points; about five."""
        return _round_steps(self.low, self.high)


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
            parts.append(_module(plan, module.title, rows, y))
            y += HEAD + ROW * len(rows) + FOOT
    curves = [(axis, along(axis, plan, gains)) for axis in plan.axes.values()]
    shown = [(axis, points) for axis, points in curves if len(points) > 1]
    if shown:
        parts.append(_text(20, y + 16, "Dose and response", "head"))
    for number, (axis, points) in enumerate(shown):
        left = 10 + (number % 2) * (PANEL_WIDTH + 30)
        parts.append(_curve(plan, axis, points, left, y + 34 + (number // 2) * PANEL_HEIGHT))
    height = y + (40 + math.ceil(len(shown) / 2) * PANEL_HEIGHT if shown else 0)
    picture = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1:.0f}" width="{0}" height="{1:.0f}" role="img" '
        'aria-label="{2}"><style>{3}</style><rect width="100%" height="100%" fill="#fff"/>{4}</svg>\n'
    ).format(WIDTH, height, "Gains of GRACE's modules in simulated markets", Markup(STYLE), Markup("").join(parts))
    return str(picture)


def _heading(gains: Sequence[Gain]) -> list[Markup]:
    counts = {len(gain.by_seed) for gain in gains if gain.primary and gain.by_seed}
    markets = "no market yet" if not counts else f"{min(counts)} to {max(counts)} markets"
    if len(counts) == 1:
        markets = f"{max(counts)} market{'' if counts == {1} else 's'}"
    words = f"Simulated. Gain on the test days in points, mean and 95 % t-interval over {markets} of each kind"
    parts = [_text(20, 34, "What each module of GRACE gains", "title"), _text(20, 58, words, "quiet")]
    legend = {
        Expectation.helps: "expected to help",
        Expectation.null: "must not help",
        Expectation.open: "no prediction",
    }
    x = 28.0
    for expected, called in legend.items():
        parts += [_mark(expected, x, 80, ""), _text(x + 12, 84, called, "quiet")]
        x += 150
    parts += [_market(COLOUR[Expectation.open], x, 80), _text(x + 10, 84, "one market", "quiet")]
    return parts


def _module(plan: MechanismPlan, title: str, rows: Sequence[Gain], y: float) -> Markup:
    """One module: a row for each condition, on a common axis."""
    scale = Scale.of(rows, LEFT, RIGHT)
    top, bottom = y + HEAD - 10, y + HEAD + ROW * len(rows)
    parts = [_text(20, y + 16, title, "head")]
    for tick in scale.ticks:
        x = scale(tick / 100)
        parts.append(_line("zero" if tick == 0 else "grid", x, top, x, bottom))
        parts.append(_text(x, bottom + 17, _tick(tick), "quiet middle"))
    for number, gain in enumerate(rows):
        middle = y + HEAD + ROW * (number + 0.5) - 4
        parts.append(_row(plan.conditions[gain.condition].title, gain, scale, middle))
        if number:
            parts.append(_line("row", 20, middle - ROW / 2, WIDTH - 20, middle - ROW / 2))
    return Markup("<g>{}</g>").format(Markup("").join(parts))


def _row(title: str, gain: Gain, scale: Scale, y: float) -> Markup:
    expected, mean = gain.expected or Expectation.open, gain.difference.value
    assert mean is not None
    told = _told(gain)
    parts = [
        _text(20, y - 1, _shortened(title, 42), ""),
        _text(20, y + 13, str(gain.measure), "quiet"),
        *(_market(COLOUR[expected], scale(value), y + 7) for value in gain.by_seed.values()),
        _whisker(gain, scale, lambda x: (x, y)),
        _mark(expected, scale(mean), y, f"{title}: {told}"),
        _text(RIGHT + 16, y - 1, told, "number"),
        _text(RIGHT + 16, y + 13, str(gain.verdict), "quiet"),
    ]
    return Markup("").join(parts)


def _curve(plan: MechanismPlan, axis: Axis, points: Sequence[tuple[float, Gain]], left: float, top: float) -> Markup:
    """One dose-response panel."""
    right, bottom = left + PANEL_WIDTH, top + PANEL_HEIGHT - 62
    scale = Scale.of([gain for _, gain in points], bottom, top + 38)
    across = _doses(axis, [dose for dose, _ in points], left + PANEL_LEFT + 22, right - 22)
    parts = [_text(left + 10, top + 10, plan.modules[axis.module].title, "")]
    parts.append(_text(left + 10, top + 26, str(axis.measure), "quiet"))
    for tick in scale.ticks:
        y = scale(tick / 100)
        parts.append(_line("zero" if tick == 0 else "grid", left + PANEL_LEFT, y, right, y))
        parts.append(_text(left + PANEL_LEFT - 6, y + 4, _tick(tick), "quiet end"))
    means = [(across(dose), scale(gain.difference.value)) for dose, gain in points if gain.difference.value is not None]
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in means)
    parts.append(Markup('<polyline class="curve" points="{}"/>').format(joined))
    for dose, gain in points:
        parts.append(_text(across(dose), bottom + 18, f"{dose:,.10g}", "quiet middle"))
        parts.append(_point(plan.conditions[gain.condition].title, gain, scale, across(dose)))
    parts.append(_text((left + PANEL_LEFT + right) / 2, bottom + 38, axis.title, "quiet middle"))
    return Markup("<g>{}</g>").format(Markup("").join(parts))


def _point(title: str, gain: Gain, scale: Scale, x: float) -> Markup:
    expected, mean = gain.expected or Expectation.open, gain.difference.value
    if mean is None:
        return Markup("")
    markets = [_market(COLOUR[expected], x + 9, scale(value)) for value in gain.by_seed.values()]
    drawn = [_whisker(gain, scale, lambda y: (x, y)), _mark(expected, x, scale(mean), f"{title}: {_told(gain)}")]
    return Markup("").join([*markets, *drawn])


def _doses(axis: Axis, doses: Sequence[float], start: float, stop: float) -> Place:
    """Doses to pixels."""
    along_axis: Place = math.log10 if axis.logarithmic else float
    low, high = along_axis(min(doses)), along_axis(max(doses))
    return lambda dose: start + (along_axis(dose) - low) / (high - low or 1.0) * (stop - start)


def _whisker(gain: Gain, scale: Scale, at: Callable[[float], tuple[float, float]]) -> Markup:
    """The interval, with an arrow where it goes on beyond the axis; ``at`` puts a place of the scale on the picture."""
    low, high = gain.difference.low, gain.difference.high
    if low is None or high is None:
        return Markup("")
    style = COLOUR[gain.expected or Expectation.open]
    (x1, y1), (x2, y2) = at(scale(low)), at(scale(high))
    parts = [Markup('<path class="whisker {}" d="M{:.1f} {:.1f}L{:.1f} {:.1f}"/>').format(style, x1, y1, x2, y2)]
    for value, outward in ((low, scale.start - scale.stop), (high, scale.stop - scale.start)):
        if not scale.holds(value):
            (x, y), (back_x, back_y) = at(scale(value)), at(scale(value) - math.copysign(8, outward))
            side_x, side_y = (back_y - y) / 2, (back_x - x) / 2
            parts.append(
                Markup('<path class="{}" d="M{:.1f} {:.1f}L{:.1f} {:.1f}L{:.1f} {:.1f}Z"/>').format(
                    style, x, y, back_x + side_x, back_y + side_y, back_x - side_x, back_y - side_y
                )
            )
    return Markup("").join(parts)


def _mark(expected: Expectation, x: float, y: float, told: str) -> Markup:
    """Circle, square or diamond, with the figures as its tooltip."""
    title = Markup("<title>{}</title>").format(told) if told else Markup("")
    if expected is Expectation.helps:
        return Markup('<circle class="helps" cx="{:.1f}" cy="{:.1f}" r="5.5">{}</circle>').format(x, y, title)
    turn = Markup(' transform="rotate(45 {:.1f} {:.1f})"').format(x, y) if expected is Expectation.open else ""
    return Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="10" height="10"{}>{}</rect>').format(
        COLOUR[expected], x - 5, y - 5, turn, title
    )


def _market(style: str, x: float, y: float) -> Markup:
    return Markup('<circle class="{} market" cx="{:.1f}" cy="{:.1f}" r="2.5"/>').format(style, x, y)


def _line(style: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<path class="{}" d="M{:.1f} {:.1f}L{:.1f} {:.1f}"/>').format(style, x1, y1, x2, y2)


def _text(x: float, y: float, words: str, style: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(style, x, y, words)


def _told(gain: Gain) -> str:
    """Mean and interval in points."""
    difference = gain.difference
    low, high = difference.low, difference.high
    span = "" if low is None or high is None else f"  ({100 * low:+.2f} … {100 * high:+.2f})"
    return f"{100 * (difference.value or 0.0):+.2f}{span}"


def _shortened(words: str, length: int) -> str:
    return words if len(words) <= length else words[: length - 1].rstrip() + "…"


def _tick(value: float) -> str:
    return f"{value:+.3g}" if value else "0"


def _round_steps(low: float, high: float) -> list[float]:
    rough = (high - low) / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.999)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(number * step, 10) for number in range(first, last + 1)]
