"""Batches against direct indexing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prerank.encoding.batches import EXPOSED, RANDOM, EncodedLog, EncodedSplit
from prerank.encoding.schema import STAGES


@pytest.fixture(scope="module")
def encoded(small_encoded_log: EncodedLog) -> EncodedLog:
    return small_encoded_log


@pytest.fixture(scope="module")
def train(encoded: EncodedLog) -> EncodedSplit:
    return encoded.split("train")


def test_a_batch_is_direct_indexing(encoded: EncodedLog) -> None:
    split = encoded.split("train")
    rows = np.array([5, 0, 383, 5, 11])
    batch = split.batch(rows)
    item, request = split.item[rows], split.request[rows]
    assert batch.row.tolist() == rows.tolist()
    assert batch.item.tolist() == item.tolist()
    assert batch.item_hash.tolist() == encoded.items.item_hash[item].tolist()
    for name in ("clicked", "ordered", "stage"):
        assert getattr(batch, name).tolist() == getattr(split, name)[rows].tolist()
    for name in ("position", "rank_score"):
        np.testing.assert_array_equal(getattr(batch, name).numpy(), getattr(split, name)[rows])
    assert batch.request.tolist() == request.tolist()
    assert batch.list_length.tolist() == split.list_length[request].tolist()
    sides = {
        "item": (encoded.items.features, item),
        "request": (split.request_features, request),
        "pair": (split.pair_features, rows),
    }
    for side, (arrays, index) in sides.items():
        np.testing.assert_array_equal(batch.sides[side].ids.numpy(), arrays.ids[index])
        np.testing.assert_array_equal(batch.sides[side].numbers.numpy(), arrays.numbers[index])
        assert list(batch.sides[side].lists) == list(arrays.lists)
        for name, values in batch.sides[side].lists.items():
            np.testing.assert_array_equal(values.numpy(), arrays.lists[name][index])
    floats = (batch.clicked, batch.ordered, batch.position, batch.list_length, batch.rank_score)
    assert all(values.dtype is torch.float32 for values in floats)
    assert all(v.dtype is torch.int64 for v in (batch.item, batch.item_hash, batch.stage, batch.request, batch.row))


def test_a_batch_of_one_and_of_none(train: EncodedSplit) -> None:
    assert train.batch(np.array([7])).sides["item"].numbers.shape == (1, 1)
    empty = train.batch(np.array([], np.int64))
    assert len(empty) == 0
    assert empty.sides["request"].ids.shape == (0, 2)
    with pytest.raises(IndexError):
        train.batch(np.array([train.rows]))


def test_moving_a_batch_keeps_everything(train: EncodedSplit) -> None:
    batch = train.batch(np.arange(3))
    moved = batch.to("meta")
    assert moved.sides["item"].lists["title"].device.type == "meta"
    assert moved.position.device.type == "meta"
    assert batch.position.device.type == "cpu"


def test_feedback_is_known_for_exposed_rows_and_random_negatives(train: EncodedSplit) -> None:
    batch = train.batch(np.arange(train.rows))
    expected = np.isin(train.stage, [EXPOSED, RANDOM])
    assert 0 < expected.sum() < train.rows
    assert batch.has_feedback.numpy().tolist() == expected.tolist()
    assert train.feedback_rows().tolist() == np.flatnonzero(expected).tolist()
    assert torch.isinf(batch.position[batch.stage == STAGES.index("random")]).all()
    assert torch.isnan(batch.position[batch.stage == STAGES.index("recalled")]).all()


def test_raw_columns_are_those_of_the_batch(train: EncodedSplit) -> None:
    rows = np.array([3, 200, 17])
    batch = train.batch(rows)
    ids, numbers, lists = train.raw_ids(rows), train.raw_numbers(rows), train.raw_lists(rows)
    assert list(ids) == ["item:item_id", "item:brand", "request:user_id", "request:query"]
    assert ids["item:item_id"].tolist() == batch.item_hash.tolist()
    assert ids["request:query"].tolist() == batch.sides["request"].ids[:, 1].tolist()
    assert list(numbers) == ["item:price", "pair:price"]
    np.testing.assert_array_equal(numbers["pair:price"], batch.sides["pair"].numbers[:, 0])
    assert list(lists) == ["item:title", "request:query"]
    np.testing.assert_array_equal(lists["item:title"], batch.sides["item"].lists["title"])
