"""CSV files: their dialect, their header, and their lines as rows of text; a line that is no row is kept aside."""

from __future__ import annotations

import csv
import glob
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import duckdb
import pyarrow as pa

from configs.errors import InputError
from graph.logs.database import text, texts

DELIMITERS = (",", ";", "\t", "|")
LONGEST_LINE = 16_000_000
"""Bytes of a line at most: a list of thousands of items may be one field."""
ENCODING_REMEDY = "say options.encoding, e.g. latin-1 or cp1252"
BROKEN_REASONS = {
    "MISSING COLUMNS": "the line has fewer fields than the header",
    "TOO MANY COLUMNS": "the line has more fields than the header",
    "INVALID ENCODING": f"the line is not UTF-8 text ({ENCODING_REMEDY})",
    "LINE SIZE OVER MAXIMUM": f"the line is longer than {LONGEST_LINE:,} bytes",
}
"""What DuckDB says of a line that is no row, in our words."""
CHUNK = 1 << 22
UTF8 = ("utf-8", "utf8", "utf-8-sig")


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written.

    Attributes:
        names: of its columns.
        delimiter, quote, escape, comment: as options of the mapping, or as the first line shows.
        nulls: texts that mean a missing value.
        header: whether the first line names the columns.
        skip: lines before it.
        encoding: of the file.
    """

    names: tuple[str, ...]
    delimiter: str
    quote: str
    escape: str
    nulls: tuple[str, ...]
    header: bool
    skip: int
    comment: str
    encoding: str


def dialect_of(connection: duckdb.DuckDBPyConnection, file: str, options: Mapping[str, Any]) -> Dialect | None:
    """The dialect of a file by its options and its first line; None where the file is empty.

    Raises:
        InputError: if the first line is not text of the encoding, or names a column twice.
    """
    encoding, quote = options.get("encoding", "utf-8"), options.get("quote", '"')
    header, skip = options.get("header", True), options.get("skip", 0)
    first = _first_record(connection, file, encoding, skip, quote)
    if first is None:
        return None
    delimiter = options.get("delim", "").replace("\\t", "\t") or _likeliest(first, quote, file)
    fields = _fields(first, delimiter, quote)
    given = [str(each) for each in options.get("names", [])]
    if given and len(given) != len(fields):
        raise InputError(f"{file}: options.names are {len(given)}, the first line has {len(fields)} fields: {fields}")
    columns = given or ([field.strip() for field in fields] if header else [""] * len(fields))
    columns = [column or f"column{number}" for number, column in enumerate(columns)]
    counted = Counter(column.lower() for column in columns)
    twice = [column for column in columns if counted[column.lower()] > 1]
    if twice:
        raise InputError(
            f"{file}: the header names {', '.join(dict.fromkeys(twice))} more than once (large and small letters are "
            "not told apart): name all columns by options.names"
        )
    nulls = options.get("nullstr", "")
    return Dialect(
        names=tuple(columns),
        delimiter=delimiter,
        quote=quote,
        escape=options.get("escape", quote),
        nulls=tuple({"": None, **dict.fromkeys([nulls] if isinstance(nulls, str) else map(str, nulls))}),
        header=header,
        skip=skip,
        comment=options.get("comment", ""),
        encoding=encoding,
    )


@contextmanager
def read_lines(
    connection: duckdb.DuckDBPyConnection, file: str, dialect: Dialect, scratch: Path, broken: str
) -> Iterator[str]:
    """The SQL scan of the file's rows as text, to be read once; lines that are no rows are added to ``broken`` then.

    Raises:
        InputError: if a quote is not closed: where rows end is not known then.
    """
    place = file if dialect.encoding.lower() in UTF8 else str(_as_utf8(file, dialect.encoding, scratch))
    columns = ", ".join(f"{text(column)}: 'VARCHAR'" for column in dialect.names)
    yield (
        f"read_csv({text(place if '://' in place else glob.escape(place))}, auto_detect = false, "
        f"header = {str(dialect.header).lower()}, skip = {dialect.skip}, delim = {text(dialect.delimiter)}, "
        f"quote = {text(dialect.quote)}, escape = {text(dialect.escape)}, comment = {text(dialect.comment)}, "
        f"nullstr = {texts(dialect.nulls)}, columns = {{{columns}}}, hive_partitioning = false, "
        f"max_line_size = {LONGEST_LINE}, buffer_size = {2 * LONGEST_LINE}, "
        "store_rejects = true, rejects_table = 'csv_errors', rejects_scan = 'csv_scans')"
    )
    _keep_broken(connection, file, broken)


def _keep_broken(connection: duckdb.DuckDBPyConnection, file: str, broken: str) -> None:
    unclosed = connection.sql(
        "SELECT line, csv_line FROM csv_errors WHERE error_type = 'UNQUOTED VALUE' ORDER BY line LIMIT 1"
    ).fetchall()
    if unclosed:
        ((line, content),) = unclosed
        raise InputError(
            f"{file} line {line:,}: a quote is opened and not closed, so where the row ends is unknown "
            f"({content.strip()[:80]!r}): mend the line, or say options.quote: '' if quotes mean nothing in this file"
        )
    cases = " ".join(f"WHEN {text(kind)} THEN {text(reason)}" for kind, reason in BROKEN_REASONS.items())
    connection.execute(
        f"INSERT INTO {broken} SELECT {text(file)}, line - 1, CASE any_value(error_type) {cases} "
        "ELSE any_value(error_message) END, to_json(any_value(csv_line)) FROM "
        "(FROM csv_errors ORDER BY line, byte_position) GROUP BY line ORDER BY line"
    )
    connection.execute("DROP TABLE csv_errors")
    connection.execute("DROP TABLE csv_scans")


def _first_record(connection: duckdb.DuckDBPyConnection, file: str, encoding: str, skip: int, quote: str) -> str | None:
    """The first line after those to skip, and the next ones while a quote is open; None where there is none.

    Raises:
        InputError: if the file cannot be read, or is not text of the encoding.
    """
    if "://" in file:
        line = f"read_csv({text(file)}, auto_detect = false, header = false, skip = {skip}, quote = '', delim = '\x01'"
        rows = connection.sql(f"SELECT line FROM {line}, columns = {{'line': 'VARCHAR'}}) LIMIT 1").fetchall()
        return str(rows[0][0]) if rows else None
    record = ""
    try:
        with opened(file) as stream:
            lines = io.TextIOWrapper(stream, encoding="utf-8-sig" if encoding.lower() in UTF8 else encoding, newline="")
            for _ in range(skip):
                lines.readline(LONGEST_LINE)
            while line := lines.readline(LONGEST_LINE):
                record += line
                if record.strip() and (not quote or record.count(quote) % 2 == 0):
                    break
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not {encoding} ({error.reason}): {ENCODING_REMEDY}") from None
    except LookupError:
        raise InputError(f"{file}: options.encoding={encoding!r} is unknown; e.g. utf-8, latin-1, cp1252") from None
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise InputError(f"{file} cannot be read ({error}): it is damaged or was cut off; copy it again") from None
    return record.rstrip("\r\n") or None


def _likeliest(line: str, quote: str, file: str) -> str:
    """The delimiter that stands most often in the header, outside of quotes."""
    if ".tsv" in Path(file).name.lower():
        return "\t"
    counts = {delimiter: len(_fields(line, delimiter, quote)) for delimiter in DELIMITERS}
    return max(counts, key=lambda delimiter: counts[delimiter])


def _fields(line: str, delimiter: str, quote: str) -> list[str]:
    if len(delimiter) > 1 or not quote:
        return line.split(delimiter)
    try:
        return next(csv.reader(io.StringIO(line, newline=""), delimiter=delimiter, quotechar=quote))
    except csv.Error:  # a field of more than 128 KiB
        return line.split(delimiter)


def _as_utf8(file: str, encoding: str, scratch: Path) -> Path:
    """A copy in UTF-8: DuckDB knows few encodings.

    Raises:
        InputError: if the file is not text of the encoding.
    """
    copy = scratch / "utf8.csv"
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        with opened(file) as stream, copy.open("w", encoding="utf-8", newline="") as written:
            lines = io.TextIOWrapper(stream, encoding=encoding, newline="")
            while block := lines.read(CHUNK):
                written.write(block)
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not {encoding} ({error.reason}): {ENCODING_REMEDY}") from None
    return copy


@contextmanager
def opened(file: str) -> Iterator[IO[bytes]]:
    """A file's bytes, unpacked where its name ends in .gz or .zst."""
    lowered = file.lower()
    if lowered.endswith(".gz"):
        with gzip.open(file) as stream:
            yield stream  # type: ignore[misc]
    elif lowered.endswith(".zst"):
        with pa.CompressedInputStream(pa.OSFile(file), "zstd") as stream:
            yield stream
    else:
        with Path(file).open("rb") as stream:
            yield stream
