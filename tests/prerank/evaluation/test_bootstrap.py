"""Statistics that are resampled, and the figures that come of it: against naive resampling and known answers."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from graph.resampling import LANES, Resampler, percentile_interval
from prerank.evaluation.bootstrap import PooledAUC, SortedScores, Undefined, auc_lanes, figure_of
from prerank.evaluation.metrics import auc
from tests.prerank.evaluation.clustered_rows import clustered, pooled_auc


def multiplicities(resampler, draw):
    return resampler.blocks[draw // LANES, :, draw % LANES].astype(int)


@pytest.mark.parametrize("ties", [True, False])
def test_pooled_auc_is_recomputed_in_full_for_every_draw(ties):
    labels, scores, cluster = clustered(ties=ties)
    statistic = pooled_auc(labels, scores, cluster, 60)
    assert isinstance(statistic, PooledAUC)
    assert statistic.value == pytest.approx(auc(labels, scores))
    resampler = Resampler(60, LANES + 7, seed=3)
    draws = statistic.draws(resampler)
    assert draws.shape == (LANES + 7,)
    for draw in (0, 1, LANES - 1, LANES, LANES + 6):
        copies = np.repeat(np.arange(600), multiplicities(resampler, draw)[cluster])
        assert draws[draw] == pytest.approx(auc(labels[copies], scores[copies]))


def test_draws_without_both_classes_are_undefined():
    labels, scores, cluster = np.array([1, 0, 0, 0]), np.arange(4.0), np.arange(4)
    statistic = pooled_auc(labels, scores, cluster, 4)
    resampler = Resampler(4, 200, seed=0)
    drawn = np.array([multiplicities(resampler, draw) for draw in range(200)])
    one_class = (drawn[:, 0] == 0) | (drawn[:, 0] == 4)
    assert (np.isnan(statistic.draws(resampler)) == one_class).all()
    figure = figure_of(statistic, statistic.draws(resampler), 4, 0.95)
    assert figure.value == 0.0
    assert figure.low is None
    assert "both classes" in figure.reason


def test_one_cluster_has_a_value_and_no_percentile_interval():
    statistic = pooled_auc(np.array([1, 0]), np.array([1.0, 0.0]), np.zeros(2, dtype=int), 1)
    figure = figure_of(statistic, statistic.draws(Resampler(1, 50, 0)), 1, 0.95)
    assert (figure.value, figure.low, figure.high) == (1.0, None, None)
    assert "one unit" in figure.reason


@pytest.mark.parametrize(("labels", "reason"), [([], "no rows"), ([1, 1], "one class"), ([0], "one class")])
def test_an_undefined_auc_says_why_in_strict_json(labels, reason):
    statistic = pooled_auc(np.array(labels), np.arange(float(len(labels))), np.zeros(len(labels), dtype=int), 1)
    assert isinstance(statistic, Undefined)
    figure = figure_of(statistic, statistic.draws(Resampler(1, 5, 0)), 1, 0.95)
    assert figure.value is None
    assert figure.n == len(labels)
    assert reason in json.loads(json.dumps(figure.as_json(), allow_nan=False))["reason"]


def test_intervals_cover_the_true_value():
    """AUC of two normals one standard deviation apart is Φ(1/√2) = 0.760; labels are clustered on purpose."""
    truth, covered = 0.7602, 0
    for seed in range(100):
        rng = np.random.default_rng([5, seed])
        cluster = np.repeat(np.arange(80), 10)
        labels = rng.random(800) < np.repeat(rng.uniform(0.05, 0.6, size=80), 10)
        statistic = pooled_auc(labels, rng.standard_normal(800) + labels, cluster, 80)
        low, high = percentile_interval(statistic.value, statistic.draws(Resampler(80, 200, seed)), 0.95)
        covered += low <= truth <= high
    assert 88 <= covered <= 100


def test_clusters_widen_the_interval_where_requests_repeat():
    labels, scores, _ = clustered(rows=200, ties=False)
    copies = np.tile(np.arange(200), 5)
    widths = []
    for cluster, clusters in ((np.arange(1000), 1000), (copies, 200)):
        statistic = pooled_auc(labels[copies], scores[copies], cluster, clusters)
        low, high = percentile_interval(statistic.value, statistic.draws(Resampler(clusters, 300, 0)), 0.95)
        widths.append(high - low)
    assert widths[1] > 1.7 * widths[0]  # √5 = 2.2 in the limit


@pytest.mark.parametrize("negatives", [0, 1, 256, 257, 258, 900])
def test_long_runs_of_negatives_drawn_as_often_as_can_be_do_not_overflow(negatives):
    label = np.array([0] * negatives + [1, 0, 1], np.uint8)
    multiplicity = np.array([[255, 255], [1, 0]], np.uint8)
    cluster = np.array([0] * (len(label) - 1) + [1], np.int32)
    areas = auc_lanes(label, np.ones(len(label), np.bool_), cluster, multiplicity)
    for area, (first, last) in zip(areas, multiplicity.T.astype(int), strict=True):
        weights = np.where(cluster == 0, first, last)
        assert area == pytest.approx(auc(label, np.arange(len(label), dtype=float), weights), abs=1e-12)


def test_scores_sorted_once_give_the_auc_of_any_labels_on_any_rows():
    labels, scores, cluster = clustered()
    ordered = SortedScores(scores, cluster, 60)
    for selected in (cluster < 20, scores > 0, np.ones(600, bool)):
        for of_rows in (labels, ~labels, cluster % 2 == 0):
            expected = auc(of_rows[selected], scores[selected])
            assert ordered.auc(of_rows, selected).value == pytest.approx(expected)
            naive = pooled_auc(of_rows[selected], scores[selected], cluster[selected], 60)
            resampler = Resampler(60, 5, 0)
            assert (ordered.auc(of_rows, selected).draws(resampler) == naive.draws(resampler)).all()
    assert ordered.auc(labels, scores > 99).reason == "no rows"


def test_the_kernel_keeps_ties_apart_from_neighbours():
    statistic = pooled_auc(np.array([1, 0, 1, 0, 0]), np.array([1.0, 1.0, 2.0, 2.0, 0.0]), np.arange(5), 5)
    assert statistic.ends_tie.tolist() == [True, False, True, False, True]
    assert statistic.value == pytest.approx((1 + 0.5 + 0 + 1 + 1 + 0.5) / 6)
    untied = replace(statistic, ends_tie=np.ones(5, dtype=bool))
    assert untied.value != statistic.value
