"""Ids that two tables write differently: what makes those of the log agree with those of the items."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

ENOUGH = 0.9
"""Share of the log's ids that must be known once they are rewritten."""


@dataclass(frozen=True)
class Rewriting:
    """How ids are brought together.

    Attributes:
        log, items: SQL with ``{0}`` for the column of either table.
        why: what is wrong, in words.
        known: shares of the log's ids that the items know, before and after.
    """

    log: str
    items: str
    why: str
    known: tuple[float, float]


def rewriting(log: Iterable[str], items: Iterable[str]) -> Rewriting | None:
    """What makes ids agree, if most of the log's are unknown as they stand and one simple rewriting mends that.

    Args:
        log: distinct item ids of the log.
        items: those of the items table.
    """
    shown, catalogue = set(log), set(items)
    if not shown or not catalogue:
        return None
    before = len(shown & catalogue) / len(shown)
    widths = {len(each) for each in catalogue}
    for why, python, sql, of_items in _ways(widths):
        after = len({python(each) for each in shown} & {of_items[0](each) for each in catalogue}) / len(shown)
        if before < ENOUGH <= after and after > before:
            return Rewriting(sql, of_items[1], why, (before, after))
    return None


Way = tuple[str, Callable[[str], str], str, tuple[Callable[[str], str], str]]
SAME: tuple[Callable[[str], str], str] = (lambda each: each, "{0}")


def _ways(widths: set[int]) -> list[Way]:
    """Why ids differ; what is done to the log's, in Python and in SQL; and what to those of the items."""
    ways: list[Way] = []
    if len(widths) == 1:
        (width,) = widths
        padded = f"lpad(CAST({{0}} AS VARCHAR), {width}, '0')"
        ways.append(("leading zeros were lost in the log", lambda each: each.rjust(width, "0"), padded, SAME))
    bare = "coalesce(nullif(ltrim(CAST({0} AS VARCHAR), '0'), ''), '0')"
    number = "regexp_replace(CAST({0} AS VARCHAR), '[.]0+$', '')"
    folded = "lower(trim(CAST({0} AS VARCHAR)))"
    digits = "regexp_extract(CAST({0} AS VARCHAR), '[0-9]+$')"
    return [
        *ways,
        ("one table has leading zeros and the other has not", _bare, bare, (_bare, bare)),
        ("one table writes whole numbers as 7.0", _whole, number, (_whole, number)),
        ("they differ in blanks, or in large and small letters", _folded, folded, (_folded, folded)),
        ("one table has letters before the number", _digits, digits, (_digits, digits)),
    ]


def _bare(each: str) -> str:
    return each.lstrip("0") or "0"


def _whole(each: str) -> str:
    return re.sub(r"\.0+$", "", each)


def _folded(each: str) -> str:
    return each.strip().lower()


def _digits(each: str) -> str:
    match = re.search("[0-9]+$", each)
    return match[0] if match else ""
