"""DSSM against its softmax, term by term; its item tower is precomputed and its probabilities are calibrated."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.special import expit

from configs.errors import InputError
from prerank.encoding.schema import STAGES
from prerank.evaluation.calibration import logistic_line
from prerank.evaluation.metrics import auc
from prerank.systems.dssm import DSSM, sampled_softmax_loss
from prerank.systems.ple import PLE


def naive_loss(scores, item, request, positive, shown) -> float:
    losses = []
    for i in range(len(item)):
        if not positive[i]:
            continue
        total = math.exp(scores[i, i])
        for j in range(len(item)):
            clicked_too = request[j] == request[i] and positive[j]
            if j != i and shown[j] and item[j] != item[i] and not clicked_too:
                total += math.exp(scores[i, j])
        losses.append(math.log(total) - scores[i, i].item())
    return sum(losses) / len(losses)


@pytest.mark.parametrize("rows", [1, 2, 9, 40])
@pytest.mark.parametrize("gamma", [1.0, 10.0])
def test_the_loss_is_the_softmax_over_the_batch(rows, gamma):
    draw = torch.Generator().manual_seed(rows)
    scores = gamma * (torch.rand(rows, rows, generator=draw) * 2 - 1)
    item = torch.randint(0, max(rows // 2, 1), (rows,), generator=draw)
    request = torch.randint(0, max(rows // 4, 1), (rows,), generator=draw)
    shown = torch.rand(rows, generator=draw) < 0.8
    shown[0] = True
    positive = (torch.rand(rows, generator=draw) < 0.4) & shown
    positive[0] = True
    found = sampled_softmax_loss(scores, item, request, positive, shown)
    assert found.item() == pytest.approx(naive_loss(scores, item, request, positive, shown), rel=1e-4, abs=1e-6)


def test_no_click_and_no_negative_are_zero_with_a_gradient():
    scores = torch.randn(3, 3, requires_grad=True)
    ids, shown = torch.arange(3), torch.ones(3, dtype=bool)
    for positive, item in ((torch.zeros(3, dtype=bool), ids), (shown, torch.zeros_like(ids))):
        loss = sampled_softmax_loss(scores, item, ids, positive, shown)
        loss.backward()
        assert loss.item() == pytest.approx(0, abs=1e-6)
    assert scores.grad.isfinite().all()


def test_the_score_is_gamma_times_the_cosine_of_precomputed_vectors(small_encoded_log, work_of):
    fitted = DSSM.fit(work_of(small_encoded_log, "dssm", "model.dssm.gamma=7"))
    network, split = fitted.module.network, small_encoded_log.split("test")
    vectors = fitted.item_vectors(small_encoded_log)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), np.ones(50), rtol=1e-5)
    with torch.no_grad():
        request = network(split.batch(np.arange(split.rows))).request.numpy()
    cosine = (request * vectors[split.item]).sum(axis=1)
    place = network.tasks.index("click")
    expected = network.slope[place].item() * 7 * cosine + network.intercept[place].item()
    np.testing.assert_allclose(fitted.predict(split).click, expected, rtol=1e-4, atol=1e-4)


def test_an_item_has_one_vector_whoever_asks(small_encoded_log, work_of):
    module = DSSM(work_of(small_encoded_log, "dssm"))
    split = small_encoded_log.split("train")
    batch, other = split.batch(np.arange(20)), split.batch(np.arange(20))
    for side in ("request", "pair"):
        other.sides[side].ids += 1
        other.sides[side].numbers += 1
    with torch.no_grad():
        first, second = module(batch), module(other)
    assert torch.equal(first.phi, second.phi)
    assert not torch.equal(first.request, second.request)
    assert not hasattr(module.network, "pair")


def test_its_loss_is_over_the_clicked_rows_of_the_batch(small_encoded_log, work_of):
    module = DSSM(work_of(small_encoded_log, "dssm"))
    batch = small_encoded_log.split("train").batch(np.arange(60))
    outputs = module(batch)
    scores = 10 * outputs.request.detach() @ outputs.phi.detach().T
    expected = naive_loss(scores, batch.item, batch.request, batch.clicked > 0, batch.has_feedback)
    terms = module.losses(batch, outputs)
    assert set(terms) == {"softmax"}
    assert terms["softmax"].item() == pytest.approx(expected, rel=1e-4)
    torch.testing.assert_close(scores.diagonal(), outputs.click.detach())


def test_calibration_gives_the_rates_of_validation_and_turns_nothing_round(small_encoded_log, work_of):
    fitted = DSSM.fit(work_of(small_encoded_log, "dssm"))
    split = small_encoded_log.split("validation")
    rows = split.feedback_rows()
    made = fitted.predict(split)
    assert expit(made.click[rows]).mean() == pytest.approx(split.clicked[rows].mean(), abs=0.01)
    assert expit(made.order[rows]).mean() == pytest.approx(split.ordered[rows].mean(), abs=0.01)
    assert (fitted.module.network.slope > 0).all()
    assert (np.argsort(made.click, kind="stable") == np.argsort(made.order, kind="stable")).all()


def test_the_line_is_the_likeliest_and_never_falls(capsys):
    draw = np.random.default_rng(0)
    score = draw.normal(size=4000)
    labels = (draw.random(4000) < expit(0.7 * score - 2)).astype(np.int64)
    slope, intercept = logistic_line(score, labels, "dssm", "click")
    residual = expit(slope * score + intercept) - labels
    assert abs(residual.mean()) < 1e-3
    assert abs((residual * score).mean()) < 1e-3
    assert capsys.readouterr().out == ""
    slope, intercept = logistic_line(-score, labels, "dssm", "click")
    assert 0 < slope < 0.01
    assert expit(slope * -score + intercept).mean() == pytest.approx(labels.mean(), abs=0.001)
    assert "does not tell clicks" in capsys.readouterr().out
    assert logistic_line(score, np.zeros(4000, np.int64), "dssm", "order") == (1.0, 0.0)
    assert "one class of order only" in capsys.readouterr().out


def test_heads_that_two_towers_do_not_have_are_refused(small_encoded_log, work_of):
    for key in ("model.conversion_space=esmm", "model.rank.head=shared"):
        with pytest.raises(InputError, match=f"found .*{key}"):
            DSSM(work_of(small_encoded_log, "dssm", key))


def test_its_towers_are_as_large_as_ple(small_encoded_log, work_of):
    large = ["model.experts.hidden=[128,64]", "model.experts.tower=[64]"]
    towers, ple = (m(work_of(small_encoded_log, n, *large)).network for m, n in ((DSSM, "dssm"), (PLE, "ple")))
    layers = [towers.request_tower, towers.item_network.network.layers]
    found = sum(p.numel() for each in layers for p in each.parameters())
    expected = sum(p.numel() for each in (ple.body, ple.item_network.layers) for p in each.parameters())
    assert found == pytest.approx(expected, rel=0.01)


def test_a_batch_of_one_trains(small_encoded_log, work_of):
    module = DSSM(work_of(small_encoded_log, "dssm"))
    for row in range(12):
        batch = small_encoded_log.split("train").batch(np.array([row]))
        assert module.losses(batch, module(batch))["softmax"].isfinite()


def test_without_clicks_it_learns_from_orders(small_encoded_log, work_of):
    work = work_of(small_encoded_log, "dssm")
    tasks = {**work.encoded.schema.tasks, "click": {"available": False, "reason": "none"}}
    log = type(work.encoded).open(work.encoded.folder)
    log.schema = dataclasses.replace(log.schema, tasks=tasks)
    fitted = DSSM.fit(dataclasses.replace(work, encoded=log))
    made = fitted.predict(small_encoded_log.split("test"))
    assert made.click is None
    assert np.isfinite(made.order).all()


def test_it_overfits_a_tiny_log(small_encoded_log, work_of):
    """Of each click against what the batch holds beside it; what tells two requests of one user and query apart is
    in the pair side, which towers do not see, so the training lists cannot be told without a fault."""
    module = DSSM(work_of(small_encoded_log, "dssm", "prerank.learning_rate=0.05"))
    split = small_encoded_log.split("train")
    batch = split.batch(np.arange(split.rows))
    optimizer = module.configure_optimizers()
    for _ in range(200):
        optimizer.zero_grad()
        module.losses(batch, module(batch))["softmax"].backward()
        optimizer.step()
    shown = np.flatnonzero(split.stage == STAGES.index("exposed"))
    with torch.no_grad():
        assert auc(split.clicked[shown], module(batch).click.numpy()[shown]) > 0.93


def test_it_is_fitted_and_read_back(small_encoded_log, work_of):
    work, split = work_of(small_encoded_log, "dssm"), small_encoded_log.split("test")
    fitted, read = DSSM.fit(work).predict(split), DSSM.load(work).predict(split)
    np.testing.assert_array_equal(fitted.click, read.click)
    np.testing.assert_array_equal(fitted.order, read.order)
    assert fitted.rank is None
