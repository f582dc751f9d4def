"""What lies in a table's Parquet files, and the SQL that reads each column as the contract's type.

Only the files' footers are read here, so a wrong type or a damaged file is told before any work is done.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from configs.console import warn
from configs.errors import InputError
from graph.logs.contract import ACCEPTED, ADVICE, ContractColumn, Kind, family_of
from graph.logs.database import name, place, reading, text

FILE = "__file"
ROW = "file_row_number"
"""Columns that `SourceTable.scan` adds: where a row lies, counted from 0."""
LABELS = ("clicked", "ordered")
INTEGERS = {f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL", "BIG", "HUGE")} | {
    "INTEGER",
    "UINTEGER",
}
"""DuckDB's names of the integer types."""


@dataclass(frozen=True)
class SourceTable:
    """A table to be read: its files and, for each column, the SQL expression of its canonical value.

    Args:
        root: what file names in messages are relative to.
        rows_of: the files that hold rows, and how many.
        contract: contract column → expression; only those that the files have.
        families: contract column → family of its type.
        extra: any other column → expression.
        absent: contract columns that the files do not have.
        empty: files without a row.
    """

    root: Path
    rows_of: dict[Path, int]
    contract: dict[str, str]
    families: dict[str, str]
    extra: dict[str, str]
    absent: tuple[ContractColumn, ...]
    empty: tuple[Path, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(self.rows_of)

    @property
    def rows(self) -> int:
        return sum(self.rows_of.values())

    def scan(self, files: Sequence[Path] | None = None) -> str:
        """The SQL that reads the files with the raw columns, the file's name and the row's number in it."""
        chosen = self.files if files is None else files
        return (
            f"read_parquet([{', '.join(map(place, chosen))}], union_by_name = true, hive_partitioning = false, "
            f"filename = {text(FILE)}, file_row_number = true)"
        )

    def shown(self, file: Path | str) -> str:
        """A file's name as messages show it."""
        path = Path(file)
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


def inspect(
    connection: duckdb.DuckDBPyConnection, files: Sequence[Path], columns: Sequence[ContractColumn], root: Path
) -> SourceTable:
    """Read the footers of a table's files and settle how each column is read.

    Raises:
        InputError: for a damaged file, a missing required column, a wrong type, types that differ between files, or
            names that differ only in case.
    """
    metadata = {file: _footer(file) for file in files}
    schemas = {file: footer.schema.to_arrow_schema() for file, footer in metadata.items()}
    empty = tuple(file for file, footer in metadata.items() if footer.num_rows == 0)
    filled = tuple(file for file in files if file not in empty)
    if not filled:
        raise InputError(f"{files[0]} has no rows: an empty table cannot be read; write the log again")
    families, absent = {}, []
    for column in columns:
        family_by_file = {
            file: family_of(s.field(column.name).type) for file, s in schemas.items() if column.name in s.names
        }
        if not family_by_file or (not column.required and set(family_by_file.values()) == {"null"}):
            if column.required:
                raise _missing(column, filled[0], schemas[filled[0]])
            absent.append(column)
            continue
        families[column.name] = _family(column, family_by_file, schemas)
    extra = _extra(connection, filled, schemas, {column.name for column in columns})
    return SourceTable(
        root=root,
        rows_of={file: metadata[file].num_rows for file in filled},
        contract={c.name: _expression(c, families[c.name]) for c in columns if c.name in families},
        families=families,
        extra=extra,
        absent=tuple(absent),
        empty=empty,
    )


def unlabelled(columns: Sequence[ContractColumn]) -> tuple[ContractColumn, ...]:
    """The contract of a log that is only scored: nothing is known of clicks and orders."""
    return tuple(replace(column, required=column.required and column.name not in LABELS) for column in columns)


def without_labels(table: SourceTable) -> SourceTable:
    """A table whose clicks and orders are not read, if it has any."""
    contract = {name: expression for name, expression in table.contract.items() if name not in LABELS}
    return replace(table, contract=contract, absent=tuple(c for c in table.absent if c.name not in LABELS))


def _footer(file: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(file)
    except (pa.ArrowInvalid, OSError) as error:
        size = file.stat().st_size if file.exists() else 0
        raise InputError(
            f"{file} is not a whole Parquet file ({size:,} bytes; {str(error).splitlines()[0]}): it is empty, was cut "
            "off or is of another format; write or copy it again"
        ) from None


def _missing(column: ContractColumn, file: Path, schema: pa.Schema) -> InputError:
    near = difflib.get_close_matches(column.name, schema.names, n=1, cutoff=0.6)
    near += [spelling for spelling in schema.names if spelling.lower() == column.name and spelling not in near]
    hint = f"; did you mean {near[0]!r}? Rename it" if near else ""
    return InputError(f"{file}: the required column {column.name!r} is missing; found {', '.join(schema.names)}{hint}")


def _family(column: ContractColumn, family_by_file: dict[Path, str], schemas: dict[Path, pa.Schema]) -> str:
    """The family of a column's type over all files; a file that holds only nulls has none of its own."""
    lacking = [file for file in schemas if file not in family_by_file]
    if lacking:
        raise InputError(f"{lacking[0]}: column {column.name!r} is missing here but is in {next(iter(family_by_file))}")
    typed = {file: family for file, family in family_by_file.items() if family != "null"}
    for file, family in typed.items():
        if family not in ACCEPTED[column.kind]:
            raise InputError(
                f"{file}: column {column.name!r} has type {schemas[file].field(column.name).type}; "
                f"{ADVICE[column.kind]}"
            )
    if not typed:
        raise InputError(f"{next(iter(family_by_file))}: the required column {column.name!r} holds only nulls")
    families = sorted(set(typed.values()))
    if column.kind is Kind.id and len(families) > 1:
        first, second = (next(f for f, family in typed.items() if family == kind) for kind in families)
        raise InputError(
            f"column {column.name!r} is {families[0]} in {first} and {families[1]} in {second}: one type for all files"
        )
    return families[0] if len(families) == 1 else "float"


def _extra(
    connection: duckdb.DuckDBPyConnection, files: Sequence[Path], schemas: dict[Path, pa.Schema], known: set[str]
) -> dict[str, str]:
    """Expressions of the columns beside the contract's."""
    for file, schema in schemas.items():
        lowered = [column.lower() for column in schema.names]
        twice = [column for column in schema.names if lowered.count(column.lower()) > 1]
        reserved = [column for column in schema.names if column.lower() in (FILE, ROW)]
        if twice or reserved:
            raise InputError(f"{file}: columns {', '.join(twice or reserved)} cannot be told apart: rename them")
    source = f"read_parquet([{', '.join(map(place, files))}], union_by_name = true, hive_partitioning = false)"
    with reading(files[0].parent):
        described = connection.sql(f"DESCRIBE SELECT * FROM {source}").fetchall()
    return {column: _plain(column, type_) for column, type_, *_ in described if column not in known}


def _plain(column: str, type_: str) -> str:
    """An extra column in one of few types: lists of int64, float or string, and no decimals."""
    quoted = name(column)
    element, bracket, rest = type_.partition("[")
    if bracket and "[" not in rest and rest.endswith("]"):
        if element in INTEGERS:
            return f"CAST({quoted} AS BIGINT[])"
        if element in ("FLOAT", "DOUBLE") or element.startswith("DECIMAL"):
            return f"CAST({quoted} AS FLOAT[])"
    if re.fullmatch(r"DECIMAL\([0-9,]+\)|U?HUGEINT", type_):
        return f"CAST({quoted} AS DOUBLE)"
    if type_ == "UUID":
        return f"CAST({quoted} AS VARCHAR)"
    # DuckDB hands out nothing but nulls within a list or a struct as an array of a wrong length.
    known = re.sub('"NULL"(?=[],)[]|$)', "VARCHAR", type_)
    return f"CAST({quoted} AS {known})" if known != type_ else quoted


def _expression(column: ContractColumn, family: str) -> str:
    """The canonical value of a contract column; what cannot be one becomes null and is told by the checks."""
    quoted = name(column.name)
    if column.kind is Kind.id:
        if family == "integer":
            return f"TRY_CAST({quoted} AS BIGINT)"
        return quoted if column.name == "query" else f"NULLIF({quoted}, '')"
    if column.kind is Kind.timestamp:
        return f"date_trunc('millisecond', CAST({quoted} AS TIMESTAMP))"
    if column.kind is Kind.stage:
        return f"lower(trim({quoted}))"
    if column.kind is Kind.flag:
        return quoted if family == "boolean" else f"CASE {quoted} WHEN 0 THEN false WHEN 1 THEN true END"
    # Frames with missing values write NaN for null: it means missing, unlike an infinite value, which is bad.
    return f"CASE WHEN isnan(CAST({quoted} AS DOUBLE)) THEN NULL ELSE CAST({quoted} AS DOUBLE) END"


def tell_absent(table: SourceTable, what: str) -> None:
    """Say out loud what is assumed where whole columns are missing, and which files are empty."""
    for column in table.absent:
        if column.assumed:
            warn(f"{what} has no column {column.name!r}: {column.assumed}")
    if table.empty:
        warn(f"{len(table.empty)} files of {what} have no rows, e.g. {table.shown(table.empty[0])}")
