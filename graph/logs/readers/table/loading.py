"""The rows of a source in DuckDB: as they stand in a table, and with exact types in a view of it."""

from __future__ import annotations

import glob
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from configs.console import say, warn
from configs.errors import InputError
from graph.logs.database import name, text, texts
from graph.logs.readers.table.databases import reach_remote, rows_of_database
from graph.logs.readers.table.expressions import column_named
from graph.logs.readers.table.lines import dialect_of, read_lines
from graph.logs.readers.table.objects import read_objects
from graph.logs.readers.table.sources import Source
from graph.logs.readers.table.texts import exact_types, typed

FILE, ROW = "__source", "__source_row"
"""Columns of every loaded table: the file's name, and the row in it from 0."""
OURS = (FILE, ROW, "__shown", "__day", "__moment", "__value", "__misread", "__file", "file_row_number")
"""Names that no column of a source or of the log can have."""


@dataclass(frozen=True)
class Loaded:
    """A source whose rows lie in DuckDB.

    Attributes:
        source: what was read.
        columns: column → DuckDB's type, in the view.
        rows: of the view.
        view: the rows with `FILE` and `ROW`.
        raw: the table of the rows as they stand in the source.
        broken: the table of lines that are no rows (source, row, reason, content).
    """

    source: Source
    columns: dict[str, str]
    rows: int
    view: str
    raw: str
    broken: str


def load(
    connection: duckdb.DuckDBPyConnection, source: Source, scratch: Path, only: Mapping[str, Sequence[str]]
) -> Loaded:
    """Make the table and the view of a source.

    Args:
        scratch: folder for copies of files.
        only: columns of CSV files that may have no other types than these, beside text.

    Raises:
        InputError: if a file is damaged, or no row is there.
    """
    raw, broken, view = (f"{what}_{source.called}" for what in ("raw", "broken", "rows_of"))
    connection.execute(f"CREATE TABLE {broken} (source VARCHAR, row BIGINT, reason VARCHAR, content VARCHAR)")
    loaders: dict[str, Loader] = {
        "csv": _load_csv,
        "parquet": _load_parquet,
        "json": _load_json,
        "database": _load_database,
    }
    reach_remote(connection, source.files, f"data.table.{source.called}")
    with _reading(source):
        loaders[source.format](connection, source, raw, scratch)
    described = connection.sql(f"DESCRIBE {raw}").fetchall()
    columns = {column: type_ for column, type_, *_ in described if column not in (FILE, ROW)}
    ((rows,),) = connection.sql(f"SELECT count(*) FROM {raw}").fetchall()
    if not rows:
        raise InputError(f"{source.shown} has no rows{_header_only(source)}: {source.called} cannot be empty")
    if source.format == "csv":
        point = source.options.get("decimal_separator", ".")
        limited = {column: types for asked, types in only.items() if (column := column_named(asked, list(columns)))}
        columns = exact_types(connection, raw, list(columns), limited, point)
        chosen = ", ".join(f"{typed(column, type_, point)} AS {name(column)}" for column, type_ in columns.items())
        connection.execute(f"CREATE VIEW {view} AS SELECT {FILE}, {ROW}, {chosen} FROM {raw}")
    else:
        connection.execute(f"CREATE VIEW {view} AS FROM {raw}")
    say(f"{source.called}: {rows:,} rows of {source.shown}")
    return Loaded(source, columns, rows, view, raw, broken)


Loader = Callable[[duckdb.DuckDBPyConnection, Source, str, Path], None]


def _load_csv(connection: duckdb.DuckDBPyConnection, source: Source, raw: str, scratch: Path) -> None:
    found = {file: dialect_of(connection, file, source.options) for file in source.files}
    dialects = {file: dialect for file, dialect in found.items() if dialect is not None}
    if not dialects:
        raise InputError(f"{source.shown} is empty, or has no line after options.skip: copy it again")
    for file in found.keys() - dialects.keys():
        warn(f"{file} is empty")
    columns = list(dict.fromkeys(column for dialect in dialects.values() for column in dialect.names))
    _refuse_names(source.shown, columns)
    declared = ", ".join(f"{name(column)} VARCHAR" for column in columns)
    connection.execute(f"CREATE TABLE {raw} ({FILE} VARCHAR, {ROW} BIGINT, {declared})")
    for file, dialect in dialects.items():
        lacking = [column for column in columns if column not in dialect.names]
        if lacking:
            warn(f"{file} lacks the columns {', '.join(lacking)}: null there")
        chosen = ", ".join(name(column) for column in dialect.names)
        with read_lines(connection, file, dialect, scratch, f"broken_{source.called}") as scan:
            connection.execute(
                f"INSERT INTO {raw} BY NAME SELECT {text(file)} AS {FILE}, row_number() OVER () - 1 AS {ROW}, {chosen} "
                f"FROM {scan}"
            )


def _load_parquet(connection: duckdb.DuckDBPyConnection, source: Source, raw: str, scratch: Path) -> None:
    del scratch
    for file in source.files:
        if "://" not in file:
            _check_footer(Path(file))
    files = [file if "://" in file else glob.escape(file) for file in source.files]
    scan = (
        f"read_parquet({texts(files)}, union_by_name = true, hive_partitioning = false, filename = {text(FILE)}, "
        "file_row_number = true)"
    )
    columns = f"{FILE}, file_row_number AS {ROW}, * EXCLUDE ({FILE}, file_row_number)"
    connection.execute(f"CREATE TABLE {raw} AS SELECT {columns} FROM {scan}")


def _load_json(connection: duckdb.DuckDBPyConnection, source: Source, raw: str, scratch: Path) -> None:
    read_objects(connection, source.files, raw, f"broken_{source.called}", scratch)


def _load_database(connection: duckdb.DuckDBPyConnection, source: Source, raw: str, scratch: Path) -> None:
    del scratch
    database, table = str(source.config.database), str(source.config.table)
    with rows_of_database(database, table, f"data.table.{source.called}") as batches:
        _refuse_names(source.shown, batches.schema.names)
        connection.register("batches", batches)
        connection.execute(
            f"CREATE TABLE {raw} AS SELECT {text(source.shown)} AS {FILE}, row_number() OVER () - 1 AS {ROW}, * "
            "FROM batches"
        )
        connection.unregister("batches")


def _check_footer(file: Path) -> None:
    try:
        columns = pq.read_schema(file).names
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(
            f"{file} is not a whole Parquet file ({file.stat().st_size:,} bytes; {str(error).splitlines()[0]}): it is "
            "empty, was cut off or is of another format; write or copy it again"
        ) from None
    _refuse_names(str(file), columns)


def _refuse_names(where: str, columns: Sequence[str]) -> None:
    counted = Counter(column.lower() for column in columns)
    twice = [column for column in columns if counted[column.lower()] > 1]
    if twice:
        raise InputError(f"{where}: columns {', '.join(twice)} cannot be told apart: rename them")
    own = [column for column in columns if column.lower() in OURS]
    if own:
        raise InputError(f"{where}: columns {', '.join(own)} have names that are used here: rename them")


def _header_only(source: Source) -> str:
    return " below its header" if source.format == "csv" and source.options.get("header", True) else ""


@contextmanager
def _reading(source: Source) -> Iterator[None]:
    """Turn DuckDB's complaints about a source into an `InputError` that names it."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error, pa.ArrowException) as error:
        raise InputError(f"{source.shown} cannot be unpacked ({error}): it is damaged or was cut off") from None
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        if "No space left" in str(error):
            raise
        reason = re.sub(r"^[\w ]+ Error: ", "", str(error).strip().splitlines()[0])
        raise InputError(
            f"{source.shown} cannot be read as {source.format} ({reason}): mend the file, or leave it out of files"
        ) from None
