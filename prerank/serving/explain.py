"""What a score is made of: each head's share, and what the model knew of the item."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prerank.serving.items import UNSEEN, Catalogue
from prerank.serving.models import Logits
from prerank.serving.prepared import Prepared

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float32, Int64


@dataclass(frozen=True)
class PopularityCut:
    """Where head, torso and tail part, in training impressions (see :mod:`prerank.evaluation.segments`)."""

    tail_most: int
    head_least: int

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> PopularityCut | None:
        """What a bundle says; None where it says nothing."""
        said = manifest.get("segments")
        return None if said is None else cls(said["tail_most"], said["head_least"])


@dataclass(frozen=True)
class Head:
    """One head's share of a score: ``contribution = weight · logit``."""

    logit: float
    probability: float
    weight: float
    contribution: float


@dataclass(frozen=True)
class Known:
    """What the bundle knows of an item.

    Attributes:
        in_catalogue: whether it holds the item.
        described: whether the request says what the item is, in the catalogue's place.
        training_impressions, training_clicks, training_orders: on training days.
        in_p: whether ψ had a row for it; None for a run without ψ.
        segment: head, torso, tail or cold; None where the bundle does not tell the cuts.
    """

    in_catalogue: bool
    described: bool
    training_impressions: int
    training_clicks: int
    training_orders: int
    in_p: bool | None
    segment: str | None


@dataclass(frozen=True)
class Explained:
    """One candidate: its score is the sum of its heads' contributions."""

    item_id: Any
    position: int
    score: float
    heads: dict[str, Head]
    rank_logits: list[float] | None
    item: Known


@dataclass(frozen=True)
class Explanation:
    """The candidates, best first.

    Attributes:
        candidates: those that were asked for.
        unknown: positions of all candidates of which nothing but the id is known.
        missing: the columns that the request left out.
    """

    candidates: list[Explained]
    unknown: Int64[np.ndarray, " unknown"]
    missing: tuple[str, ...]


def explain(
    prepared: Prepared,
    logits: Logits,
    score: Float32[np.ndarray, " candidates"],
    weights: Mapping[str, float],
    catalogue: Catalogue,
    cut: PopularityCut | None,
    position: Int64[np.ndarray, " n"],
    ids: Sequence[Any],
) -> Explanation:
    """What the scores of some candidates are made of.

    Args:
        prepared, logits, score: of the request.
        weights: of the heads.
        catalogue: the items.
        cut: between head, torso and tail.
        position, ids: of the candidates to explain.
    """
    of_head = logits.by_head()
    unknown = set(prepared.new.unknown.tolist())
    item = catalogue.find(prepared.item_hash[position])
    explained = []
    for place, row in enumerate(position.tolist()):
        heads = {head: _head(float(values[row]), weights[head]) for head, values in of_head.items()}
        rank_logits = None if logits.rank is None else logits.rank[row].tolist()
        described = bool(prepared.item[row] == UNSEEN) and row not in unknown
        known = _known(int(item[place]), described, catalogue, cut)
        explained.append(Explained(ids[place], row, float(score[row]), heads, rank_logits, known))
    return Explanation(explained, prepared.new.unknown, prepared.missing)


def _head(logit: float, weight: float) -> Head:
    return Head(logit, 0.5 + 0.5 * math.tanh(logit / 2), weight, weight * logit + 0.0)  # not -0.0 of a weight of 0


def _known(item: int, described: bool, catalogue: Catalogue, cut: PopularityCut | None) -> Known:
    if item == UNSEEN:
        return Known(False, described, 0, 0, 0, in_p=None if catalogue.in_p is None else False, segment="cold")
    seen = int(catalogue.impressions[item])
    return Known(
        in_catalogue=True,
        described=described,
        training_impressions=seen,
        training_clicks=int(catalogue.clicks[item]),
        training_orders=int(catalogue.orders[item]),
        in_p=None if catalogue.in_p is None else bool(catalogue.in_p[item]),
        segment=_segment(seen, cut),
    )


def _segment(impressions: int, cut: PopularityCut | None) -> str | None:
    if impressions == 0:
        return "cold"
    if cut is None:
        return None
    if impressions >= cut.head_least:
        return "head"
    return "tail" if impressions <= cut.tail_most else "torso"
