"""Reports in Markdown: blocks of text with a blank line between them, whose words users wrote."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def document(*blocks: str) -> str:
    """The blocks as one text; empty ones are left out."""
    return "\n\n".join(block for block in blocks if block) + "\n"


def heading(level: int, words: str) -> str:
    """A line that begins a part."""
    return f"{'#' * level} {plain(words)}"


def bullets(sentences: Iterable[str]) -> str:
    """A list of sentences."""
    return "\n".join(f"- {plain(sentence)}" for sentence in sentences)


def row(cells: Sequence[str]) -> str:
    """A line of a table; what its cells hold cannot end a cell or start an element."""
    return f"| {' | '.join(plain(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def plain(text: str) -> str:
    """Text on one line that starts no element."""
    return text.replace("<", "&lt;").replace("\n", " ")
