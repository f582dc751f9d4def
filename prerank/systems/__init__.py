"""The pre-ranking systems: a model of ``configs/model`` names its system, a module of this package or any other.

A system's module has a ``SYSTEM`` (:class:`~prerank.training.contracts.System`): for a network, a class that states its
network, its losses and what it needs (:class:`~prerank.training.network_system.NetworkSystem`). All else (encoding,
fusion, evaluation, files) is common to all. What only changes keys of another system is a YAML file and no module.
"""

from __future__ import annotations

import importlib
import importlib.util

from configs.command import parse
from configs.errors import InputError
from configs.schema import ModelConfig
from prerank.training.contracts import System


def find(model: ModelConfig) -> System:
    """The system of a model: of the module that ``model.system`` names, or, without it, the model's own name.

    Raises:
        InputError: if there is no such module, or it has no ``SYSTEM``.
    """
    name = model.system or model.name
    where = f"{__name__}.{name}"
    if "." in name or importlib.util.find_spec(where) is None:
        where = name
    try:
        system: System | None = getattr(importlib.import_module(where), "SYSTEM", None)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{where}.".startswith(f"{error.name}."):
            raise
        raise InputError(
            f"model={model.name}: there is neither prerank/systems/{name}.py nor a module {name} that Python can "
            "import from this folder"
        ) from None
    if system is None:
        raise InputError(f"model={model.name}: the module {where} has no SYSTEM (CONTRIBUTING.md, how to add a system)")
    return system


def named(model: str) -> System:
    """The system of ``model=NAME``.

    Raises:
        InputError: as :func:`find`, or if there is no such model.
    """
    return find(parse([f"model={model}"], remember=False).config.model)
