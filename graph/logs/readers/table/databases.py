"""Tables of a DuckDB file or a Postgres server, and files on S3: what DuckDB needs its extensions for."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from configs.errors import InputError
from graph.logs.database import name, text
from graph.logs.readers.table.expressions import is_select
from graph.logs.readers.table.sources import REMOTE

POSTGRES = ("postgresql://", "postgres://")
BATCH_ROWS = 65_536
SHOWN_TABLES = 20
SECRETS = {
    "KEY_ID": "AWS_ACCESS_KEY_ID",
    "SECRET": "AWS_SECRET_ACCESS_KEY",
    "SESSION_TOKEN": "AWS_SESSION_TOKEN",
    "REGION": "AWS_REGION",
    "ENDPOINT": "AWS_ENDPOINT_URL_S3",
}
"""What DuckDB calls S3's credentials → the environment variable that they are taken from."""


@contextmanager
def rows_of_database(database: str, table: str, where: str) -> Iterator[pa.RecordBatchReader]:
    """The rows of a table, or of a SELECT, of a database that is only read; a SELECT reaches nothing else.

    Args:
        database: a DuckDB file, or the address of a Postgres server.
        table: the table's name, with or without its schema, or a SELECT.
        where: the mapping's section, for messages.

    Raises:
        InputError: if the database or the table cannot be read.
    """
    with _opened(database, where) as connection:
        try:
            query = table if is_select(table) else "FROM " + ".".join(name(part) for part in table.split("."))
            batches = connection.sql(query).to_arrow_reader(BATCH_ROWS)
        except duckdb.Error as error:
            there = ", ".join(_tables(connection)) or "none"
            raise InputError(
                f"{where}.table: {table!r} cannot be read from {without_password(database)} ("
                f"{str(error).splitlines()[0]}); its tables are {there}"
            ) from None
        yield batches


@contextmanager
def _opened(database: str, where: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection from which nothing but the database can be read."""
    path = Path(database).expanduser()
    local = not database.startswith(POSTGRES)
    if local and not path.is_file():
        raise InputError(
            f"{where}.database: {without_password(database)} is no file: expected a DuckDB file, or "
            "postgresql://user@host/name"
        )
    try:
        connection = duckdb.connect(config={"python_enable_replacements": False})
        if not local:
            load_extension(connection, "postgres", where)
        how = "READ_ONLY" if local else "TYPE postgres, READ_ONLY"
        connection.execute(f"ATTACH {text(path if local else database)} AS source ({how})")
        connection.execute("SET TimeZone = 'UTC'; USE source; SET enable_external_access = false")
    except duckdb.Error as error:
        reason = str(error).replace(database, without_password(database)).splitlines()[0]
        raise InputError(f"{where}.database: {without_password(database)} cannot be opened: {reason}") from None
    try:
        yield connection
    finally:
        connection.close()


def _tables(connection: duckdb.DuckDBPyConnection) -> list[str]:
    rows = connection.execute(
        "SELECT table_schema || '.' || table_name FROM information_schema.tables WHERE table_catalog = 'source' "
        f"ORDER BY ALL LIMIT {SHOWN_TABLES}"
    )
    return [table for (table,) in rows.fetchall()]


def reach_remote(connection: duckdb.DuckDBPyConnection, files: Sequence[str], where: str) -> None:
    """Let a connection read remote files, where there are any; S3's credentials come from the environment.

    Raises:
        InputError: if DuckDB's extension for it is neither there nor to be had.
    """
    if not any(file.startswith(REMOTE) for file in files):
        return
    load_extension(connection, "httpfs", where)
    values = {key: os.environ[variable] for key, variable in SECRETS.items() if variable in os.environ}
    if "KEY_ID" in values:
        stated = ", ".join(f"{key} {text(re.sub('^https?://', '', value))}" for key, value in values.items())
        connection.execute(f"CREATE OR REPLACE TEMPORARY SECRET (TYPE s3, {stated})")


def load_extension(connection: duckdb.DuckDBPyConnection, extension: str, where: str) -> None:
    """Load an extension of DuckDB, installed before or now.

    Raises:
        InputError: if it cannot be had.
    """
    try:
        connection.execute(f"LOAD {extension}")
        return
    except duckdb.Error:
        pass
    try:
        connection.execute(f"INSTALL {extension}; LOAD {extension}")
    except duckdb.Error:
        raise InputError(
            f"{where}: needs DuckDB's extension {extension}, which is not installed here and cannot be downloaded: "
            f"run `INSTALL {extension}` in DuckDB {duckdb.__version__} with a network, or export the table to Parquet"
        ) from None


def without_password(database: str) -> str:
    """An address as messages may show it."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", database)
