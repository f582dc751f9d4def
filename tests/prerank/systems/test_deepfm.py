"""DeepFM against the sum over pairs of fields, and its size against PLE's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prerank.network.perceptrons import dense_parameters
from prerank.systems.deepfm import DeepFM, factorisation
from prerank.systems.ple import PLE


@pytest.mark.parametrize("fields", [1, 2, 7])
@pytest.mark.parametrize("rows", [1, 4])
def test_the_factorisation_is_the_sum_over_pairs(rows, fields):
    vectors = torch.randn(rows, fields, 5)
    expected = torch.zeros(rows, 5)
    for first in range(fields):
        for second in range(first + 1, fields):
            expected += vectors[:, first] * vectors[:, second]
    torch.testing.assert_close(factorisation(vectors), expected, rtol=1e-4, atol=1e-5)


def test_the_logit_is_weights_and_pairs_and_the_deep_part(small_encoded_log, work_of):
    network = DeepFM(work_of(small_encoded_log, "deepfm")).network
    for each in network.parameters():
        torch.nn.init.normal_(each, std=0.3)
    torch.nn.init.ones_(network.products)
    batch = small_encoded_log.split("train").batch(np.arange(9))
    sides = batch.sides
    fields, weights = (
        each.join(
            [
                *each.item_fields(batch.item_hash, sides["item"]),
                each.sides["request"](sides["request"]),
                each.sides["pair"](sides["pair"]),
            ]
        )
        for each in (network.embeddings, network.weights)
    )
    # The hashed id, title, brand, user, query and the query's words.
    assert fields.shape == (9, 6, 4)
    assert weights.shape == (9, 6, 2)
    numbers = [network.numbers[side](batch.sides[side].numbers) for side in ("item", "pair")]
    deep = network.deep(torch.cat([fields.flatten(1), *numbers], dim=1))
    outputs = network(batch)
    for row in range(9):
        pairs = sum(fields[row, i] @ fields[row, j] for i in range(6) for j in range(i))
        for task, logit in enumerate((outputs.click, outputs.order)):
            expected = weights[row, :, task].sum() + pairs + deep[row, task]
            torch.testing.assert_close(logit[row], expected, rtol=1e-4, atol=1e-4)
    assert outputs.rank is None


def test_it_is_as_large_as_ple(small_encoded_log, work_of):
    options = ("model.experts.hidden=[128,64]", "model.dimension=16")
    sizes = [
        dense_parameters(lambda system=system, name=name: system(work_of(small_encoded_log, name, *options)).network)
        for system, name in ((DeepFM, "deepfm"), (PLE, "ple"))
    ]
    assert abs(sizes[0] - sizes[1]) < 0.01 * sizes[1]


@pytest.mark.parametrize("tasks", [("click",), ("order",)])
def test_a_log_of_one_task_has_one_head(small_encoded_log, work_of, monkeypatch, tasks):
    for task in {"click", "order"} - set(tasks):
        monkeypatch.setitem(small_encoded_log.schema.tasks, task, {"available": False, "reason": "none"})
    module = DeepFM(work_of(small_encoded_log, "deepfm"))
    assert set(module.training_terms(small_encoded_log.split("train").batch(np.arange(1)))) == set(tasks)


def test_it_overfits_a_tiny_log(small_encoded_log, work_of, overfit):
    module = DeepFM(work_of(small_encoded_log, "deepfm", "prerank.learning_rate=0.05"))
    assert overfit(module, small_encoded_log, steps=80) > 0.95


@pytest.mark.parametrize("options", [(), ("model.item.use_hash_id=false",), ("model.item.hashing=double",)])
def test_a_fitted_system_is_read_back_and_has_no_phi(small_encoded_log, work_of, options):
    work, split = work_of(small_encoded_log, "deepfm", *options), small_encoded_log.split("test")
    fitted = DeepFM.fit(work)
    np.testing.assert_array_equal(fitted.predict(split).click, DeepFM.load(work).predict(split).click)
    assert fitted.item_vectors(small_encoded_log) is None
