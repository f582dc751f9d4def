"""Stand-ins for packages that a bare machine lacks and that a benchmark only imports: annotations, decorators, readers.

A machine with a GPU often has torch and little else, and no network. What is stood in for can be named, subscripted and
used as a decorator, as modules do while they are imported; a part that really needs the package is left out by name.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

PACKAGES = ("duckdb", "ibis", "jaxtyping", "numba", "omegaconf", "pyarrow", "rich", "safetensors", "yaml")


class Absent:
    """A name of a package that is not here."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __call__(self, *arguments: Any, **_: Any) -> Any:
        """What decorates a function leaves it as it is."""
        return arguments[0] if len(arguments) == 1 and callable(arguments[0]) else self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Absent()

    def __getitem__(self, _: Any) -> Any:
        return Any

    def __or__(self, _: Any) -> Any:
        return Any

    __ror__ = __or__


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds packages that nobody else does."""

    def __init__(self, packages: Sequence[str]) -> None:
        self.packages = packages

    def find_spec(
        self, name: str, _path: object = None, _target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name.split(".")[0] not in self.packages:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = ModuleType(spec.name)
        module.__getattr__ = lambda name: _of_module(name)  # type: ignore[method-assign]
        return module

    def exec_module(self, module: ModuleType) -> None: ...


def _of_module(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    # A class, so that it can be inherited from and caught.
    return type(name, (Exception,), {}) if name.endswith("Error") else Absent()


def stand_in() -> list[str]:
    """Stand in for what is not here, and say for what."""
    missing = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
    sys.meta_path.append(Finder(missing))
    return missing
