"""What the page holds of single items: as many as fit, of every popularity, cold ones and ones outside P among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from configs.console import say
from graph.store import Graph
from index.measures.catalogue import SHOWN, CatalogueItems
from index.measures.neighbourhoods import popularity_strata
from index.measures.suite import Neighbours, Subject
from index.report.graph_picture import Surroundings, positions
from index.report.item_map import item_map
from prerank.pages.render import embedded, shortened

MOST_ITEMS = 2000
"""Items that the page can be asked about at most: each brings its picture and its neighbours with it."""
MOST_BYTES = 3_500_000
"""Of the browser's data in the page, so that the page stays below 5 MB whatever the titles are."""
NEIGHBOURS_SHOWN = 10
LONGEST_TITLE, LONGEST = 90, 120
"""Characters of a title, and of another text, that the page holds; what is longer loses its middle."""
CODED = ("brand", "category")
"""Columns that the page holds as numbers of texts: names that look alike once shortened stay different ones."""
GROUPS = {
    "head": "P, the tenth of it seen most",
    "torso": "P, between head and tail",
    "tail": "P, the tenth of it seen least",
    "outside P": "shown in training, too rarely engaged with to have a ψ",
    "cold": "never shown in training, without a ψ",
}
"""Where a shown item comes from."""

Rows = Int64[np.ndarray, " rows"]


@dataclass(frozen=True)
class BrowserItem:
    """One item whose neighbours are shown.

    Args:
        item: item index.
        group: one of ``GROUPS``.
        psi, phi: item indices of its neighbours, nearest first.
        cosines: of ψ's and of φ's neighbours.
    """

    item: int
    group: str
    psi: Rows
    phi: Rows
    cosines: tuple[list[float], list[float]]


def browser_content(
    subject: Subject,
    lists: Neighbours,
    catalogue: CatalogueItems,
    items: Rows,
    outside: Rows,
    seed: int,
    graph: Graph | None = None,
) -> dict[str, Any]:
    """The data of the neighbour browser, of its graph pictures and of the map; every item is described once.

    Args:
        subject, lists: of the audit.
        catalogue: of the run.
        items: item index of each row of P.
        outside: item index of each query outside P.
        seed: of the draw.
        graph: for the pictures; without one there are none.

    Returns:
        ``columns`` and ``items`` (a list of values each, of ``coded`` columns places of ``texts``), ``groups``
        (``name``, ``about``, ``shown``, ``of``), ``shown`` (``item``, ``group``, ``psi`` and ``phi``: pairs of a place
        and a cosine, ``graph``), ``texts`` of columns and pictures, and ``map``. An item's place is that in ``items``.
    """
    generator = np.random.default_rng(seed)
    strata = popularity_strata(subject.impressions[subject.queries])
    places = stratified(strata, generator)
    groups = _groups(strata)
    inside = [_inside(subject, lists, items, place, groups[place]) for place in places[:MOST_ITEMS]]
    # Where nothing is known of popularity, nothing is known to be cold.
    is_shown = ((catalogue.impressions[outside] > 0) | (not catalogue.impressions.any())).astype(np.int64)
    others = [
        _outside(subject, lists, items, outside, place, "outside P" if is_shown[place] else "cold")
        for place in stratified(is_shown, generator)[:MOST_ITEMS]
    ]
    content = _Content(catalogue, None if graph is None else Surroundings(graph))
    two_maps = item_map(subject, subject.queries[places], seed)
    map_items = [] if two_maps is None else content.places(items[two_maps.pop("rows")])
    for each in _two_to_one(inside, others):
        if len(content.shown) >= MOST_ITEMS or not content.add(each):
            break
    sizes = Counter(groups) + Counter({"outside P": int(is_shown.sum()), "cold": int((1 - is_shown).sum())})
    say(f"browser: {len(content.shown):,} of {len(catalogue):,} items in the page; python -m index.serve searches all")
    return {
        **content.as_json(),
        "groups": [
            {"name": name, "about": about, "shown": content.of_group(name), "of": sizes[name]}
            for name, about in GROUPS.items()
        ],
        "map": None if two_maps is None else {"items": map_items, "of": len(subject.psi), **two_maps},
    }


def stratified(strata: Rows, generator: np.random.Generator) -> Rows:
    """All places in an order that takes one of each stratum in turn, at random within a stratum."""
    drawn = generator.permutation(len(strata))
    turn = np.empty(len(strata), dtype=np.int64)
    for stratum in np.unique(strata):
        members = drawn[strata[drawn] == stratum]
        turn[members] = np.arange(len(members))
    order: Rows = np.lexsort((strata, turn))
    return order


class _Content:
    """The page's items, added one by one until the bytes run out."""

    def __init__(self, catalogue: CatalogueItems, surroundings: Surroundings | None) -> None:
        self.shown: list[dict[str, Any]] = []
        # One piece: of a table in pieces, each `take` of a few rows would glue all of them together.
        self._catalogue = replace(catalogue, table=catalogue.table.combine_chunks())
        self._surroundings = surroundings
        shown = [name for name in SHOWN if name in catalogue.table.column_names]
        self._columns = ["item_id", *shown, *(["impressions"] if catalogue.impressions.any() else [])]
        self._places: dict[int, int] = {}
        self._texts: dict[str, int] = {}
        self._described: list[dict[str, Any]] = []
        self._bytes = 0

    def places(self, items: Iterable[int]) -> list[int]:
        """Where the page describes the items; those are added that were not there yet."""
        numbers = [int(item) for item in items]
        new = [item for item in dict.fromkeys(numbers) if item not in self._places]
        for item, values in zip(new, self._catalogue.shown(np.array(new, dtype=np.int64)), strict=True):
            self._places[item] = len(self._places)
            self._described.append(
                {
                    name: self._text(value) if name in CODED and value is not None else plain(value)
                    for name, value in values.items()
                    if name in self._columns
                }
            )
            self._bytes += _size([*self._described[-1].values()])
        return [self._places[item] for item in numbers]

    def add(self, shown: BrowserItem) -> bool:
        """Add an item, its neighbours and its picture; False where there is no room left for another one."""
        near = (("psi", shown.psi, shown.cosines[0]), ("phi", shown.phi, shown.cosines[1]))
        entry = {
            "item": self.places([shown.item])[0],
            "group": shown.group,
            **{
                name: [[*pair] for pair in zip(self.places(items), cosines, strict=True)]
                for name, items, cosines in near
            },
            "graph": self._picture(shown.item),
        }
        self.shown.append(entry)
        self._bytes += _size(entry)
        return self._bytes < MOST_BYTES

    def of_group(self, name: str) -> int:
        return sum(entry["group"] == name for entry in self.shown)

    def as_json(self) -> dict[str, Any]:
        return {
            "columns": self._columns,
            "items": [[*described.values()] for described in self._described],
            "shown": self.shown,
            "coded": [name for name in CODED if name in self._columns],
            "texts": [shortened(text, LONGEST) for text in self._texts],
        }

    def _picture(self, item: int) -> dict[str, Any] | None:
        if self._surroundings is None:
            return None
        picture = self._surroundings.ego(item)
        places, placed = {node: place for place, node in enumerate(picture)}, positions(picture)
        items = [node for node in picture if node[0] == "item"]
        named = dict(zip(items, self.places(index for _, index in items), strict=True))
        named |= {node: self._text(self._surroundings.key(node)) for node in picture if node not in named}
        return {
            "own": places["item", item],
            "nodes": [[node[0], named[node], *placed[node]] for node in picture],
            "edges": [
                [places[first], places[second], float(f"{weight:.2g}")]
                for first, second, weight in picture.edges(data="weight")
            ],
            "of": picture.graph["of"],
        }

    def _text(self, value: Any) -> int:
        text = str(value)
        if text not in self._texts:
            self._texts[text] = len(self._texts)
            self._bytes += _size(shortened(text, LONGEST))
        return self._texts[text]


def _inside(subject: Subject, lists: Neighbours, items: Rows, place: int, group: str) -> BrowserItem:
    row = subject.queries[place]
    psi, phi = _found(lists.psi[place]), _found(lists.phi[place])
    cosines = _cosines(subject.psi, subject.psi[row], psi), _cosines(subject.phi, subject.phi[row], phi)
    return BrowserItem(int(items[row]), group, items[psi], items[phi], cosines)


def _outside(subject: Subject, lists: Neighbours, items: Rows, outside: Rows, place: int, group: str) -> BrowserItem:
    phi = _found(lists.outside[place])
    cosines: tuple[list[float], list[float]] = [], _cosines(subject.phi, subject.outside[place], phi)
    return BrowserItem(int(outside[place]), group, items[:0], items[phi], cosines)


def _found(near: Rows) -> Rows:
    near = near[:NEIGHBOURS_SHOWN]
    return near[near >= 0]


def _cosines(
    units: Float32[np.ndarray, "items dimension"], own: Float32[np.ndarray, " dimension"], near: Rows
) -> list[float]:
    return [round(float(cosine), 3) for cosine in units[near] @ own]


def _groups(strata: Rows) -> list[str]:
    """Head and tail are the outer tenths; where ties leave one stratum, all of it is torso."""
    last = int(strata.max(initial=0))
    names = dict.fromkeys(range(last + 1), "torso") | ({0: "tail", last: "head"} if last else {})
    return [names[stratum] for stratum in strata.tolist()]


def _two_to_one(inside: Iterable[BrowserItem], others: Iterable[BrowserItem]) -> list[BrowserItem]:
    """Two of P, one without a ψ, and so on; what is left of the longer list at the end."""
    pairs = iter(inside)
    turns = zip_longest(pairs, pairs, others)
    return [each for turn in turns for each in turn if each is not None]


def plain(value: Any) -> Any:
    """A value as the page holds it: long texts without their middle, floats rounded, anything else as text."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return round(value, 2) if np.isfinite(value) else None
    return shortened(str(value), LONGEST_TITLE)


def _size(value: Any) -> int:
    """Bytes that it takes in the page."""
    return len(embedded(value).encode()) + 1
