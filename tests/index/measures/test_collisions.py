"""Groups of bucket-mates whose quality is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from configs.schema import ItemNetworkConfig
from index.audit.auditing import audit
from index.measures.collisions import collision_figures
from index.measures.sources import open_sources, rows_to_audit, subject_of
from index.measures.suite import find_neighbours

World = Any
"""See conftest.py, which cannot be imported by name."""


def measured(world: World, **settings: Any) -> dict[str, Any]:
    sources = open_sources(world.request)
    items, outside = rows_to_audit(sources)
    subject = subject_of(sources, items, outside)
    config = ItemNetworkConfig(**settings)
    return collision_figures(subject, find_neighbours(subject), sources.encoded.items.item_hash, items, config)


def test_groups_are_those_of_a_loop_over_buckets(world: World) -> None:
    found = measured(world, hash_vocabulary=200)
    sources = open_sources(world.request)
    items, _ = rows_to_audit(sources)
    bucket = sources.encoded.items.item_hash % 200
    mates = [sum(other == own for other in bucket) - 1 for own in bucket]
    of_p = [min(mates[item], 3) for item in items]
    assert [row["items"] for row in found["rows"]] == [of_p.count(group) for group in range(4)]
    assert [row["mates"] for row in found["rows"]] == ["0", "1", "2", "3+"]
    assert found["alone"] == np.mean(np.array(mates) == 0)
    assert found["alone"] == pytest.approx(math.exp(-400 / 200), abs=0.08)
    assert (found["items"], found["load"], found["alone_expected"]) == (400, 2.0, math.exp(-2.0))
    whole = sum(row["overlap@5"]["value"] * row["overlap@5"]["n"] for row in found["rows"]) / 300
    assert whole == pytest.approx(audit(world.request)["overlap"]["overlap@5"]["value"])
    assert 0 < found["rows"][0]["category@5"]["low"] < found["rows"][0]["category@5"]["high"] <= 1


def test_a_group_without_items_is_undefined(world: World) -> None:
    found = measured(world, hash_vocabulary=2**40)
    assert [row["items"] for row in found["rows"]] == [300, 0, 0, 0]
    assert found["rows"][3]["overlap@5"]["value"] is None
    assert "no such item has neighbours" in found["rows"][3]["overlap@5"]["reason"]


def test_without_a_hash_id_there_are_no_collisions(world: World) -> None:
    found = measured(world, use_hash_id=False)
    assert (found["rows"], found["vocabulary"]) == ([], None)
    assert "no hash id" in found["reason"]
