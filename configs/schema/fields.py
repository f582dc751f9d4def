"""How a key is written down: its default, its meaning and unit, and the values that it takes."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from configs.ranges import limits


def key(default: Any, help: str, **bounds: Any) -> Any:
    """A configuration key; mutable defaults are copied for each instance.

    Args:
        default: its value where nobody says another, or the class of a section.
        help: its meaning and unit.
        bounds: which values it takes, as in :func:`configs.ranges.limits`.
    """
    metadata = {"help": help, "limits": limits(**bounds)}
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)
