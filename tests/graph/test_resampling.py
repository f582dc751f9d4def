"""Draws of clusters and the intervals of what they give: against naive resampling and known answers."""

from __future__ import annotations

import numpy as np
import pytest

from graph.resampling import LANES, RatioOfSums, Resampler, percentile_interval


def multiplicities(resampler, draw):
    return resampler.blocks[draw // LANES, :, draw % LANES].astype(int)


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


def test_multiplicities_are_the_counts_of_numpys_draws():
    resampler = Resampler(30, LANES + 3, seed=5)
    for draw in (0, 1, LANES, LANES + 2):
        drawn = np.random.default_rng([5, draw]).integers(30, size=30)
        assert (multiplicities(resampler, draw) == np.bincount(drawn, minlength=30)).all()
    assert not resampler.blocks[1, :, 3:].any()


def test_a_draw_that_holds_nothing_that_counts_is_undefined():
    statistic = RatioOfSums(np.array([3.0, 0.0]), np.array([2.0, 0.0]), 2)
    resampler = Resampler(2, 50, seed=0)
    lacking = np.array([multiplicities(resampler, draw)[0] == 0 for draw in range(50)])
    assert 0 < lacking.sum() < 50
    draws = statistic.draws(resampler)
    assert (np.isnan(draws) == lacking).all()
    assert (draws[~lacking] == 1.5).all()


def test_small_weights_count():
    statistic = RatioOfSums(np.array([0.02, 0.06]), np.array([0.1, 0.2]), 2)
    assert np.isfinite(statistic.draws(Resampler(2, 50, seed=0))).all()


def test_one_cluster_gives_no_draw():
    assert np.isnan(RatioOfSums(np.ones(1), np.ones(1), 9).draws(Resampler(1, 70, 0))).all()


@pytest.mark.parametrize("draws", [1, LANES - 1, LANES, LANES + 1])
def test_there_are_as_many_draws_as_asked_for(draws):
    drawn = RatioOfSums(np.arange(3.0), np.ones(3), 3).draws(Resampler(3, draws, 0))
    assert drawn.shape == (draws,)
    assert np.isfinite(drawn).all()


def test_interval_holds_the_value_and_most_of_the_draws():
    draws = np.random.default_rng(0).normal(size=4000)
    low, high = percentile_interval(0.0, draws, 0.95)
    assert low == pytest.approx(-1.96, abs=0.1)
    assert high == pytest.approx(1.96, abs=0.1)
    assert percentile_interval(5.0, draws, 0.95)[1] == 5.0
    assert percentile_interval(-5.0, draws, 0.95)[0] == -5.0


def test_an_interval_needs_most_of_its_draws_and_is_that_of_quantile():
    draws = np.random.default_rng(0).normal(size=1001)
    assert percentile_interval(0.0, draws, 0.9) == pytest.approx(tuple(np.quantile(draws, [0.05, 0.95])))
    draws[:100] = np.nan
    assert percentile_interval(0.0, draws, 0.9) == pytest.approx(tuple(np.nanquantile(draws, [0.05, 0.95])))
    draws[:101] = np.nan
    assert percentile_interval(0.0, draws, 0.9) == (None, None)
    assert percentile_interval(0.0, draws[:0], 0.9) == (None, None)
    assert percentile_interval(0.0, np.array([np.nan] + [1.0] * 9), 0.9) == (0.0, 1.0)  # nine in ten, to the draw
