"""The figures that an ``audit.json`` holds, wherever they stand in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prerank.evaluation.definitions import CHANCE
from prerank.evaluation.figure import Figure

BESIDE_A_FIGURE = (CHANCE, "_matched", "_most")
"""Endings of an audit's figures that others are read against; they are no trends of their own."""


def read_figure(entry: Mapping[str, Any] | None) -> Figure:
    """A figure as ``audit.json`` holds it; undefined where it is not there."""
    if entry is None:
        return Figure.undefined("not measured")
    return Figure.read(entry)


def audit_figures(audit: Mapping[str, Any], section: str = "") -> Iterator[tuple[str, str, Figure]]:
    """Section, name and figure of each one of an ``audit.json``, wherever it stands in it."""
    for name, entry in audit.items():
        if not isinstance(entry, dict):
            continue
        if {"value", "low", "high", "n"} <= entry.keys():
            if not name.endswith(BESIDE_A_FIGURE):
                yield section, name, Figure.read(entry)
        else:
            yield from audit_figures(entry, f"{section}/{name}" if section else name)
