"""Fusion weights: the grid, its ties and systems that lack a head."""

from __future__ import annotations

import numpy as np
import pytest

from prerank.fusion import ENOUGH_ORDER_REQUESTS, GRID, FusionWeights, fuse, tune_fusion


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
