"""``data=contract``: a folder that is in the search-log contract already."""

from __future__ import annotations

from pathlib import Path

from configs.schema import DataConfig
from graph.logs.contract import RawLog, source_folder

EXPECTED = "a folder with impressions/day=YYYY-MM-DD/*.parquet and items.parquet"


def read(data: DataConfig, seed: int, folder: Path) -> RawLog:
    """Point at the user's own files: nothing is copied, ``seed`` and ``folder`` are not used.

    Raises:
        InputError: if ``data.path`` is no such folder.
    """
    del seed, folder
    root = source_folder(data, EXPECTED)
    users, queries = (path if path.exists() else None for path in (root / "users.parquet", root / "queries.parquet"))
    return RawLog(root / "impressions", root / "items.parquet", users, queries)
