"""The tables that lie below a path: files put together by folder and form, and the first rows of each."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import duckdb

from configs.errors import InputError
from configs.schema import SourceConfig
from graph.logs.database import name, text
from graph.logs.readers.table.loading import FILE, ROW, Loaded, load
from graph.logs.readers.table.sources import ENDINGS, Source
from graph.understanding.suggest import Sample
from graph.understanding.values import Column

SAMPLED = 5_000
"""Rows of a table that are looked at: half of them its first, the others spread over it."""
MOST_TABLES = 20
NOT_UTF8 = "is not utf-8"
"""What the reader says of a CSV file in another encoding."""
NULL_WORDS = ("NULL", "null", "\\N", "NaN", "nan", "(null)", "#N/A", "N/A", "undefined")
"""Words for a missing value that are nothing else."""


def samples_below(connection: duckdb.DuckDBPyConnection, path: Path, scratch: Path) -> Iterator[Sample | InputError]:
    """The tables of a file, or of all files below a folder; an error in place of one that cannot be read.

    Raises:
        InputError: if no file is of a known kind, or there are too many kinds of files to be one log.
    """
    groups = files_by_table(path)
    if not groups:
        raise InputError(
            f"{path} holds no file that ends in {', '.join(e for endings in ENDINGS.values() for e in endings)}"
        )
    if len(groups) > MOST_TABLES:
        raise InputError(
            f"{path} holds {len(groups)} kinds of files, e.g. {', '.join(list(groups)[:5])}: name the files of "
            "each table in a mapping (data.table.impressions.files), or give the folder of the log alone"
        )
    for number, (pattern, files) in enumerate(groups.items()):
        form = form_of(files[0].name) or ""
        try:
            loaded, options = _loaded(connection, f"file{number + 1}", files, form, scratch)
        except InputError as error:
            yield error
            continue
        stem = re.sub(r"\.(csv|tsv|txt|parquet|pq|json|jsonl|ndjson)(\.(gz|zst))?$", "", files[0].name, flags=re.I)
        told = "".join(f", {option} {value}" for option, value in options.items())
        yield Sample(
            name=stem if len(files) == 1 else _common(files) or files[0].parent.name,
            files=(pattern,) if path.is_dir() else (),
            columns=tuple(first_rows(connection, loaded)),
            view=loaded.view,
            options=options,
            format=f"{form}{told}, {len(files):,} file{'s' * (len(files) > 1)}, {loaded.rows:,} rows",
        )


def _loaded(
    connection: duckdb.DuckDBPyConnection, called: str, files: Sequence[Path], form: str, scratch: Path
) -> tuple[Loaded, dict[str, Any]]:
    """The rows of files, and the options of CSV files that they need: an encoding, words that mean a missing value.

    Raises:
        InputError: if they cannot be read.
    """
    options: dict[str, Any] = {}

    def source(attempt: str) -> Source:
        config = SourceConfig(files=[str(file) for file in files], options=dict(options))
        return Source(f"{called}{attempt}", config, tuple(map(str, files)), form)

    try:
        loaded = load(connection, source(""), scratch, {})
    except InputError as error:
        if form != "csv" or NOT_UTF8 not in str(error):
            raise
        options["encoding"] = _encoding(files)
        try:
            loaded = load(connection, source("encoded"), scratch, {})
        except InputError:
            raise error from None
    words = _null_words(connection, loaded) if form == "csv" else []
    if words:
        options["nullstr"] = ["", *words]
        loaded = load(connection, source("nulls"), scratch, {})
    return loaded, options


def _encoding(files: Sequence[Path]) -> str:
    """UTF-16 shows itself by its first bytes; other text that is not UTF-8 is mostly Windows' western one."""
    head = files[0].open("rb").read(2) if files[0].suffix not in (".gz", ".zst") else b""
    return "utf-16" if head in (b"\xff\xfe", b"\xfe\xff") else "cp1252"


def _null_words(connection: duckdb.DuckDBPyConnection, loaded: Loaded) -> list[str]:
    """The words for a missing value that stand in text columns."""
    listed = ", ".join(map(text, NULL_WORDS))
    columns = [name(column) for column, type_ in loaded.columns.items() if type_ == "VARCHAR"]
    if not columns:
        return []
    lists = ", ".join(f"list(DISTINCT {column}) FILTER ({column} IN ({listed}))" for column in columns)
    rows = connection.sql(f"SELECT {lists} FROM {loaded.view}").fetchall()[0]
    return sorted({word for words in rows for word in words or ()})


def first_rows(connection: duckdb.DuckDBPyConnection, loaded: Loaded) -> Iterator[Column]:
    """The columns with some of their values; the fields of a struct are columns too, as ``struct.field``."""
    sqls = dict(_flat(connection, loaded.view, loaded.columns))
    chosen = ", ".join(f"CAST({sql} AS VARCHAR)" for _, sql in sqls)
    step = max(loaded.rows // (SAMPLED // 2), 1)
    few = f"(SELECT *, row_number() OVER () AS __n FROM {loaded.view})"
    condition = f"__n <= {SAMPLED // 2} OR __n % {step} = 0"
    values = connection.sql(f"SELECT {chosen} FROM {few} WHERE {condition} ORDER BY __n LIMIT {SAMPLED}").fetchall()
    for place, ((column, sql), type_) in enumerate(sqls.items()):
        path = sql if column not in loaded.columns else ""
        yield Column(column, type_, tuple(row[place] for row in values), path)


def files_by_table(path: Path) -> dict[str, list[Path]]:
    """Pattern → files. Files of a folder that differ in digits alone, as in a day's date, are one table."""
    if path.is_file():
        return {path.name: [path]}
    found = sorted(
        Path(folder) / file
        for folder, folders, files in os.walk(path)
        for file in files
        if form_of(file) and not _hidden(Path(folder, file).relative_to(path))
    )
    groups: dict[str, list[Path]] = {}
    for _, alike in groupby(sorted(found, key=_form), key=_form):
        files = list(alike)
        relative = [file.relative_to(path) for file in files]
        pattern = str(relative[0]) if len(files) == 1 else re.sub(r"\d+", "*", str(relative[0]))
        groups[pattern] = files
    return groups


def form_of(file: str) -> str | None:
    """The format of a file by how its name ends; None where it is not known."""
    return next((form for form, endings in ENDINGS.items() if file.lower().endswith(endings)), None)


def _form(file: Path) -> str:
    return re.sub(r"\d+", "0", str(file))


def _hidden(relative: Path) -> bool:
    return any(part.startswith((".", "_")) for part in relative.parts)


def _common(files: list[Path]) -> str:
    """What the names of files begin with, up to their digits."""
    return re.split(r"\d", files[0].name)[0].strip("-_. ")


def _flat(
    connection: duckdb.DuckDBPyConnection, called: str, columns: Mapping[str, str], prefix: str = "", dotted: str = ""
) -> Iterator[tuple[tuple[str, str], str]]:
    """(name, SQL) and type of every column, the fields of structs in place of the struct."""
    for column, type_ in columns.items():
        if column in (FILE, ROW):
            continue
        sql = f"{prefix}{name(column)}"
        if type_.startswith("STRUCT(") and not type_.endswith("]"):
            described = connection.sql(f"DESCRIBE SELECT unnest({sql}) FROM {called}").fetchall()
            fields = {field: kind for field, kind, *_ in described}
            yield from _flat(connection, called, fields, f"{sql}.", f"{dotted}{column}.")
        else:
            yield (f"{dotted}{column}", sql), type_
