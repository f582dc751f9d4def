"""Every row is accounted for: rows read = rows kept + rows rejected + rows said to be left out, at every step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from configs.console import say
from configs.errors import InputError
from graph.logs.checking.checks import Impressions
from graph.logs.checking.columns import SourceTable
from graph.logs.checking.tables import KeyedTable
from graph.logs.contract import RawLog
from graph.logs.database import texts


@dataclass(frozen=True)
class Account:
    """What became of the rows of one table; ``left_out``: reason → rows."""

    read: int
    kept: int
    rejected: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)

    def require(self, where: str) -> None:
        """The rows read are those kept, rejected and left out, together.

        Raises:
            InputError: if they are not; names the numbers.
        """
        require_equal(self.read, self.kept + self.rejected + sum(self.left_out.values()), f"{where}: {self}")

    def __str__(self) -> str:
        parts = [f"{self.kept:,} kept", f"{self.rejected:,} rejected"]
        parts += [f"{count:,} left out ({reason})" for reason, count in self.left_out.items()]
        return f"{self.read:,} rows read = {' + '.join(parts)}"

    @property
    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def tell(self, what: str) -> None:
        """Print the account in one line."""
        say(f"{what}: {self}")


def require_equal(expected: int, counted: int, where: str) -> None:
    """Two counts of the same rows agree.

    Raises:
        InputError: if they do not: rows were lost or repeated in silence, which is a defect and not the data's fault.
    """
    if expected != counted:
        raise InputError(
            f"{where}: {expected:,} rows were expected and {counted:,} are accounted for. That is a defect of this "
            "program, or the files changed while they were read: run the command again, and report it if it stays"
        )


def rows_in(path: Path) -> int:
    """Rows of a Parquet file, or of all below a folder, by their footers."""
    files = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
    return sum(int(pq.read_metadata(file).num_rows) for file in files)


def account_all(
    connection: duckdb.DuckDBPyConnection,
    raw: RawLog,
    impressions: Impressions,
    tables: Mapping[str, KeyedTable],
    seen: Mapping[str, int],
    folder: Path,
) -> dict[str, Account]:
    """The account of each table, from what a reader handed over to the files in ``folder``.

    Args:
        seen: reason → good rows that the run which the log goes on from has seen.

    Raises:
        InputError: if rows were lost or repeated at any step.
    """
    accounts = {"impressions": _account_impressions(connection, raw, impressions, seen, folder)}
    return accounts | {called: _account_table(connection, table, called, folder) for called, table in tables.items()}


def _account_impressions(
    connection: duckdb.DuckDBPyConnection,
    raw: RawLog,
    impressions: Impressions,
    seen: Mapping[str, int],
    folder: Path,
) -> Account:
    """What became of every source row, from the reader to the files written.

    Raises:
        InputError: if rows were lost or repeated at any step.
    """
    table, before = impressions.table, rows_in(raw.rejected) if raw.rejected is not None else 0
    passed = before + sum(raw.left_out.values())
    read = passed + table.rows if raw.read is None else raw.read
    Account(read, table.rows, before, raw.left_out).require(f"the reader of {raw.impressions}")
    in_splits, in_none = connection.sql(
        "SELECT coalesce(sum(size) FILTER (split IS NOT NULL), 0), coalesce(sum(size) FILTER (split IS NULL), 0) "
        "FROM requests LEFT JOIN assigned USING (request_id)"
    ).fetchall()[0]
    left_out = dict(Counter(raw.left_out) + Counter(seen))
    left_out |= {"their day is in no split": int(in_none)} if in_none else {}
    account = Account(read, int(in_splits), before + _rejected_of(connection, table), left_out)
    account.require(f"the checks of {raw.impressions}")
    require_equal(account.kept, rows_in(folder / "impressions"), f"writing {folder / 'impressions'}")
    return account


def _account_table(connection: duckdb.DuckDBPyConnection, table: KeyedTable, called: str, folder: Path) -> Account:
    """What became of every row of a table beside the impressions.

    Raises:
        InputError: if rows were lost or repeated.
    """
    kept = rows_in(folder / f"{called}.parquet")
    account = Account(table.source.rows, kept, _rejected_of(connection, table.source))
    account.require(f"the checks of {called}")
    return account


def _rejected_of(connection: duckdb.DuckDBPyConnection, table: SourceTable) -> int:
    """Rows of a table that the checks rejected."""
    files = texts([str(file) for file in table.files])
    counted = connection.sql(f"SELECT count(*) FROM rejected WHERE list_contains({files}, file)")
    return int(counted.fetchall()[0][0])
