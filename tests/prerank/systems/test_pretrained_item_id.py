"""ψ in φ's place: a lookup, row by row, with the mean for what ψ does not hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from configs.errors import InputError
from prerank.systems.grace import GRACE
from prerank.systems.pretrained_item_id import PretrainedItemId, PretrainedTable


def table(train: bool = False) -> tuple[PretrainedTable, dict[int, np.ndarray]]:
    hashes = np.array([70, -5, 2**62, 11])
    vectors = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32) + 5
    centred = vectors - vectors.mean(axis=0)
    return PretrainedTable(hashes, vectors, train), dict(zip(hashes.tolist(), centred, strict=True))


@pytest.mark.parametrize("hashes", [[70], [11, 11, -5], [2**62, 3, -(2**63), 2**63 - 1, 0], []])
def test_a_row_is_looked_up_by_hash_and_the_mean_stands_in(hashes):
    made, known = table()
    found = made(torch.tensor(hashes, dtype=torch.int64))
    assert found.shape == (len(hashes), 3)
    for value, vector in zip(hashes, found, strict=True):
        np.testing.assert_allclose(vector, known.get(value, np.zeros(3)), atol=1e-6)
    np.testing.assert_allclose(np.mean(list(known.values()), axis=0), np.zeros(3), atol=1e-6)


def test_a_list_is_the_mean_of_its_rows():
    made, known = table()
    lists = torch.tensor([[70, 11, 0], [0, 0, 0], [-5, 3, 3]])
    expected = [(known[70] + known[11]) / 2, np.zeros(3), known[-5] / 3]
    np.testing.assert_allclose(made.pool("item_id", lists), np.array(expected), atol=1e-6)


def test_nobody_in_p_is_the_mean_row_for_all():
    empty = PretrainedTable(np.zeros(0, np.int64), np.zeros((0, 3), np.float32), False)
    np.testing.assert_array_equal(empty(torch.tensor([4, 0])), np.zeros((2, 3)))


def test_item_vectors_are_psi_and_the_mean(small_encoded_log, work_of):
    work = work_of(small_encoded_log, "pretrained_item_id", psi=True)
    vectors = PretrainedItemId.fit(work).item_vectors(small_encoded_log)
    psi = work.psi.vectors - work.psi.vectors.mean(axis=0)
    np.testing.assert_allclose(vectors[:25], psi, atol=1e-6)
    np.testing.assert_array_equal(vectors[25:], np.zeros((25, 8)))


@pytest.mark.parametrize("train", [False, True])
def test_the_rows_move_only_when_asked(small_encoded_log, work_of, train):
    work = work_of(small_encoded_log, "pretrained_item_id", f"model.pretrained.train={train}", psi=True)
    before = PretrainedItemId(work).network.item_network.table.table.weight.detach().clone()
    after = PretrainedItemId.fit(work).module.network.item_network.table.table.weight
    assert torch.equal(before, after) is not train


def test_its_terms_are_graces_without_the_contrast(small_encoded_log, work_of):
    module = PretrainedItemId(work_of(small_encoded_log, "pretrained_item_id", psi=True))
    batch = small_encoded_log.split("train").batch(np.arange(60))
    outputs = module(batch)
    terms = module.losses(batch, outputs)
    assert set(terms) == {"click", "order", "rank"}
    whole = GRACE(work_of(small_encoded_log, "grace", "model.contrast.loss=none", psi=True)).losses(batch, outputs)
    for name, term in terms.items():
        torch.testing.assert_close(term, whole[name])


def test_attributes_reach_ple_beside_psi_or_not_at_all(small_encoded_log, work_of):
    split = small_encoded_log.split("train")
    for attributes in (True, False):
        work = work_of(small_encoded_log, "pretrained_item_id", f"model.pretrained.attributes={attributes}", psi=True)
        module = PretrainedItemId(work)
        batch, other = split.batch(np.arange(8)), split.batch(np.arange(8))
        other.sides["item"].ids += 1
        with torch.no_grad():
            assert torch.equal(module(batch).click, module(other).click) is not attributes


def test_there_is_no_other_table_of_items(small_encoded_log, work_of):
    """The request's history, where a log has one, is looked up in the same table."""
    network = PretrainedItemId(work_of(small_encoded_log, "pretrained_item_id", psi=True)).network
    assert network.request._shared["item_id"] is network.item_network.table
    assert not any("hash_id" in name for name, _ in network.named_modules())


def test_the_contrast_cannot_come_back(small_encoded_log, work_of):
    with pytest.raises(InputError, match=r"found model\.contrast\.loss=mse"):
        PretrainedItemId(work_of(small_encoded_log, "pretrained_item_id", "model.contrast.loss=mse", psi=True))


def test_a_batch_of_one_trains(small_encoded_log, work_of):
    module = PretrainedItemId(work_of(small_encoded_log, "pretrained_item_id", psi=True))
    for row in range(12):
        batch = small_encoded_log.split("train").batch(np.array([row]))
        assert all(term.isfinite() for term in module.losses(batch, module(batch)).values())


def test_it_overfits_a_tiny_log(small_encoded_log, work_of, overfit):
    work = work_of(small_encoded_log, "pretrained_item_id", "prerank.learning_rate=0.05", psi=True)
    assert overfit(PretrainedItemId(work), small_encoded_log) > 0.97


def test_it_is_fitted_and_read_back(small_encoded_log, work_of):
    work = work_of(small_encoded_log, "pretrained_item_id", "model.pretrained.train=true", psi=True)
    split = small_encoded_log.split("test")
    fitted, read = PretrainedItemId.fit(work).predict(split), PretrainedItemId.load(work).predict(split)
    for head in ("click", "order", "rank"):
        np.testing.assert_array_equal(getattr(fitted, head), getattr(read, head))
