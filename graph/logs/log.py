"""The checked log: what every later stage reads, whatever the source was."""

from __future__ import annotations

import glob
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from configs.errors import InputError
from configs.stages import identity_of, mend, read_json

MADE_BY = "python -m pretrain.run"
FILE, DAY_OF_FILE = "__file", "/day=([^/]*)/[^/]*$"
"""A column that no log has, for a row's file, and where the day stands in it."""


@dataclass(frozen=True)
class SearchLog:
    """A finished folder of checked logs.

    Args:
        folder: holds impressions, items and ``log.json``.
        facts: ``log.json``: counts, splits, tasks, columns.
        identity: of the stage that wrote it.

    Examples:
        >>> from configs import parse
        >>> from graph import SearchLog
        >>> log = SearchLog.open(parse(["run=notebook"]).run.logs)
        >>> "title" in log.items().column_names
        True
    """

    folder: Path
    facts: dict[str, Any]
    identity: str

    @classmethod
    def open(cls, folder: Path) -> SearchLog:
        """Open a finished log.

        Raises:
            InputError: if the folder is missing or unfinished.
        """
        identity = identity_of(folder, MADE_BY)
        return cls(folder, read_json(folder / "log.json"), identity)

    @property
    def catalogue(self) -> str:
        """The fingerprint of the item ids in their order."""
        return str(self.facts["catalogue"])

    def dataset(self) -> ds.Dataset:
        """All impressions, in order of days, with the column ``day`` as a string."""
        partition = ds.partitioning(pa.schema([("day", pa.string())]), flavor="hive")
        return ds.dataset(self.folder / "impressions", format="parquet", partitioning=partition)

    def items(self) -> pa.Table:
        """One row an item; the row's number is the item index of every later stage."""
        return read_table(self.folder / "items.parquet")

    def users(self) -> pa.Table | None:
        """User attributes, where the log has them."""
        return _optional(self.folder / "users.parquet")

    def queries(self) -> pa.Table | None:
        """Query attributes, where the log has them."""
        return _optional(self.folder / "queries.parquet")


def impressions_rows(folder: Path) -> str:
    """The SQL that reads a checked log's impressions in DuckDB, with ``day`` as text.

    The day is that of the file's own folder: folders further above may be named ``key=value`` too, and are no data.
    """
    pattern = impressions_pattern(folder).replace("'", "''")
    return (
        f"(SELECT * EXCLUDE ({FILE}), regexp_extract({FILE}, '{DAY_OF_FILE}', 1) AS day "
        f"FROM read_parquet('{pattern}', hive_partitioning = false, filename = '{FILE}'))"
    )


def impressions_pattern(folder: Path) -> str:
    """The files of a checked log's impressions, for engines that read by pattern; the folder may be called ``a[1]``."""
    return str(Path(glob.escape(str(folder))) / "impressions" / "day=*" / "*.parquet")


def catalogue_fingerprint(ids: pa.Array | pa.ChunkedArray) -> str:
    """SHA-256 over item ids in order: equal exactly where two tables hold the same items in the same order.

    Integers of any width agree, and so do the string types; an integer and the string of its digits do not.

    Raises:
        ValueError: if an id is null or of another type.
    """
    # Lengths and contents are digested apart, so that the cut into chunks plays no part.
    kinds, lengths, contents = set(), hashlib.sha256(), hashlib.sha256()
    for chunk in ids.chunks if isinstance(ids, pa.ChunkedArray) else [ids]:
        if pa.types.is_dictionary(chunk.type):
            chunk = chunk.dictionary_decode()
        if chunk.null_count:
            raise ValueError(f"{chunk.null_count} item ids are null")
        if pa.types.is_integer(chunk.type):
            kinds.add("integer")
            contents.update(np.ascontiguousarray(chunk.cast(pa.int64()).to_numpy()).tobytes())
        elif pa.types.is_string(chunk.type) or pa.types.is_large_string(chunk.type):
            kinds.add("string")
            lengths.update(pc.binary_length(chunk).cast(pa.int64()).to_numpy(zero_copy_only=False).tobytes())
            contents.update("".join(chunk.to_pylist()).encode())
        else:
            raise ValueError(f"item ids must be integers or strings, not {chunk.type}")
    parts = [",".join(sorted(kinds)), lengths.hexdigest(), contents.hexdigest()]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def read_table(path: Path) -> pa.Table:
    """Read a Parquet file that a stage wrote, whole.

    Raises:
        InputError: if it is missing or damaged.
    """
    try:
        return pq.read_table(path)
    except (FileNotFoundError, pa.ArrowInvalid, OSError) as error:
        reason = "missing" if isinstance(error, FileNotFoundError) else str(error).splitlines()[0]
        raise InputError(f"{path} cannot be read ({reason}): {mend(path)}") from None


def _optional(path: Path) -> pa.Table | None:
    return read_table(path) if path.exists() else None
