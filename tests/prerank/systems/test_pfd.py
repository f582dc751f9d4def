"""PFD: the three losses and the swap step; the teacher is told nothing by the student, and only the student serves."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from prerank.systems.pfd import PFD
from prerank.systems.ple import PLE


@pytest.fixture
def module(small_encoded_log, work_of) -> PFD:
    return PFD(work_of(small_encoded_log, "pfd", "model.pfd.weight=0.3", "model.pfd.swap_epochs=0.5"))


@pytest.mark.parametrize("rows", [[0], [11], list(range(100))])
@pytest.mark.parametrize("after", [False, True])
def test_the_loss_before_and_after_the_swap(small_encoded_log, module, rows, after):
    assert module.swap_step == 3  # half of 384 rows in batches of 64
    module._trainer = SimpleNamespace(global_step=3 if after else 2)
    batch = small_encoded_log.split("train").batch(np.array(rows))
    outputs, told = module(batch), module.teacher(batch)
    terms = module.losses(batch, outputs)
    weight = 0.3 if after else 0.0
    for task in ("click", "order"):
        torch.testing.assert_close(terms[f"student_{task}"], (1 - weight) * PLE.losses(module, batch, outputs)[task])
        torch.testing.assert_close(terms[f"teacher_{task}"], PLE.losses(module, batch, told)[task])
    assert ("distillation" in terms) == after
    if after:
        known, expected = batch.has_feedback, torch.zeros(())
        for student, teacher in ((outputs.click, told.click), (outputs.order, told.order)):
            expected = expected + F.binary_cross_entropy_with_logits(student[known], teacher[known].sigmoid().detach())
        torch.testing.assert_close(terms["distillation"], 0.3 * expected)


def test_distillation_does_not_reach_the_teacher(small_encoded_log, module):
    module._trainer = SimpleNamespace(global_step=99)
    batch = small_encoded_log.split("train").batch(np.arange(50))
    module.losses(batch, module(batch))["distillation"].backward()
    assert all(each.grad is None for each in module.teacher.parameters())
    assert any(each.grad is not None for each in module.network.parameters())


def test_the_student_sees_the_pair_side_unless_told_not_to(small_encoded_log, work_of, module):
    batch = small_encoded_log.split("train").batch(np.arange(20))
    blind = PFD(work_of(small_encoded_log, "pfd", "model.pfd.student_pair=false"))
    found = [each(batch).click for each in (blind, blind.teacher, module)]
    batch.sides["pair"].numbers[:] += 1
    changed = [
        not torch.equal(each(batch).click, old) for each, old in zip((blind, blind.teacher, module), found, strict=True)
    ]
    assert changed == [False, True, True]


def test_it_overfits_a_tiny_log(small_encoded_log, work_of, overfit):
    module = PFD(work_of(small_encoded_log, "pfd", "prerank.learning_rate=0.1"))
    assert overfit(module, small_encoded_log, steps=150) > 0.95


def test_a_fitted_system_is_read_back_and_only_the_student_counts(small_encoded_log, work_of):
    work, split = work_of(small_encoded_log, "pfd"), small_encoded_log.split("test")
    fitted = PFD.fit(work)
    np.testing.assert_array_equal(fitted.predict(split).click, PFD.load(work).predict(split).click)
    assert fitted.parameters == sum(each.numel() for each in fitted.module.network.parameters())
