"""The search-log contract: its columns, the types accepted for each, and what a reader hands over.

One row per (request, item), in ``impressions/day=YYYY-MM-DD/*.parquet``; one row per item in ``items.parquet``;
optional ``users.parquet`` and ``queries.parquet``. Any other column is kept. The page: docs/reference/log_contract.md.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import pyarrow as pa

from configs.errors import InputError
from configs.schema import DataConfig
from graph.logs.problems import Problems

MAGIC = b"PAR1"
"""What every Parquet file begins with."""

STAGES = ("exposed", "ranked", "passed", "recalled", "random")
"""How far an item got: shown; ranked, not shown; passed by the pre-ranker; recalled; a negative from the catalogue."""

RANKED_STAGES = ("exposed", "ranked")
"""The stages in which the ranking model gave the item a position."""

SPLITS = ("train", "validation", "test")


class Kind(StrEnum):
    """What a contract column holds, whatever its physical type."""

    id = "id"
    timestamp = "timestamp"
    stage = "stage"
    flag = "flag"
    whole = "whole"
    number = "number"


ACCEPTED = {
    Kind.id: {"integer", "string"},
    Kind.timestamp: {"timestamp", "date"},
    Kind.stage: {"string"},
    Kind.flag: {"boolean", "integer"},
    Kind.whole: {"integer", "float"},
    Kind.number: {"integer", "float", "decimal"},
}
"""Families of Arrow types (see `family_of`) that are read as each kind."""

ADVICE = {
    Kind.id: "write it as int64 or string",
    Kind.timestamp: "write it as timestamp[ms, UTC], e.g. pandas.to_datetime(seconds, unit='s', utc=True)",
    Kind.stage: f"write it as a string, one of {', '.join(STAGES)}",
    Kind.flag: "write it as bool",
    Kind.whole: "write it as int32, null where the item was not ranked",
    Kind.number: "write it as float32",
}

CANONICAL = {
    Kind.timestamp: pa.timestamp("ms", tz="UTC"),
    Kind.stage: pa.string(),
    Kind.flag: pa.bool_(),
    Kind.whole: pa.int32(),
    Kind.number: pa.float32(),
}
"""Types of the checked log; an id stays int64 or string, as in the source."""


@dataclass(frozen=True)
class ContractColumn:
    """One contract column; ``assumed`` says what is read where the whole column is missing."""

    name: str
    kind: Kind
    required: bool = False
    nullable: bool = False
    assumed: str = ""


IMPRESSION_COLUMNS = (
    ContractColumn("request_id", Kind.id, required=True),
    ContractColumn("user_id", Kind.id, required=True),
    ContractColumn("query", Kind.id, required=True),
    ContractColumn("item_id", Kind.id, required=True),
    ContractColumn("timestamp", Kind.timestamp, required=True),
    ContractColumn("stage", Kind.stage, assumed="every row is taken as exposed"),
    ContractColumn(
        "position", Kind.whole, nullable=True, assumed="the position is unknown: the rank task is switched off"
    ),
    ContractColumn("rank_score", Kind.number, nullable=True),
    ContractColumn("clicked", Kind.flag, required=True),
    ContractColumn("ordered", Kind.flag, assumed="nothing is taken as ordered: the order task is switched off"),
    ContractColumn("price", Kind.number, nullable=True),
    ContractColumn("propensity", Kind.number, nullable=True),
    ContractColumn("session_id", Kind.id, nullable=True),
)
ALWAYS_WRITTEN = tuple(c.name for c in IMPRESSION_COLUMNS if c.name not in ("propensity", "session_id"))
ITEM_COLUMNS = (
    ContractColumn("item_id", Kind.id, required=True),
    ContractColumn("price", Kind.number, nullable=True),
    ContractColumn("listed_at", Kind.timestamp, nullable=True),
)
USER_COLUMNS = (ContractColumn("user_id", Kind.id, required=True),)
QUERY_COLUMNS = (ContractColumn("query", Kind.id, required=True),)

RESERVED = ("day", "split")
"""Written by us: ``day`` is the folder's name and ``split`` follows from ``data.split``."""

REJECTED_SCHEMA = pa.schema(
    [("source", pa.string()), ("row", pa.int64()), ("reason", pa.string()), ("content", pa.string())]
)
"""``rejected.parquet``: file, row in it counted from 0, why, and the row as JSON."""


@dataclass(frozen=True)
class RawLog:
    """What a reader hands over: files in the contract's form, not checked yet.

    Args:
        impressions: folder that holds ``day=YYYY-MM-DD/*.parquet``.
        items: a Parquet file, or a folder of Parquet files.
        users: the same, where the log has user attributes.
        queries: the same, where the log has query attributes.
        rejected: Parquet of `REJECTED_SCHEMA`: source rows that could not be turned into impressions.
        simulated: whether the log comes from a simulator; every report then says so.
        left_out: reason → source rows that are said to be left out.
        read: rows of the source, lists taken apart: those in ``impressions``, in ``rejected`` and left out, together.
            None where the reader does not count them itself.
    """

    impressions: Path
    items: Path
    users: Path | None = None
    queries: Path | None = None
    rejected: Path | None = None
    simulated: bool = False
    left_out: dict[str, int] = field(default_factory=dict)
    read: int | None = None


def family_of(type_: pa.DataType) -> str:
    """The family of an Arrow type, as named in `ACCEPTED`; a dictionary counts as its values."""
    tests = {
        "string": lambda t: pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_string_view(t),
        "integer": pa.types.is_integer,
        "boolean": pa.types.is_boolean,
        "float": pa.types.is_floating,
        "decimal": pa.types.is_decimal,
        "timestamp": pa.types.is_timestamp,
        "date": pa.types.is_date,
        "null": pa.types.is_null,
    }
    if pa.types.is_dictionary(type_):
        return family_of(type_.value_type)
    return next((name for name, test in tests.items() if test(type_)), str(type_))


def source_path(data: DataConfig, purpose: str) -> Path:
    """The file or folder that ``data.path`` names.

    Raises:
        InputError: if ``data.path`` is not set or does not exist; ``purpose`` says what belongs there.
    """
    if data.path is None:
        raise InputError(f"data={data.name} needs data.path=... ({purpose})")
    path = existing(data.path)
    if path is None:
        raise InputError(f"data.path={data.path} does not exist: expected {purpose}")
    return path


def existing(path: str) -> Path | None:
    """The file or folder of that path, ``~`` being the home folder; None where there is none."""
    try:
        expanded = Path(path).expanduser()
        return expanded if expanded.exists() else None
    except (OSError, RuntimeError, ValueError):  # a name too long, a home of nobody, a null character
        return None


def source_folder(data: DataConfig, purpose: str) -> Path:
    """The folder that ``data.path`` names.

    Raises:
        InputError: as :func:`source_path`, or if it is a file.
    """
    path = source_path(data, purpose)
    if not path.is_dir():
        raise InputError(f"data.path={data.path} is a file: expected {purpose}")
    return path


def parse_day(text: str, where: str) -> datetime.date:
    """A day written ``YYYY-MM-DD``.

    Raises:
        InputError: for any other text; ``where`` says where it was found.
    """
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        try:
            return datetime.date.fromisoformat(text)
        except ValueError:
            pass
    raise InputError(f"{where}: expected a day as YYYY-MM-DD, found {text!r}")


def parquet_files(path: Path) -> list[Path]:
    """The Parquet files of a table: the file itself, or all below the folder, by path and whatever their ending.

    Names that begin with a dot or an underscore are hidden and skipped.

    Raises:
        InputError: if there is none, or if other files lie there, whose rows would be missing in silence.
    """
    if path.is_file():
        return [path]
    files = list(_below(path, frozenset()))
    others = [str(file.relative_to(path)) for file in files if not is_parquet(file)]
    if others:
        raise InputError(
            f"{path} holds {len(others)} files that are not Parquet ({_some(others)}) and would not be read: write "
            "them as Parquet, move them away, or hide them by a name that begins with _"
        )
    if not files:
        raise InputError(f"{path} holds no *.parquet file")
    return files


def is_parquet(file: Path) -> bool:
    """Whether a file is meant to be Parquet, by its ending or its first bytes."""
    if file.name.endswith(".parquet"):
        return True
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        return opened.read(len(MAGIC)) == MAGIC


def hidden(path: Path) -> bool:
    """Whether a file or folder belongs to whoever wrote the log: ``_SUCCESS``, ``.part-0.parquet.crc``."""
    return path.name.startswith((".", "_"))


def _below(folder: Path, above: frozenset[Path]) -> Iterator[Path]:
    """All that is no folder below one, in order of paths; a link that leads back to a folder above is not followed."""
    above |= {folder.resolve()}
    for entry in sorted(folder.iterdir()):
        if hidden(entry):
            continue
        if not entry.is_dir():
            yield entry
        elif entry.resolve() not in above:
            yield from _below(entry, above)


def day_files(impressions: Path) -> dict[str, list[Path]]:
    """The files of each day, in order of days; folders below a day are read too.

    Raises:
        InputError: if the folder is missing, holds no day, or holds Parquet files outside of day folders; names all
            that is wrong.
    """
    if not impressions.is_dir():
        raise InputError(
            f"{impressions} is missing: the contract expects {impressions.parent.name}/impressions/day=YYYY-MM-DD/"
            f"*.parquet and items.parquet; found {_listing(impressions.parent)}"
        )
    entries = sorted(entry for entry in impressions.iterdir() if not hidden(entry))
    flat = [entry.name for entry in entries if not entry.is_dir() and is_parquet(entry)]
    if flat:
        raise InputError(
            f"{impressions / flat[0]} lies outside of a day folder: expected {impressions.name}/day=YYYY-MM-DD/"
            "*.parquet, one folder for each UTC day; write with partition_by the day"
        )
    problems, days = Problems(str(impressions)), {}
    for folder in (entry for entry in entries if entry.is_dir()):
        with problems.collecting():
            name, _, value = folder.name.partition("=")
            if name != "day":
                raise InputError(f"{folder}: expected a folder named day=YYYY-MM-DD, found {folder.name!r}")
            day = parse_day(value, str(folder)).isoformat()
            days[day] = parquet_files(folder)
    if not days and not problems:
        problems.add(f"{impressions} holds no day: expected day=YYYY-MM-DD/*.parquet, found {_listing(impressions)}")
    problems.raise_any()
    return days


def _listing(folder: Path) -> str:
    return _some(sorted(f.name for f in folder.iterdir()) if folder.is_dir() else []) or "nothing"


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
