"""Public sets in their published form: one file or several, CSV (also gzipped) or Parquet, into a DuckDB table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from configs.console import say
from configs.errors import InputError
from graph.logs.contract import REJECTED_SCHEMA
from graph.logs.database import name, place, reading, text, write_table

READER_MEMORY_GB = 4.0
"""DuckDB's limit while a public set is read; it spills to disk beyond."""

ENDINGS = (".csv", ".csv.gz", ".parquet")


def published_files(path: Path, stem: str) -> list[Path]:
    """The set's files: the file itself, ``stem.*`` in the folder, or else every file in it, by name.

    Raises:
        InputError: if there is none of a known ending.
    """
    if path.is_file():
        if not path.name.endswith(ENDINGS):
            raise InputError(f"{path}: expected a file ending in {', '.join(ENDINGS)}; unpack archives first")
        return [path]
    for ending in ENDINGS:
        if (path / f"{stem}{ending}").is_file():
            return [path / f"{stem}{ending}"]
    files = sorted(file for file in path.iterdir() if file.is_file() and file.name.endswith(ENDINGS))
    if not files:
        raise InputError(f"{path} holds no {stem}.csv, {stem}.csv.gz or {stem}.parquet")
    return files


def load_published(
    connection: duckdb.DuckDBPyConnection, files: Sequence[Path], columns: Sequence[str], table: str
) -> int:
    """Load the columns, as text, into ``table`` with ``source`` (file name) and ``source_row`` (from 0).

    Returns:
        The number of rows.

    Raises:
        InputError: if a file is damaged or lacks a column.
    """
    declared = ", ".join(f"{name(column)} VARCHAR" for column in columns)
    connection.execute(f"CREATE TABLE {table} (source VARCHAR, source_row BIGINT, {declared})")
    for file in files:
        scan = _scan(file)
        with reading(file):
            header = connection.sql(f"SELECT * FROM {scan} LIMIT 0").columns
        missing = [column for column in columns if column not in header]
        if missing:
            raise InputError(
                f"{file} lacks the columns {', '.join(missing)} of the published schema; found {', '.join(header)}"
            )
        chosen = ", ".join(f"CAST({name(column)} AS VARCHAR)" for column in columns)
        with reading(file):
            connection.execute(
                f"INSERT INTO {table} SELECT {text(file.name)}, row_number() OVER () - 1, {chosen} FROM {scan}"
            )
    (rows,) = connection.sql(f"SELECT count(*) FROM {table}").fetchall()[0]
    if not rows:
        raise InputError(f"{files[0]} has no rows")
    say(f"read {rows:,} rows of {', '.join(file.name for file in files)}")
    return int(rows)


def write_rejected(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> Path:
    """Write source rows that cannot become impressions: a query of source, row, reason, content."""
    write_table(connection.sql(query).to_arrow_reader(10_000), path, REJECTED_SCHEMA)
    return path


def _scan(file: Path) -> str:
    if file.name.endswith(".parquet"):
        try:
            pq.read_metadata(file)
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(
                f"{file} is not a whole Parquet file ({file.stat().st_size:,} bytes; {str(error).splitlines()[0]}): "
                "it is empty, was cut off or is of another format; copy it again"
            ) from None
        return f"read_parquet({place(file)}, hive_partitioning = false)"
    if not file.stat().st_size:
        raise InputError(f"{file} is empty (0 bytes): copy it again")
    # The published files write a missing value as nothing or as NULL.
    return (
        f"read_csv({place(file)}, header = true, all_varchar = true, delim = ',', quote = '\"', escape = '\"', "
        "nullstr = ['', 'NULL'])"
    )
