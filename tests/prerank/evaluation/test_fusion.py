"""Fusion weights: the grid, its ties and systems that lack a head."""

from __future__ import annotations

import numpy as np
import pytest

from prerank.encoding.schema import STAGES
from prerank.evaluation.fusion import ENOUGH_ORDER_REQUESTS, GRID, FusionWeights, fuse, tune_fusion
from prerank.training.contracts import Predictions
from prerank.training.scoring import choose_fusion


def world(seed=0, requests=300, length=10):
    rng = np.random.default_rng(seed)
    request = np.repeat(np.arange(requests), length)
    click, rank = rng.standard_normal((2, requests * length))
    clicked = rng.random(requests * length) < 1 / (1 + np.exp(2 - click - rank))
    return click, rank, clicked, clicked & (rng.random(requests * length) < 0.5), request


def test_an_informative_rank_logit_gets_its_weight():
    click, rank, clicked, ordered, request = world()
    weights = tune_fusion(click, None, rank, clicked, ordered, request)
    assert (weights.click, weights.order) == (1.0, 0.0)
    assert weights.rank in (0.5, 1.0, 2.0)
    assert weights.chosen_by == ("click", "order")
    assert fuse(click, None, rank, weights) == pytest.approx(click + weights.rank * rank)


def test_equal_objectives_take_the_smaller_weights():
    click, _, clicked, ordered, request = world()
    weights = tune_fusion(click, click, click, clicked, ordered, request)
    assert (weights.order, weights.rank) == (0.0, 0.0)


def test_few_orders_do_not_choose():
    click, rank, clicked, ordered, request = world(requests=ENOUGH_ORDER_REQUESTS - 1)
    assert tune_fusion(click, rank, None, clicked, ordered, request).chosen_by == ("click",)
    assert tune_fusion(click, rank, None, np.zeros_like(clicked), ordered, request).chosen_by == ("order",)


def test_without_labels_the_smallest_weights_stand():
    click, rank, clicked, _, request = world()
    nothing = np.zeros_like(clicked)
    assert tune_fusion(click, rank, rank, nothing, nothing, request) == FusionWeights(1.0, 0.0, 0.0, None, ())


def test_a_system_with_one_head_is_scored_by_it():
    _, rank, clicked, ordered, request = world()
    weights = tune_fusion(None, None, rank, clicked, ordered, request)
    assert (weights.click, weights.order, weights.rank) == (0.0, 0.0, 1.0)
    assert tune_fusion(None, rank, None, clicked, ordered, request).order == 1.0
    assert set(GRID) == {0.0, 0.25, 0.5, 1.0, 2.0}
    with pytest.raises(ValueError, match="at least one"):
        fuse(None, None, None, weights)


def test_a_tie_goes_to_the_smaller_weights_and_to_the_order_logit():
    request = np.repeat(np.arange(4), 2)
    click = np.tile([0.0, 0.1], 4)
    clicked = np.tile([True, False], 4)
    better = np.tile([1.0, 0.0], 4)  # 0.25 of it, from either head, puts the clicked row first
    weights = tune_fusion(click, better, better, clicked, np.zeros_like(clicked), request)
    assert (weights.order, weights.rank, weights.objective) == (0.25, 0.0, 1.0)


def test_as_many_orders_as_are_enough_choose():
    click, rank, clicked, _, request = world(requests=ENOUGH_ORDER_REQUESTS)
    ordered = np.zeros(len(request), bool)
    ordered[::10] = True
    assert tune_fusion(click, rank, None, clicked | ordered, ordered, request).chosen_by == ("click", "order")


def test_only_rows_that_users_saw_choose(encoded_log):
    encoded = encoded_log(60, 100, 20)
    split = encoded.split("validation")
    seen = np.flatnonzero(np.asarray(split.stage) == STAGES.index("exposed"))
    assert 0 < len(seen) < split.rows
    logits = np.random.default_rng(0).standard_normal((3, split.rows))
    found = choose_fusion(encoded, Predictions(logits[0], logits[1], logits[2][:, None]))
    labels = [np.asarray(each)[seen] for each in (split.clicked, split.ordered, split.request)]
    assert found == tune_fusion(*logits[:, seen], *labels)
