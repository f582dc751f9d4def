"""Metrics against naive loops, with ties, one class and one request."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from prerank.evaluation.metrics import (
    RankedLists,
    auc,
    gauc,
    hit_rate_at_k,
    log_loss,
    recall_at_k,
    request_auc,
    row_log_loss,
    standing,
)


def lists_of(request, scores, positions):
    return RankedLists.of(np.isfinite(positions), request, -positions, scores)


def naive_auc(labels, scores, weights=None):
    weights = np.ones(len(labels)) if weights is None else weights
    won = total = 0.0
    for i, j in itertools.product(range(len(labels)), repeat=2):
        if labels[i] and not labels[j]:
            pair = weights[i] * weights[j]
            total += pair
            won += pair * (1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0)
    return won / total if total else None


def naive_gauc(labels, scores, request):
    values, weights = [], []
    for one in np.unique(request):
        rows = request == one
        value = naive_auc(labels[rows], scores[rows])
        if value is not None:
            values.append(value)
            weights.append(rows.sum())
    return float(np.average(values, weights=weights)) if values else None


def tie_breakings(scores):
    """Every order of the rows, best first, that agrees with the scores."""
    for order in itertools.permutations(range(len(scores))):
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order)):
            yield order


def naive_recall(scores, positions, k, cut):
    wanted = set(np.argsort(positions)[:k].tolist())
    return float(np.mean([len(wanted & set(order[:cut])) / len(wanted) for order in tie_breakings(scores)]))


def random_rows(seed, requests=12, ties=True):
    rng = np.random.default_rng(seed)
    request = np.sort(rng.integers(requests, size=60))
    scores = rng.standard_normal(60)
    return rng.random(60) < 0.3, (np.round(scores) if ties else scores), request


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ties", [True, False])
def test_auc_counts_pairs(seed, ties):
    labels, scores, _ = random_rows(seed, ties=ties)
    weights = np.random.default_rng(seed).integers(0, 4, size=60).astype(float)
    assert auc(labels, scores) == pytest.approx(naive_auc(labels, scores))
    assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))
    assert auc(labels, scores, weights) == pytest.approx(naive_auc(labels, scores, weights))


def test_a_perfect_order_is_one_also_where_weights_round_above():
    weights = np.array([0.09, 0.24, 0.8, 0.58, 0.09, 0.43])
    assert auc(np.arange(6) >= 3, np.arange(6.0), weights) == 1.0


def test_auc_known_answers():
    assert auc(np.array([1, 0]), np.array([2.0, 1.0])) == 1.0
    assert auc(np.array([0, 1]), np.array([2.0, 1.0])) == 0.0
    assert auc(np.array([0, 1, 1, 0]), np.zeros(4)) == 0.5


def test_auc_of_one_class_is_none_and_not_one_half():
    assert auc(np.ones(3), np.arange(3.0)) is None
    assert auc(np.zeros(3), np.arange(3.0)) is None
    assert auc(np.empty(0), np.empty(0)) is None
    assert auc(np.array([1, 0]), np.arange(2.0), np.array([0.0, 1.0])) is None


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ties", [True, False])
def test_gauc_is_the_weighted_mean_over_requests_with_both_classes(seed, ties):
    labels, scores, request = random_rows(seed, ties=ties)
    shuffled = np.random.default_rng(seed).permutation(60)
    expected = naive_gauc(labels, scores, request)
    assert gauc(labels, scores, request) == pytest.approx(expected)
    assert gauc(labels[shuffled], scores[shuffled], request[shuffled] + 7) == pytest.approx(expected)


def test_gauc_of_one_request_and_of_none():
    labels, scores = np.array([1, 0, 0]), np.array([0.5, 0.7, 0.1])
    assert gauc(labels, scores, np.full(3, 5)) == 0.5
    assert gauc(labels, scores, np.arange(3)) is None
    assert gauc(np.empty(0), np.empty(0), np.empty(0, dtype=int)) is None
    assert request_auc(labels, scores, np.arange(3)).request.size == 0


def test_standing_counts_better_and_tied_rows_of_the_request_only():
    found = standing(np.array([1, 0, 1, 1]), np.array([2.0, 9.0, 3.0, 2.0]))
    assert found.better.tolist() == [1, 0, 0, 1]
    assert found.tied.tolist() == [2, 1, 1, 2]
    assert found.length.tolist() == [3, 1, 3, 3]
    assert found.inclusion(2).tolist() == [0.5, 1.0, 1.0, 0.5]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("k", "cut"), [(1, 1), (2, 2), (3, 3), (1, 3), (2, 4)])
def test_recall_is_the_expectation_over_every_tie_breaking(seed, k, cut):
    rng = np.random.default_rng(seed)
    request = np.repeat([3, 8], 6)
    scores, positions = rng.integers(0, 3, size=12).astype(float), np.tile(rng.permutation(6) + 1.0, 2)
    kept, chance = recall_at_k(request, lists_of(request, scores, positions), k, cut)
    expected = [naive_recall(scores[part], positions[part], k, cut) for part in (slice(0, 6), slice(6, 12))]
    assert kept.request.tolist() == [3, 8]
    assert kept.value == pytest.approx(expected)
    assert chance.value == pytest.approx([cut / 6, cut / 6])


def test_recall_of_equal_scores_is_chance_and_of_the_ranking_model_is_one():
    request, positions = np.repeat(np.arange(5), 20), np.tile(np.arange(1.0, 21), 5)
    kept, chance = recall_at_k(request, lists_of(request, np.zeros(100), positions), 10)
    assert kept.mean == pytest.approx(0.5)
    assert chance.mean == pytest.approx(0.5)
    assert recall_at_k(request, lists_of(request, -positions, positions), 10)[0].mean == 1.0
    assert recall_at_k(request, lists_of(request, positions, positions), 5)[0].mean == 0.0


def test_recall_of_a_segment_looks_for_its_rows_in_whole_lists():
    positions, scores = np.arange(1.0, 7), np.array([1.0, 6.0, 5.0, 4.0, 3.0, 2.0])
    lists, segment = lists_of(np.zeros(6, int), scores, positions), np.arange(6) < 2
    kept, chance = recall_at_k(np.zeros(6, int), lists, 3, segment=segment)
    assert kept.value.tolist() == [0.5]  # of the first three by position two are in it, and one of them is passed
    assert chance.value.tolist() == [0.5]


def test_recall_leaves_out_lists_that_cannot_tell_and_rows_without_a_position():
    request = np.array([0, 0, 0, 1, 1, 1, 1])
    positions = np.array([1, 2, np.nan, 1, 2, 6, np.inf])
    scores = np.array([1.0, 2.0, 9.0, 3.0, 2.0, 1.0, 9.0])
    kept, chance = recall_at_k(request, lists_of(request, scores, positions), 2)
    assert kept.request.tolist() == [1]  # request 0 has two known positions: its recall at 2 is 1 by construction
    assert kept.value.tolist() == [1.0]
    assert chance.value.tolist() == [2 / 3]
    nothing = recall_at_k(request, lists_of(request, scores, positions), 3)[0]
    assert nothing.mean is None
    assert len(nothing.request) == len(nothing.value) == len(nothing.weight) == 0


def test_recall_takes_the_first_k_items_where_positions_have_gaps():
    positions = np.array([1.0, 4.0, 9.0, 12.0])
    request, scores = np.zeros(4, dtype=int), np.array([4.0, 3.0, 2.0, 1.0])
    kept, _ = recall_at_k(request, lists_of(request, scores, positions), 2)
    assert kept.value.tolist() == [1.0]


def test_hit_rate_of_ordered_items():
    request = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    ordered = np.array([1, 0, 1, 0, 0, 0, 0, 1, 0])
    scores = np.array([3.0, 2, 1, 1, 2, 3, 1, 1, 1])
    found = hit_rate_at_k(request, standing(request, scores), ordered > 0, 1)
    assert found.request.tolist() == [0, 2]
    assert found.value == pytest.approx([0.5, 1 / 3])
    assert hit_rate_at_k(request, standing(request, scores), ordered > 0, 3).mean is None


def test_log_loss_clips_and_matches_a_loop():
    labels, probabilities = np.array([1, 0, 1, 0]), np.array([0.8, 0.3, 0.0, 1.0], dtype=np.float32)
    losses = row_log_loss(labels, probabilities)
    assert np.isfinite(losses).all()
    assert losses[:2] == pytest.approx([-math.log(0.8), -math.log(0.7)], rel=1e-6)
    assert log_loss(labels, probabilities) == pytest.approx(losses.mean())
    assert log_loss(np.empty(0), np.empty(0)) is None
