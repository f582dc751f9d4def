"""What a column may be, by its values: how to read it as a time, a flag, a rank, a price, an id, a list or a path.

Each ``as_...`` answers with a :class:`Reading` (SQL over the raw column, and why), or None where the values are no such
thing. They see the first rows of a table, so that a few odd cells further on are read as null and told by the checks.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property, partial
from typing import NamedTuple

import duckdb

from graph.logs.database import name as quoted
from graph.logs.database import text
from graph.understanding import words

ENOUGH = 0.95
"""Share of the values that must look alike: real columns have odd cells."""
FEWEST_PARTS = 0.5
"""Share of the values of a list or a path that have more than one part."""
FIRST_SECOND, LAST_SECOND = 946_684_800, 4_102_444_800
"""The years 2000 to 2099, as seconds since 1970."""
UNITS = {
    "seconds": (1, "to_timestamp(TRY_CAST({0} AS DOUBLE))"),
    "milliseconds": (1_000, "epoch_ms(TRY_CAST({0} AS BIGINT))"),
    "microseconds": (1_000_000, "make_timestamp(TRY_CAST({0} AS BIGINT))"),
    "nanoseconds": (1_000_000_000, "make_timestamp(TRY_CAST({0} AS BIGINT) // 1000)"),
}
TIME_FORMATS = (
    *("%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y", "%d.%m.%y %H:%M"),
    *("%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y", "%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M %p"),
    *("%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%d/%m/%Y", "%d-%m-%Y %H:%M:%S", "%d-%m-%Y %H:%M", "%d-%m-%Y"),
    *("%Y%m%d%H%M%S", "%Y%m%d", "%d/%b/%Y:%H:%M:%S %z", "%a, %d %b %Y %H:%M:%S %Z", "%Y-%m-%d %H:%M:%S,%f"),
)
"""Of times that are not ISO; ISO and epochs are read before."""
TRIED = 20
"""Values that rule a format out before all are tried."""
ISO = re.compile(r"\d{4}[-/]\d{1,2}[-/]\d{1,2}([T ]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?)?( ?(Z|UTC|[+-]\d{2}(:?\d{2})?))?")
WHOLE = re.compile(r"[+-]?\d+(\.0+)?")
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
YES, NO = (frozenset(words.split()) for words in (words.YES, words.NO))
LIST_SEPARATORS = ("|", ";", ",", " ")
PATH_SEPARATORS = (" > ", " » ", " / ", " | ", " :: ", ">", "»", "::", "|", "/")


class Reading(NamedTuple):
    """How a column is read: SQL over the raw column, and what in its values says so (empty: nothing had to be done)."""

    sql: str
    why: str = ""


@dataclass(frozen=True, eq=False)
class Column:
    """The first rows of a column.

    Attributes:
        name: in its table.
        type: DuckDB's name of its type.
        values: as text in the rows' order; None for null. A list is its JSON.
        path: SQL of a field within a struct; empty for a column of the table.
    """

    name: str
    type: str
    values: tuple[str | None, ...]
    path: str = ""

    @cached_property
    def counts(self) -> Counter[str]:
        """The values that are neither null nor blank, with their numbers of rows."""
        return Counter(value.strip() for value in self.values if value is not None and value.strip())

    @cached_property
    def filled(self) -> int:
        """Rows that hold a value."""
        return self.counts.total()

    @property
    def sql(self) -> str:
        """Its name in SQL, in quotes where it needs them."""
        if self.path:
            return self.path
        plain = re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", self.name) and self.name.lower() not in _keywords()
        return self.name if plain else quoted(self.name)

    @property
    def as_text(self) -> str:
        """SQL of its value as text."""
        return self.sql if self.type == "VARCHAR" else f"CAST({self.sql} AS VARCHAR)"

    @property
    def typed(self) -> bool:
        """Whether the source itself says that it is no text."""
        return self.type not in ("VARCHAR", "JSON")

    def share(self, test: Callable[[str], object]) -> float:
        """Share of the filled rows whose value passes."""
        passing = sum(n for value, n in self.counts.items() if test(value))
        return passing / self.filled if self.filled else 0.0

    def all_like(self, pattern: re.Pattern[str]) -> bool:
        """Whether nearly all values have this form."""
        return self.filled > 0 and self.share(pattern.fullmatch) >= ENOUGH

    @cached_property
    def numbers(self) -> list[float]:
        """The distinct values that are numbers."""
        return [float(value) for value in self.counts if NUMBER.fullmatch(value)]

    @property
    def whole(self) -> bool:
        """Whether the values are whole numbers."""
        return self.all_like(WHOLE)

    @property
    def numeric(self) -> bool:
        """Whether the values are numbers."""
        return self.all_like(NUMBER)


def as_time(column: Column) -> Reading | None:
    """A moment: of a type of its own, epochs of a unit told by their size, ISO text, or one of `TIME_FORMATS`."""
    if column.type.startswith(("TIMESTAMP", "DATE")):
        return Reading(column.sql)
    if column.numeric:
        for unit, (factor, sql) in UNITS.items():
            if column.share(partial(_between, FIRST_SECOND * factor, LAST_SECOND * factor)) >= ENOUGH:
                return Reading(sql.format(column.sql), f"{unit} since 1970")
    if column.all_like(ISO):
        return Reading(f"TRY_CAST({column.sql} AS TIMESTAMPTZ)", "" if "TIME" in column.type else "ISO text")
    some = list(column.counts)[:TRIED]
    formats = [form for form in TIME_FORMATS if sum(_parses(form, value) for value in some) >= ENOUGH * len(some)]
    fitting = [form for form in formats if column.filled and column.share(partial(_parses, form)) >= ENOUGH]
    if not fitting:
        return None
    unclear = " (day or month first cannot be told from the values)" if len(fitting) > 1 and "/" in fitting[0] else ""
    return Reading(f"try_strptime({column.as_text}, {text(fitting[0])})", f"written {fitting[0]}{unclear}")


def as_flag(column: Column) -> Reading | None:
    """True or false: words for it, counts from 0, or a value only where it happened."""
    seen = {value.lower() for value in column.counts}
    blank = len(column.values) - column.filled
    if column.type == "BOOLEAN" and not blank:
        return Reading(column.sql)
    if seen and seen <= YES | NO:
        if seen <= {"0", "1"} and column.typed and not blank:
            return Reading(column.sql)
        written = sorted(seen & YES or YES)
        sql = f"coalesce(lower(trim({column.as_text})) IN ({', '.join(map(text, written))}), false)"
        return Reading(sql, f"true is written {' or '.join(written[:3])}" + (", empty is false" if blank else ""))
    if column.whole and min(column.numbers) >= 0 and max(column.numbers) < FIRST_SECOND:
        return Reading(f"coalesce(TRY_CAST({column.sql} AS DOUBLE) > 0, false)", "counts: above 0 is true")
    if blank and column.filled:
        sql = f"coalesce({column.as_text} <> '', false)"
        return Reading(sql, "filled only where it happened")
    return None


def as_rank(column: Column) -> Reading | None:
    """A position from 1; ranks from 0 are moved by one, and -1 means none."""
    if not column.whole or not column.numbers or max(column.numbers) > 1_000_000 or min(column.numbers) < -1:
        return None
    sql = f"TRY_CAST({column.sql} AS INTEGER)"
    if min(column.numbers) == -1:
        moved = " + 1" if 0 in column.numbers else ""
        return Reading(f"nullif({sql}, -1){moved}", "-1 means no rank" + (", ranks begin at 0" if moved else ""))
    if min(column.numbers) == 0:
        return Reading(f"{sql} + 1", "ranks begin at 0")
    return Reading(column.sql if column.typed else sql)


def as_number(column: Column) -> Reading | None:
    """A number, also with a currency, a decimal comma or thousands apart: ``1.299,00 €``."""
    if not column.filled or column.type in ("BOOLEAN", "DATE") or column.type.startswith("TIMESTAMP"):
        return None
    if column.numeric:
        return Reading(column.sql if column.typed else f"TRY_CAST({column.sql} AS DOUBLE)")
    marked = column.share(lambda v: re.search(r"[^\d.,-]", v)) > 0
    bare = f"regexp_replace({column.as_text}, '[^0-9.,-]', '', 'g')" if marked else column.as_text
    comma, point = (column.share(partial(_amount, *marks)) >= ENOUGH for marks in (",.", ".,"))
    # 1,234 is read both ways: with three digits behind every comma these are thousands.
    if comma and not (point and column.share(lambda v: "," not in v or re.search(r",\d{3}\b", v)) == 1):
        whole = f"replace({bare}, '.', '')" if column.share(lambda v: "." in v) else bare
        return Reading(f"TRY_CAST(replace({whole}, ',', '.') AS DOUBLE)", "decimal comma")
    if point:
        return Reading(f"TRY_CAST(replace({bare}, ',', '') AS DOUBLE)", "a currency, or thousands set apart")
    return None


def as_id(column: Column) -> Reading | None:
    """An id: whole numbers, or texts of few words; other numbers and lists are none."""
    if not column.filled or column.type.endswith("]") or column.type.startswith(("STRUCT", "MAP")):
        return None
    if column.numeric and not column.whole:
        return None
    if column.type in ("DOUBLE", "FLOAT", "HUGEINT", "UBIGINT", "UHUGEINT") or column.type.startswith("DECIMAL"):
        whole = f"TRY_CAST({column.sql} AS BIGINT)"
        if max(column.numbers, default=0) < 2**63:
            return Reading(whole, "whole numbers")
    if column.type in ("UUID", "BOOLEAN") or column.type.startswith(("TIMESTAMP", "DATE", "ENUM")):
        return Reading(f"CAST({column.sql} AS VARCHAR)", "as text")
    return Reading(column.sql)


def separator_of(column: Column) -> str | None:
    """What parts the ids of a list written as text; empty for a list by type, None where the values are no lists."""
    if column.type.endswith("[]"):
        return ""
    for separator in LIST_SEPARATORS:
        several = column.share(partial(_several, separator))
        # Commas and blanks part the words of a text too: there the parts must be ids, with a digit in each.
        plain = all(re.search(r"\d", part) for value in list(column.counts)[:200] for part in _parts(value, separator))
        if several >= FEWEST_PARTS and plain:
            return separator
    return None


def path_separator(column: Column) -> str | None:
    """What parts the levels of a category path, ``Home > Kitchen > Knives``; None where the values are no paths."""
    if column.typed or not column.filled:
        return None
    dotted = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+")
    if column.share(dotted.fullmatch) >= FEWEST_PARTS and column.share(lambda v: " " in v) == 0 and not column.numeric:
        return "."
    for separator in PATH_SEPARATORS:
        if column.share(partial(_is_path, separator)) >= FEWEST_PARTS:
            return separator
    return None


def parts_of(column: Column, separator: str) -> list[list[str]]:
    """The elements of each row's list; an empty one where there is none."""
    return [_parts(value, separator) if value else [] for value in column.values]


@cache
def _keywords() -> frozenset[str]:
    """Words that are no column's name in SQL without quotes."""
    words = "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category <> 'unreserved'"
    return frozenset(word for (word,) in duckdb.connect().execute(words).fetchall())


def _parts(value: str, separator: str) -> list[str]:
    if separator:
        return [part.strip() for part in value.strip("[](){} ").split(separator)]
    return [part.strip(" \"'") for part in value.strip("[] ").split(",")]


def _several(separator: str, value: str) -> bool:
    return len(_parts(value, separator)) > 1


def _is_path(separator: str, value: str) -> bool:
    return separator in value and all(part.strip() for part in value.split(separator))


def _between(low: float, high: float, value: str) -> bool:
    return NUMBER.fullmatch(value) is not None and low <= float(value) <= high


def _parses(form: str, value: str) -> bool:
    try:
        datetime.strptime(value, form)
    except ValueError:
        return False
    return True


def _amount(decimal: str, thousands: str, value: str) -> bool:
    """Whether a text is an amount of money with these marks."""
    bare = re.sub(r"^[^\d.,+-]{0,4}\s*|\s*[^\d.,]{0,4}$", "", value)
    d, t = re.escape(decimal), re.escape(thousands)
    return re.fullmatch(rf"[+-]?\d+({t}\d{{3}})*({d}\d+)?", bare) is not None
