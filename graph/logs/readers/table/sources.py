"""Which files or tables of a database a mapping names, and of which format they are."""

from __future__ import annotations

import difflib
import glob
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from configs.schema import DataConfig, SourceConfig
from configs.stages import fingerprint, source_fingerprint

ENDINGS = {
    "parquet": (".parquet", ".pq"),
    "csv": (".csv", ".csv.gz", ".csv.zst", ".tsv", ".tsv.gz", ".tsv.zst", ".txt", ".txt.gz"),
    "json": (".json", ".json.gz", ".json.zst", ".jsonl", ".jsonl.gz", ".jsonl.zst", ".ndjson", ".ndjson.gz"),
}
"""Format → how the names of its files end."""
REMOTE = ("s3://", "gs://", "gcs://", "r2://", "http://", "https://", "hf://")
OPTIONS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "delim": (
        "one to four characters",
        lambda value: isinstance(value, str) and len(value.encode()) <= 4 and value not in ("\n", "\r"),
    ),
    "quote": ("one character, or none: ''", lambda value: isinstance(value, str) and len(value) <= 1),
    "escape": ("one character, or none: ''", lambda value: isinstance(value, str) and len(value) <= 1),
    "nullstr": ("a text, or a list of texts", lambda value: isinstance(value, (str, list))),
    "encoding": ("the name of an encoding", lambda value: isinstance(value, str)),
    "decimal_separator": ("one character", lambda value: isinstance(value, str) and len(value) == 1),
    "header": ("true or false", lambda value: isinstance(value, bool)),
    "names": ("a list of names", lambda value: isinstance(value, list)),
    "skip": ("a number of lines", lambda value: type(value) is int and value >= 0),
    "comment": ("one character, or none: ''", lambda value: isinstance(value, str) and len(value) <= 1),
}
"""Options of CSV files: what each must be, in words and as a test."""
SOURCES = ("impressions", "events", "items", "users", "queries")
SHOWN_FILES = 8
LONGEST_NAME = 255
"""Characters of a file's name; to look for a longer one is an error of the operating system."""


@dataclass(frozen=True)
class Source:
    """A table of the mapping whose rows are there to be read.

    Attributes:
        called: its section below ``data.table``.
        config: that section.
        files: local paths, or remote patterns; empty for a database.
        format: parquet, csv, json or database.
    """

    called: str
    config: SourceConfig
    files: tuple[str, ...]
    format: str

    @property
    def options(self) -> dict[str, Any]:
        return self.config.options

    @property
    def shown(self) -> str:
        """Where it lies, for a message."""
        if not self.files:
            return f"the table {self.config.table}"
        return self.files[0] if len(self.files) == 1 else f"{self.files[0]} and {len(self.files) - 1} more files"


def named_sources(data: DataConfig, problems: list[str]) -> dict[str, Source]:
    """The sources that the mapping names; what is wrong with them is added to ``problems``.

    Where neither impressions nor events name files, ``data.path`` is those of the impressions, or of the events where
    only these have columns.
    """
    table = data.table
    named = {called: getattr(table, called) for called in SOURCES}
    base = None if data.path is None else Path(data.path).expanduser()
    if base is not None and (max(map(len, base.parts), default=0) > LONGEST_NAME or not base.exists()):
        problems.append(f"data.path={data.path} does not exist")
        return {}
    rows = [config for config in (table.impressions, table.events) if _named(config)]
    implied = "events" if table.events.columns and not table.impressions.columns else "impressions"
    sources = {}
    for called, config in named.items():
        if _named(config) or (called == implied and not rows and base is not None):
            source = _source(called, config, base, problems)
            if source is not None:
                sources[called] = source
    if not rows and base is None:
        problems.append("nothing to read: give data.path=FILE, or data.table.impressions.files in a mapping")
    return sources


def fingerprints(data: DataConfig) -> dict[str, str]:
    """Name → fingerprint of every local file that the mapping reads; a database on a server has none."""
    prints = {}
    for called, source in named_sources(data, []).items():
        database = source.config.database
        places = [database] if database is not None else list(source.files)
        local = [Path(place) for place in places if "://" not in place]
        prints[called] = fingerprint([source_fingerprint(path) for path in local if path.exists()])
    return prints


def _named(config: SourceConfig) -> bool:
    return bool(config.files) or config.database is not None or config.table is not None


def _source(called: str, config: SourceConfig, base: Path | None, problems: list[str]) -> Source | None:
    where = f"data.table.{called}"
    before = len(problems)
    columns: dict[str, Any] = dict(config.columns)  # OmegaConf lets a section stand where a text belongs
    for target, expression in columns.items():
        if not isinstance(expression, str):
            problems.append(f"{where}.columns.{target} must be a column or an SQL expression, found {expression!r}")
    if config.database is not None or config.table is not None:
        if config.files:
            problems.append(f"{where}: give files, or database and table, not both")
        if config.database is None or config.table is None:
            problems.append(f"{where}: database and table go together: the file or address, and the table's name")
        if config.options:
            problems.append(f"{where}.options are of CSV files: a database has none")
        if len(problems) > before or config.database is None:
            return None
        beside = base / config.database if base is not None and base.is_dir() else None
        database = str(beside) if beside is not None and beside.is_file() else config.database
        return Source(called, replace(config, database=database), (), "database")
    files = _files(where, config.files or [str(base.resolve() if base else "")], base, problems)
    formats = {_format(file): file for file in reversed(files)}
    if None in formats:
        problems.append(f"{formats[None]}: expected a file ending in {_known_endings()}; unpack archives first")
    elif len(formats) > 1:
        examples = ", ".join(f"{name} ({file})" for name, file in formats.items())
        problems.append(f"{where}: files of one format, found {examples}: name them by patterns such as '*.csv'")
    format_ = next(iter(formats), None) or ""
    _check_options(where, config.options, format_, problems)
    return None if len(problems) > before else Source(called, config, tuple(files), format_)


def _check_options(where: str, options: dict[str, Any], format_: str, problems: list[str]) -> None:
    if options and format_ in ("parquet", "json"):
        problems.append(f"{where}.options are of CSV files: {format_} files have none")
        return
    for option, value in options.items():
        if option not in OPTIONS:
            close = difflib.get_close_matches(option, OPTIONS, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            problems.append(f"{where}.options.{option} is unknown{hint}; there are: {', '.join(OPTIONS)}")
        elif not OPTIONS[option][1](value):
            problems.append(f"{where}.options.{option} must be {OPTIONS[option][0]}, found {value!r}")


def _files(where: str, patterns: Sequence[str], base: Path | None, problems: list[str]) -> list[str]:
    """Every file that the patterns name, each once, in order of patterns and names."""
    files: dict[str, None] = {}
    for pattern in patterns:
        if pattern.startswith(REMOTE):
            files[pattern] = None
            continue
        path = Path(pattern).expanduser()
        folder = base if base is not None and base.is_dir() else Path()
        matched = _matched(path, folder)
        if not matched:
            problems.append(f"{where}.files: {pattern!r} matches nothing below {folder.resolve()} ({_holds(folder)})")
        files |= dict.fromkeys(matched)
    return list(files)


def _matched(path: Path, folder: Path) -> list[str]:
    """The files of one pattern: the file or folder of that very name, else what the pattern matches."""
    if max(map(len, path.parts), default=0) > LONGEST_NAME:
        return []
    for candidate in (folder / path, path):
        if candidate.is_file():
            return [str(candidate)]
        if candidate.is_dir():
            return _within(candidate)
    matches = sorted(glob.glob(str(path), root_dir=folder, recursive=True))  # noqa: PTH207  Path.glob takes no absolute
    return [file for match in matches for file in _matched_one(folder / match)]


def _matched_one(path: Path) -> list[str]:
    return _within(path) if path.is_dir() else [str(path)]


def _within(folder: Path) -> list[str]:
    """The files of known endings anywhere below a folder; hidden ones are skipped."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and _format(file.name) is not None)
    return [str(file) for file in files if not any(_hidden(part) for part in file.relative_to(folder).parts)]


def _hidden(part: str) -> bool:
    return part.startswith((".", "_"))


def _format(file: str) -> str | None:
    lowered = file.lower()
    return next((name for name, endings in ENDINGS.items() if lowered.endswith(endings)), None)


def _known_endings() -> str:
    return ", ".join(ending for endings in ENDINGS.values() for ending in endings)


def _holds(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    more = ", ..." if len(names) > SHOWN_FILES else ""
    return f"which holds {', '.join(names[:SHOWN_FILES])}{more}" if names else "which is empty"
