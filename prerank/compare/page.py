"""``reports/comparison.html``: one offline page that draws the comparison with a small script of its own.

Every string in it (titles, systems, reasons) is untrusted: Jinja escapes it, the script only ever sets text, and the
JSON is embedded with ``<``, ``>``, ``&`` and ``'`` escaped. Figures are short lists, so that the page stays small.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from prerank.compare.figures import Cell, as_shown
from prerank.compare.markdown import claim, visible_difference
from prerank.compare.statistics import LEAST_SEEDS, SEEDS_FOR_AN_INTERVAL, SeedDifference, SeedMean
from prerank.evaluation.claims import MINIMUM_N, unit_of_difference
from prerank.pages.render import render_page, rounded

DECIMALS = 5
NOT_ON_THE_PAGE = re.compile(r".*_with_random|top\d+_survival.*")
"""Metrics that ``comparison.json`` has and the page leaves out."""


def page(content: Mapping[str, Any]) -> str:
    """The page as text.

    Args:
        content: as :func:`prerank.compare.report.report_content` makes it.
    """
    return render_page("comparison.html", Path(__file__).parent, content=page_content(content))


def page_content(content: Mapping[str, Any]) -> dict[str, Any]:
    """What the page holds: the report's content with short figures."""
    return {
        **{key: content[key] for key in ("run", "systems", "baseline", "warnings", "tuning", "tuning_note", "paper")},
        "provenance": content.get("provenance", []),
        "least_seeds": LEAST_SEEDS,
        "seeds_for_an_interval": SEEDS_FOR_AN_INTERVAL,
        "minimum_n": MINIMUM_N,
        "metrics": [
            {**metric, "unit": unit_of_difference(metric["name"])}
            for metric in content["metrics"]
            if not NOT_ON_THE_PAGE.fullmatch(metric["name"])
        ],
        "data": [_data_set(as_shown(data)) for data in content["data"]],
    }


def _data_set(data: Mapping[str, Any]) -> dict[str, Any]:
    shown = (
        "name", "title", "simulated", "kind", "seeds", "seeds_asked", "about", "segments", "segments_left_out",
        "tasks_off", "interval", "recall", "family", "verdict", "cost", "chance", "undefined",
    )  # fmt: skip
    return {
        **{key: rounded(data[key], DECIMALS) for key in shown},
        "figures": _each(data["figures"], _figure),
        "differences": _each(data["differences"], lambda cell: _difference(cell, data)),
    }


def _each(
    cells: Mapping[str, Mapping[str, Mapping[str, Cell]]], shorten: Callable[[Cell], list[Any]]
) -> dict[str, Any]:
    return {
        system: {
            segment: {m: shorten(cell) for m, cell in by_metric.items() if not NOT_ON_THE_PAGE.fullmatch(m)}
            for segment, by_metric in by_segment.items()
        }
        for system, by_segment in cells.items()
    }


def _figure(cell: SeedMean) -> list[Any]:
    """``[value, low, high, n, [seed, value, ...]]``."""
    seeds = [part for seed, value in cell.by_seed.items() for part in (seed, value)]
    short: list[Any] = rounded([cell.value, cell.low, cell.high, cell.n, seeds], DECIMALS)
    return short


def _difference(cell: SeedDifference, data: Mapping[str, Any]) -> list[Any]:
    """``[value, low, high, p, p_holm, visible, seeds, claim, n]``, or ``[null, reason]``; claim: of the family only."""
    if cell.value is None:
        return [None, cell.reason]
    visible = visible_difference(cell, data)
    figures = rounded([cell.value, cell.low, cell.high, cell.p, cell.p_holm, visible], DECIMALS)
    return [*figures, len(cell.by_seed), None if cell.p_holm is None else claim(cell), cell.n]
