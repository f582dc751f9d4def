"""What the footers of a table's files say: damaged files, names and types that cannot be read, told all at once."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from configs.errors import InputError
from graph.logs.contract import ACCEPTED, ADVICE, ContractColumn, Kind, family_of
from graph.logs.database import name, patterns, reading
from graph.logs.problems import Problems

FILE = "__file"
ROW = "file_row_number"
"""Columns that `SourceTable.scan` adds: where a row lies, counted from 0."""
MOST_MILLISECONDS, MOST_DAYS = 2**63 // 1000, 2**63 // (86_400 * 10**6)
"""The furthest times from 1970 that 64 bits of microseconds hold, either way."""


def footer_of(file: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(file)
    except (pa.ArrowInvalid, OSError) as error:
        size = file.stat().st_size if file.exists() else 0
        raise InputError(
            f"{file} is not a whole Parquet file ({size:,} bytes; {str(error).splitlines()[0]}): it is empty, was cut "
            "off or is of another format; write or copy it again"
        ) from None


def schema_of(file: Path, footer: pq.FileMetaData) -> pa.Schema:
    try:
        schema = footer.schema.to_arrow_schema()
        _ = schema.names
        return schema
    except (pa.ArrowException, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{file}: its columns cannot be read ({reason}): leave out or rename the column that Arrow does not know"
        ) from None


def check_names(schemas: Mapping[Path, pa.Schema], problems: Problems) -> bool:
    """Whether SQL can tell the columns apart and write their names; the engines take no notice of case."""
    before = len(problems.told)
    for file, schema in schemas.items():
        lowered = Counter(column.lower() for column in schema.names)
        twice = [column for column in schema.names if lowered[column.lower()] > 1 or column.lower() in (FILE, ROW)]
        if twice:
            problems.add(f"{file}: columns {', '.join(twice)} cannot be told apart: rename them")
        for column in schema.names:
            if not column or "\0" in column:
                problems.add(f"{file}: a column is named {column!r}: give it a name of letters")
    return len(problems.told) == before


def check_spelling(schemas: Mapping[Path, pa.Schema], columns: Sequence[ContractColumn], problems: Problems) -> None:
    """Optional columns in capitals, which would not be read as what they are; of required ones `missing` says so."""
    optional = {column.name for column in columns if not column.required}
    for file, schema in schemas.items():
        for column in schema.names:
            if column not in optional and column.lower() in optional:
                problems.add(f"{file}: column {column!r} is not read as {column.lower()!r}: write it in lower case")


def missing(column: ContractColumn, file: Path, schema: pa.Schema) -> str:
    near = difflib.get_close_matches(column.name, schema.names, n=1, cutoff=0.6)
    near += [spelling for spelling in schema.names if spelling.lower() == column.name and spelling not in near]
    hint = f"; did you mean {near[0]!r}? Rename it" if near else ""
    return f"{file}: the required column {column.name!r} is missing; found {', '.join(schema.names)}{hint}"


def agreed_family(
    column: ContractColumn, types: Mapping[Path, pa.DataType], schemas: Mapping[Path, pa.Schema], problems: Problems
) -> str:
    """The family of a column's type over all files; a file that holds only nulls has none of its own."""
    lacking = [file for file in schemas if file not in types]
    if lacking:
        problems.add(
            f"{lacking[0]}: column {column.name!r} is missing here but is in {next(iter(types))}{others(lacking)}"
        )
    typed = {file: family_of(type_) for file, type_ in types.items() if family_of(type_) != "null"}
    wrong: dict[pa.DataType, list[Path]] = {}
    for file, family in typed.items():
        if family not in ACCEPTED[column.kind]:
            wrong.setdefault(types[file], []).append(file)
    for type_, files in wrong.items():
        problems.add(f"{files[0]}: column {column.name!r} has type {type_}; {ADVICE[column.kind]}{others(files)}")
    if not typed:
        problems.add(f"{next(iter(types))}: the required column {column.name!r} holds only nulls")
        return "null"
    families = sorted(set(typed.values()))
    if column.kind is Kind.id and len(families) > 1 and not wrong:
        first, second = (next(f for f, family in typed.items() if family == kind) for kind in families[:2])
        problems.add(
            f"column {column.name!r} is {families[0]} in {first} and {families[1]} in {second}: one type for all files"
        )
    return families[0] if len(families) == 1 else "float"


def others(files: Sequence[Path]) -> str:
    return f" (so in {len(files):,} files)" if len(files) > 1 else ""


def check_times(
    files: Sequence[Path], schemas: Mapping[Path, pa.Schema], moments: Sequence[str], problems: Problems
) -> None:
    """Times that microseconds cannot hold are read by no engine; footers know them. ``moments``: of the contract."""
    for file in files:
        most = {f.name: MOST_MILLISECONDS for f in schemas[file] if pa.types.is_timestamp(f.type)}
        most = {column: limit for column, limit in most.items() if schemas[file].field(column).type.unit in ("s", "ms")}
        most |= {f.name: MOST_DAYS for f in schemas[file] if pa.types.is_date(f.type) and f.name in moments}
        if not most:
            continue
        footer = pq.read_metadata(file)
        for group in range(footer.num_row_groups):
            for place in range(footer.num_columns):
                chunk = footer.row_group(group).column(place)
                if chunk.path_in_schema not in most or not chunk.is_stats_set or not chunk.statistics.has_min_max:
                    continue
                if max(abs(chunk.statistics.min_raw), abs(chunk.statistics.max_raw)) > most[chunk.path_in_schema]:
                    problems.add(
                        f"{file}: column {chunk.path_in_schema!r} holds a time beyond the year 294,000: write null "
                        "where no time is known"
                    )


def check_unsigned(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[Path],
    types: Mapping[str, str],
    ids: Sequence[str],
    problems: Problems,
) -> None:
    """Unsigned ids, and those in lists, must fit int64: hashes that use all 64 bits often do not."""
    largest = {column: f"max({name(column)})" for column in ids if types.get(column) == "UBIGINT"}
    lists = [column for column, type_ in types.items() if type_.startswith("UBIGINT[") and type_.count("[") == 1]
    largest |= {column: f"max(list_max(CAST({name(column)} AS UBIGINT[])))" for column in lists}
    if not largest:
        return
    source = f"read_parquet({patterns(files)}, union_by_name = true, hive_partitioning = false)"
    with reading(files[0].parent):
        values = connection.sql(f"SELECT {', '.join(largest.values())} FROM {source}").fetchall()[0]
    for column, value in zip(largest, values, strict=True):
        if value is not None and value >= 2**63:
            problems.add(
                f"{files[0]}: column {column!r} is {types[column].replace('UBIGINT', 'uint64')} and holds {value}, "
                "above 2^63 - 1: write it as string, or reinterpret it as int64, here and wherever these ids occur"
            )
