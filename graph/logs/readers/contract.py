"""``data=contract``: a folder that is in the search-log contract already."""

from __future__ import annotations

from pathlib import Path

from configs.errors import InputError
from configs.schema import DataConfig
from graph.logs.contract import RawLog, source_path

EXPECTED = "a folder with impressions/day=YYYY-MM-DD/*.parquet and items.parquet"


def read(data: DataConfig, seed: int, folder: Path) -> RawLog:
    """Point at the user's own files: nothing is copied, ``seed`` and ``folder`` are not used.

    Raises:
        InputError: if ``data.path`` is no such folder.
    """
    root = source_path(data, EXPECTED)
    if not root.is_dir():
        raise InputError(f"data.path={data.path} is a file: expected {EXPECTED}")
    optional = {name: root / f"{name}.parquet" for name in ("users", "queries")}
    return RawLog(
        impressions=root / "impressions",
        items=root / "items.parquet",
        **{name: path for name, path in optional.items() if path.exists()},
    )
