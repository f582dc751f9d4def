"""φ and the tables under it: sparse gradients, hashing variants, lists that share the items' table."""

from __future__ import annotations

import math

import pytest
import torch

from configs.schema import Hashing, ItemNetworkConfig
from prerank.encoding.batches import SideFeatures
from prerank.encoding.schema import ListColumn, NumberStatistics, SideSchema
from prerank.network.inputs import HashedTable, NumberEncoder, SideEncoder
from prerank.network.item_network import ItemNetwork

EDGES = (-1.0, 0.0, 2.0)
SCHEMA = SideSchema(
    ids=("brand", "shop"),
    id_tables=("brand", "shop"),
    numbers=(NumberStatistics("price", 10.0, 4.0, (5.0, 9.0), 0.1), NumberStatistics("age", 0.0, 1.0, EDGES, 0.0)),
    lists=(ListColumn("title", 4, "title"),),
)


def features(rows: int, seed: int = 0) -> SideFeatures:
    generator = torch.Generator().manual_seed(seed)
    return SideFeatures(
        ids=torch.randint(-(2**62), 2**62, (rows, 2), generator=generator),
        numbers=torch.randn(rows, 2, generator=generator),
        lists={"title": torch.randint(1, 2**62, (rows, 4), generator=generator)},
    )


def hashes(rows: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(-(2**62), 2**62, (rows,), generator=torch.Generator().manual_seed(seed))


def test_every_table_of_phi_has_a_sparse_gradient():
    network = ItemNetwork(SCHEMA, ItemNetworkConfig(hash_vocabulary=1000), buckets=50, embedding=4, dimension=8)
    network(hashes(16), features(16)).square().sum().backward()
    tables = {name: p for name, p in network.named_parameters() if name.endswith(("table.weight", "numbers.weight"))}
    assert len(tables) == 3
    for name, parameter in tables.items():
        assert parameter.grad is not None, name
        assert parameter.grad.is_sparse, name


@pytest.mark.parametrize("hashing", list(Hashing))
@pytest.mark.parametrize("rows", [1, 17])
def test_phi_shape_and_memory(hashing, rows):
    config = ItemNetworkConfig(hash_vocabulary=1000, hash_dimension=6, hashing=hashing)
    network = ItemNetwork(SCHEMA, config, buckets=50, embedding=4, dimension=8)
    assert network(hashes(rows), features(rows)).shape == (rows, 8)
    assert network.hash_id.table.weight.shape == (1000, 6)


def test_attributes_alone_without_the_hash_id():
    network = ItemNetwork(SCHEMA, ItemNetworkConfig(use_hash_id=False), buckets=50, embedding=4, dimension=8)
    same = features(3)
    assert torch.equal(network(hashes(3, seed=1), same), network(hashes(3, seed=2), same))


def test_phi_needs_something_to_look_at():
    with pytest.raises(ValueError, match="at least one item attribute"):
        ItemNetwork(SideSchema(), ItemNetworkConfig(use_hash_id=False), buckets=50, embedding=4, dimension=8)


def test_lookup_is_the_loop():
    table = HashedTable({"a": 7, "b": 3}, dimension=2)
    values = torch.tensor([[-5, 11], [6, 2], [2**62, -(2**62)]])
    found = table.lookup(["b", "a"], values)
    for row in range(3):
        b, a = int(values[row, 0]) % 3 + 7, int(values[row, 1]) % 7
        assert torch.equal(found[row], torch.cat([table.weight[b], table.weight[a]]))


def test_pooling_ignores_padding_and_an_empty_list_is_zero():
    table = HashedTable({"words": 10}, dimension=3)
    pooled = table.pool("words", torch.tensor([[4, 15, 0], [0, 0, 0], [7, 0, 0]]))
    assert torch.allclose(pooled[0], (table.weight[4] + table.weight[5]) / 2)
    assert pooled[1].tolist() == [0, 0, 0]
    assert torch.allclose(pooled[2], table.weight[7])


def test_numbers_are_standardised_clipped_bucketed_and_missing_is_its_own_bucket():
    encoder = NumberEncoder(SCHEMA.numbers, dimension=2)
    numbers = torch.tensor([[10.0, -1.0], [math.nan, 5.0], [1e9, -9.0], [9.0, 1.0]])
    found = encoder(numbers)
    assert found.shape == (4, 2 * (1 + 2))
    assert found[:, 0].tolist() == [0, 0, 5, -0.25]
    assert found[:, 1].tolist() == [-1, 5, -5, 1]
    price, age = encoder.weight[: encoder.buckets], encoder.weight[encoder.buckets :]
    # price: edges 5, 9 → buckets 1, 2, 3, and 0 for missing; a value on an edge belongs to the bucket above.
    for row, (p, a) in enumerate([(3, 2), (0, 4), (3, 1), (3, 3)]):
        assert torch.equal(found[row, 2:4], price[p])
        assert torch.equal(found[row, 4:6], age[a])


def test_a_side_without_columns_is_empty():
    encoder = SideEncoder(SideSchema(), buckets=5, dimension=2)
    found = encoder(SideFeatures(torch.empty(3, 0, dtype=torch.int64), torch.empty(3, 0), {}))
    assert found.shape == (3, 0)
    assert encoder.width == 0
