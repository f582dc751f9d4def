"""The figures that an ``audit.json`` holds, wherever they stand in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from graph.figure import Figure
from prerank.evaluation.definitions import CHANCE

FIELDS = {"value", "low", "high", "n"}
"""What makes an entry a figure."""
BESIDE_A_FIGURE = (CHANCE, "_matched", "_most")
"""Endings of an audit's figures that others are read against; they are no trends of their own."""


NOT_MEASURED = Figure.undefined("not measured")
"""What an audit without such a part has to say of it."""


def typed(content: Any) -> Any:
    """What an ``audit.json`` holds, every figure in it a :class:`~graph.figure.Figure`."""
    if isinstance(content, Mapping):
        is_figure = content.keys() >= FIELDS
        return Figure.read(content) if is_figure else {name: typed(entry) for name, entry in content.items()}
    return [typed(entry) for entry in content] if isinstance(content, list) else content


def audit_figures(audit: Mapping[str, Any], section: str = "") -> Iterator[tuple[str, str, Figure]]:
    """Section, name and figure of each one of an ``audit.json``, wherever it stands in it."""
    for name, entry in audit.items():
        if not isinstance(entry, dict):
            continue
        if entry.keys() >= FIELDS:
            if not name.endswith(BESIDE_A_FIGURE):
                yield section, name, Figure.read(entry)
        else:
            yield from audit_figures(entry, f"{section}/{name}" if section else name)
