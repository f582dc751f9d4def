"""The requests where two systems differ most, with both lists and the ranking model's order.

They are picked because they differ, so they show *how* the systems differ and prove nothing about which is better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32, Float64, Int64

from prerank.evaluation.measures import SplitRows
from prerank.evaluation.metrics import Standing, request_auc, standing
from prerank.pages.render import shortened

FIRST = 10
"""Items of a list that are shown; clicked and ordered items further down are named below."""
PICKS = 3
"""Requests of each kind for a pair of systems."""
MOST_SYSTEMS = 8
LONGEST_TEXT = 120
BESIDE = ("brand", "category")
"""Columns that stand beside an item's title; a log without them shows its first two texts."""
MOST_FURTHER = 5
"""Clicked or ordered items below the first ones that are named, for each request."""


@dataclass(frozen=True)
class Lists:
    """The candidates of one split, in the systems' orders; random negatives are left out.

    Attributes:
        rows: the split.
        part: the same rows as predictions.
        standings: system → its standing among the candidates of each request.
        auc: system → click AUC of its score within each request, on exposed rows; NaN where a class is missing.
        exposed: exposed rows of each request.
    """

    rows: SplitRows
    part: pa.Table
    candidate: Bool[np.ndarray, " rows"]
    standings: dict[str, Standing] = field(default_factory=dict)
    auc: dict[str, Float64[np.ndarray, " requests"]] = field(default_factory=dict)
    exposed: Int64[np.ndarray, " requests"] = field(default_factory=lambda: np.empty(0, np.int64))


def differing_requests(
    part: pa.Table,
    rows: SplitRows,
    scores: Mapping[str, Float32[np.ndarray, " rows"]],
    baselines: Sequence[str],
    items: pa.Table,
    split: str,
) -> dict[str, Any]:
    """What the page shows of each pair of a baseline and another system.

    Args:
        part: predictions of one system on the split; the columns that say what was asked and what happened.
        rows: the same as arrays.
        scores: system → the fused score of the same rows.
        baselines: systems that others are compared with.
        items: ``items.parquet``.
        split: its name.

    Returns:
        ``pairs``: ``{a, b, picks: {a_better, b_better, apart: [{request, auc: [a, b], common}]}}``; ``requests``: rows
        as ``[item, position, marks, price]``, marks being 1 for exposed, 2 for clicked and 4 for ordered, and by system
        the rank of each row; ``items``: a title and further texts for each item.
    """
    lists = _lists(part, rows, scores)
    pairs: list[dict[str, Any]] = []
    for a, b in combinations(list(scores)[:MOST_SYSTEMS], 2):
        if a in baselines or b in baselines:
            pairs.append({"a": a, "b": b, "picks": _picks(lists, a, b)})
    systems_of: dict[int, set[str]] = {}
    for pair in pairs:
        for pick in (pick for kind in pair["picks"].values() for pick in kind):
            systems_of.setdefault(pick["request"], set()).update((pair["a"], pair["b"]))
    requests, shown = [], _Items(items)
    for number, systems in systems_of.items():
        requests.append(_request(lists, number, sorted(systems), shown))
    place = {number: index for index, number in enumerate(systems_of)}
    for pair in pairs:
        for pick in (pick for kind in pair["picks"].values() for pick in kind):
            pick["request"] = place[pick["request"]]
    return {"split": split, "first": FIRST, "pairs": pairs, "requests": requests, "items": shown.texts()}


def _lists(part: pa.Table, rows: SplitRows, scores: Mapping[str, Float32[np.ndarray, " rows"]]) -> Lists:
    candidate = ~rows.random
    lists = Lists(rows, part, candidate, exposed=np.bincount(rows.request[rows.exposed], minlength=rows.requests))
    for system, score in list(scores.items())[:MOST_SYSTEMS]:
        among = standing(rows.request[candidate], score[candidate])
        better, length = (np.zeros(len(score), dtype=np.int64) for _ in range(2))
        tied = np.ones(len(score), dtype=np.int64)
        better[candidate], tied[candidate], length[candidate] = among.better, among.tied, among.length
        lists.standings[system] = Standing(better, tied, length)
        exposed = rows.exposed
        auc = request_auc(rows.clicked[exposed], score[exposed], rows.request[exposed])
        lists.auc[system] = np.full(rows.requests, np.nan)
        lists.auc[system][auc.request] = auc.value
    return lists


def _picks(lists: Lists, a: str, b: str) -> dict[str, list[dict[str, Any]]]:
    """The requests that move the difference in GAUC most, either way, and those whose first items differ most.

    GAUC weighs a request by its impressions, so a request moves the difference by impressions times the gap in AUC.
    """
    rows = lists.rows
    moved = lists.exposed * (lists.auc[a] - lists.auc[b])
    first = [lists.standings[system].inclusion(FIRST) * lists.candidate for system in (a, b)]
    common = np.bincount(rows.request, weights=first[0] * first[1], minlength=rows.requests)
    length = np.bincount(rows.request[lists.candidate], minlength=rows.requests)
    kinds = {
        "a_better": _best(moved, moved > 0),
        "b_better": _best(-moved, moved < 0),
        "apart": _best(length / (length + 1) - common, length > FIRST),  # of equally few in common, the longest list
    }
    return {
        kind: [
            {
                "request": int(number),
                "auc": [_or_none(lists.auc[a][number]), _or_none(lists.auc[b][number])],
                "common": round(float(common[number]), 2),
            }
            for number in numbers
        ]
        for kind, numbers in kinds.items()
    }


def _best(value: Float64[np.ndarray, " requests"], allowed: Bool[np.ndarray, " requests"]) -> list[int]:
    """The requests with the largest values among those allowed; equal ones in order of time."""
    numbers = np.flatnonzero(allowed)
    return [int(number) for number in numbers[np.argsort(-value[numbers], kind="stable")][:PICKS]]


def _request(lists: Lists, number: int, systems: Sequence[str], shown: _Items) -> dict[str, Any]:
    """A request with the rows that some list shows: the first ones of each order, and the clicked ones."""
    rows = lists.rows
    # Rows of a request are not always neighbours in a log of a user's own.
    inside = np.flatnonzero((rows.request == number) & lists.candidate)
    rank = {system: lists.standings[system].better[inside] + 1 for system in systems}
    position = rows.position[inside]
    by_model = np.argsort(np.argsort(np.where(np.isfinite(position), position, np.inf), kind="stable")) + 1
    shown_rows = np.isfinite(position) & (by_model <= FIRST)
    order = {system: np.argsort(ranks, kind="stable") for system, ranks in rank.items()}
    for rows_in_order in order.values():
        shown_rows[rows_in_order[:FIRST]] = True
    happened = np.flatnonzero((rows.clicked | rows.ordered)[inside])
    shown_rows[happened[:MOST_FURTHER]] = True
    marks = rows.exposed.astype(int) + 2 * rows.clicked + 4 * rows.ordered
    item, price = lists.part["item"].to_numpy()[inside], _prices(lists.part)[inside]
    said = {name: _said(lists.part, name, int(inside[0])) for name in ("request_id", "query")}
    return {
        **said,
        "candidates": len(inside),
        "ranked": int(np.isfinite(position).sum()),
        "happened": [int(rows.clicked[inside].sum()), int(rows.ordered[inside].sum())],
        "rows": [
            [
                shown.place(int(item[row])),
                int(position[row]) if np.isfinite(position[row]) else None,
                int(marks[inside[row]]),
                round(float(price[row]), 2) if np.isfinite(price[row]) else None,
            ]
            for row in np.flatnonzero(shown_rows)
        ],
        "ranks": {system: [int(ranks[row]) for row in np.flatnonzero(shown_rows)] for system, ranks in rank.items()},
    }


class _Items:
    """The items that some list shows, numbered as they come, with what a person needs to recognise them."""

    def __init__(self, items: pa.Table) -> None:
        self._items = items
        self._places: dict[int, int] = {}

    def place(self, item: int) -> int:
        """The number of an item on the page."""
        return self._places.setdefault(item, len(self._places))

    def texts(self) -> list[list[str]]:
        """Of each item its title (its id where there is none), and what else tells it apart, one by one."""
        names = [name for name in self._items.column_names if name != "item_id"]
        texts = [name for name in names if pa.types.is_string(self._items.schema.field(name).type)]
        beside = [name for name in BESIDE if name in names] or [name for name in texts if name != "title"][:2]
        columns = ["item_id", *(["title"] if "title" in names else []), *beside]
        chosen = self._items.select(columns).take(pa.array(list(self._places), pa.int64())).to_pylist()
        return [
            [
                _cut(_text(row.get("title")) or f"item {row['item_id']}"),
                *(_cut(text) for name in beside if (text := _text(row[name]))),
            ]
            for row in chosen
        ]


def _cut(text: str) -> str:
    return shortened(text, LONGEST_TEXT)


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _said(part: pa.Table, name: str, row: int) -> str:
    return _cut(_text(part[name][row].as_py())) if name in part.column_names else ""


def _prices(part: pa.Table) -> Float32[np.ndarray, " rows"]:
    if "price" not in part.column_names:
        return np.full(len(part), np.nan, np.float32)
    return np.asarray(part["price"].cast(pa.float32()).fill_null(np.nan).to_numpy())


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)
