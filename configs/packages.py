"""Packages that not every machine can have: what asks for a missing one is told in one line, before any work."""

from __future__ import annotations

import importlib.util
import sys

from configs.errors import InputError
from configs.schema import Backend, Config, GraphEngine

REMEDIES = {
    "dgl": "dgl is not installed: dgl==1.1.3 needs Python 3.11 on Linux x86-64; use backend=pyg anywhere else",
    "pyspark": "engine=spark needs pyspark, which is not installed: install the extra [spark], as by `pip install "
    "'.[spark]'` (Java 17 or later is needed too), or take engine=duckdb",
}


def not_installed(package: str) -> InputError:
    """What to say where a package is missing."""
    return InputError(REMEDIES[package])


def require_packages(config: Config) -> None:
    """Refuse a backend or an engine whose package is missing, before a log is read for it.

    Raises:
        InputError: with the remedy.
    """
    wanted = {"dgl": config.backend is Backend.dgl, "pyspark": config.engine is GraphEngine.spark}
    for package in (package for package, is_wanted in wanted.items() if is_wanted):
        if package in sys.modules:
            is_there = sys.modules[package] is not None
        else:
            is_there = importlib.util.find_spec(package) is not None
        if not is_there:
            raise not_installed(package)
