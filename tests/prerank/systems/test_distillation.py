"""Distillation against its two losses, row by row, and what stands in for scores that a log does not have."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.special import expit, logit

from configs.errors import InputError
from configs.schema import DistillationConfig, DistillationLoss
from prerank.encoding.batches import EncodedLog
from prerank.systems.distillation import Distillation, distillation_loss, position_score

SOFT, MSE = DistillationLoss.soft_labels, DistillationLoss.logit_mse


@pytest.fixture
def without_scores(small_encoded_log, monkeypatch) -> EncodedLog:
    """The log as if no row had a rank_score; positions stay."""
    log = EncodedLog.open(small_encoded_log.folder)

    def split(name: str):
        found = EncodedLog.split(log, name)
        return dataclasses.replace(found, rank_score=np.full(found.rows, np.nan, np.float32))

    monkeypatch.setattr(log, "split", split)
    return log


@pytest.mark.parametrize("loss", list(DistillationLoss))
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("rows", [1, 7])
def test_the_loss_is_the_papers(loss, temperature, rows):
    draw = np.random.default_rng(rows)
    student, teacher = draw.normal(size=rows) * 3, draw.normal(size=rows) * 3
    known = np.arange(rows) % 3 != 1
    expected = []
    for z, t, there in zip(student, teacher, known, strict=True):
        if not there:
            continue
        soft, made = expit(t / temperature), expit(z / temperature)
        entropy = -(soft * math.log(made) + (1 - soft) * math.log(1 - made))
        expected.append((z - t) ** 2 if loss is MSE else temperature**2 * entropy)
    teacher[~known] = math.nan
    arrays = [torch.tensor(each, dtype=torch.float32) for each in (student, teacher)]
    found = distillation_loss(*arrays, torch.tensor(known), DistillationConfig(loss=loss, temperature=temperature))
    assert found.item() == pytest.approx(np.mean(expected), rel=1e-4)


@pytest.mark.parametrize("loss", list(DistillationLoss))
def test_nothing_to_learn_from_is_zero_with_a_gradient(loss):
    student = torch.randn(4, requires_grad=True)
    found = distillation_loss(
        student, torch.full((4,), torch.nan), torch.zeros(4, dtype=bool), DistillationConfig(loss)
    )
    found.backward()
    assert found.item() == 0
    assert student.grad.tolist() == [0, 0, 0, 0]


def test_at_a_high_temperature_the_gradient_is_an_eighth_of_the_squared_distances():
    gradients = []
    for config in (DistillationConfig(SOFT, temperature=1000.0), DistillationConfig(MSE)):
        student = torch.linspace(-2, 2, 5, requires_grad=True)
        teacher, known = torch.tensor([1.0, -1.0, 0.5, 2.0, 0.0]), torch.ones(5, dtype=bool)
        distillation_loss(student, teacher, known, config).backward()
        gradients.append(student.grad)
    torch.testing.assert_close(gradients[0], gradients[1] / 8, rtol=1e-3, atol=1e-5)


def test_the_best_student_is_the_teacher():
    for config in (DistillationConfig(SOFT, temperature=2.0), DistillationConfig(MSE)):
        student = torch.tensor([0.7, -1.2], requires_grad=True)
        distillation_loss(student, student.detach().clone(), torch.ones(2, dtype=bool), config).backward()
        torch.testing.assert_close(student.grad, torch.zeros(2))


def test_a_position_is_the_log_odds_of_the_share_below():
    position = torch.tensor([1.0, 2, 4, 1, 3, 9, math.inf, math.nan])
    length = torch.tensor([4.0, 4, 4, 1, 3, 4, 4, 4])
    scores, known = position_score(position, length)
    expected = [logit(3.5 / 4), logit(2.5 / 4), logit(0.5 / 4), 0, logit(0.5 / 3), logit(0.5 / 9), 0, 0]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    assert known.tolist() == [True, True, True, False, True, True, False, False]


def test_the_teacher_is_the_standardised_score_of_training_rows(small_encoded_log, work_of):
    module = Distillation(work_of(small_encoded_log, "distillation"))
    train = small_encoded_log.split("train")
    scores = train.rank_score[~np.isnan(train.rank_score)]
    teacher, known = module.teacher(train.batch(np.arange(train.rows)))
    np.testing.assert_array_equal(known, ~np.isnan(train.rank_score))
    assert 0 < known.float().mean() < 1
    np.testing.assert_allclose(teacher[known], (scores - scores.mean()) / scores.std(), rtol=1e-3, atol=1e-5)


def test_a_log_without_scores_teaches_by_position_out_loud(without_scores, work_of, capsys):
    work = work_of(without_scores, "distillation")
    module = Distillation(work)
    train = without_scores.split("train")
    batch = train.batch(np.arange(train.rows))
    teacher, known = module.teacher(batch)
    ranked = batch.position.isfinite()
    assert torch.equal(known, ranked)
    assert teacher[known].mean().item() == pytest.approx(0, abs=1e-4)
    assert teacher[known].std().item() == pytest.approx(1, abs=1e-2)
    one_list = batch.request == 0
    order = batch.position[one_list & known].argsort()
    assert (teacher[one_list & known][order].diff() < 0).all()
    Distillation.fit(work)
    assert "no rank_score" in capsys.readouterr().out


def test_its_terms_are_ples_and_the_weighted_loss(small_encoded_log, work_of):
    module = Distillation(work_of(small_encoded_log, "distillation", "model.distillation.weight=0.25"))
    batch = small_encoded_log.split("train").batch(np.arange(60))
    outputs = module(batch)
    terms = module.losses(batch, outputs)
    assert set(terms) == {"click", "order", "distillation"}
    teacher, known = module.teacher(batch)
    expected = 0.25 * distillation_loss(outputs.rank[:, 0], teacher, known, DistillationConfig())
    torch.testing.assert_close(terms["distillation"], expected)


def test_equal_scores_and_batches_of_one_are_finite(small_encoded_log, work_of, monkeypatch):
    log = EncodedLog.open(small_encoded_log.folder)
    train = small_encoded_log.split("train")
    equal = dataclasses.replace(train, rank_score=np.where(np.isnan(train.rank_score), np.nan, 7.0).astype(np.float32))
    monkeypatch.setattr(log, "split", lambda _name: equal)
    module = Distillation(work_of(log, "distillation"))
    for row in range(12):
        batch = equal.batch(np.array([row]))
        assert all(term.isfinite() for term in module.losses(batch, module(batch)).values())


def test_what_it_cannot_do_is_refused(small_encoded_log, work_of):
    log = EncodedLog.open(small_encoded_log.folder)
    tasks = {**log.schema.tasks, "rank": {"available": False, "reason": "no row of train has a position"}}
    log.schema = dataclasses.replace(log.schema, tasks=tasks)
    with pytest.raises(InputError, match="no row of train has a position: take model=ple"):
        Distillation(work_of(log, "distillation"))
    with pytest.raises(InputError, match=r"found model\.rank\.head=per_k"):
        Distillation(work_of(small_encoded_log, "distillation", "model.rank.head=per_k"))


def test_it_overfits_a_tiny_log(small_encoded_log, work_of, overfit):
    module = Distillation(work_of(small_encoded_log, "distillation", "prerank.learning_rate=0.05"))
    assert overfit(module, small_encoded_log) > 0.97
    train = small_encoded_log.split("train")
    ranked = np.flatnonzero(~np.isnan(train.rank_score))
    with torch.no_grad():
        made = module(train.batch(ranked)).rank[:, 0].numpy()
    assert np.corrcoef(made, train.rank_score[ranked])[0, 1] > 0.9


def test_it_is_fitted_and_read_back(small_encoded_log, work_of):
    work, split = work_of(small_encoded_log, "distillation"), small_encoded_log.split("test")
    fitted, read = Distillation.fit(work).predict(split), Distillation.load(work).predict(split)
    for head in ("click", "order", "rank"):
        np.testing.assert_array_equal(getattr(fitted, head), getattr(read, head))
    assert fitted.rank.shape == (split.rows, 2)
