"""DuckDB for checking and reading logs out of core: one scratch database, its limits, and its errors in our words."""

from __future__ import annotations

import errno
import glob
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs.errors import InputError
from configs.stages import replacing

ROW_GROUP_ROWS = 262_144


class NotUtf8Error(InputError):
    """A text column of a source file holds bytes that are not UTF-8."""


@contextmanager
def scratch_database(folder: Path, memory_limit_gb: float) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB database on disk that spills into ``folder`` and is removed afterwards.

    Timestamps are read in UTC. ``memory_limit_gb`` is DuckDB's own limit; the process needs some hundred MB beside it.

    Raises:
        InputError: if the memory limit is too low for a step.
        OSError: with ``ENOSPC`` if the disk is full.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with _plain_name(folder) as plain:
        connection = duckdb.connect(str(plain / "scratch.duckdb"))
        try:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(f"SET memory_limit = '{memory_limit_gb} GB'")
            connection.execute(f"SET temp_directory = {text(plain / 'spill')}")
            # In a notebook without ipywidgets it is off, and DuckDB refuses to be told so.
            connection.execute("SELECT current_setting('enable_progress_bar')")
            if connection.fetchall() != [(False,)]:
                connection.execute("SET enable_progress_bar = false")
            connection.execute("PRAGMA disable_checkpoint_on_shutdown")  # nobody reads it again
            # It takes a column's largest value in Parquet, which leaves NaN out, as proof that isnan() is false.
            connection.execute("SET disabled_optimizers = 'statistics_propagation'")
            yield connection
        except duckdb.OutOfMemoryException as error:
            raise InputError(
                f"DuckDB ran out of its {memory_limit_gb} GB: raise graph.memory_limit_gb ({first_line(error)})"
            ) from None
        except duckdb.Error as error:
            if "No space left" in str(error):
                raise OSError(errno.ENOSPC, "No space left on device", str(folder)) from None
            raise
        finally:
            connection.close()
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _plain_name(folder: Path) -> Iterator[Path]:
    """The folder, or a temporary one where DuckDB would cut the name of its database at a ?.

    Raises:
        InputError: for a backslash, which DuckDB takes for a slash.
    """
    whole = str(folder.resolve())
    if "\\" in whole:
        raise InputError(f"{whole}: DuckDB takes the backslash for a slash: give runs_folder=... another name")
    if "?" not in whole:
        yield folder
        return
    with tempfile.TemporaryDirectory() as elsewhere:
        yield Path(elsewhere)


@contextmanager
def reading(source: Path) -> Iterator[None]:
    """Turn DuckDB's complaint about a damaged source file into an `InputError` that names it.

    Running out of memory or disk is no fault of the file and passes through.
    """
    try:
        yield
    except (duckdb.OutOfMemoryException, duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException):
        raise
    except duckdb.Error as error:
        if "No space left" in str(error):
            raise
        if "not valid UTF8" in str(error):
            raise NotUtf8Error(
                f"{source} holds text that is not UTF-8 ({first_line(error)}): decode it as what it is, e.g. latin-1, "
                "and write it again"
            ) from None
        raise InputError(
            f"{source} cannot be read: {first_line(error)}. It is damaged or was cut off: write or copy it again"
        ) from None


def text(value: object) -> str:
    """A value as an SQL string literal."""
    return "'" + str(value).replace("'", "''") + "'"


def place(file: Path) -> str:
    """A file as an SQL string literal for DuckDB to read, which takes * and ? of a name for a pattern."""
    return text(glob.escape(str(file)))


def patterns(files: Sequence[Path]) -> str:
    """Files as an SQL list of literals for DuckDB to read, as `place`."""
    return "[" + ", ".join(place(file) for file in files) + "]"


def texts(values: Sequence[object]) -> str:
    """Values as an SQL list of string literals."""
    return "[" + ", ".join(text(value) for value in values) + "]"


def name(column: str) -> str:
    """A column's name as an SQL identifier."""
    return '"' + column.replace('"', '""') + '"'


def batches_of_days(rows_of_day: Mapping[str, int], most: int) -> list[list[str]]:
    """Days in order, put together while they hold at most ``most`` rows; a day is never cut."""
    batches: list[list[str]] = []
    rows = most
    for day in sorted(rows_of_day):
        if not batches or rows + rows_of_day[day] > most:
            batches.append([])
            rows = 0
        batches[-1].append(day)
        rows += rows_of_day[day]
    return batches


def write_table(batches: pa.RecordBatchReader, path: Path, schema: pa.Schema | None = None) -> int:
    """Stream batches into one Parquet file of the given schema; return the number of rows."""
    schema = batches.schema if schema is None else schema
    rows = 0
    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for batch in batches:
            writer.write_table(pa.Table.from_batches([batch]).cast(schema), row_group_size=ROW_GROUP_ROWS)
            rows += batch.num_rows
    return rows


def write_days(batches: pa.RecordBatchReader, folder: Path, schema: pa.Schema | None = None) -> None:
    """Stream batches that are sorted by their column ``day`` into ``folder/day=.../part-0.parquet``.

    ``schema`` is that of the files, without ``day``; by default the batches' own. One day is open at a time.
    """
    if schema is None:
        schema = pa.schema([field for field in batches.schema if field.name != "day"])
    day, writer, path = None, None, None
    pending: list[pa.RecordBatch] = []
    try:
        for batch in batches:
            for value, part in _runs_of_day(batch):
                if value != day:
                    _flush(writer, pending, schema)
                    _close(writer, path)
                    day, path = value, folder / f"day={value}" / "part-0.parquet"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    writer = pq.ParquetWriter(path.with_suffix(".tmp"), schema)
                pending.append(part)
                if sum(p.num_rows for p in pending) >= ROW_GROUP_ROWS:
                    _flush(writer, pending, schema)
        _flush(writer, pending, schema)
    except BaseException:
        if writer is not None:
            writer.close()
        raise
    _close(writer, path)


def _runs_of_day(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Slices of a batch with one day each; the days are sorted."""
    days = batch.column("day")
    rest = batch.drop_columns(["day"])
    start = 0
    for entry in pc.value_counts(days):
        length = entry["counts"].as_py()
        yield entry["values"].as_py(), rest.slice(start, length)
        start += length


def _flush(writer: pq.ParquetWriter | None, pending: list[pa.RecordBatch], schema: pa.Schema) -> None:
    if writer is not None and pending:
        writer.write_table(pa.Table.from_batches(pending).select(schema.names).cast(schema))
        pending.clear()


def _close(writer: pq.ParquetWriter | None, path: Path | None) -> None:
    if writer is not None and path is not None:
        writer.close()
        path.with_suffix(".tmp").replace(path)


def first_line(error: Exception) -> str:
    """The first line of an engine's message."""
    return str(error).strip().splitlines()[0]
