"""Numbers in words: signs, digits, and what is not known."""

from __future__ import annotations

import pytest

from graph.figure import Figure
from prerank.pages.numbers import figure, interval, number, p_value, percent, points, short_count, signed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (number(-0.12345), "−0.1235"),
        (number(1234567.0, ",.0f"), "1,234,567"),
        (number(None), "–"),
        (signed(0.02), "+0.0200"),
        (signed(-0.02), "−0.0200"),
        (points(0.0234), "+2.34"),
        (points(-0.00001), "0.00"),
        (points(None), "–"),
        (percent(0.12345), "12.3\N{NO-BREAK SPACE}%"),
        (percent(0.0012), "0.12\N{NO-BREAK SPACE}%"),
        (percent(1.0), "100\N{NO-BREAK SPACE}%"),
        (percent(None), "undefined"),
        (short_count(950), "950"),
        (short_count(1200), "1.2k"),
        (short_count(3_000_000), "3M"),
        (p_value(None), "p undefined"),
        (p_value(0.0004), "p < 0.001"),
        (p_value(0.25), "p 0.250"),
        (interval(-0.1, 0.1, points), "−10.00 to +10.00"),
        (interval(None, 0.1), ""),
        (figure(Figure(0.5, 0.4, 0.6, 1234)), "0.5000 (0.4000 to 0.6000), n 1,234"),
        (figure(Figure.exact(0.5, 0)), "0.5000"),
        (figure(Figure.undefined("no orders")), "– (no orders)"),
    ],
)
def test_numbers_in_words(text: str, expected: str) -> None:
    assert text == expected
