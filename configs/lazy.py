"""A room's public names, imported when they are asked for (PEP 562): ``import prerank`` must not load torch."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def lazily(room: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a room.

    Args:
        room: the package.
        modules: public name → the module that defines it.

    Returns:
        A function that imports a name's module and keeps the name in the room, so that it is called once a name. It
        raises AttributeError for other names, as Python expects.
    """

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {room!r} has no public name {name!r}; it has {', '.join(sorted(modules))}")
        value = getattr(importlib.import_module(modules[name]), name)
        setattr(sys.modules[room], name, value)
        return value

    return get
