"""The pre-ranking systems: a model of ``configs/model`` names its system, a module of this package or any other.

A system's module has a ``SYSTEM`` (:class:`~prerank.training.contracts.System`): for a network, a class that states its
network, its losses and what it needs (:class:`~prerank.training.network_system.NetworkSystem`). All else (encoding,
fusion, evaluation, files) is common to all. What only changes keys of another system is a YAML file and no module.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

from configs.command import parse
from configs.errors import InputError
from configs.layers import OWN_MODELS
from configs.schema import ModelConfig
from configs.stages import fingerprint
from prerank.training.contracts import System


def find(model: ModelConfig) -> System:
    """The system of a model: of the module that ``model.system`` names, or, without it, the model's own name.

    That is a module of this package, ``models/NAME.py`` in the folder that a command is run from, or any module that
    Python can import from there.

    Raises:
        InputError: if there is no such module, or it has no ``SYSTEM``.
    """
    module = _module(model)
    system: System | None = getattr(module, "SYSTEM", None)
    if system is None:
        raise InputError(
            f"model={model.name}: the module {module.__name__} has no SYSTEM (CONTRIBUTING.md, how to add a system)"
        )
    return system


def own_source(model: ModelConfig) -> dict[str, str]:
    """A digest of the module of a system that is not of this package: another text makes another system."""
    module = _module(model)
    if module.__name__.startswith(f"{__name__}.") or module.__file__ is None:
        return {}
    return {"module": fingerprint(Path(module.__file__).read_text(encoding="utf-8"))}


def _module(model: ModelConfig) -> ModuleType:
    name = model.system or model.name
    if "." not in name and importlib.util.find_spec(f"{__name__}.{name}") is not None:
        return importlib.import_module(f"{__name__}.{name}")
    if str(Path.cwd()) not in sys.path:  # as `grace fit` has it, other than `python -m`
        sys.path.append(str(Path.cwd()))
    own = OWN_MODELS / f"{name}.py"
    if own.exists():
        return _of_file(own.resolve())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise InputError(
            f"model={model.name}: there is neither prerank/systems/{name}.py, nor {own}, nor a module {name} that "
            "Python can import from this folder"
        ) from None


@cache
def _of_file(path: Path) -> ModuleType:
    """The module of a file, which need not lie in a package."""
    spec = importlib.util.spec_from_file_location(f"{OWN_MODELS.name}.{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses of it look for it there
    spec.loader.exec_module(module)
    return module


def named(model: str) -> System:
    """The system of ``model=NAME``.

    Raises:
        InputError: as :func:`find`, or if there is no such model.
    """
    return find(parse([f"model={model}"], remember=False).config.model)
