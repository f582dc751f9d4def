"""Hashed ids: who shares one, in the network and for those who ask which items collide."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from configs.schema import Hashing, ItemNetworkConfig
from prerank.encoding.batches import SideFeatures
from prerank.encoding.schema import ListColumn, SideSchema
from prerank.network.hash_id import HashId, bucket_counts, bucket_loads, buckets_of
from prerank.network.inputs import SideEncoder


def hashes(rows: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(-(2**62), 2**62, (rows,), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("hashing", list(Hashing))
def test_items_share_their_buckets_exactly_where_their_ids_share_an_embedding(hashing):
    config = ItemNetworkConfig(hash_vocabulary=24, hash_dimension=5, hashing=hashing)
    network = HashId(config)
    # Rows of one value would be told apart by nothing else than their number.
    with torch.no_grad():
        network.table.weight.copy_(torch.rand_like(network.table.weight) + 0.5)
    item_hash = np.random.default_rng(0).integers(1, 2**63 - 1, 300)
    embedded = network(torch.from_numpy(item_hash)).detach().numpy()
    same = np.isclose(embedded[:, None], embedded[None], atol=1e-7).all(axis=2)
    buckets, counts = np.stack(buckets_of(item_hash, config)), bucket_counts(config)
    assert counts == ((24,) if hashing is Hashing.single else (12, 12))
    assert (buckets >= 0).all()
    assert (buckets < np.array(counts)[:, None]).all()
    np.testing.assert_array_equal((buckets[:, :, None] == buckets[:, None]).all(axis=0), same)
    np.testing.assert_array_equal(bucket_loads(item_hash, config), same.sum(axis=1))


def test_bucket_loads():
    loads = bucket_loads(np.array([7, 3, 7, 17, 0]), ItemNetworkConfig(hash_vocabulary=10))
    assert loads.tolist() == [3, 1, 3, 3, 1]


@pytest.mark.parametrize("hashing", list(Hashing))
def test_items_share_an_embedding_only_as_often_as_the_hashing_promises(hashing):
    """20,000 items: e^(−n/V) of them are alone with one hash of V = 20,000; nearly all with two of V/2."""
    items = 20_000
    identity = HashId(ItemNetworkConfig(hash_vocabulary=items, hash_dimension=2, hashing=hashing))
    with torch.no_grad():
        identity.table.weight.copy_(torch.randn_like(identity.table.weight))
        embedded = identity(hashes(items)).double()
    _, counts = torch.unique((embedded * 1e6).round(), dim=0, return_counts=True)
    alone = (counts == 1).sum().item() / items
    expected = math.exp(-1) if hashing is Hashing.single else math.exp(-items / (items / 2) ** 2)
    assert alone == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("hashing", list(Hashing))
def test_a_history_is_the_mean_of_the_items_own_hash_embeddings(hashing):
    identity = HashId(ItemNetworkConfig(hash_vocabulary=50, hash_dimension=4, hashing=hashing))
    encoder = SideEncoder(
        SideSchema(lists=(ListColumn("history", 3, "item_id"),)), buckets=9, dimension=2, shared={"item_id": identity}
    )
    history = torch.tensor([[12345, 99, 0], [0, 0, 0]])
    found = encoder(SideFeatures(torch.empty(2, 0, dtype=torch.int64), torch.empty(2, 0), {"history": history}))
    assert encoder.width == 4
    assert list(encoder.parameters()) == []
    assert torch.allclose(found[0], identity(history[0, :2]).mean(dim=0))
    assert found[1].tolist() == [0] * 4
