"""Means over seeds, paired differences and their intervals, against slow references written out here."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from prerank.compare.statistics import SeedFigure, difference, summary

DRAWS = 4000


def seeds_of(values, spread=0.02, own=0.002, key=0, n=500):
    """One log's figures: the draws of all seeds and systems move together, since the rows are the same."""
    common = np.random.default_rng(0).normal(scale=spread, size=DRAWS)
    return {
        seed: SeedFigure(value, value + common + np.random.default_rng([key, seed]).normal(scale=own, size=DRAWS), n)
        for seed, value in enumerate(values)
    }


def test_of_one_log_draws_are_averaged_over_seeds_before_the_interval_is_taken():
    figures = seeds_of([0.70, 0.72, 0.71])
    found = summary(figures, market=False, confidence=0.95)
    averaged = [sum(figures[seed].draws[draw] for seed in figures) / 3 for draw in range(DRAWS)]
    assert found.value == pytest.approx(0.71)
    assert (found.low, found.high) == pytest.approx(np.quantile(averaged, [0.025, 0.975]))
    assert found.by_seed == {0: 0.70, 1: 0.72, 2: 0.71}
    assert found.n == 500


def test_the_difference_of_one_log_is_paired_draw_by_draw():
    ours, theirs = seeds_of([0.72, 0.73, 0.74], key=1), seeds_of([0.70, 0.71, 0.72], key=2)
    found = difference(ours, theirs, market=False, confidence=0.95)
    gaps = [sum(ours[seed].draws[draw] - theirs[seed].draws[draw] for seed in ours) / 3 for draw in range(DRAWS)]
    assert found.value == pytest.approx(0.02)
    assert (found.low, found.high) == pytest.approx(np.quantile(gaps, [0.025, 0.975]))
    assert found.high - found.low < 0.01 < 4 * np.std(ours[0].draws)  # what is common to both has gone
    assert found.visible == pytest.approx((1.959964 + 0.841621) * np.std(gaps, ddof=1), rel=1e-5)
    assert found.p < 1e-3
    assert found.by_seed == pytest.approx({0: 0.02, 1: 0.02, 2: 0.02})


def test_of_markets_the_interval_is_students_t_over_the_seeds():
    ours, theirs = seeds_of([0.72, 0.75, 0.71, 0.78]), seeds_of([0.70, 0.74, 0.72, 0.73])
    gaps = [0.02, 0.01, -0.01, 0.05]
    found = difference(ours, theirs, market=True, confidence=0.95)
    error = np.std(gaps, ddof=1) / math.sqrt(4)
    reach = stats.t.ppf(0.975, 3) * error
    assert (found.value, found.low, found.high) == pytest.approx((0.0175, 0.0175 - reach, 0.0175 + reach))
    assert found.p == pytest.approx(stats.ttest_rel([0.72, 0.75, 0.71, 0.78], [0.70, 0.74, 0.72, 0.73]).pvalue)
    assert found.visible == pytest.approx((stats.t.ppf(0.975, 3) + stats.t.ppf(0.8, 3)) * error)
    alone = summary(ours, market=True, confidence=0.9)
    reach = stats.t.ppf(0.95, 3) * np.std([0.72, 0.75, 0.71, 0.78], ddof=1) / 2
    assert (alone.low, alone.high) == pytest.approx((0.74 - reach, 0.74 + reach))


def test_seeds_that_one_side_lacks_are_left_out():
    ours, theirs = seeds_of([0.72, 0.90]), seeds_of([0.70])
    for market in (True, False):
        assert difference(ours, theirs, market, 0.95).by_seed == pytest.approx({0: 0.02})
    assert difference(ours, theirs, market=True, confidence=0.95).low is None  # one market has no interval
    assert "undefined" in difference(ours, {}, market=False, confidence=0.95).reason


def test_markets_that_all_differ_alike_make_no_certainty():
    ours, theirs = seeds_of([0.5, 0.7, 0.2]), seeds_of([0.4, 0.6, 0.1])
    found = difference(ours, theirs, market=True, confidence=0.95)
    assert found.value == pytest.approx(0.1)
    assert found.low is found.p is None
    assert "do not differ" in found.reason


def test_figures_about_other_cases_are_not_subtracted():
    found = difference(seeds_of([0.7], n=10), seeds_of([0.6], n=11), market=False, confidence=0.95)
    assert found.value is None
    assert "n 10 and 11" in found.reason


@pytest.mark.parametrize("market", [True, False])
def test_a_system_against_itself_is_null(market):
    figures = seeds_of([0.70, 0.72, 0.71, 0.74, 0.69])
    found = difference(figures, figures, market, 0.95)
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_two_like_systems_are_told_apart_no_more_often_than_the_level():
    """A/A: systems that differ by chance alone, many times over."""
    random = np.random.default_rng(3)
    found = []
    for _ in range(400):
        sides = [{s: SeedFigure(v, np.empty(0), 5) for s, v in enumerate(random.normal(size=5))} for _ in range(2)]
        found.append(difference(*sides, market=True, confidence=0.95).p)
    assert 0.02 < np.mean(np.array(found) < 0.05) < 0.09
