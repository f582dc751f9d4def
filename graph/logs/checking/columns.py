"""What lies in a table's Parquet files, and the SQL that reads each column as the contract's type.

Only the files' footers are read here, so a wrong type or a damaged file is told before any work is done.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from configs.console import warn
from graph.logs.checking.footers import (
    FILE,
    agreed_family,
    check_names,
    check_spelling,
    check_times,
    check_unsigned,
    footer_of,
    missing,
    schema_of,
)
from graph.logs.contract import ContractColumn, Kind, family_of
from graph.logs.database import first_line, name, patterns, text
from graph.logs.problems import Problems

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
        types: any column → DuckDB's type.
        replaced: whether bytes that are not UTF-8 are read as ``?``.
    """

    root: Path
    rows_of: dict[Path, int]
    contract: dict[str, str]
    families: dict[str, str]
    extra: dict[str, str]
    absent: tuple[ContractColumn, ...]
    empty: tuple[Path, ...]
    types: dict[str, str]
    replaced: bool = False

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(self.rows_of)

    @property
    def rows(self) -> int:
        return sum(self.rows_of.values())

    def scan(self, files: Sequence[Path] | None = None, not_utf8: str = "") -> str:
        """The SQL that reads the files with the raw columns, the file's name and the row's number in it.

        Args:
            files: some of the table's; all by default.
            not_utf8: what is done with bytes that are not UTF-8: ``replace``, ``ignore`` or ``strict``.
        """
        validation = not_utf8 or ("replace" if self.replaced else "strict")
        return (
            f"read_parquet({patterns(self.files if files is None else files)}, union_by_name = true, "
            f"hive_partitioning = false, filename = {text(FILE)}, file_row_number = true, "
            f"utf8_validation = {text(validation)})"
        )

    def shown(self, file: Path | str) -> str:
        """A file's name as messages show it."""
        path = Path(file)
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


def inspect(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[Path],
    columns: Sequence[ContractColumn],
    root: Path,
    problems: Problems,
    replaced: bool = False,
) -> SourceTable | None:
    """Read the footers of a table's files and settle how each column is read.

    Args:
        connection: to describe the files' columns with.
        files: of the table.
        columns: the contract's.
        root: what file names in messages are relative to.
        problems: are added to: damaged files, missing required columns, wrong types, types that differ between files,
            names that cannot be used. The table is None if there are any.
        replaced: whether bytes that are not UTF-8 are read as ``?``.
    """
    before = len(problems.told)
    schemas, rows_of = {}, {}
    for file in files:
        with problems.collecting():
            footer = footer_of(file)
            schemas[file], rows_of[file] = schema_of(file, footer), footer.num_rows
    filled = tuple(file for file in schemas if rows_of[file])
    if schemas and not filled:
        problems.add(f"{files[0]} has no rows: an empty table cannot be read; write the log again")
    if not check_names(schemas, problems) or not filled:
        return None
    check_spelling(schemas, columns, problems)
    families, absent = {}, []
    for column in columns:
        types = {file: s.field(column.name).type for file, s in schemas.items() if column.name in s.names}
        if not types or (not column.required and {family_of(type_) for type_ in types.values()} == {"null"}):
            if column.required:
                problems.add(missing(column, filled[0], schemas[filled[0]]))
            absent.append(column)
            continue
        families[column.name] = agreed_family(column, types, schemas, problems)
    moments = [column.name for column in columns if column.kind is Kind.timestamp]
    check_times(filled, schemas, moments, problems)
    described = _described(connection, filled, schemas, problems)
    ids = [column.name for column in columns if column.kind is Kind.id]
    check_unsigned(connection, filled, described, ids, problems)
    if len(problems.told) > before:
        return None
    known = {column.name for column in columns}
    extra = {column: _plain(column, type_) for column, type_ in described.items() if column not in known}
    extra = _writable(connection, filled, extra, described)
    return SourceTable(
        root=root,
        rows_of={file: rows_of[file] for file in filled},
        contract={c.name: _expression(c, families[c.name], described[c.name]) for c in columns if c.name in families},
        families=families,
        extra=extra,
        absent=tuple(absent),
        empty=tuple(file for file in schemas if file not in filled),
        types=described,
        replaced=replaced,
    )


def unlabelled(columns: Sequence[ContractColumn]) -> tuple[ContractColumn, ...]:
    """The contract of a log that is only scored: nothing is known of clicks and orders."""
    return tuple(replace(column, required=column.required and column.name not in LABELS) for column in columns)


def without_labels(table: SourceTable) -> SourceTable:
    """A table whose clicks and orders are not read, if it has any."""
    contract = {name: expression for name, expression in table.contract.items() if name not in LABELS}
    return replace(table, contract=contract, absent=tuple(c for c in table.absent if c.name not in LABELS))


def _described(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[Path],
    schemas: Mapping[Path, pa.Schema],
    problems: Problems,
) -> dict[str, str]:
    """Column → DuckDB's type over all files, which must have one that holds them all."""
    described, reason = {}, ""
    source = f"read_parquet({patterns(files)}, union_by_name = true, hive_partitioning = false)"
    try:
        described = {
            column: type_ for column, type_, *_ in connection.sql(f"DESCRIBE SELECT * FROM {source}").fetchall()
        }
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        reason = first_line(error)
    files_of: dict[str, dict[pa.DataType, Path]] = {}
    for file in files:
        for field in schemas[file]:
            files_of.setdefault(field.name, {}).setdefault(field.type, file)
    mixed = {column: of for column, of in files_of.items() if len(of) > 1}
    if not reason:  # numbers and text go together, but nothing goes together with a struct
        mixed = {column: of for column, of in mixed.items() if len({_shape(type_) for type_ in of}) > 1}
    for column, of in mixed.items():
        listed = " and ".join(f"{type_} in {file}" for type_, file in list(of.items())[:2])
        problems.add(f"column {column!r} is {listed}: write one type in all files")
    if reason and not mixed:
        problems.add(f"{files[0]}: its columns cannot be read ({reason}): leave the column out")
    return described


def _shape(type_: pa.DataType) -> str:
    if pa.types.is_null(type_) or not pa.types.is_nested(type_):
        return "single"
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return "list" if any(test(type_) for test in lists) and not pa.types.is_nested(type_.value_type) else str(type_)


def _writable(
    connection: duckdb.DuckDBPyConnection, files: Sequence[Path], extra: dict[str, str], types: Mapping[str, str]
) -> dict[str, str]:
    """The columns that Parquet can hold again; others, such as intervals, are left out and said."""

    def can_write(columns: Mapping[str, str]) -> bool:
        chosen = ", ".join(f"{expression} AS {name(column)}" for column, expression in columns.items())
        try:
            schema = connection.sql(f"SELECT {chosen} FROM {source} LIMIT 0").to_arrow_table().schema
            pq.ParquetWriter(pa.BufferOutputStream(), schema).close()
        except (pa.ArrowException, duckdb.NotImplementedException):
            return False
        return True

    source = f"read_parquet({patterns(files)}, union_by_name = true, hive_partitioning = false)"
    if not extra or can_write(extra):
        return extra
    writable = {column: expression for column, expression in extra.items() if can_write({column: expression})}
    for column in extra:
        if column not in writable:
            warn(f"{files[0]}: column {column!r} has type {types[column]}, which cannot be written again: left out")
    return writable


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


def _expression(column: ContractColumn, family: str, type_: str) -> str:
    """The canonical value of a contract column; what cannot be one becomes null and is told by the checks."""
    quoted = name(column.name)
    if column.kind is Kind.id:
        if family == "integer":
            return f"TRY_CAST({quoted} AS BIGINT)"
        return quoted if column.name == "query" else f"NULLIF({quoted}, '')"
    if column.kind is Kind.timestamp:
        # There is no direct way from nanoseconds with a zone, which is how pandas writes times.
        zoned = f"CAST({quoted} AS TIMESTAMPTZ)" if type_ == "TIMESTAMPTZ_NS" else quoted
        return f"date_trunc('millisecond', CAST({zoned} AS TIMESTAMP))"
    if column.kind is Kind.stage:
        return f"lower(trim({quoted}))"
    if column.kind is Kind.flag:
        return quoted if family == "boolean" else f"CASE {quoted} WHEN 0 THEN false WHEN 1 THEN true END"
    # Frames with missing values write NaN for null: it means missing, unlike an infinite value, which is bad.
    return f"CASE WHEN isnan(CAST({quoted} AS DOUBLE)) THEN NULL ELSE CAST({quoted} AS DOUBLE) END"


def with_history(table: SourceTable, problems: Problems) -> SourceTable:
    """The impressions with ``history`` as lists of item ids, which the graph reads; without any, as null lists.

    A history of another type is added to ``problems``.
    """
    if "history" not in table.types:
        return table
    type_, ids = table.types["history"], table.families["item_id"]
    element, bracket, rest = type_.partition("[")
    if element == '"NULL"' and (not bracket or rest.endswith("]")):
        wanted = "BIGINT[]" if ids == "integer" else "VARCHAR[]"
        return replace(table, extra=table.extra | {"history": f"CAST(NULL AS {wanted})"})
    if bracket and "[" not in rest and element in (INTEGERS if ids == "integer" else {"VARCHAR"}):
        return table
    problems.add(
        f"{table.files[0]}: column 'history' has type {type_}; write it as a list of item ids "
        f"({'int64' if ids == 'integer' else 'string'}, as item_id), the latest first, or give it another name"
    )
    return table


def tell_absent(table: SourceTable, what: str) -> None:
    """Say out loud what is assumed where whole columns are missing, and which files are empty."""
    for column in table.absent:
        if column.assumed:
            warn(f"{what} has no column {column.name!r}: {column.assumed}")
    if table.empty:
        warn(f"{len(table.empty)} files of {what} have no rows, e.g. {table.shown(table.empty[0])}")
