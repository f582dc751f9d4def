"""The rows of a source as DuckDB tables: as they stand in ``raw_NAME``, with exact types in the view ``NAME``.

A CSV file holds text. A column becomes a number, a truth value or a time where every one of its values is written as
one and no character would be lost: ``007`` and numbers beyond 64 bits stay text.
"""

from __future__ import annotations

import glob
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from configs.console import say, warn
from configs.errors import InputError
from graph.logs.database import name, text, texts
from graph.logs.readers.table.lines import Dialect, dialect_of, read_lines
from graph.logs.readers.table.sources import Source

FILE, ROW = "__source", "__source_row"
"""Columns of every loaded table: the file's name, and the row in it from 0."""
BROKEN = (
    "CREATE TABLE IF NOT EXISTS broken (called VARCHAR, source VARCHAR, row BIGINT, reason VARCHAR, content VARCHAR)"
)
TYPES = ("BIGINT", "DOUBLE", "BOOLEAN", "DATE", "TIMESTAMP", "TIMESTAMPTZ")
"""Of a CSV column, the narrowest first; else it is text."""
SAMPLE = 1000
"""Values that rule out types before all of them are looked at."""
LARGEST_OBJECT = 256_000_000
"""Bytes of one JSON object at most."""


@dataclass(frozen=True)
class Loaded:
    """A source whose rows lie in DuckDB.

    Attributes:
        source: what was read.
        columns: column → DuckDB's type, in the view of the source's name.
        rows: of the view.
        broken: lines of CSV files that are no rows; they lie in the table ``broken``.
    """

    source: Source
    columns: dict[str, str]
    rows: int
    broken: int = 0


def load(connection: duckdb.DuckDBPyConnection, source: Source, scratch: Path, ids: Collection[str] = ()) -> Loaded:
    """Make the table and the view of a source.

    Args:
        scratch: folder for copies of files.
        ids: columns that are ids: of a CSV file they are whole numbers or text, never decimals or times.

    Raises:
        InputError: if a file is damaged, or no row is there.
    """
    connection.execute(BROKEN)
    loader = {"csv": _load_csv, "parquet": _load_parquet, "json": _load_json, "database": _load_database}
    loader[source.format](connection, source, scratch)
    called = source.called
    described = connection.sql(f"DESCRIBE raw_{called}").fetchall()
    columns = {column: type_ for column, type_, *_ in described if column not in (FILE, ROW)}
    ((rows,),) = connection.sql(f"SELECT count(*) FROM raw_{called}").fetchall()
    counted = connection.sql(f"SELECT count(*) FROM broken WHERE called = {text(called)}")
    ((broken,),) = counted.fetchall()
    if not rows:
        raise InputError(f"{source.shown} has no rows: {called} cannot be empty")
    if source.format == "csv":
        point = source.options.get("decimal_separator", ".")
        columns = _type_columns(connection, called, list(columns), ids, point)
    else:
        connection.execute(f"CREATE VIEW {called} AS SELECT * FROM raw_{called}")
    say(f"{called}: {rows:,} rows of {source.shown}")
    return Loaded(source, columns, rows, broken)


def _load_csv(connection: duckdb.DuckDBPyConnection, source: Source, scratch: Path) -> None:
    dialects: dict[str, Dialect] = {}
    for file in source.files:
        dialect = dialect_of(file, source.options)
        if dialect is None:
            warn(f"{file} is empty")
        else:
            dialects[file] = dialect
    if not dialects:
        raise InputError(f"{source.shown} is empty (0 bytes): copy it again")
    columns = list(dict.fromkeys(column for dialect in dialects.values() for column in dialect.names))
    _refuse_reserved(source, columns)
    declared = ", ".join(f"{name(column)} VARCHAR" for column in columns)
    connection.execute(f"CREATE TABLE raw_{source.called} ({FILE} VARCHAR, {ROW} BIGINT, {declared})")
    for file, dialect in dialects.items():
        lacking = [column for column in columns if column not in dialect.names]
        if lacking:
            warn(f"{file} lacks the columns {', '.join(lacking)}: null there")
        read_lines(connection, source.called, file, dialect, scratch)


def _load_parquet(connection: duckdb.DuckDBPyConnection, source: Source, scratch: Path) -> None:
    del scratch
    for file in source.files:
        if "://" not in file:
            _check_footer(Path(file))
    files = [file if "://" in file else glob.escape(file) for file in source.files]
    scan = (
        f"read_parquet({texts(files)}, union_by_name = true, hive_partitioning = false, filename = {text(FILE)}, "
        "file_row_number = true)"
    )
    _make_raw(
        connection, source, f"SELECT {FILE}, file_row_number AS {ROW}, * EXCLUDE ({FILE}, file_row_number) FROM {scan}"
    )


def _check_footer(file: Path) -> None:
    try:
        names = pq.read_schema(file).names
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(
            f"{file} is not a whole Parquet file ({file.stat().st_size:,} bytes; {str(error).splitlines()[0]}): it is "
            "empty, was cut off or is of another format; write or copy it again"
        ) from None
    lowered = [column.lower() for column in names]
    twice = [column for column in names if lowered.count(column.lower()) > 1]
    if twice:
        raise InputError(f"{file}: columns {', '.join(twice)} cannot be told apart: rename them")


def _load_json(connection: duckdb.DuckDBPyConnection, source: Source, scratch: Path) -> None:
    del scratch
    for number, file in enumerate(source.files):
        lines = any(part in file.lower() for part in (".jsonl", ".ndjson"))
        scan = (
            f"read_json({text(file if '://' in file else glob.escape(file))}, sample_size = -1, "
            f"format = {text('newline_delimited' if lines else 'auto')}, maximum_object_size = {LARGEST_OBJECT}, "
            "hive_partitioning = false, union_by_name = true)"
        )
        query = f"SELECT {text(file)} AS {FILE}, row_number() OVER () - 1 AS {ROW}, * FROM {scan}"
        if number == 0:
            _make_raw(connection, source, query)
        else:
            _add_raw(connection, source, query)


def _load_database(connection: duckdb.DuckDBPyConnection, source: Source, scratch: Path) -> None:
    raise NotImplementedError


def _make_raw(connection: duckdb.DuckDBPyConnection, source: Source, query: str) -> None:
    with _reading(source):
        connection.execute(f"CREATE TABLE raw_{source.called} AS {query}")


def _add_raw(connection: duckdb.DuckDBPyConnection, source: Source, query: str) -> None:
    with _reading(source):
        connection.execute(f"INSERT INTO raw_{source.called} BY NAME {query}")


@contextmanager
def _reading(source: Source) -> Iterator[None]:
    """Turn DuckDB's complaints about a source into an `InputError` that names it."""
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        if "No space left" in str(error):
            raise
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{source.shown} cannot be read as {source.format}: {reason}") from None


def _refuse_reserved(source: Source, columns: Sequence[str]) -> None:
    taken = [column for column in columns if column.lower() in (FILE, ROW)]
    if taken:
        raise InputError(f"{source.shown}: columns {', '.join(taken)} are names of our own: rename them")


def _type_columns(
    connection: duckdb.DuckDBPyConnection, called: str, columns: Sequence[str], ids: Collection[str], point: str
) -> dict[str, str]:
    """Make the view ``called`` of the text table, each column of the narrowest type that loses nothing.

    Args:
        ids: columns that are whole numbers or text.
        point: what separates decimals.
    """
    types = {}
    for column in columns:
        quoted = name(column)
        candidates = _candidates(connection, called, quoted, TYPES[:1] if column in ids else TYPES, point)
        tests = ", ".join(f"count_if(NOT coalesce({_fits(quoted, type_, point)}, false))" for type_ in candidates)
        counted = f"SELECT {tests} FROM raw_{called} WHERE {quoted} IS NOT NULL" if tests else "SELECT 1"
        misfits = connection.sql(counted).fetchall()[0]
        fitting = [type_ for type_, misfit in zip(candidates, misfits, strict=False) if misfit == 0]
        types[column] = fitting[0] if fitting else "VARCHAR"
    chosen = ", ".join(f"{_as(name(column), type_, point)} AS {name(column)}" for column, type_ in types.items())
    connection.execute(f"CREATE VIEW {called} AS SELECT {FILE}, {ROW}, {chosen} FROM raw_{called}")
    return types


def _candidates(
    connection: duckdb.DuckDBPyConnection, called: str, quoted: str, types: Sequence[str], point: str
) -> list[str]:
    """The types that some of a column's values would have; all of its values decide among them."""
    tests = ", ".join(f"count_if({_fits(quoted, type_, point)})" for type_ in types)
    some = f"(SELECT {quoted} FROM raw_{called} WHERE {quoted} IS NOT NULL LIMIT {SAMPLE})"
    ((count, *fitting),) = connection.sql(f"SELECT count(*), {tests} FROM {some}").fetchall()
    return [type_ for type_, fits in zip(types, fitting, strict=True) if count and fits == count]


def _fits(quoted: str, type_: str, point: str) -> str:
    """SQL: whether a text is written as this type, with nothing lost."""
    if type_ == "BIGINT":
        return f"CAST(TRY_CAST({quoted} AS BIGINT) AS VARCHAR) = {quoted}"
    if type_ == "DOUBLE":
        plain = _with_point(quoted, point)
        digits = f"translate({plain}, '0123456789', '')"
        # 007 is an id, and so is a whole number beyond 64 bits.
        return (
            f"TRY_CAST({plain} AS DOUBLE) IS NOT NULL AND ({digits} NOT IN ('', '-') OR TRY_CAST({plain} AS BIGINT) IS "
            f"NOT NULL) AND ({plain} NOT LIKE '0_%' OR {plain} LIKE '0.%') AND {plain} NOT LIKE '+%'"
        )
    if type_ == "BOOLEAN":
        return f"lower({quoted}) IN ('true', 'false')"
    moment = f"{quoted} LIKE '____-__-__%' AND TRY_CAST({quoted} AS TIMESTAMPTZ) IS NOT NULL"
    has_zone = f"regexp_matches(substr({quoted}, 11), '(Z|[+-][0-9:]+)$')"
    has_time = f"length({quoted}) > 10"
    return {
        "DATE": f"{moment} AND NOT {has_time}",
        "TIMESTAMP": f"{moment} AND NOT {has_zone}",
        "TIMESTAMPTZ": moment,
    }[type_]


def _as(quoted: str, type_: str, point: str) -> str:
    if type_ == "VARCHAR":
        return quoted
    return f"CAST({_with_point(quoted, point) if type_ == 'DOUBLE' else quoted} AS {type_})"


def _with_point(quoted: str, point: str) -> str:
    return quoted if point == "." else f"replace({quoted}, {text(point)}, '.')"
