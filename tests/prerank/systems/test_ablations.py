"""GRACE less one part: the other terms of the loss are exactly GRACE's, and the part cannot come back unseen."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from configs.command import parse, settings
from configs.errors import InputError
from prerank import systems
from prerank.systems.grace import GRACE
from prerank.training.contracts import Work
from prerank.training.network_system import FittedNetwork
from pretrain.embeddings import EmbeddingTable

LEFT_OUT = {"grace_no_consistency": {"rank"}, "grace_no_generalization": {"contrast"}, "grace_no_hash_id": set()}
PUT_BACK = {
    "grace_no_consistency": "model.rank.head=per_k",
    "grace_no_generalization": "model.contrast.loss=mse",
    "grace_no_hash_id": "model.item.use_hash_id=true",
}
DIFFERS = {
    "grace_no_consistency": {"rank"},
    "grace_no_generalization": {"contrast"},
    "grace_no_hash_id": {"item"},
}


def work_on(encoded, folder, name, *overrides) -> Work:
    small = ["model.item.hash_vocabulary=32", "model.buckets=64", "model.dimension=4", "model.experts.hidden=[16]"]
    training = ["prerank.batch_size=64", "prerank.threads=1", "prerank.max_epochs=1", "data.cutoffs=[3,5]"]
    config = parse([f"runs_folder={folder}", f"model={name}", *small, *training, *overrides]).config
    count = encoded.schema.n_items // 2
    vectors = np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32)
    psi = EmbeddingTable(encoded.item_ids[:count], vectors, encoded.schema.catalogue, "psi")
    return Work(config=config, encoded=encoded, psi=psi, folder=folder / name)


def network_of(work) -> GRACE:
    module = GRACE(work)
    module._trainer = SimpleNamespace(is_last_batch=False)
    return module


def load_part(ablated: GRACE, whole: GRACE) -> None:
    """Copy GRACE's parameters; of the experts, which are one tensor, those of click and order and the shared ones."""
    kept = torch.tensor([0, 1, 2, 3, 6, 7])
    parameters = whole.state_dict()
    wanted = ablated.state_dict()
    cut = {key: len(parameters[key]) != len(value) for key, value in wanted.items()}
    ablated.load_state_dict({key: parameters[key][kept] if cut[key] else parameters[key] for key in wanted})


@pytest.mark.parametrize("name", LEFT_OUT)
def test_the_terms_are_graces_less_one(small_encoded_log, tmp_path, name):
    whole = network_of(work_on(small_encoded_log, tmp_path, "grace"))
    ablated = network_of(work_on(small_encoded_log, tmp_path, name))
    batch = small_encoded_log.split("train").batch(np.arange(200))
    expected = whole.losses(batch, whole(batch))
    assert set(expected) == {"click", "order", "rank", "contrast"}
    if name != "grace_no_hash_id":  # its network has other inputs; the others' parameters are a part of GRACE's
        load_part(ablated, whole)
    found = ablated.losses(batch, ablated(batch))
    assert set(found) == set(expected) - LEFT_OUT[name]
    if name != "grace_no_hash_id":
        for term, value in found.items():
            torch.testing.assert_close(value, expected[term], msg=term)


@pytest.mark.parametrize("name", LEFT_OUT)
def test_the_configuration_differs_from_graces_in_that_part_only(name):
    whole, ablated = (settings(parse([f"model={each}"]).config.model) for each in ("grace", name))
    assert {key for key in whole if whole[key] != ablated[key]} == DIFFERS[name] | {"name", "system", "fixed"}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_an_ablation_is_fitted_and_read_back(small_encoded_log, tmp_path, name):
    work = work_on(small_encoded_log, tmp_path, name)
    system, split = systems.find(work.config.model), small_encoded_log.split("test")
    fitted, read = system.fit(work).predict(split), system.load(work).predict(split)
    assert (fitted.rank is None) == (name == "grace_no_consistency")
    np.testing.assert_array_equal(fitted.click, read.click)


@pytest.mark.parametrize("name", PUT_BACK)
def test_the_part_cannot_be_put_back_under_the_ablations_name(small_encoded_log, tmp_path, name):
    refusal = f"model={name} is fixed to .*(?i:found {PUT_BACK[name]}): .*take another model"
    with pytest.raises(InputError, match=refusal):
        work_on(small_encoded_log, tmp_path, name, PUT_BACK[name])


def test_without_the_hash_id_items_of_the_same_attributes_are_the_same(small_encoded_log, tmp_path):
    def phi(name: str) -> torch.Tensor:
        module = FittedNetwork(GRACE(work_on(small_encoded_log, tmp_path, name))).module
        _, features = small_encoded_log.item_features(np.array([0, 0]))
        with torch.inference_mode():
            return module.network.item_network(torch.tensor([11, 12]), features)

    first, second = phi("grace_no_hash_id")
    torch.testing.assert_close(first, second)
    first, second = phi("grace")
    assert not torch.allclose(first, second, atol=1e-4)
