"""Fusion weights: the grid, its ties and systems that lack a head."""

from __future__ import annotations

import numpy as np
import pytest

from prerank.encoding.schema import STAGES
from prerank.evaluation.fusion import (
    ENOUGH_ORDER_REQUESTS,
    GRID,
    FusionWeights,
    fuse,
    paired_standard_error,
    tune_fusion,
)
from prerank.evaluation.metrics import RequestValues
from prerank.fitting import predict_validation
from prerank.training.contracts import Predictions, Work
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


def lists_of_two(better, worse):
    """Requests of two rows: in so many of them 0.25 of the rank logit mends the click logit, in so many it errs."""
    requests = better + worse
    click = np.tile([0.0, 0.1], requests)
    click[2 * better :] *= -1
    rank = np.tile([1.0, 0.0], better).tolist() + np.tile([0.0, 1.0], worse).tolist()
    return click, np.array(rank), np.tile([True, False], requests), np.repeat(np.arange(requests), 2)


def rank_weight(better, worse):
    click, rank, clicked, request = lists_of_two(better, worse)
    return tune_fusion(click, None, rank, clicked, np.zeros_like(clicked), request).rank


def test_within_the_noise_the_smallest_weights_and_beyond_it_the_best():
    # Of n requests a mends and b errs: the difference is (a - b) / n, its standard error sqrt((1 - d²) / (n - 1)).
    assert rank_weight(better=51, worse=49) == 0.0  # .02 against .1005
    assert rank_weight(better=54, worse=46) == 0.0  # .08 against .1002
    assert rank_weight(better=56, worse=44) == 0.25  # .12 against .0998


def test_one_request_shows_no_noise_and_chooses_nothing():
    assert rank_weight(better=1, worse=0) == 0.0
    assert rank_weight(better=2, worse=0) == 0.25
    click, rank, clicked, request = lists_of_two(better=1, worse=0)
    assert tune_fusion(click, None, rank, clicked, np.zeros_like(clicked), request).chosen_by == ("click",)


def test_the_standard_error_of_a_share_of_requests():
    for better, worse in ((3, 1), (51, 49)):
        requests = np.arange(better + worse)
        ours = [RequestValues(requests, np.repeat([1.0, -1.0], (better, worse)), np.ones(len(requests)))]
        theirs = [RequestValues(requests, np.zeros(len(requests)), np.ones(len(requests)))]
        mean = (better - worse) / len(requests)
        assert paired_standard_error(ours, theirs) == pytest.approx(np.sqrt((1 - mean**2) / (len(requests) - 1)))


def test_the_standard_error_is_that_of_the_bootstrap_over_requests():
    rng = np.random.default_rng(1)
    of_label = [np.arange(400), np.sort(rng.choice(400, 150, replace=False))]
    weights = [rng.integers(2, 30, len(requests)).astype(float) for requests in of_label]
    hard = rng.random(400)  # whatever is hard for both cancels
    ours, theirs = (
        [RequestValues(r, 0.5 * hard[r] + 0.3 * rng.random(len(r)), w) for r, w in zip(of_label, weights, strict=True)]
        for _ in range(2)
    )
    draws = []
    for _ in range(2000):
        count = np.bincount(rng.integers(0, 400, 400), minlength=400)
        draws.append(
            np.mean(
                [
                    np.average(a.value - b.value, weights=a.weight * count[a.request])
                    for a, b in zip(ours, theirs, strict=True)
                ]
            )
        )
    assert paired_standard_error(ours, theirs) == pytest.approx(np.std(draws, ddof=1), rel=0.1)


class OracleOnValidation:
    """A system whose rank logit knows the clicks of validation, and the opposite of those of other rows."""

    parameters = 0

    def __init__(self, validation_rows: int) -> None:
        self.validation_rows = validation_rows

    def predict(self, split):
        click = np.random.default_rng(0).standard_normal(split.rows)
        sign = 1.0 if split.rows == self.validation_rows else -1.0
        return Predictions(click, None, sign * (2.0 * np.asarray(split.clicked)[:, None] - 1.0))


def test_test_rows_do_not_choose(encoded_log, request_for):
    encoded = encoded_log(60, 105, 20)
    rows = {name: encoded.split(name).rows for name in ("validation", "test")}
    assert rows["validation"] != rows["test"]
    work = Work(request_for().config, encoded, None, encoded.folder)
    predictions, weights = predict_validation(work, OracleOnValidation(rows["validation"]))
    assert len(predictions.click) == rows["validation"]
    assert weights.rank > 0
    assert weights.objective == 1.0


def test_few_orders_do_not_choose():
    click, rank, clicked, ordered, request = world(requests=ENOUGH_ORDER_REQUESTS - 1)
    assert tune_fusion(click, rank, None, clicked, ordered, request).chosen_by == ("click",)
    assert tune_fusion(click, rank, None, np.zeros_like(clicked), ordered, request).chosen_by == ("order",)


def test_without_labels_the_smallest_weights_stand():
    click, rank, clicked, _, request = world()
    nothing = np.zeros_like(clicked)
    assert tune_fusion(click, rank, rank, nothing, nothing, request) == FusionWeights(1.0, 0.0, 0.0, None, ())


def test_requests_of_one_kind_of_rows_do_not_choose():
    click, rank, clicked, _, request = world(requests=ENOUGH_ORDER_REQUESTS)
    everything = np.ones_like(clicked)
    assert tune_fusion(click, rank, None, clicked, everything, request).chosen_by == ("click",)


def test_without_rows_nothing_chooses():
    none, no = np.zeros(0), np.zeros(0, bool)
    assert tune_fusion(none, None, none, no, no, np.zeros(0, np.int64)).chosen_by == ()


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
