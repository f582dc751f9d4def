"""MWUF: warm = cold ⊙ scale(attributes) + shift(users), written out; whose gradients go where; users without leaks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prerank.systems.cold_ids import leave_out, start_from
from prerank.systems.mwuf import MWUF
from prerank.systems.ple import PLE

OPTIONS = ("model.cold_ids.impressions=5", "prerank.learning_rate=0.05")


@pytest.fixture
def module(small_encoded_log, work_of) -> MWUF:
    made = MWUF(work_of(small_encoded_log, "mwuf", *OPTIONS))
    items = made.warmed
    for each in made.parameters():
        torch.nn.init.normal_(each, std=0.3)
    start_from(made, PLE(work_of(small_encoded_log, "ple")), (items.cold, items.scale, items.shift))
    items.start_cold()
    items.remember_users(made.network.request, small_encoded_log.split("train"))
    return made


def mean_user(module, split, item, without=None):
    """Mean request vector of the training rows in which the item was clicked or ordered, one by one."""
    vectors = []
    for row in range(split.rows):
        if split.item[row] == item and (split.clicked[row] or split.ordered[row]) and row != without:
            vectors.append(module.network.request(split.batch(np.array([row])).sides["request"])[0])
    return torch.stack(vectors).mean(dim=0) if vectors else torch.zeros(module.network.request.width)


@torch.no_grad()
def test_cold_ids_are_served_scaled_and_shifted(small_encoded_log, module):
    split, items = small_encoded_log.split("train"), module.warmed
    seen = small_encoded_log.training_counts.impressions
    for item in [*np.flatnonzero(seen < 5)[:3], *np.flatnonzero(seen >= 5)[:3]]:
        item_hash, features = small_encoded_log.item_features(np.array([item]))
        attributes = items.attributes(features)
        identity = items.hash_id(item_hash)
        if seen[item] < 5:
            cold = items.cold.weight[int(item_hash) % 64]
            users = mean_user(module, split, item)
            identity = cold * items.scale(attributes) + items.shift(users.unsqueeze(0))
        expected = items.layers(torch.cat([attributes, identity], dim=1))
        torch.testing.assert_close(items(item_hash, features), expected)


@torch.no_grad()
def test_an_unknown_item_has_the_mean_id_and_no_user(small_encoded_log, module):
    items = module.warmed
    total, count = items.users_of(torch.tensor([12345]))
    assert not total.any()
    assert not count.any()
    warm = small_encoded_log.training_counts.impressions >= 5
    hashes = torch.from_numpy(np.sort(small_encoded_log.items.item_hash[warm]))
    torch.testing.assert_close(items.embed_cold(torch.tensor([12345]))[0], items.hash_id(hashes).mean(dim=0))


@torch.no_grad()
def test_a_rows_own_user_is_left_out_in_training(small_encoded_log, module):
    split = small_encoded_log.split("train")
    rows = np.concatenate([np.flatnonzero(split.clicked)[:6], np.flatnonzero(split.clicked == 0)[:6]])
    batch = split.batch(rows)
    own = module.network.request(batch.sides["request"])
    found = leave_out(*module.warmed.users_of(batch.item_hash), own, batch)
    for place, row in enumerate(rows):
        expected = mean_user(module, split, split.item[row], without=row)
        torch.testing.assert_close(found[place], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rows", [1, 80])
def test_each_loss_trains_its_own_part(small_encoded_log, module, rows):
    batch = small_encoded_log.split("train").batch(np.arange(rows))
    terms = module.training_terms(batch)
    assert set(terms) == {"cold_click", "cold_order", "warm_click", "warm_order"}
    for kind, trained in (("cold", {"cold"}), ("warm", {"scale", "shift"})):
        module.zero_grad()
        (terms[f"{kind}_click"] + terms[f"{kind}_order"]).backward(retain_graph=True)
        named = [name for name, each in module.named_parameters() if each.grad is not None]
        assert {name.split(".")[2] for name in named} == trained


def test_before_training_the_warm_id_is_the_cold_one(small_encoded_log, work_of):
    items = MWUF(work_of(small_encoded_log, "mwuf", *OPTIONS)).warmed
    cold = torch.randn(4, items.hash_id.dimension)
    warmed = items.warmed(cold, torch.randn(4, items.attributes.width), torch.randn(4, items.user_sum.shape[1]))
    torch.testing.assert_close(warmed, cold)


def test_it_overfits_where_every_id_is_cold(small_encoded_log, work_of, overfit):
    base = PLE(work_of(small_encoded_log, "ple", "prerank.learning_rate=0.05"))
    overfit(base, small_encoded_log, steps=120)
    module = MWUF(work_of(small_encoded_log, "mwuf", *OPTIONS, "model.cold_ids.impressions=1000"))
    items = module.warmed
    start_from(module, base, (items.cold, items.scale, items.shift))
    items.remember_users(module.network.request, small_encoded_log.split("train"))
    assert overfit(module, small_encoded_log, steps=80) > 0.9


def test_it_is_fitted_in_two_phases_and_read_back(small_encoded_log, work_of):
    work, split = work_of(small_encoded_log, "mwuf", *OPTIONS), small_encoded_log.split("test")
    fitted = MWUF.fit(work)
    assert (work.folder / "base" / "checkpoints" / "best.ckpt").exists()
    np.testing.assert_array_equal(fitted.predict(split).click, MWUF.load(work).predict(split).click)
