"""What a trial is judged by: against loops over requests, and what a log cannot tell is refused by name."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from configs.errors import InputError
from configs.schema import EvaluationConfig
from prerank.encoding.schema import STAGES
from prerank.evaluation.fusion import FusionWeights
from prerank.training.contracts import Predictions
from prerank.tune.objective import check_objective, objective_parts

SETTINGS = EvaluationConfig(recall_at=[3, 10, 100])
WEIGHTS = FusionWeights(1.0, 0.5, 2.0, None, ())


@pytest.fixture(scope="module")
def encoded(encoded_log):
    """Lists of 15 ranked items."""
    return encoded_log(n_items=40, n_requests=60, rows_per_request=20)


def random_predictions(split, seed: int) -> Predictions:
    click, order, rank = np.random.default_rng(seed).normal(size=(3, split.rows)).astype(np.float32)
    return Predictions(click, order, rank[:, None])


def naive_gauc(clicked, score, request) -> float:
    total = weight = 0.0
    for number in np.unique(request):
        mine = request == number
        positives, negatives = score[mine & clicked], score[mine & ~clicked]
        if len(positives) and len(negatives):
            pairs = [(p > n) + (p == n) / 2 for p in positives for n in negatives]
            total, weight = total + mine.sum() * float(np.mean(pairs)), weight + mine.sum()
    return total / weight


def naive_recall(k: int, position, score, request) -> float:
    shares = []
    for number in np.unique(request):
        rows = np.flatnonzero((request == number) & np.isfinite(position))
        if len(rows) > k:
            wanted = set(rows[np.argsort(position[rows])][:k])
            shares.append(len(wanted & set(rows[np.argsort(-score[rows])][:k])) / k)
    return float(np.mean(shares))


@pytest.mark.parametrize("seed", range(3))
def test_the_figures_against_loops(encoded, seed):
    split = encoded.split("validation")
    made = random_predictions(split, seed)
    score = (made.click + 0.5 * made.order + 2.0 * made.rank[:, 0]).astype(np.float32)
    shown = np.asarray(split.stage) == STAGES.index("exposed")
    clicked, request = np.asarray(split.clicked, bool), np.asarray(split.request)
    names = ["gauc_click", "recall_at_10", "recall_at_3"]
    parts = objective_parts(encoded, made, WEIGHTS, SETTINGS, names)
    assert list(parts) == names
    assert parts["gauc_click"] == pytest.approx(naive_gauc(clicked[shown], score[shown], request[shown]))
    for k in (3, 10):
        assert parts[f"recall_at_{k}"] == pytest.approx(naive_recall(k, np.asarray(split.position), score, request))


def test_heads_do_not_matter_beyond_the_score(encoded):
    split = encoded.split("validation")
    made = random_predictions(split, 0)
    score = Predictions(made.click + 0.5 * made.order + 2 * made.rank[:, 0], None, None)
    names = ["gauc_click", "hit_rate_order_at_3"]
    alone = objective_parts(encoded, score, FusionWeights(1.0, 0.0, 0.0, None, ()), SETTINGS, names)
    assert alone == pytest.approx(objective_parts(encoded, made, WEIGHTS, SETTINGS, names))


def test_a_fit_that_diverged(encoded):
    rows = encoded.split("validation").rows
    made = Predictions(np.full(rows, np.nan, np.float32), None, None)
    with pytest.raises(InputError, match="the fit has diverged"):
        objective_parts(encoded, made, FusionWeights(1.0, 0.0, 0.0, None, ()), SETTINGS, ["gauc_click"])


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ([], "must list different figures"),
        (["gauc_click", "gauc_click"], "must list different figures"),
        (["auc_click"], "auc_click is a figure of one head, and not every system has it"),
        (["log_loss_click"], "log_loss_click is a figure of one head"),
        (["recall_at_10_chance"], "is the same for every system"),
        (["gauc_click", "recall_at_100"], "recall_at_100 is no figure of the validation rows"),
        (["recall_at_5"], r"recall_at_5 is no figure .*evaluation.recall_at"),
        (["gauc"], "gauc is no figure"),
    ],
)
def test_an_objective_that_cannot_be_told(encoded, objective, message):
    with pytest.raises(InputError, match=message) as raised:
        check_objective(encoded, SETTINGS, objective)
    assert "there are: score_auc_click, gauc_click, score_auc_order" in str(raised.value)
    assert "recall_at_10" in str(raised.value).split("there are: ")[1]


def test_a_task_that_the_log_does_not_have(encoded):
    check_objective(encoded, SETTINGS, ["gauc_order", "recall_at_10"])
    tasks = dict(encoded.schema.tasks)
    tasks["order"] = {"available": False, "reason": "nobody orders here"}
    encoded_without = type(encoded)(encoded.folder, dataclasses.replace(encoded.schema, tasks=tasks), encoded.identity)
    with pytest.raises(InputError, match="gauc_order cannot be told from the validation rows: nobody orders here"):
        check_objective(encoded_without, SETTINGS, ["gauc_order"])
