"""Readers of log formats, by the name that ``data=`` gives: one file and one YAML each, imported only when chosen."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

from configs.errors import InputError
from configs.schema import DataConfig
from graph.logs.contract import RawLog

READERS = {
    "contract": "graph.logs.readers.contract",
    "table": "graph.logs.readers.table.reader",
    "trivago": "graph.logs.readers.trivago",
    "expedia": "graph.logs.readers.expedia",
    "jdsearch": "graph.logs.readers.jdsearch.reader",
    "aliexpress": "graph.logs.readers.aliexpress",
    "aliccp": "graph.logs.readers.aliccp.reader",
    "ubi": "graph.logs.readers.ubi.reader",
    "marketplace": "graph.logs.readers.marketplace",
}
SEEDED = frozenset({"marketplace"})
"""Readers whose log depends on the seed."""
OWN_KEYS = {"table": ("data.table",), "ubi": ("data.ubi",)}
"""Sections of the configuration that are one reader's own."""


@runtime_checkable
class Read(Protocol):
    """A reader: turn the source into files in the contract's form under ``folder``, a day at a time."""

    def __call__(self, data: DataConfig, seed: int, folder: Path) -> RawLog: ...


def reader(name: str) -> Read:
    """The reader of a log format.

    Raises:
        InputError: if there is none of that name.
    """
    if name not in READERS:
        raise InputError(f"data.name={name!r} has no reader; there are: {', '.join(READERS)}")
    return cast(Read, importlib.import_module(READERS[name]).read)
