"""A log in the memory of a notebook: tables of pandas, Polars, Arrow, DuckDB, ... become files in the contract's form.

They lie in a folder of the run that is named for their content, so that the same frames are the same log and later
commands find it: from there on it is ``data=contract``.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from omegaconf import OmegaConf

from configs import layers
from configs.command import Invocation
from configs.commands import COMMANDS
from configs.console import say, warn
from configs.errors import InputError
from configs.locks import alone
from configs.schema import DataConfig
from graph.logs.contract import ACCEPTED, ADVICE, IMPRESSION_COLUMNS, Kind, family_of

PER_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}


@contextmanager
def in_run(invocation: Invocation, **frames: Any) -> Iterator[Invocation]:
    """Write frames into the invocation's run and point its data at them; settle that once the log is made.

    Args:
        invocation: how the log is checked and split is taken from it.
        frames: impressions, and items, users and queries or None, as for `graph.prepare_log`.

    Raises:
        InputError: if a frame is no table, cannot be written, or lacks what its files are named for.
    """
    config = invocation.config
    if frames["impressions"] is None:
        raise InputError("items, users and queries describe impressions: give impressions=... too")
    if "data.path" in invocation.asked or config.data.name not in ("marketplace", "contract"):
        raise InputError(
            f"data={config.data.name} data.path={config.data.path} and impressions=... are two logs: give one of them"
        )
    tables = {called: as_table(frame, called) for called, frame in frames.items() if frame is not None}
    if "items" not in tables:
        tables["items"] = _named_items(tables["impressions"])
    path = _write(invocation.run.root / "frames", tables, config.overwrite)
    data = replace(_as_contract(invocation), path=str(path))
    inside = replace(invocation, config=replace(config, data=data), command=COMMANDS["pretrain.run"])
    yield inside
    inside.save(invocation.run.config)


def _as_contract(invocation: Invocation) -> DataConfig:
    """The data section of ``data=contract``: the marketplace's, where no data are named, lists features of its own."""
    if invocation.config.data.name == "contract":
        return invocation.config.data
    own = layers.masked(OmegaConf.structured(invocation.config), lambda key: key in invocation.asked)
    own.get("data", {}).pop("name", None)
    return layers.as_object(layers.merge([layers.schema(), layers.of_group("data", "contract"), own])).data


def _write(folder: Path, tables: dict[str, pa.Table], overwrite: bool) -> Path:
    """Write tables in the contract's form into a folder of ``folder`` that is named for their content."""
    written = folder / f".{os.getpid()}.tmp"
    with alone(folder):
        shutil.rmtree(written, ignore_errors=True)
        try:
            path = folder / write_frames(written, tables)
            if not path.exists():
                written.rename(path)
            for other in folder.iterdir() if overwrite else ():
                if other != path:
                    shutil.rmtree(other, ignore_errors=True)
        finally:
            shutil.rmtree(written, ignore_errors=True)
    return path


def write_frames(folder: Path, tables: dict[str, pa.Table]) -> str:
    """Write a folder in the contract's form; return a digest of its content.

    The files' times are set to nothing, so that the log's identity follows from what they hold.
    """
    content = hashlib.sha256()
    for name, called, table in _files(tables):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            pq.write_table(table, file)
        except pa.ArrowException as error:
            raise InputError(f"{called} cannot be written as Parquet: {_unwritable(table, error)}") from None
        os.utime(file, (0, 0))
        with file.open("rb") as opened:
            content.update(f"{name} {hashlib.file_digest(opened, 'sha256').hexdigest()}\n".encode())
    return content.hexdigest()[:16]


def _files(tables: dict[str, pa.Table]) -> Iterator[tuple[str, str, pa.Table]]:
    """Name of each file, what it is of, and its rows."""
    days = _days(tables["impressions"])
    rows = tables["impressions"].take(pa.array(np.argsort(days, kind="stable")))
    each, starts, lengths = np.unique(np.sort(days), return_index=True, return_counts=True)
    for day, start, length in zip(each, starts, lengths, strict=True):
        name = f"impressions/day={datetime.date.fromordinal(int(day))}/part-0.parquet"
        yield name, "impressions", rows.slice(int(start), int(length))
    yield from ((f"{called}.parquet", called, table) for called, table in tables.items() if called != "impressions")


def as_table(frame: Any, called: str) -> pa.Table:
    """A frame of any library as an Arrow table, with one form for each of the types that libraries differ in.

    Raises:
        InputError: if it is no table, two columns have one name, or a column mixes types.
    """
    # pandas' own Arrow stream would add an unnamed index as a column.
    of_pandas = type(frame).__module__.partition(".")[0] == "pandas" and hasattr(frame, "columns")
    if not (of_pandas or hasattr(frame, "__arrow_c_stream__") or isinstance(frame, dict)):
        collect = ": collect() it first" if hasattr(frame, "collect") else ""
        raise InputError(
            f"{called}: expected a DataFrame of pandas or Polars, an Arrow table or anything else with "
            f"__arrow_c_stream__, found {type(frame).__module__}.{type(frame).__qualname__}{collect}"
        )
    # Polars hands out the addresses of Python objects as if they were values.
    of_polars = type(frame).__module__.partition(".")[0] == "polars"
    objects = [name for name, kind in frame.schema.items() if str(kind) == "Object"] if of_polars else []
    if objects:
        raise InputError(f"{called}: column {objects[0]!r} holds Python objects: cast it to a type of Polars")
    try:
        table = _of_pandas(frame, called) if of_pandas else pa.table(frame)
        _refuse_repeated(table.column_names, called)
        plain = pa.schema([pa.field(field.name, _plain(field.type)) for field in table.schema])
        table = table.cast(plain).combine_chunks()
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        why = "; ".join(map(str, error.args))
        raise InputError(f"{called} cannot be read as a table: {why}. Give every column one type") from None
    if not table.num_rows:
        raise InputError(f"{called} has no rows")
    return table


def _of_pandas(frame: Any, called: str) -> pa.Table:
    """A pandas DataFrame: a named index is a column like any other, an unnamed one is the number of a row."""
    _refuse_repeated([str(column) for column in frame.columns], called)
    named = [name for name in frame.index.names if name is not None and name not in frame.columns]
    if named:
        say(f"{called}: the index {', '.join(map(str, named))} is taken as a column")
        frame = frame.reset_index(level=named)
    return pa.Table.from_pandas(frame, preserve_index=False)


def _refuse_repeated(names: Sequence[str], called: str) -> None:
    twice = sorted({each for each in names if names.count(each) > 1})
    if twice:
        raise InputError(f"{called}: several columns are called {', '.join(twice)}: rename them")


def _plain(type_: pa.DataType) -> pa.DataType:
    """One type where libraries have several for the same values: categories, strings and lists, also within lists."""
    if pa.types.is_dictionary(type_):
        return _plain(type_.value_type)
    if pa.types.is_string(type_) or pa.types.is_string_view(type_):
        return pa.large_string()
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return pa.large_list(_plain(type_.value_type))
    return type_


def _days(impressions: pa.Table) -> np.ndarray:
    """Ordinal of each row's day in UTC.

    A row without a time, or beyond the calendar, goes with the first day, where the checks reject it by name.
    """
    column = next(column for column in IMPRESSION_COLUMNS if column.kind is Kind.timestamp)
    if column.name not in impressions.column_names:
        raise InputError(
            f"impressions: the required column {column.name!r} is missing; found {', '.join(impressions.column_names)}"
        )
    times = impressions[column.name]
    if family_of(times.type) not in ACCEPTED[column.kind]:
        raise InputError(f"impressions: column {column.name!r} has type {times.type}; {ADVICE[column.kind]}")
    per_day = PER_DAY[times.type.unit] if pa.types.is_timestamp(times.type) else PER_DAY["ms"]
    if pa.types.is_date32(times.type):
        numbers, per_day = times.cast(pa.int32()), 1
    else:
        numbers = times.cast(pa.int64())
    known = numbers.is_valid().to_numpy(zero_copy_only=False)
    days: np.ndarray = pc.fill_null(numbers, 0).to_numpy(zero_copy_only=False).astype(np.int64) // per_day
    days += datetime.date(1970, 1, 1).toordinal()
    known &= (days >= 1) & (days <= datetime.date.max.toordinal())
    days[~known] = days[known].min() if known.any() else datetime.date(1970, 1, 1).toordinal()
    return days


def _named_items(impressions: pa.Table) -> pa.Table:
    """One bare row for each item of the impressions."""
    if "item_id" not in impressions.column_names:
        raise InputError(
            f"impressions: the required column 'item_id' is missing; found {', '.join(impressions.column_names)}"
        )
    ids = pc.drop_null(pc.unique(impressions["item_id"]))
    warn(f"no items are given: the {len(ids):,} of the impressions are known by their id alone")
    return pa.table({"item_id": ids})


def _unwritable(table: pa.Table, error: Exception) -> str:
    """The column that Parquet has no type for."""
    for field in table.schema:
        try:
            pq.write_table(table.select([field.name]).slice(0, 1), pa.BufferOutputStream())
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowTypeError):
            return f"column {field.name!r} has type {field.type}"
    return str(error)
