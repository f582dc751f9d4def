"""ESMM against its two losses, row by row."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.special import expit

from configs.errors import InputError
from prerank.encoding.batches import EncodedLog
from prerank.systems.esmm import ESMM
from prerank.systems.ple import PLE


def without(encoded: EncodedLog, task: str) -> EncodedLog:
    """The same log, of which a task cannot be learnt."""
    log = EncodedLog.open(encoded.folder)
    tasks = {**encoded.schema.tasks, task: {"available": False, "reason": f"no row of train has a {task}"}}
    log.schema = dataclasses.replace(encoded.schema, tasks=tasks)
    return log


@pytest.mark.parametrize("rows", [1, 3, 60])
def test_its_losses_are_those_of_the_paper(small_encoded_log, work_of, rows):
    module = ESMM(work_of(small_encoded_log, "esmm"))
    batch = small_encoded_log.split("train").batch(np.arange(rows))
    batch.ordered[0] = 1.0  # an order without a click counts as none
    batch.clicked[0] = 0.0
    outputs = module(batch)
    click = order = 0.0
    known = 0
    for row in range(rows):
        if not batch.has_feedback[row]:
            continue
        known += 1
        p_click, p_order = expit(outputs.click[row].item()), expit(outputs.order[row].item())
        clicked, ordered = bool(batch.clicked[row]), bool(batch.ordered[row])
        click -= math.log(p_click if clicked else 1 - p_click)
        order -= math.log(p_click * p_order if clicked and ordered else 1 - p_click * p_order)
    terms = module.losses(batch, outputs)
    assert set(terms) == {"click", "click_and_order"}
    assert terms["click"].item() == pytest.approx(click / known, rel=1e-4)
    assert terms["click_and_order"].item() == pytest.approx(order / known, rel=1e-4)


def test_the_order_head_learns_from_unclicked_rows_too(small_encoded_log, work_of):
    module = ESMM(work_of(small_encoded_log, "esmm"))
    batch = small_encoded_log.split("train").batch(np.arange(40))
    batch.clicked.zero_()
    module.losses(batch, module(batch))["click_and_order"].backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in module.network.body.towers["order"][-1].parameters())


def test_what_it_predicts_of_orders_is_the_product(small_encoded_log, work_of):
    fitted = ESMM.fit(work_of(small_encoded_log, "esmm"))
    split = small_encoded_log.split("test")
    with torch.no_grad():
        outputs = fitted.module(split.batch(np.arange(split.rows)))
    expected = outputs.click.sigmoid() * outputs.order.sigmoid()
    predictions = fitted.predict(split)
    np.testing.assert_allclose(expit(predictions.order), expected.numpy(), rtol=1e-5)
    assert (expit(predictions.order) <= expit(predictions.click)).all()


def test_without_orders_it_is_its_click_network(small_encoded_log, work_of, capsys):
    fitted = ESMM.fit(work_of(without(small_encoded_log, "order"), "esmm"))
    assert "click network alone" in " ".join(capsys.readouterr().out.split())
    assert fitted.predict(small_encoded_log.split("test")).order is None


def test_what_it_cannot_do_is_refused(small_encoded_log, work_of):
    with pytest.raises(InputError, match="no row of train has a click: take model=ple"):
        ESMM(work_of(without(small_encoded_log, "click"), "esmm"))
    with pytest.raises(InputError, match=r"found model\.conversion_space=click"):
        ESMM(work_of(small_encoded_log, "esmm", "model.conversion_space=click"))


def test_its_size_is_ples(small_encoded_log, work_of):
    large = ["model.experts.hidden=[128,64]", "model.experts.tower=[64]"]
    sizes = {
        made: sum(p.numel() for p in made(work_of(small_encoded_log, name, *large)).network.body.parameters())
        for name, made in (("ple", PLE), ("esmm", ESMM))
    }
    assert sizes[ESMM] == pytest.approx(sizes[PLE], rel=0.01)


def test_it_overfits_a_tiny_log(small_encoded_log, work_of, overfit):
    assert overfit(ESMM(work_of(small_encoded_log, "esmm", "prerank.learning_rate=0.05")), small_encoded_log) > 0.97


def test_it_is_fitted_and_read_back(small_encoded_log, work_of):
    work, split = work_of(small_encoded_log, "esmm"), small_encoded_log.split("test")
    fitted, read = ESMM.fit(work).predict(split), ESMM.load(work).predict(split)
    np.testing.assert_array_equal(fitted.click, read.click)
    np.testing.assert_array_equal(fitted.order, read.order)
