"""Sets that publish no time, or none that two users share: placeholder days, and files of lines without a header.

The contract splits by days and streams by days. A set without time gets days that stand for nothing but the split:
training rows from 2000-01-01 on, validation from 2010-01-01, test from 2020-01-01, about `DAY_ROWS` rows a day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from configs.console import warn
from configs.errors import InputError
from graph.logs.database import place, reading, text

FIRST_DAYS = {"train": "2000-01-01", "validation": "2010-01-01", "test": "2020-01-01"}
"""The first placeholder day of each split; ``configs/data/NAME.yaml`` splits by these decades."""

DAY_ROWS = 500_000
"""Rows of a placeholder day; a request is never cut."""

LONGEST_LINE = 16_000_000
"""Bytes of a line that are read at most: one user's whole history is one line in some sets."""


@dataclass(frozen=True)
class PlaceholderDay:
    """A day, and the source rows between which its requests lie; other requests' rows may lie there too."""

    day: str
    first_row: int
    last_row: int


def place_requests(connection: duckdb.DuckDBPyConnection, drawn: Mapping[str, float]) -> list[PlaceholderDay]:
    """Make the table ``placed`` (request, split, day) of ``lists`` (request, split, rows, first_row, last_row).

    Requests of a split fill its placeholder days in order of their first row.

    Args:
        drawn: split → share of the requests of ``train`` that become its own, one at least, by lot: in order of the
            MD5 of the request, which is the same on every machine.
    """
    first = " ".join(f"WHEN {text(split)} THEN DATE {text(day)}" for split, day in FIRST_DAYS.items())
    connection.execute(f"""
        CREATE TABLE placed AS
        WITH chosen AS (
            SELECT * REPLACE ({_drawn(drawn)} AS split) FROM (
                SELECT *, count(*) OVER (PARTITION BY split) AS requests, row_number() OVER (
                    PARTITION BY split ORDER BY md5(CAST(request AS VARCHAR)), request) AS place
                FROM lists
            )
        ), filled AS (
            SELECT *, sum(rows) OVER (PARTITION BY split ORDER BY first_row, request) - rows AS before FROM chosen
        )
        SELECT request, split, first_row, last_row,
            strftime(CASE split {first} END + CAST(before // {DAY_ROWS} AS INTEGER), '%Y-%m-%d') AS day
        FROM filled
    """)
    day_rows = connection.sql(
        "SELECT day, min(first_row), max(last_row) FROM placed GROUP BY day ORDER BY day"
    ).fetchall()
    return [PlaceholderDay(*row) for row in day_rows]


def _drawn(shares: Mapping[str, float]) -> str:
    """SQL: the split of a request at its ``place`` among the ``requests`` of train."""
    cases, before = "", "0"
    for split, share in shares.items():
        before = f"{before} + greatest(1, CAST(round({share} * requests) AS BIGINT))"
        cases += f" WHEN split = 'train' AND place <= {before} THEN {text(split)}"
    return f"CASE{cases} ELSE split END" if cases else "split"


def tell_undated(lacks: str, advice: str) -> None:
    """Say that days are placeholders: what the set does not publish, and what to do about it."""
    days = ", ".join(f"{split} from {day}" for split, day in FIRST_DAYS.items())
    warn(f"{lacks}: days are placeholders that tell the splits apart ({days}); {advice}")


def scan_lines(file: Path, columns: Sequence[str], delimiter: str) -> str:
    """The SQL of a file's lines as text columns, numbered ``source_row`` from 0; quotes mean nothing.

    A line with fewer fields has nulls; one with more has something in ``surplus``. A first line that repeats the
    columns' names is a header and is left out.

    Raises:
        InputError: if the file is empty or not text.
    """
    if not file.stat().st_size:
        raise InputError(f"{file} is empty (0 bytes): copy it again")
    declared = ", ".join(f"{text(column)}: 'VARCHAR'" for column in (*columns, "surplus"))
    scan = (
        f"read_csv({place(file)}, auto_detect = false, header = false, delim = {text(delimiter)}, quote = '', "
        f"escape = '', columns = {{{declared}}}, null_padding = true, nullstr = '', "
        f"max_line_size = {LONGEST_LINE}, buffer_size = {2 * LONGEST_LINE})"
    )
    with reading(file):
        first = _peek(f"SELECT * FROM {scan} LIMIT 1").fetchall()
    header = bool(first) and first[0][: len(columns)] == tuple(columns)
    numbered = f"SELECT row_number() OVER () - {2 if header else 1} AS source_row, * FROM {scan}"
    return f"(SELECT * FROM ({numbered}) WHERE source_row >= 0)"


def _peek(query: str) -> duckdb.DuckDBPyRelation:
    return duckdb.connect().sql(query)


def first_problem(problems: Iterable[tuple[str, str]]) -> str:
    """SQL: the reason of the first condition that holds, else null."""
    cases = " ".join(f"WHEN {condition} THEN {text(reason)}" for reason, condition in problems)
    return f"CASE {cases} END"


def files_with(folder: Path, word: str, columns: Sequence[str]) -> list[Path]:
    """The CSV files of a folder whose name holds ``word`` and whose header holds all ``columns``."""
    files = []
    for file in sorted(folder.iterdir()):
        if file.is_file() and word in file.name and file.name.endswith((".csv", ".csv.gz")) and file.stat().st_size:
            with reading(file):
                header = _peek(f"SELECT * FROM {scan_table(file)} LIMIT 0").columns
            if set(columns) <= set(header):
                files.append(file)
    return files


def scan_table(file: Path) -> str:
    """The SQL scan of a CSV file with a header, every column as text."""
    return f"read_csv({place(file)}, header = true, all_varchar = true, delim = ',', quote = '', escape = '')"


def only(files: Sequence[Path], folder: Path, what: str) -> Path | None:
    """The one file of a kind, or None.

    Raises:
        InputError: if there are several: which one is meant cannot be told.
    """
    if len(files) > 1:
        names = ", ".join(str(file.relative_to(folder)) for file in files)
        raise InputError(f"{folder}: expected one {what}, found {len(files)} ({names}): keep one set in a folder")
    return files[0] if files else None
