"""``data=contract``: a folder that is in the search-log contract already."""

from __future__ import annotations

from pathlib import Path

from configs.console import warn
from configs.schema import DataConfig
from graph.logs.contract import RawLog, hidden, is_parquet, source_folder

EXPECTED = "a folder with impressions/day=YYYY-MM-DD/*.parquet and items.parquet"

TABLES = ("impressions", "items.parquet", "users.parquet", "queries.parquet")
SHOWN = 10


def read(data: DataConfig, seed: int, folder: Path) -> RawLog:
    """Point at the user's own files: nothing is copied, ``seed`` and ``folder`` are not used.

    Raises:
        InputError: if ``data.path`` is no such folder.
    """
    del seed, folder
    root = source_folder(data, EXPECTED)
    _tell_not_read(root)
    users, queries = (path if path.exists() else None for path in (root / "users.parquet", root / "queries.parquet"))
    return RawLog(root / "impressions", root / "items.parquet", users, queries)


def _tell_not_read(root: Path) -> None:
    """Say what lies beside the tables, in case it was meant to be one."""
    others = [entry for entry in root.iterdir() if not hidden(entry) and entry.name not in TABLES]
    if (root / "impressions").is_dir():
        others += [e for e in (root / "impressions").iterdir() if e.is_file() and not hidden(e) and not is_parquet(e)]
    if others:
        names = [f"{entry.relative_to(root)}{'/' if entry.is_dir() else ''}" for entry in sorted(others)]
        shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
        warn(f"not read: {shown} (a log is {', '.join(TABLES)})")
