"""COPR-style: the terms are the feedback losses and the weighted pairs; lists stay together; it learns the order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from configs.errors import InputError
from prerank.evaluation.metrics import auc
from prerank.losses.lists import chunk_pairs_loss, sample_chunks
from prerank.systems.copr import COPR
from prerank.systems.ple import PLE


def test_the_loss_is_feedback_and_pairs_of_the_fused_score(small_encoded_log, work_of):
    module = COPR(work_of(small_encoded_log, "copr", "model.copr.weight=0.3", "model.copr.chunk=2"))
    batch = small_encoded_log.split("train").batch(np.arange(60))
    outputs = module(batch)
    torch.manual_seed(3)
    terms = module.losses(batch, outputs)
    torch.manual_seed(3)
    rows, chunks = sample_chunks(batch.request, batch.position, 2, torch.rand(60))
    score = outputs.click + outputs.order
    expected = PLE.losses(module, batch, outputs)
    expected["pairs"] = 0.3 * chunk_pairs_loss(score[rows], batch.request[rows], chunks)
    assert set(terms) == {"click", "order", "pairs"}
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value)


@pytest.mark.parametrize("rows", [[0], [11], [10, 11]])
def test_batches_that_tell_nothing_of_the_order_have_finite_gradients(small_encoded_log, work_of, rows):
    module = COPR(work_of(small_encoded_log, "copr"))
    batch = small_encoded_log.split("train").batch(np.array(rows))
    terms = module.training_terms(batch)
    assert float(terms["pairs"].detach()) == 0
    torch.stack(list(terms.values())).sum().backward()
    assert all(each.grad is None or each.grad.to_dense().isfinite().all() for each in module.parameters())


def test_without_an_order_task_the_score_is_the_click_logit(small_encoded_log, work_of, monkeypatch):
    monkeypatch.setitem(small_encoded_log.schema.tasks, "order", {"available": False, "reason": "no order"})
    module = COPR(work_of(small_encoded_log, "copr"))
    batch = small_encoded_log.split("train").batch(np.arange(60))
    assert set(module.training_terms(batch)) == {"click", "pairs"}


def test_a_log_without_positions_is_refused(small_encoded_log, work_of, monkeypatch):
    monkeypatch.setitem(small_encoded_log.schema.tasks, "rank", {"available": False, "reason": "no positions"})
    with pytest.raises(InputError, match=r"model=copr learns from the positions .* no positions: take model=ple"):
        COPR.fit(work_of(small_encoded_log, "copr"))


def test_pairs_alone_teach_the_order_and_with_feedback_it_overfits(small_encoded_log, work_of, overfit, monkeypatch):
    module = COPR(work_of(small_encoded_log, "copr", "prerank.learning_rate=0.05"))
    assert overfit(module, small_encoded_log, steps=80) > 0.95
    monkeypatch.setattr(PLE, "losses", lambda *_: {})
    module = COPR(work_of(small_encoded_log, "copr", "prerank.learning_rate=0.05", "model.copr.chunk=1"))
    overfit(module, small_encoded_log, steps=60)
    split = small_encoded_log.split("train")
    ranked = np.flatnonzero(np.isfinite(split.position))
    with torch.no_grad():
        outputs = module(split.batch(ranked))
    assert auc(split.position[ranked] <= 3, (outputs.click + outputs.order).numpy()) > 0.9


def test_a_fitted_system_is_read_back_and_trains_on_whole_requests(small_encoded_log, work_of):
    work, split = work_of(small_encoded_log, "copr"), small_encoded_log.split("test")
    fitted, read = COPR.fit(work), COPR.load(work)
    assert fitted.module.whole_requests
    np.testing.assert_array_equal(fitted.predict(split).click, read.predict(split).click)
