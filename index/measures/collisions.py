"""Hash collisions: how many items share their id's embedding with others, and whether their neighbours suffer.

A hash puts items into buckets at random, whatever their popularity or category, so the groups differ in nothing but
their number of bucket-mates: a difference between them is the collisions' own doing.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from configs.schema import ItemNetworkConfig
from index.measures.suite import Neighbours, Subject, placed_overlap, placed_purity
from prerank.network.hash_id import bucket_counts, bucket_loads

GROUPS = ("0", "1", "2", "3+")
"""Bucket-mates; the last group takes all that have more."""


def collision_figures(
    subject: Subject,
    lists: Neighbours,
    item_hash: Int64[np.ndarray, " catalogue"],
    items: Int64[np.ndarray, " items"],
    config: ItemNetworkConfig,
) -> dict[str, Any]:
    """Bucket loads of the catalogue, and overlap and purity of P's items by their number of bucket-mates.

    Args:
        subject, lists: of the audit.
        item_hash: of every item of the catalogue, since items outside of P fill buckets too.
        items: item index of each row of P.
        config: of the system's item network.

    Returns:
        What ``audit.json`` holds under ``collisions``; without a hash id there are no rows, and a reason.
    """
    if not config.use_hash_id:
        return no_collisions("the item network has no hash id", len(item_hash))
    loads, cells = bucket_loads(item_hash, config), math.prod(bucket_counts(config))
    mates = np.minimum(loads[items] - 1, len(GROUPS) - 1)
    of_queries, quality = mates[subject.queries], _quality(subject, lists)
    return {
        "vocabulary": config.hash_vocabulary,
        "hashing": config.hashing.value,
        "buckets": cells,
        "items": len(item_hash),
        "load": len(item_hash) / cells,
        "alone": float((loads == 1).mean()),
        "alone_expected": math.exp(-len(item_hash) / cells),
        "rows": [
            {"mates": name, "items": int((mates == group).sum()), **_means(subject, quality, of_queries == group)}
            for group, name in enumerate(GROUPS)
        ],
    }


def no_collisions(reason: str, items: int) -> dict[str, Any]:
    """What ``collisions`` holds where there is no hash table to look at."""
    unknown = dict.fromkeys(("vocabulary", "hashing", "buckets", "load", "alone", "alone_expected"))
    return {**unknown, "items": items, "rows": [], "reason": reason}


def _quality(subject: Subject, lists: Neighbours) -> dict[str, Float64[np.ndarray, " queries"]]:
    """Overlap, and purity by the main attribute under φ, of every query."""
    columns = {f"overlap@{k}": placed_overlap(subject, lists, k) for k in subject.neighbours}
    if subject.main_attribute is not None:
        columns |= {f"{subject.main_attribute}@{k}": placed_purity(subject, lists, k) for k in subject.neighbours}
    return columns


def _means(
    subject: Subject, columns: dict[str, Float64[np.ndarray, " queries"]], members: Bool[np.ndarray, " queries"]
) -> dict[str, Any]:
    within = {name: column[members] for name, column in columns.items()}
    means = subject.bootstrap.means(within, "no such item has neighbours to compare")
    return {name: figure.as_json() for name, figure in means.items()}
