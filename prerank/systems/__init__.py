"""The pre-ranking systems: ``model=NAME`` picks ``prerank/systems/NAME.py`` and ``configs/model/NAME.yaml``.

A system's file has two functions, ``fit(work)`` and ``load(work)``, that return a
:class:`~prerank.training.contracts.FittedSystem`; all else (encoding, fusion, evaluation, files) is common to all.
"""

from __future__ import annotations

import importlib
from typing import cast

from configs.errors import InputError
from prerank.training.contracts import System


def find(name: str) -> System:
    """The system of a name.

    Raises:
        InputError: if ``configs/model`` has the name but there is no such system.
    """
    try:
        return cast(System, importlib.import_module(f"prerank.systems.{name}"))
    except ModuleNotFoundError as error:
        if error.name != f"prerank.systems.{name}":
            raise
        raise InputError(f"model={name}: there is no prerank/systems/{name}.py") from None
