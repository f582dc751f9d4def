"""Ids that two tables write differently: what makes those of the log agree with those of the items."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

ENOUGH = 0.9
"""Share of the log's ids that must be known once they are rewritten."""


@dataclass(frozen=True)
class Form:
    """A way to write an id: SQL with ``{0}`` for the column, and the same in Python."""

    sql: str
    python: Callable[[str], str]

    @property
    def same(self) -> bool:
        """Whether ids stay as they are."""
        return self.sql == "{0}"


SAME = Form("{0}", lambda each: each)
BARE = Form("coalesce(nullif(ltrim(CAST({0} AS VARCHAR), '0'), ''), '0')", lambda each: each.lstrip("0") or "0")
WHOLE = Form("regexp_replace(CAST({0} AS VARCHAR), '[.]0+$', '')", lambda each: re.sub(r"\.0+$", "", each))
FOLDED = Form("lower(trim(CAST({0} AS VARCHAR)))", lambda each: each.strip().lower())
DIGITS = Form(
    "regexp_extract(CAST({0} AS VARCHAR), '[0-9]+$')", lambda each: m[0] if (m := re.search("[0-9]+$", each)) else ""
)


@dataclass(frozen=True)
class Rewriting:
    """How ids are brought together.

    Attributes:
        log, items: what is done to the ids of either table.
        why: what is wrong, in words.
        before, after: shares of the log's ids that the items know.
    """

    log: Form
    items: Form
    why: str
    before: float
    after: float


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
    if before >= ENOUGH:
        return None
    for why, of_log, of_items in _ways({len(each) for each in catalogue}):
        known = {of_items.python(each) for each in catalogue} - {""}
        after = sum(of_log.python(each) in known for each in shown) / len(shown)
        # Ids that become equal to each other are no longer ids.
        if after >= ENOUGH and len(known) >= ENOUGH * len(catalogue):
            return Rewriting(of_log, of_items, why, before, after)
    return None


def _ways(widths: set[int]) -> Iterator[tuple[str, Form, Form]]:
    """Why ids differ, and what is done to the log's and to the items'."""
    if len(widths) == 1:
        (width,) = widths
        padded = Form(f"lpad(CAST({{0}} AS VARCHAR), {width}, '0')", lambda each: each.rjust(width, "0")[:width])
        yield "leading zeros were lost in the log", padded, SAME
    yield "one table has leading zeros and the other has not", BARE, BARE
    yield "one table writes whole numbers as 7.0", WHOLE, WHOLE
    yield "they differ in blanks, or in large and small letters", FOLDED, FOLDED
    yield "one table has letters before the number", DIGITS, DIGITS
