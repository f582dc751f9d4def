"""The items whose neighbours the report shows one by one: a few of the head, of the tail, and of those without a ψ."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Int64

from index.catalogue import Catalogue
from index.measures import Neighbours, Subject
from index.neighbourhoods import popularity_strata

ITEMS_PER_GROUP = 100
NEIGHBOURS_SHOWN = 10
LONGEST_TEXT = 120
"""Characters of a title that are shown; a page must not grow with its titles."""


def neighbour_lists(
    subject: Subject,
    lists: Neighbours,
    catalogue: Catalogue,
    items: Int64[np.ndarray, " items"],
    outside: Int64[np.ndarray, " outside"],
    seed: int,
) -> dict[str, Any]:
    """The browser's data, in which every item's description occurs once.

    Args:
        subject, lists: of the audit.
        catalogue: of the run.
        items: item index of each row of P.
        outside: item index of each query outside P.
        seed: of the draw.

    Returns:
        ``{"items": [description], "shown": [{"item", "group", "psi", "phi"}]}``; neighbours are places in ``items``.
    """
    generator = np.random.default_rng(seed)
    shown: list[tuple[int, str, np.ndarray, np.ndarray]] = []
    strata = popularity_strata(subject.impressions[subject.queries])
    for group, members in (("head", strata == strata.max(initial=0)), ("tail", strata == 0)):
        for place in generator.permutation(np.flatnonzero(members))[:ITEMS_PER_GROUP]:
            row = subject.queries[place]
            shown.append((int(items[row]), group, items[lists.psi[place]], items[lists.phi[place]]))
    for place in generator.permutation(len(outside))[:ITEMS_PER_GROUP]:
        shown.append((int(outside[place]), "no ψ", np.empty(0, dtype=np.int64), items[lists.outside[place]]))
    return _compact(shown, catalogue)


def _compact(shown: list[tuple[int, str, np.ndarray, np.ndarray]], catalogue: Catalogue) -> dict[str, Any]:
    cut = [(item, group, psi[:NEIGHBOURS_SHOWN], phi[:NEIGHBOURS_SHOWN]) for item, group, psi, phi in shown]
    used = np.unique(
        np.concatenate([np.array([item for item, *_ in cut], dtype=np.int64), *(np.append(a, b) for *_, a, b in cut)])
    )
    described = [{name: _short(value) for name, value in item.items()} for item in catalogue.shown(used)]

    def places(rows: np.ndarray) -> list[int]:
        return [int(place) for place in np.searchsorted(used, rows)]

    return {
        "items": described,
        "shown": [
            {"item": places(np.array([item]))[0], "group": group, "psi": places(psi), "phi": places(phi)}
            for item, group, psi, phi in cut
        ],
    }


def _short(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return round(value, 2) if np.isfinite(value) else None
    text = str(value)
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"
