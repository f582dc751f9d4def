"""Which rows a figure is about: head, torso and tail items, cold items, items outside P, rare queries and so on.

Segments are fixed by the training days alone, before anything is fitted. A segment is a mask over the rows of a split;
item segments cut through requests, request segments keep them whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int, Int64

from configs.console import say

SEGMENTS = ("all", "head", "torso", "tail", "cold", "outside_p", "tail_query", "first_request", "collisions")
"""Every segment, in the order in which tables show them."""


@dataclass(frozen=True)
class PopularityCut:
    """Where head, torso and tail part, in training impressions of an item (or training requests of a query).

    Both cuts lie between two different counts, never inside a tie: items with the same count always share a segment.
    The cut is the one whose share of impressions is nearest to the share asked for; the tail has at least the items of
    the smallest count, so where every rare item was seen once, the tail is 1 impression and the torso 2 or more.

    Attributes:
        tail_most: largest count of a tail item; 0 when nothing was seen.
        head_least: smallest count of a head item; above every count when there is no head.
    """

    tail_most: int
    head_least: int


@dataclass(frozen=True)
class SegmentSources:
    """What the segments are made from, indexed by item index; what a run does not have is ``None``.

    Attributes:
        training_impressions: training rows of each item.
        in_p: whether ψ has a row for the item.
        bucket_load: catalogue items with the item's whole hashed id (all of its buckets), itself included.
        training_queries: the query of each training request.
    """

    training_impressions: Int64[np.ndarray, " items"]
    in_p: Bool[np.ndarray, " items"] | None = None
    bucket_load: Int64[np.ndarray, " items"] | None = None
    training_queries: pa.Array | pa.ChunkedArray | None = None


@dataclass(frozen=True)
class Segments:
    """The masks of one split and what they mean.

    Attributes:
        masks: name → mask over the split's rows, in the order of ``SEGMENTS``.
        facts: name → ``definition`` in words and, for item segments, catalogue counts; JSON-like.
        left_out: name → why this run cannot have the segment.
    """

    masks: dict[str, Bool[np.ndarray, " rows"]]
    facts: dict[str, dict[str, Any]]
    left_out: dict[str, str] = field(default_factory=dict)


def popularity_cut(counts: Int[np.ndarray, " items"], head_share: float, tail_share: float) -> PopularityCut:
    """Cut items into head, torso and tail by cumulative count, at ties only.

    Args:
        counts: training impressions of each item; items with 0 are cold and take no part.
        head_share: share of all impressions that the head should hold.
        tail_share: share of all impressions that the tail should hold.
    """
    values, items = np.unique(counts[counts > 0], return_counts=True)
    if not values.size:
        return PopularityCut(tail_most=0, head_least=1)
    cumulative = np.cumsum(values * items) / np.sum(values * items)
    tail = int(np.argmin(np.abs(cumulative - tail_share)))
    # A head made of values[i:] holds 1 - held[i - 1]; i runs from just above the tail to "no head at all".
    candidates = np.arange(tail + 1, len(values) + 1)
    head = int(candidates[np.argmin(np.abs((1 - cumulative[candidates - 1]) - head_share))])
    head_least = int(values[head]) if head < len(values) else int(values[-1]) + 1
    return PopularityCut(tail_most=int(values[tail]), head_least=head_least)


def segments_of(predictions: pa.Table, sources: SegmentSources, head_share: float, tail_share: float) -> Segments:
    """The segments of one split's rows.

    Args:
        predictions: rows of one split with ``item``, ``request``, ``query`` and, where the log has it, ``session_id``.
        sources: training counts, P and hash buckets.
        head_share: share of training impressions that the head holds.
        tail_share: share of training impressions (of training requests for queries) that the tail holds.
    """
    item = predictions["item"].to_numpy()
    masks: dict[str, Bool[np.ndarray, " rows"]] = {"all": np.ones(len(item), dtype=bool)}
    facts: dict[str, dict[str, Any]] = {"all": {"definition": "every row of the split"}}
    left_out: dict[str, str] = {}
    for name, (of_item, definition) in _item_segments(sources, head_share, tail_share, left_out).items():
        masks[name] = of_item[item]
        facts[name] = {"definition": definition, **_catalogue_facts(of_item, sources.training_impressions)}
    for name, (mask, definition) in _request_segments(predictions, sources, tail_share, left_out).items():
        masks[name] = mask
        facts[name] = {"definition": definition}
    ordered = [name for name in SEGMENTS if name in masks]
    return Segments({name: masks[name] for name in ordered}, {name: facts[name] for name in ordered}, left_out)


def say_left_out(left_out: Mapping[str, str]) -> None:
    """Say which segments this run cannot have, and why."""
    for name, reason in left_out.items():
        say(f"segment {name} is left out: {reason}")


def _item_segments(
    sources: SegmentSources, head_share: float, tail_share: float, left_out: dict[str, str]
) -> dict[str, tuple[Bool[np.ndarray, " items"], str]]:
    seen = sources.training_impressions
    cut = popularity_cut(seen, head_share, tail_share)
    segments = {
        "head": (
            seen >= cut.head_least,
            f"items with {cut.head_least:,} or more training impressions (aim: {head_share:.0%} of impressions)",
        ),
        "torso": (
            (seen > cut.tail_most) & (seen < cut.head_least),
            f"items with {cut.tail_most + 1:,} to {cut.head_least - 1:,} training impressions"
            if cut.head_least - 1 > cut.tail_most
            else "items between head and tail: there are none, the cuts lie at the same tie",
        ),
        "tail": (
            (seen > 0) & (seen <= cut.tail_most),
            f"items with 1 to {cut.tail_most:,} training impressions (aim: {tail_share:.0%} of impressions)"
            if cut.tail_most > 1
            else f"items with exactly 1 training impression (aim: {tail_share:.0%} of impressions)",
        ),
        "cold": (seen == 0, "items without a training impression"),
    }
    if sources.in_p is None:
        left_out["outside_p"] = "there is no ψ, so there is no subset P"
    else:
        segments["outside_p"] = (~sources.in_p, "items outside P: ψ has no row for them")
    if sources.bucket_load is None:
        left_out["collisions"] = "the system has no hash-id table"
    else:
        segments["collisions"] = (
            sources.bucket_load > 1,
            "items that share their hashed id (every bucket of it) with another catalogue item",
        )
    return segments


def _catalogue_facts(of_item: Bool[np.ndarray, " items"], seen: Int64[np.ndarray, " items"]) -> dict[str, Any]:
    impressions = int(seen.sum())
    return {
        "items": int(of_item.sum()),
        "training_impressions": int(seen[of_item].sum()),
        "share_of_training_impressions": float(seen[of_item].sum() / impressions) if impressions else None,
    }


def _request_segments(
    predictions: pa.Table, sources: SegmentSources, tail_share: float, left_out: dict[str, str]
) -> dict[str, tuple[Bool[np.ndarray, " rows"], str]]:
    segments = {}
    if sources.training_queries is None:
        left_out["tail_query"] = "the training queries are not known"
    else:
        asked = times_asked(predictions["query"], sources.training_queries)
        counts = pc.value_counts(sources.training_queries).field("counts").to_numpy(zero_copy_only=False)
        most = popularity_cut(counts, 0.0, tail_share).tail_most
        segments["tail_query"] = (
            asked <= most,
            f"requests whose query was asked at most {most:,} times on the training days, or never "
            f"(aim: {tail_share:.0%} of training requests)",
        )
    if "session_id" not in predictions.column_names or predictions["session_id"].null_count == len(predictions):
        left_out["first_request"] = "the log has no session_id"
    else:
        segments["first_request"] = (_in_first_request(predictions), "the first request of each session")
    return segments


def times_asked(queries: pa.ChunkedArray, training: pa.Array | pa.ChunkedArray) -> Int64[np.ndarray, " rows"]:
    """How often each row's query occurs among the training requests."""
    counted = pc.value_counts(training)
    place = pc.index_in(queries, value_set=counted.field("values").cast(queries.type)).fill_null(-1).to_numpy()
    counts = np.append(counted.field("counts").to_numpy(zero_copy_only=False), 0)
    asked: Int64[np.ndarray, " rows"] = counts[place].astype(np.int64)
    return asked


def _in_first_request(predictions: pa.Table) -> Bool[np.ndarray, " rows"]:
    """Requests are numbered in order of time, so the first of a session has its smallest number.

    A row without a session stands for itself: its request is a first one.
    """
    request = predictions["request"].to_numpy().astype(np.int64)
    encoded = predictions["session_id"].combine_chunks().dictionary_encode()
    session = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    first = np.full(len(encoded.dictionary) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, session, request)
    mask: Bool[np.ndarray, " rows"] = (session < 0) | (first[session] == request)
    return mask
