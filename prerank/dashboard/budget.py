"""What the dashboard gives up, out loud, where a run has so many systems that its page would outgrow its budget."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from configs.console import warn

MOST_BYTES = 4_800_000
"""Of the data on the page; the script, the styles and the definitions take less than the rest of 5 MB."""

Content = dict[str, Any]


def within_budget(content: Content) -> Content:
    """The content with as few parts taken out as it takes; ``cut`` says in words which.

    Args:
        content: as :func:`prerank.dashboard.page.dashboard_content` makes it.
    """
    for words, cut in CUTS:
        if len(compact_json(content)) <= MOST_BYTES:
            break
        content = {**cut(content), "cut": [*content["cut"], words]}
        warn(f"the dashboard would be larger than 5 MB: it leaves out {words}")
    return content


def compact_json(content: Mapping[str, Any]) -> str:
    """Strict JSON on one line."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False, default=str)


def _without_validation(content: Content) -> Content:
    """Attributes and curves of the first split only."""
    first, details = set(content["splits"][:1]), dict(content["details"])
    for name in ("metrics", "figures", "calibration", "gains"):
        details[name] = {system: _only(parts, first) for system, parts in details[name].items()}
    details["differences"] = {
        baseline: {system: _only(parts, first) for system, parts in each.items()}
        for baseline, each in details["differences"].items()
    }
    return {**content, "details": details}


def _one_attribute_baseline(content: Content) -> Content:
    first = set(content["baselines"][:1])
    return _with_details(content, differences=_only(content["details"]["differences"], first))


def _one_baseline(content: Content) -> Content:
    baselines = content["baselines"][:1]
    return {**content, "baselines": baselines, "differences": _only(content["differences"], set(baselines))}


def _no_requests(content: Content) -> Content:
    return _with_details(content, requests=None)


def _no_attributes(content: Content) -> Content:
    return _with_details(content, attributes=[], metrics={}, figures={}, differences={})


def _with_details(content: Content, **parts: Any) -> Content:
    return {**content, "details": {**content["details"], **parts}}


def _only(parts: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: part for name, part in parts.items() if name in names}


CUTS: tuple[tuple[str, Callable[[Content], Content]], ...] = (
    ("attributes and curves of all splits but the first", _without_validation),
    ("attributes' differences to all baselines but the first", _one_attribute_baseline),
    ("differences to all baselines but the first", _one_baseline),
    ("the requests where systems differ", _no_requests),
    ("attributes", _no_attributes),
)
"""What goes first, and how."""
