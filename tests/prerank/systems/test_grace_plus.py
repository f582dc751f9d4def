"""grace_plus: GRACE where nothing is switched on; each part is what its formula says; it learns and is read back."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from prerank.evaluation.metrics import auc
from prerank.losses.consistency import rank_labels, rank_loss
from prerank.losses.top import relaxed_recall_loss, top_softmax_loss
from prerank.systems.copr import COPR
from prerank.systems.grace import GRACE
from prerank.systems.grace_plus import GRACEPlus, request_contrast, settle_unranked

OFF = (
    "model.plus.list_loss=none",
    "model.plus.unranked_below=false",
    "model.plus.query_weight=0",
    "model.plus.attributes_only=false",
    "model.plus.negatives_in_p=false",
)


def plus(work_of, encoded, *keys) -> GRACEPlus:
    """A module that is not at the end of an epoch, where it would log."""
    module = GRACEPlus(work_of(encoded, "grace_plus", *keys, psi=True))
    module._trainer = SimpleNamespace(is_last_batch=False)
    return module


def test_with_nothing_switched_on_it_is_grace(small_encoded_log, work_of):
    torch.manual_seed(0)
    ours = plus(work_of, small_encoded_log, *OFF)
    torch.manual_seed(0)
    theirs = GRACE(work_of(small_encoded_log, "grace_plus", psi=True))
    theirs._trainer = ours._trainer
    theirs.load_state_dict(ours.state_dict())
    batch = small_encoded_log.split("train").batch(np.arange(60))
    made, expected = ours.losses(batch, ours(batch)), theirs.losses(batch, theirs(batch))
    assert set(made) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(made[name], value)
    assert not ours.whole_requests


def test_pairs_are_coprs_on_the_logits_that_clicks_teach(small_encoded_log, work_of):
    keys = ("model.plus.list_loss=pairs", "model.plus.list_weight=0.3", *OFF[1:])
    module = plus(work_of, small_encoded_log, *keys)
    rival = COPR(work_of(small_encoded_log, "copr", "model.copr.weight=0.3"))
    batch = small_encoded_log.split("train").batch(np.arange(60))
    outputs = module(batch)
    torch.manual_seed(3)
    made = module.losses(batch, outputs)
    torch.manual_seed(3)
    expected = rival.losses(batch, outputs)["pairs"]
    assert expected > 0
    torch.testing.assert_close(made["list"], expected)
    assert module.whole_requests
    assert set(made) >= {"rank", "contrast"}  # beside GRACE's own, not in their place


@pytest.mark.parametrize("list_loss", ["softmax", "relaxed_recall"])
def test_whole_lists_are_learnt_with_their_weight(small_encoded_log, work_of, list_loss):
    keys = (f"model.plus.list_loss={list_loss}", "model.plus.list_weight=0.3", *OFF[1:])
    module = plus(work_of, small_encoded_log, *keys)
    batch = small_encoded_log.split("train").batch(np.arange(60))
    outputs = module(batch)
    labels, mask = rank_labels(batch.position, batch.list_length, [3, 5])
    given = (outputs.rank, labels, mask, batch.request)
    weights = torch.tensor([0.5, 0.5])
    expected = (
        top_softmax_loss(*given, weights) if list_loss == "softmax" else relaxed_recall_loss(*given, [3, 5], weights)
    )
    torch.testing.assert_close(module.losses(batch, outputs)["list"], 0.3 * expected)
    assert module.whole_requests


def test_rows_that_were_not_ranked_are_unknown_or_below(small_encoded_log, work_of):
    batch = small_encoded_log.split("train").batch(np.arange(60))
    unknown = batch.position.isnan()
    assert unknown.any()
    torch.testing.assert_close(settle_unranked(batch, False), batch.position, equal_nan=True)
    settled = settle_unranked(batch, True)
    assert (settled[unknown] == math.inf).all()
    torch.testing.assert_close(settled[~unknown], batch.position[~unknown])
    module = plus(work_of, small_encoded_log, "model.plus.unranked_below=true", "model.rank.weight=1")
    outputs = module(batch)
    labels, mask = rank_labels(settled, batch.list_length, [3, 5])
    expected = rank_loss(outputs.rank, labels, mask, torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(module.losses(batch, outputs)["rank"], expected)


def test_the_contrast_of_requests_is_a_softmax_over_distinct_items():
    draw = torch.Generator().manual_seed(0)
    request, table = torch.randn(6, 4, generator=draw), torch.randn(10, 4, generator=draw)
    item = torch.tensor([8, 2, 8, 5, 2, 9])
    chosen = torch.tensor([True, True, True, False, True, True])
    made = request_contrast(request, item, table[item], chosen)
    unit, losses = F.normalize(table, dim=1), []
    for row in torch.arange(6)[chosen].tolist():
        q = request[row] / request[row].norm()
        scores = {each: float(q @ unit[each]) / 0.1 for each in (2, 8, 9)}  # item 5 was not clicked
        losses.append(math.log(sum(math.exp(s) for s in scores.values())) - scores[int(item[row])])
    assert float(made) == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_requests_learn_from_the_clicked_items_of_p(small_encoded_log, work_of):
    module = plus(work_of, small_encoded_log, "model.plus.query_weight=0.3")
    batch = small_encoded_log.split("train").batch(np.arange(120))
    rows = module.psi_row[batch.item]
    chosen = (rows >= 0) & (batch.clicked > 0)
    assert 1 < chosen.sum() < (rows >= 0).sum()
    vectors = module.query(module.network.request(batch.sides["request"]))
    expected = request_contrast(vectors, batch.item, module.psi[rows.clamp(min=0)], chosen)
    torch.testing.assert_close(module.losses(batch, module(batch))["query"], 0.3 * expected)


def contrast_of(module, batch, phi, only_p):
    """Eq. 10 by its formula over the distinct items of a batch, with φ given for each item."""
    items = batch.item.unique().tolist()
    rows = {item: int(module.psi_row[item]) for item in items}
    kept = [item for item in items if rows[item] >= 0] if only_p else items
    unit = {item: F.normalize(phi[item], dim=0) for item in kept}
    losses = []
    for item in (each for each in kept if rows[each] >= 0):
        own = float(unit[item] @ F.normalize(module.psi[rows[item]], dim=0)) / 0.1
        others = [float(unit[item] @ unit[other]) / 0.1 for other in kept]
        losses.append(math.log(sum(math.exp(each) for each in others)) - own)
    return 0.1 * sum(losses) / len(losses)


@pytest.mark.parametrize(
    ("attributes_only", "negatives_in_p"), [(False, False), (True, False), (False, True), (True, True)]
)
def test_eq_10_without_the_id_and_among_items_of_p(small_encoded_log, work_of, attributes_only, negatives_in_p):
    keys = (f"model.plus.attributes_only={attributes_only}", f"model.plus.negatives_in_p={negatives_in_p}")
    module = plus(work_of, small_encoded_log, *keys, "model.contrast.mask_above=1")
    torch.nn.init.normal_(module.network.item_network.hash_id.table.weight)
    batch = small_encoded_log.split("train").batch(np.arange(40))
    network = module.network.item_network
    attributes = network.attributes(batch.sides["item"])
    identity = torch.zeros(40, 32) if attributes_only else network.hash_id(batch.item_hash)
    vectors = network.layers(torch.cat([attributes, identity], dim=1))
    phi = dict(zip(batch.item.tolist(), vectors, strict=True))
    assert 0 < sum(int(module.psi_row[item]) >= 0 for item in phi) < len(phi)
    found = module.losses(batch, module(batch))["contrast"]
    assert found.item() == pytest.approx(contrast_of(module, batch, phi, negatives_in_p), rel=1e-4)


def test_eq_10_without_the_id_teaches_no_id(small_encoded_log, work_of):
    module = plus(work_of, small_encoded_log, "model.plus.attributes_only=true")
    batch = small_encoded_log.split("train").batch(np.arange(40))
    module.losses(batch, module(batch))["contrast"].backward()
    table = module.network.item_network.hash_id.table.weight.grad
    assert table is None or (table.to_dense() == 0).all()
    assert any((each.grad != 0).any() for each in module.network.item_network.layers.parameters())


def test_among_items_of_p_a_batch_without_any_has_loss_0(small_encoded_log, work_of):
    module = plus(work_of, small_encoded_log, "model.plus.negatives_in_p=true")
    module.psi_row.fill_(-1)
    loss = module.losses(batch := small_encoded_log.split("train").batch(np.arange(9)), module(batch))["contrast"]
    assert loss.item() == 0
    loss.backward()


def test_without_a_clicked_item_of_p_the_contrast_is_0_with_a_gradient():
    request = torch.randn(3, 4, requires_grad=True)
    item = torch.arange(3)
    loss = request_contrast(request, item, torch.randn(3, 4), torch.zeros(3, dtype=torch.bool))
    assert loss.item() == 0
    loss.backward()
    assert (request.grad == 0).all()


@pytest.mark.parametrize("rows", [[0], [11], [10, 11]])
def test_small_batches_have_finite_gradients(small_encoded_log, work_of, rows):
    keys = ("model.plus.list_loss=softmax", "model.plus.query_weight=0.1", "model.plus.unranked_below=true")
    module = plus(work_of, small_encoded_log, *keys)
    terms = module.training_terms(small_encoded_log.split("train").batch(np.array(rows)))
    torch.stack(list(terms.values())).sum().backward()
    assert all(each.grad is None or each.grad.to_dense().isfinite().all() for each in module.parameters())


def test_a_list_loss_alone_teaches_who_is_in_the_top(small_encoded_log, work_of, overfit, monkeypatch):
    monkeypatch.setattr(GRACE, "losses", lambda *_: {})
    for list_loss in ("softmax", "relaxed_recall"):
        keys = (f"model.plus.list_loss={list_loss}", "model.plus.query_weight=0", "prerank.learning_rate=0.05")
        module = plus(work_of, small_encoded_log, *keys)
        overfit(module, small_encoded_log, steps=60)
        split = small_encoded_log.split("train")
        ranked = np.flatnonzero(np.isfinite(split.position))
        with torch.no_grad():
            logits = module(split.batch(ranked)).rank
        assert auc(split.position[ranked] <= 3, logits[:, 0].numpy()) > 0.9


def test_it_overfits_a_tiny_log_and_is_read_back(small_encoded_log, work_of, overfit):
    keys = ("model.plus.list_loss=softmax", "model.plus.query_weight=0.1", "prerank.learning_rate=0.05")
    assert overfit(plus(work_of, small_encoded_log, *keys), small_encoded_log, steps=80) > 0.95
    work, split = work_of(small_encoded_log, "grace_plus", *keys, psi=True), small_encoded_log.split("test")
    fitted, read = GRACEPlus.fit(work), GRACEPlus.load(work)
    assert fitted.module.whole_requests
    for name in ("click", "rank"):
        np.testing.assert_array_equal(getattr(fitted.predict(split), name), getattr(read.predict(split), name))
