"""Numbers in words, one way for console, Markdown and pages (``page.js`` says the same): digits, signs, intervals.

A minus sign is U+2212 and a thousand has a comma; what is not known is a dash, as in a table's empty cell.
"""

from __future__ import annotations

from collections.abc import Callable

from graph.figure import Figure
from prerank.evaluation.claims import POINTS, too_few

UNKNOWN = "–"
DECIMALS = 4

Words = Callable[[float], str]


def number(value: float | None, form: str = f".{DECIMALS}f") -> str:
    """A value in one of Python's formats, by default with four decimals."""
    return UNKNOWN if value is None else format(value, form).replace("-", "−")


def difference(value: float | None, unit: str) -> str:
    """A difference with its sign and its unit: ``+1.23 points``, ``−0.0123 nats``."""
    return f"{points(value) if unit == POINTS else signed(value)} {unit}".strip()


def signed(value: float | None) -> str:
    """A difference with its sign."""
    return number(value, f"+.{DECIMALS}f")


def points(value: float | None) -> str:
    """A difference in hundredths of a metric, with its sign; one that rounds to nothing has none."""
    text = UNKNOWN if value is None else number(100 * value, "+.2f")
    return text if text.strip("+−0.") else "0.00"


def percent(value: float | None) -> str:
    """A share as a percentage with as many digits as it deserves."""
    if value is None:
        return "undefined"
    hundred = 100 * value
    digits = 0 if abs(hundred) >= 99.95 else 1 if abs(hundred) >= 1 or hundred == 0 else 2
    return f"{number(hundred, f'.{digits}f')}\N{NO-BREAK SPACE}%"


def short_count(value: float) -> str:
    """A count in few characters: 950, 1.2k, 3.4M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.1f}".rstrip("0").rstrip(".") + letter
    return f"{value:.0f}"


def p_value(p: float | None) -> str:
    """A p-value as far as a reader can use it."""
    return "p undefined" if p is None else "p < 0.001" if p < 0.001 else f"p {p:.3f}"


def interval(low: float | None, high: float | None, say: Words = number) -> str:
    """From low to high, or nothing where there is no interval."""
    return "" if low is None or high is None else f"{say(low)} to {say(high)}"


def estimate(shown: Figure, say: Words = number) -> str:
    """Value and interval: ``0.7123 (0.7012 to 0.7234)``; a dash where undefined."""
    if shown.value is None:
        return UNKNOWN
    between = interval(shown.low, shown.high, say)
    return say(shown.value) + (f" ({between})" if between else "")


def figure(shown: Figure, say: Words = number) -> str:
    """Value, interval and count: ``0.7123 (0.7012 to 0.7234), n 1,234``; a dash with the reason where undefined.

    A count that is too small to compare anything on is called so.
    """
    if shown.value is None:
        return UNKNOWN + (f" ({shown.reason})" if shown.reason else "")
    few = " (too few to compare on)" if too_few(shown) else ""
    return estimate(shown, say) + (f", n {shown.n:,}{few}" if shown.n else "")
