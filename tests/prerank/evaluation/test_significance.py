"""Bootstrap, paired differences, Holm and power: against naive resampling and known answers."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from prerank.evaluation.metrics import auc
from prerank.evaluation.significance import (
    LANES,
    PooledAUC,
    RatioOfSums,
    Resampler,
    Undefined,
    difference_of_draws,
    figure,
    holm,
    interval,
    pooled_auc,
    smallest_visible_difference,
    two_sided_p,
)


def clustered(seed=0, clusters=60, rows=600, ties=True, skill=1.0):
    rng = np.random.default_rng(seed)
    cluster = rng.integers(clusters, size=rows)
    labels = rng.random(rows) < 0.2
    scores = rng.standard_normal(rows) + skill * labels
    return labels, (np.round(scores, 1) if ties else scores), cluster


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


def test_ratio_of_sums_is_the_mean_of_the_drawn_cases():
    rng = np.random.default_rng(1)
    owners, values, weights = rng.integers(20, size=50), rng.random(50), rng.integers(1, 9, size=50).astype(float)
    statistic = RatioOfSums(np.bincount(owners, values * weights, 20), np.bincount(owners, weights, 20), 50)
    resampler = Resampler(20, 30, seed=0)
    draws = statistic.draws(resampler)
    for draw in range(30):
        copies = np.repeat(np.arange(50), multiplicities(resampler, draw)[owners])
        assert draws[draw] == pytest.approx(np.average(values[copies], weights=weights[copies]))


def test_draws_are_reproducible_and_extend():
    few, many = Resampler(40, 10, seed=7), Resampler(40, 100, seed=7)
    assert all((multiplicities(few, draw) == multiplicities(many, draw)).all() for draw in range(10))
    assert all(multiplicities(many, draw).sum() == 40 for draw in range(100))
    assert (multiplicities(Resampler(40, 10, seed=8), 0) != multiplicities(few, 0)).any()


def test_draws_without_both_classes_are_undefined():
    labels, scores, cluster = np.array([1, 0, 0, 0]), np.arange(4.0), np.arange(4)
    statistic = pooled_auc(labels, scores, cluster, 4)
    resampler = Resampler(4, 200, seed=0)
    drawn = np.array([multiplicities(resampler, draw) for draw in range(200)])
    one_class = (drawn[:, 0] == 0) | (drawn[:, 0] == 4)
    assert (np.isnan(statistic.draws(resampler)) == one_class).all()
    made = figure(statistic, statistic.draws(resampler), 4, 0.95)
    assert made["value"] == 0.0
    assert made["low"] is None
    assert "both classes" in made["reason"]


def test_one_cluster_has_a_value_and_no_interval():
    statistic = pooled_auc(np.array([1, 0]), np.array([1.0, 0.0]), np.zeros(2, dtype=int), 1)
    made = figure(statistic, statistic.draws(Resampler(1, 50, 0)), 1, 0.95)
    assert (made["value"], made["low"], made["high"]) == (1.0, None, None)
    assert "one unit" in made["reason"]


@pytest.mark.parametrize(("labels", "reason"), [([], "no rows"), ([1, 1], "one class"), ([0], "one class")])
def test_an_undefined_auc_says_why_in_strict_json(labels, reason):
    statistic = pooled_auc(np.array(labels), np.arange(float(len(labels))), np.zeros(len(labels), dtype=int), 1)
    assert isinstance(statistic, Undefined)
    made = figure(statistic, statistic.draws(Resampler(1, 5, 0)), 1, 0.95)
    assert made["value"] is None
    assert made["n"] == len(labels)
    assert reason in json.loads(json.dumps(made, allow_nan=False))["reason"]


def test_interval_holds_the_value_and_most_of_the_draws():
    draws = np.random.default_rng(0).normal(size=4000)
    low, high = interval(0.0, draws, 0.95)
    assert low == pytest.approx(-1.96, abs=0.1)
    assert high == pytest.approx(1.96, abs=0.1)
    assert interval(5.0, draws, 0.95)[1] == 5.0
    assert interval(-5.0, draws, 0.95)[0] == -5.0


def test_intervals_cover_the_true_value():
    """AUC of two normals one standard deviation apart is Φ(1/√2) = 0.760; labels are clustered on purpose."""
    truth, covered = 0.7602, 0
    for seed in range(100):
        rng = np.random.default_rng([5, seed])
        cluster = np.repeat(np.arange(80), 10)
        labels = rng.random(800) < np.repeat(rng.uniform(0.05, 0.6, size=80), 10)
        statistic = pooled_auc(labels, rng.standard_normal(800) + labels, cluster, 80)
        low, high = interval(statistic.value, statistic.draws(Resampler(80, 200, seed)), 0.95)
        covered += low <= truth <= high
    assert 88 <= covered <= 100


def test_clusters_widen_the_interval_where_requests_repeat():
    labels, scores, _ = clustered(rows=200, ties=False)
    copies = np.tile(np.arange(200), 5)
    widths = []
    for cluster, clusters in ((np.arange(1000), 1000), (copies, 200)):
        statistic = pooled_auc(labels[copies], scores[copies], cluster, clusters)
        low, high = interval(statistic.value, statistic.draws(Resampler(clusters, 300, 0)), 0.95)
        widths.append(high - low)
    assert widths[1] > 1.7 * widths[0]  # √5 = 2.2 in the limit


def test_a_system_against_itself_is_null():
    labels, scores, cluster = clustered()
    statistic = pooled_auc(labels, scores, cluster, 60)
    draws = statistic.draws(Resampler(60, 100, 0))
    nothing = {"value": 0.0, "low": 0.0, "high": 0.0, "p": 1.0, "visible": 0.0}
    assert difference_of_draws(0.0, draws, draws, 0.95) == nothing


def test_equally_good_systems_are_rarely_told_apart():
    """An A/A comparison: two scores of the same quality with independent noise, p below 0.05 in about 5 % of worlds."""
    found = 0
    for seed in range(120):
        rng = np.random.default_rng([9, seed])
        labels, cluster = rng.random(600) < 0.3, np.repeat(np.arange(60), 10)
        both = [pooled_auc(labels, labels + rng.standard_normal(600), cluster, 60) for _ in range(2)]
        resampler = Resampler(60, 200, seed)
        gap = both[0].value - both[1].value
        found += difference_of_draws(gap, *(one.draws(resampler) for one in both), 0.95)["p"] < 0.05
    assert found <= 14


def test_pairing_sees_what_separate_intervals_hide():
    labels, scores, cluster = clustered(rows=3000, clusters=300, ties=False, skill=0.5)
    worse = scores + 0.3 * np.random.default_rng(1).standard_normal(3000)
    a, b = (pooled_auc(labels, values, cluster, 300) for values in (scores, worse))
    resampler = Resampler(300, 500, 0)
    draws = [one.draws(resampler) for one in (a, b)]
    separate = [interval(one.value, drawn, 0.95) for one, drawn in zip((a, b), draws, strict=True)]
    paired = difference_of_draws(a.value - b.value, *draws, 0.95)
    assert separate[0][0] < separate[1][1]
    assert paired["high"] - paired["low"] < 0.6 * (separate[0][1] - separate[0][0])


def test_p_values_are_counted_where_possible_and_fine_enough_for_holm():
    draws = np.random.default_rng(0).normal(size=1000)
    assert two_sided_p(0.0, draws) > 0.9
    assert two_sided_p(2.0, draws + 2.0) == pytest.approx(0.0455, abs=0.02)
    assert 0 < two_sided_p(5.0, draws + 5.0) < 1e-5
    assert two_sided_p(0.0, np.zeros(50)) == 1.0


def test_holm_known_answer():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_smallest_visible_difference_has_the_stated_power():
    smallest = smallest_visible_difference(1.0)
    assert smallest == pytest.approx(2.8016, abs=1e-3)
    observed = smallest + np.random.default_rng(0).standard_normal(100_000)
    assert (observed > 1.96).mean() == pytest.approx(0.8, abs=0.01)


def test_the_kernel_keeps_ties_apart_from_neighbours():
    statistic = pooled_auc(np.array([1, 0, 1, 0, 0]), np.array([1.0, 1.0, 2.0, 2.0, 0.0]), np.arange(5), 5)
    assert statistic.ends_tie.tolist() == [True, False, True, False, True]
    assert statistic.value == pytest.approx((1 + 0.5 + 0 + 1 + 1 + 0.5) / 6)
    untied = replace(statistic, ends_tie=np.ones(5, dtype=bool))
    assert untied.value != statistic.value
