"""Bad rows: written to ``rejected.parquet`` with their reason, counted out loud, and an error above a share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from configs.console import warn
from configs.errors import InputError
from graph.logs.checking.columns import SourceTable
from graph.logs.checking.footers import FILE, ROW
from graph.logs.contract import REJECTED_SCHEMA
from graph.logs.database import name, place, reading, text, texts, write_table

SHOWN_REASONS = 6
SHOWN_CONTENT = 300


def collect_rejected(
    connection: duckdb.DuckDBPyConnection, tables: Sequence[SourceTable], before: Path | None, path: Path
) -> dict[str, int]:
    """Write all rejected rows with their content; return the number of rows by reason, most first.

    Args:
        tables: the tables whose bad rows the table ``rejected`` names by file and row.
        before: rows that the reader rejected already, of `REJECTED_SCHEMA`.
        path: the Parquet file to write.
    """
    parts = [_content(connection, table) for table in tables]
    if before is not None:
        parts.append(f"SELECT source, row, reason, content FROM read_parquet({place(before)})")
    query = f"{' UNION ALL '.join(part for part in parts if part) or _nothing()} ORDER BY source, row"
    with reading(tables[0].root):
        write_table(connection.sql(query).to_arrow_reader(10_000), path, REJECTED_SCHEMA)
    counts = connection.sql(
        f"SELECT reason, count(*) FROM read_parquet({place(path)}) GROUP BY reason ORDER BY count(*) DESC, reason"
    ).fetchall()
    return dict(counts)


def tell_rejected(counts: dict[str, int], rows: int, allowed: float, path: Path, where: Path) -> None:
    """Warn of every reason with its count; stop where the share of bad rows is above ``allowed``.

    Args:
        counts: number of bad rows by reason.
        rows: number of rows read, bad ones included.
        allowed: ``data.rejected_share``.
        path: the file of rejected rows.
        where: the log, for the message.

    Raises:
        InputError: above the share; names columns, counts, and an example with its file and row for each reason.
    """
    bad = sum(counts.values())
    if not bad:
        return
    lines = [f"  {count:,} rows: {reason}; e.g. {_example(path, reason)}" for reason, count in counts.items()]
    if len(lines) > SHOWN_REASONS:
        lines = [*lines[:SHOWN_REASONS], f"  and {len(lines) - SHOWN_REASONS} more reasons"]
    share = f"{bad:,} of {rows:,} rows ({bad / max(rows, 1):.2%}) of {where} are bad"
    listed = "\n".join(lines)
    if bad > allowed * rows:
        raise InputError(
            f"{share}, more than data.rejected_share={allowed} allows:\n{listed}\n"
            f"all of them are listed in {path}: mend the log, or raise data.rejected_share to go on without them"
        )
    warn(f"{share} and left out; they are listed in {path.name}:\n{listed}")


def _content(connection: duckdb.DuckDBPyConnection, table: SourceTable) -> str:
    """The SQL of a table's rejected rows with their content as JSON; empty where none is."""
    files = texts([str(file) for file in table.files])
    rows = connection.sql(f"SELECT DISTINCT file FROM rejected WHERE list_contains({files}, file)").fetchall()
    if not rows:
        return ""
    sources = [Path(file) for (file,) in rows]
    connection.execute("CREATE TABLE IF NOT EXISTS shown_files (file VARCHAR, shown VARCHAR)")
    connection.executemany("INSERT INTO shown_files VALUES (?, ?)", [(str(s), table.shown(s)) for s in sources])
    with reading(table.root):
        raw = connection.sql(f"SELECT * EXCLUDE ({FILE}, {ROW}) FROM {table.scan(sources)} LIMIT 0").columns
    pairs = ", ".join(f"{text(column)}, raw.{name(column)}" for column in raw)
    return (
        f"SELECT shown AS source, rejected.row AS row, rejected.reason AS reason, "
        f"CAST(json_object({pairs}) AS VARCHAR) AS content FROM {table.scan(sources)} AS raw "
        f"JOIN rejected ON raw.{FILE} = rejected.file AND raw.{ROW} = rejected.row "
        "JOIN shown_files ON shown_files.file = rejected.file"
    )


def _nothing() -> str:
    return "SELECT '' AS source, CAST(0 AS BIGINT) AS row, '' AS reason, '' AS content WHERE false"


def _example(path: Path, reason: str) -> str:
    example = pq.read_table(path, filters=[("reason", "=", reason)]).slice(0, 1).to_pylist()[0]
    content = example["content"]
    content = content if len(content) <= SHOWN_CONTENT else content[:SHOWN_CONTENT] + "..."
    return f"{example['source']} row {example['row']:,} (from 0): {content}"
