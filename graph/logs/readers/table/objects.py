"""JSON files, an object a line or an array of objects: a key becomes a column of the type that all its values fit."""

from __future__ import annotations

import glob
import shutil
from collections.abc import Sequence
from pathlib import Path

import duckdb

from configs.errors import InputError
from graph.logs.database import name, text
from graph.logs.readers.table.lines import opened
from graph.logs.readers.table.texts import exact_types, typed

LARGEST_OBJECT = 64_000_000
"""Bytes of one object at most."""
TIMES = ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE")
"""What a column of strings may become: JSON has no times of its own."""
END = 4096
"""Bytes at both ends of a file in which its brackets are looked for."""
BOM = b"\xef\xbb\xbf"


def read_objects(
    connection: duckdb.DuckDBPyConnection, files: Sequence[str], raw: str, broken: str, scratch: Path
) -> None:
    """Make the table ``raw`` of the objects' keys; values that are no objects go to ``broken``.

    Raises:
        InputError: if no object is there.
    """
    connection.execute("CREATE OR REPLACE TABLE objects (__source VARCHAR, __source_row BIGINT, json JSON)")
    for file in files:
        _require_whole(file)
        place = file if "://" in file else glob.escape(_without_bom(file, scratch))
        lines = any(part in file.lower() for part in (".jsonl", ".ndjson"))
        scan = (
            f"read_json({text(place)}, format = {text('newline_delimited' if lines else 'auto')}, records = false, "
            f"columns = {{'json': 'JSON'}}, ignore_errors = {str(lines).lower()}, hive_partitioning = false, "
            f"maximum_object_size = {LARGEST_OBJECT})"
        )
        connection.execute(f"INSERT INTO objects SELECT {text(file)}, row_number() OVER () - 1, json FROM {scan}")
    connection.execute(
        f"INSERT INTO {broken} SELECT __source, __source_row, 'the value is no JSON object in UTF-8', "
        "coalesce(CAST(json AS VARCHAR), 'null') FROM objects WHERE NOT coalesce(json_type(json) = 'OBJECT', false)"
    )
    connection.execute("DELETE FROM objects WHERE NOT coalesce(json_type(json) = 'OBJECT', false)")
    ((structure,),) = connection.sql("SELECT json_group_structure(json) FROM objects").fetchall()
    if structure in (None, "{}"):
        raise InputError(f"{files[0]} holds no JSON object with a key: expected one a line, or an array of them")
    connection.execute(
        "CREATE OR REPLACE TABLE keys AS SELECT __source, __source_row, unnest(fields) FROM "
        f"(SELECT __source, __source_row, json_transform(json, {text(structure)}) AS fields FROM objects)"
    )
    connection.execute("DROP TABLE objects")
    described = {column: type_ for column, type_, *_ in connection.sql("DESCRIBE keys").fetchall()}
    strings = [column for column, type_ in described.items() if type_ == "VARCHAR" and column != "__source"]
    types = exact_types(connection, "keys", strings, dict.fromkeys(strings, TIMES), ".")
    sqls = {column: _plain(connection, column, type_) for column, type_ in described.items()}
    sqls |= {column: typed(column, type_, ".") for column, type_ in types.items()}
    chosen = ", ".join(f"{sql} AS {name(column)}" for column, sql in sqls.items())
    connection.execute(f"CREATE TABLE {raw} AS SELECT {chosen} FROM keys")
    connection.execute("DROP TABLE keys")


def _plain(connection: duckdb.DuckDBPyConnection, column: str, type_: str) -> str:
    """Whole numbers with a sign where they fit; keys of several types, or of none, as text."""
    quoted = name(column)
    if type_ == "UBIGINT":
        ((largest,),) = connection.sql(f"SELECT max({quoted}) FROM keys").fetchall()
        return f"CAST({quoted} AS BIGINT)" if largest is None or largest < 2**63 else quoted
    if type_ == "JSON":
        return f"{quoted} ->> '$'"
    return f"CAST({quoted} AS VARCHAR)" if type_ == '"NULL"' else quoted


def _require_whole(file: str) -> None:
    """Refuse an array that does not end: DuckDB reads what there is of it.

    Raises:
        InputError: if a file begins with a bracket and does not end with one.
    """
    if "://" in file or not file.lower().endswith(".json"):
        return
    with Path(file).open("rb") as stream:
        first = stream.read(END).removeprefix(BOM).lstrip()[:1]
        stream.seek(max(0, Path(file).stat().st_size - END))
        last = stream.read().rstrip()[-1:]
    if first == b"[" and last != b"]":
        raise InputError(f"{file} begins with [ and does not end with ]: it was cut off; copy it again")


def _without_bom(file: str, scratch: Path) -> str:
    """The file, or a copy of it without the mark that some programs begin UTF-8 with."""
    with opened(file) as stream:
        if stream.read(len(BOM)) != BOM:
            return file
        copy = scratch / "without_bom.json"
        with copy.open("wb") as written:
            shutil.copyfileobj(stream, written)
    return str(copy)
