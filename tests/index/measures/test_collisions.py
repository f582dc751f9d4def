"""Bucket-mates against the item network's own table, and groups whose quality is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from configs.schema import Hashing, ItemNetworkConfig
from index.audit.auditing import audit
from index.measures.collisions import buckets_of, collision_figures
from index.measures.sources import open_sources, rows_to_audit, subject_of
from index.measures.suite import find_neighbours
from prerank.network.item_network import HashId

World = Any
"""See conftest.py, which cannot be imported by name."""


def hashes(items: int = 300) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 2**63 - 1, items)


@pytest.mark.parametrize("hashing", list(Hashing))
def test_items_share_a_bucket_exactly_where_their_ids_share_an_embedding(hashing: Hashing) -> None:
    config = ItemNetworkConfig(hash_vocabulary=24, hash_dimension=5, hashing=hashing)
    network = HashId(config)
    # Rows of one value would be told apart by nothing else than their number.
    with torch.no_grad():
        network.table.weight.copy_(torch.rand_like(network.table.weight) + 0.5)
    embedded = network(torch.from_numpy(hashes())).detach().numpy()
    buckets, cells = buckets_of(hashes(), config)
    assert cells == {Hashing.single: 24}.get(hashing, 144)
    assert (buckets >= 0).all()
    assert (buckets < cells).all()
    same = np.isclose(embedded[:, None], embedded[None], atol=1e-7).all(axis=2)
    np.testing.assert_array_equal(buckets[:, None] == buckets[None], same)


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
