"""RankFlow: self-learning on what recall passed, lessons of the ranking model, step by step in turn."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from configs.errors import InputError
from prerank.encoding.schema import STAGES
from prerank.evaluation.metrics import auc
from prerank.losses.lists import teacher_distance, top_loss
from prerank.systems.rankflow import RankFlow


def test_self_learning_counts_what_was_recalled_but_not_shown(small_encoded_log, work_of):
    module = RankFlow(work_of(small_encoded_log, "rankflow"))
    batch = small_encoded_log.split("train").batch(np.arange(120))
    outputs = module(batch)
    terms = module.losses(batch, outputs)
    passed = batch.stage != STAGES.index("random")
    assert int(passed.sum()) > int((batch.stage == STAGES.index("exposed")).sum())
    assert set(terms) == {"click", "order"}
    expected = F.binary_cross_entropy_with_logits(outputs.click[passed], batch.clicked[passed])
    torch.testing.assert_close(terms["click"], expected)


def test_every_other_step_is_the_tutors(small_encoded_log, work_of):
    module = RankFlow(work_of(small_encoded_log, "rankflow", "model.rankflow.alpha=0.3", "model.rankflow.top=4"))
    batch = small_encoded_log.split("train").batch(np.arange(120))
    outputs = module(batch)
    module._trainer = SimpleNamespace(global_step=0)
    assert set(module.losses(batch, outputs)) == {"click", "order"}
    module._trainer.global_step = 1
    terms = module.losses(batch, outputs)
    score = outputs.click + outputs.order
    assert set(terms) == {"top", "teacher"}
    torch.testing.assert_close(terms["top"], 0.3 * top_loss(score, batch.request, batch.position, 4))
    distance = teacher_distance(score, batch.request, batch.position, batch.rank_score)
    torch.testing.assert_close(terms["teacher"], 0.7 * distance)
    module._trainer.global_step = 2
    assert set(module.losses(batch, outputs)) == {"click", "order"}


def test_without_scores_the_positions_teach(small_encoded_log, work_of):
    module = RankFlow(work_of(small_encoded_log, "rankflow"))
    batch = small_encoded_log.split("train").batch(np.arange(120))
    batch.rank_score[:] = math.nan
    terms = module.tutor_losses(batch, module(batch))
    assert float(terms["teacher"].detach()) > 0.1


@pytest.mark.parametrize("rows", [[0], [11]])
def test_a_batch_of_one_has_finite_gradients(small_encoded_log, work_of, rows):
    module = RankFlow(work_of(small_encoded_log, "rankflow"))
    batch = small_encoded_log.split("train").batch(np.array(rows))
    for losses in (module.self_losses, module.tutor_losses):
        module.zero_grad()
        torch.stack(list(losses(batch, module(batch)).values())).sum().backward()
        assert all(each.grad is None or each.grad.to_dense().isfinite().all() for each in module.parameters())


def test_by_itself_it_overfits_a_tiny_log(small_encoded_log, work_of, overfit, monkeypatch):
    module = RankFlow(work_of(small_encoded_log, "rankflow", "prerank.learning_rate=0.05"))
    monkeypatch.setattr(module, "tutor_losses", module.self_losses)
    assert overfit(module, small_encoded_log, steps=130) > 0.95


def test_its_tutor_teaches_the_order(small_encoded_log, work_of, overfit, monkeypatch):
    module = RankFlow(work_of(small_encoded_log, "rankflow", "prerank.learning_rate=0.05", "model.rankflow.top=3"))
    monkeypatch.setattr(module, "self_losses", module.tutor_losses)
    overfit(module, small_encoded_log, steps=80)
    split = small_encoded_log.split("train")
    shown = np.flatnonzero(split.stage == STAGES.index("exposed"))
    with torch.no_grad():
        outputs = module(split.batch(shown))
    assert auc(split.position[shown] <= 3, (outputs.click + outputs.order).numpy()) > 0.9


def test_a_log_without_positions_is_refused(small_encoded_log, work_of, monkeypatch):
    monkeypatch.setitem(small_encoded_log.schema.tasks, "rank", {"available": False, "reason": "no positions"})
    with pytest.raises(InputError, match="model=rankflow learns from the positions"):
        RankFlow.fit(work_of(small_encoded_log, "rankflow"))


def test_a_fitted_system_is_read_back(small_encoded_log, work_of):
    work, split = work_of(small_encoded_log, "rankflow"), small_encoded_log.split("test")
    fitted, read = RankFlow.fit(work).predict(split), RankFlow.load(work).predict(split)
    np.testing.assert_array_equal(fitted.click, read.click)
