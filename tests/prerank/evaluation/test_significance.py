"""Differences and how sure they are: p-values, Holm, power, Student's t and the jackknife, against known answers."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats

from graph.figure import Difference
from graph.resampling import Resampler, percentile_interval
from prerank.evaluation.significance import (
    difference_of_draws,
    estimate,
    holm,
    jackknife,
    normal_p,
    normal_reach,
    smallest_visible_difference,
    two_sided_p,
)
from tests.prerank.evaluation.clustered_rows import clustered, pooled_auc


def test_a_system_against_itself_is_null():
    labels, scores, cluster = clustered()
    statistic = pooled_auc(labels, scores, cluster, 60)
    draws = statistic.draws(Resampler(60, 100, 0))
    nothing = Difference(0.0, 0.0, 0.0, 600, p=1.0, visible=0.0)
    assert difference_of_draws(0.0, draws, draws, 0.95, 600) == nothing


def test_equally_good_systems_are_rarely_told_apart():
    """An A/A comparison: two scores of the same quality with independent noise, p below 0.05 in about 5 % of worlds."""
    found = 0
    for seed in range(120):
        rng = np.random.default_rng([9, seed])
        labels, cluster = rng.random(600) < 0.3, np.repeat(np.arange(60), 10)
        both = [pooled_auc(labels, labels + rng.standard_normal(600), cluster, 60) for _ in range(2)]
        resampler = Resampler(60, 200, seed)
        gap = both[0].value - both[1].value
        found += difference_of_draws(gap, *(one.draws(resampler) for one in both), 0.95, 600).p < 0.05
    assert found <= 14


def test_pairing_sees_what_separate_intervals_hide():
    labels, scores, cluster = clustered(rows=3000, clusters=300, ties=False, skill=0.5)
    worse = scores + 0.3 * np.random.default_rng(1).standard_normal(3000)
    a, b = (pooled_auc(labels, values, cluster, 300) for values in (scores, worse))
    resampler = Resampler(300, 500, 0)
    draws = [one.draws(resampler) for one in (a, b)]
    separate = [percentile_interval(one.value, drawn, 0.95) for one, drawn in zip((a, b), draws, strict=True)]
    paired = difference_of_draws(a.value - b.value, *draws, 0.95, 3000)
    assert separate[0][0] < separate[1][1]
    assert paired.high - paired.low < 0.6 * (separate[0][1] - separate[0][0])


def test_p_values_are_counted_where_possible_and_fine_enough_for_holm():
    draws = np.random.default_rng(0).normal(size=1000)
    assert two_sided_p(0.0, draws) > 0.9
    assert two_sided_p(2.0, draws + 2.0) == pytest.approx(0.0455, abs=0.02)
    assert 0 < two_sided_p(5.0, draws + 5.0) < 1e-5
    assert two_sided_p(0.0, np.zeros(50)) == 1.0


def differences_with(*p_values):
    return {place: Difference(0.1, 0.0, 0.2, 9, p=p) for place, p in enumerate(p_values)}


def holm_by_hand(p_values):
    """Reject the smallest first, each against what is left; an adjusted p never falls below an earlier one."""
    left, adjusted, highest = sorted(range(len(p_values)), key=lambda place: p_values[place]), {}, 0.0
    while left:
        highest = max(highest, min(1.0, len(left) * p_values[left[0]]))
        adjusted[left.pop(0)] = highest
    return [adjusted[place] for place in range(len(p_values))]


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.9, 0.8], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([0.02, 0.02, 0.02], [0.06, 0.06, 0.06]),  # ties share the largest of their steps
        ([0.01, 0.3, 0.3], [0.03, 0.6, 0.6]),
        ([], []),
    ],
)
def test_holm_known_answers(p_values, expected):
    corrected = holm(differences_with(*p_values))
    assert [each.p_holm for each in corrected.values()] == pytest.approx(expected)
    assert holm_by_hand(p_values) == pytest.approx(expected)


def test_holm_is_over_the_tested_ones_and_changes_nothing_else():
    family = differences_with(0.01, None, 0.04, 0.03)
    corrected = holm(family)
    assert [each.p_holm for each in corrected.values()] == pytest.approx([0.03, None, 0.06, 0.06])
    assert [each.p for each in corrected.values()] == [0.01, None, 0.04, 0.03]
    assert corrected[1] == family[1]
    assert family[0].p_holm is None


def test_families_are_corrected_apart():
    tests = {(name, place): Difference(0, 0, 0, 1, p=p) for name in "ab" for place, p in enumerate((0.01, 0.04))}
    tests["c", 0] = Difference(0, 0, 0, 1, p=0.5)
    corrected = holm(tests, family=lambda key: key[0])
    assert list(corrected) == list(tests)
    assert [each.p_holm for each in corrected.values()] == pytest.approx([0.02, 0.04, 0.02, 0.04, 0.5])


def test_holm_keeps_the_type():
    class Special(Difference):
        pass

    assert isinstance(holm({"a": Special(0.1, 0.0, 0.2, 9, p=0.5)})["a"], Special)


def test_smallest_visible_difference_has_the_stated_power():
    smallest = smallest_visible_difference(1.0)
    assert smallest == pytest.approx(2.8016, abs=1e-3)
    observed = smallest + np.random.default_rng(0).standard_normal(100_000)
    assert (observed > 1.96).mean() == pytest.approx(0.8, abs=0.01)


def test_the_normal_interval_and_p_are_of_one_test():
    assert normal_reach(2.0, 0.95) == pytest.approx(2 * stats.norm.ppf(0.975))
    assert normal_p(-normal_reach(2.0, 0.95), 2.0) == pytest.approx(0.05)


def test_the_estimate_is_students():
    values = [0.01, 0.02, 0.04, 0.00, 0.03]
    found = estimate(values)
    expected = stats.ttest_1samp(values, 0)
    low, high = expected.confidence_interval(0.95)
    np.testing.assert_allclose([found.value, found.low, found.high, found.p], [0.02, low, high, expected.pvalue])
    error = np.std(values, ddof=1) / math.sqrt(5)
    assert found.visible == pytest.approx((2.7764451 + 0.9409646) * error)  # t(4) at 97.5 % and 80 %
    assert found.n == 5
    narrower = estimate(values, 0.9)
    assert (narrower.low, narrower.high) == pytest.approx(tuple(expected.confidence_interval(0.9)))


@pytest.mark.parametrize(
    ("values", "value", "low", "p", "n", "reason"),
    [
        ([], None, None, None, 0, "undefined in every market"),
        ([0.3], 0.3, None, None, 1, "one market"),
        ([0.0, 0.0, 0.0], 0.0, 0.0, 1.0, 3, None),
        ([0.5, 0.5], 0.5, None, None, 2, "do not differ"),
        ([0.25, 0.25 + 1e-16], 0.25, None, None, 2, "do not differ"),
    ],
)
def test_edges_of_the_estimate(values, value, low, p, n, reason):
    found = estimate(values)
    assert (found.low, found.high, found.p, found.n) == (low, low, p, n)
    assert found.value == pytest.approx(value)
    assert found.reason is None if reason is None else reason in found.reason
    assert json.dumps(found.as_json(), allow_nan=False)


def test_what_the_estimate_calls_visible_is_seen_in_four_of_five_experiments():
    """Six markets whose differences are normal; the true one is as large as is called visible on average."""
    random = np.random.default_rng(4)
    noise = random.normal(size=(4000, 6))
    true = np.mean([estimate(list(each)).visible for each in noise[:1000]])
    seen = [estimate(list(each + true)).p < 0.05 for each in noise]
    assert np.mean(seen) == pytest.approx(0.8, abs=0.06)


def test_the_estimate_of_nothing_is_significant_as_often_as_it_should_be():
    noise = np.random.default_rng(5).normal(size=(3000, 4))
    assert np.mean([estimate(list(each)).p < 0.05 for each in noise]) == pytest.approx(0.05, abs=0.015)


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).normal(size=500)
    blocks = np.stack([np.ones(500), values], axis=1)
    figure = jackknife(blocks, {"mean": lambda sums: float(sums[1] / sums[0])}, 500, 0.95)["mean"]
    assert figure.high - figure.value == pytest.approx(1.96 * values.std(ddof=1) / np.sqrt(500), rel=1e-3)
    assert figure.value - figure.low == pytest.approx(figure.high - figure.value)


def test_an_undefined_statistic_is_no_number():
    figure = jackknife(np.ones((4, 2)), {"x": lambda _sums: float("nan")}, 4, 0.95)["x"]
    assert figure.value is None
    assert figure.reason == "the vectors do not vary"
