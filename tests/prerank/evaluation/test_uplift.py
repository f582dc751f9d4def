"""Uplift statistics against naive references: a large bootstrap, known answers, arms that are the same."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from graph.resampling import Resampler
from prerank.evaluation.uplift import (
    LEAST_USERS,
    METRICS,
    UserSums,
    bootstrapped_uplift,
    compare,
    halves_test,
    ratio_of,
    ratio_uplift,
    winsorising_cap,
)


def shoppers(users=400, seed=0, click_rate=0.1, order_rate=0.3, luck=0):
    """Users of very different activity and liking; another luck draws clicks and orders of the same users anew."""
    who, draw = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1, luck])
    exposed = who.integers(5, 400, users).astype(float)
    liking = who.uniform(0.3, 1.7, users)
    clicks = draw.binomial(exposed.astype(int), np.minimum(click_rate * liking, 1)).astype(float)
    orders = draw.binomial(clicks.astype(int), np.minimum(order_rate * liking, 1)).astype(float)
    return UserSums(exposed, clicks, orders, orders * who.lognormal(3, 1, users))


def resampled(arm, control, metric, draws=20_000):
    """Difference and relative uplift of a ratio in draws of paired users."""
    above, under = METRICS[metric]
    users, found = len(arm), []
    random = np.random.default_rng(1)
    for _ in range(draws):
        drawn = random.integers(users, size=users)
        a, c = (
            getattr(sums, above)[drawn].sum() / (users if under is None else getattr(sums, under)[drawn].sum())
            for sums in (arm, control)
        )
        found.append((a - c, a / c - 1))
    return np.array(found).T


@pytest.mark.parametrize("metric", ["ctr", "cvr", "orders_per_user"])
def test_the_delta_method_agrees_with_a_large_bootstrap(metric):
    arm, control = shoppers(luck=1, click_rate=0.2, order_rate=0.6), shoppers()
    made = compare(arm, control, 0.99, 0.95, Resampler(400, 50, 0))[metric]
    difference, relative = resampled(arm, control, metric)
    error = np.sqrt((ratio_of(arm, metric).influence - ratio_of(control, metric).influence).var() / 400)
    assert error == pytest.approx(difference.std(), rel=0.05)
    assert made.p == pytest.approx(2 * stats.norm.sf(made.absolute / difference.std()), rel=0.5, abs=1e-12)
    assert made.high - made.low == pytest.approx(2 * 1.96 * relative.std(), rel=0.05)
    assert made.value == pytest.approx(made.arm / made.control - 1)
    low, high = np.quantile(relative, [0.025, 0.975])
    assert made.low == pytest.approx(low, abs=0.2 * (high - low))


def test_pairing_narrows_the_interval_of_arms_that_share_their_luck():
    control = shoppers()
    more = control.orders.copy()
    more[::40] += 1
    arm = UserSums(control.exposed, control.clicks, more, control.gmv)
    paired = ratio_uplift(ratio_of(arm, "cvr"), ratio_of(control, "cvr"), 0.95)
    unpaired = ratio_of(arm, "cvr").variance + ratio_of(control, "cvr").variance
    assert abs(paired.absolute) / stats.norm.isf(paired.p / 2) < 0.3 * np.sqrt(unpaired)


def test_intervals_cover_no_uplift_where_only_luck_differs():
    covered = dict.fromkeys(METRICS, 0)
    resampler = Resampler(300, 300, 0)
    for seed in range(100):
        made = compare(shoppers(300, seed, luck=1), shoppers(300, seed), 0.99, 0.95, resampler)
        for metric, figure in made.items():
            covered[metric] += figure.low <= 0 <= figure.high
    assert all(89 <= times <= 99 for times in covered.values()), covered


def test_the_same_arm_gives_exactly_nothing():
    made = compare(shoppers(), shoppers(), 0.99, 0.95, Resampler(400, 200, 0))
    for figure in made.values():
        assert (figure.absolute, figure.value, figure.low, figure.high, figure.p) == (0, 0, 0, 0, 1)


def test_sums_are_those_of_a_loop():
    random = np.random.default_rng(3)
    user, clicked = random.integers(0, 6, 200), random.random(200) < 0.4
    ordered, price = clicked & (random.random(200) < 0.5), random.uniform(1, 9, 200)
    made = UserSums.of(user, 7, clicked, ordered, price)
    for each in range(7):
        rows = user == each
        assert made.exposed[each] == rows.sum()
        assert made.clicks[each] == clicked[rows].sum()
        assert made.orders[each] == ordered[rows].sum()
        assert made.gmv[each] == pytest.approx(sum(price[row] for row in range(200) if rows[row] and ordered[row]))
    assert made.exposed[6] == 0
    assert made.totals()["exposed"] == 200


def test_winsorising_cuts_both_arms_to_the_controls_quantile():
    control = np.arange(1.0, 101.0)
    control[-1] = 1e6
    assert winsorising_cap(control, 0.98) == 99
    arm = control.copy()
    arm[0] = 5e6
    made = bootstrapped_uplift(arm, control, 0.98, 0.95, Resampler(100, 400, 0))
    # 1 + ... + 99, and the millionaire counts as 99; the arm has one more of them in the place of a 1.
    assert made.control == pytest.approx((99 * 100 / 2 + 99) / 100)
    assert made.arm == pytest.approx(made.control + 98 / 100)
    assert made.value == pytest.approx(0.98 / made.control)
    assert made.low <= made.value <= made.high


def test_winsorised_uplift_is_bootstrapped_by_pairs():
    arm, control = shoppers(luck=1, order_rate=0.36), shoppers()
    cap = winsorising_cap(control.gmv, 0.99)
    random = np.random.default_rng(5)
    drawn = random.integers(400, size=(20_000, 400))
    relative = np.minimum(arm.gmv, cap)[drawn].sum(axis=1) / np.minimum(control.gmv, cap)[drawn].sum(axis=1) - 1
    made = bootstrapped_uplift(arm.gmv, control.gmv, 0.99, 0.95, Resampler(400, 2000, 0))
    assert made.low == pytest.approx(np.quantile(relative, 0.025), abs=0.015)
    assert made.high == pytest.approx(np.quantile(relative, 0.975), abs=0.015)


@pytest.mark.parametrize(
    ("arm", "control", "reason"),
    [
        ({"clicks": 0, "orders": 0}, {"clicks": 0, "orders": 0}, "nothing to divide by"),
        ({}, {"clicks": 0, "orders": 0}, "nothing to divide by"),
        ({}, {"orders": 0}, "the control's value is 0"),
    ],
)
def test_no_clicks_and_no_orders_are_undefined_and_say_why(arm, control, reason):
    def changed(sums, values):
        return UserSums(**{**vars(sums), **{name: np.zeros(len(sums)) for name in values}})

    made = compare(changed(shoppers(), arm), changed(shoppers(), control), 0.99, 0.95, Resampler(400, 50, 0))
    assert made["cvr"].value is None
    assert made["cvr"].p is None
    assert reason in json.loads(json.dumps(made["cvr"].as_json(), allow_nan=False))["reason"]


def test_gmv_of_almost_nobody_is_undefined():
    gmv = np.zeros(1000)
    gmv[:5] = 10
    made = bootstrapped_uplift(gmv, gmv, 0.99, 0.95, Resampler(1000, 50, 0))
    assert made.value is None
    assert "winsorised to 0" in made.reason


@pytest.mark.parametrize("luck", [0, 1])
@pytest.mark.parametrize("users", [1, 2, LEAST_USERS - 1])
def test_a_handful_of_users_has_no_interval_even_where_the_arms_agree(users, luck):
    made = compare(shoppers(users, luck=luck), shoppers(users), 0.99, 0.95, Resampler(users, 50, 0))
    for figure in made.values():
        assert figure.low is None
        assert figure.p is None
        assert "fewer than" in figure.reason


def test_all_clicks_of_one_user_look_like_no_certainty():
    """The influence of the only user with clicks is 0, which would be an interval of no width."""
    one, other = shoppers(50), shoppers(50)
    for sums, orders in ((one, 3.0), (other, 2.0)):
        sums.clicks[:], sums.orders[:] = 0, 0
        sums.clicks[4], sums.orders[4] = 7, orders
    made = ratio_uplift(ratio_of(one, "cvr"), ratio_of(other, "cvr"), 0.95)
    assert made.value == pytest.approx(0.5)
    assert made.low is None


def test_halves_of_one_arm_differ_significantly_as_often_as_they_should():
    made = [halves_test(shoppers(600, seed), 0.99, 0.05, 100, seed) for seed in range(10)]
    for metric in METRICS:
        assert all(found[metric]["splits"] == 100 for found in made)
        assert 0.03 <= np.mean([found[metric]["share"] for found in made]) <= 0.08, metric


def test_halves_with_too_few_orders_tell_nothing():
    made = halves_test(shoppers(60, order_rate=0.002), 0.99, 0.05, 20, 0)
    assert made["cvr"]["share"] is None
    assert made["ctr"]["share"] is not None
