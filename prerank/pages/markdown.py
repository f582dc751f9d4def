"""Tables in Markdown whose cells hold what users wrote."""

from __future__ import annotations

from collections.abc import Sequence


def head(columns: Sequence[str]) -> list[str]:
    """The two lines that a table begins with."""
    return [row(columns), "|" + "---|" * len(columns)]


def row(cells: Sequence[str]) -> str:
    """A line of a table; what its cells hold cannot end a cell or start an element."""
    return f"| {' | '.join(plain(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def plain(text: str) -> str:
    """Text on one line that starts no element."""
    return text.replace("<", "&lt;").replace("\n", " ")
