"""The inner product that comes nearest to a score."""

from __future__ import annotations

import numpy as np
import pytest

from prerank.exporting.first_phase import Lists, direction, recall


def lists(requests: int, rows: int, noise: float = 0.0, seed: int = 0) -> Lists:
    draw = np.random.default_rng(seed)
    request = np.repeat(np.arange(requests), rows)
    items = draw.normal(size=(len(request), 3)).astype(np.float32)
    own = draw.normal(size=requests)[request] * 100
    return Lists(request, items, items @ [1.0, -2.0, 0.5] + own + noise * draw.normal(size=len(request)))


def test_the_direction_of_a_linear_score_whatever_a_request_adds():
    np.testing.assert_allclose(direction(lists(20, 30)), [1.0, -2.0, 0.5], rtol=1e-4)


def test_it_is_that_of_least_squares_within_lists():
    noisy = lists(7, 11, noise=1.0)
    of_list = noisy.request[:, None] == np.arange(7)
    design = np.concatenate([noisy.items, of_list], axis=1)
    expected = np.linalg.lstsq(design, noisy.scores, rcond=None)[0][:3]
    np.testing.assert_allclose(direction(noisy), expected, rtol=1e-4)


def test_lists_of_one_and_columns_that_never_change_tell_nothing():
    alone = lists(4, 1)
    np.testing.assert_array_equal(direction(alone), 0)
    constant = lists(5, 8)
    constant = Lists(
        constant.request, np.concatenate([constant.items, np.ones((40, 1), np.float32)], axis=1), constant.scores
    )
    np.testing.assert_allclose(direction(constant), [1.0, -2.0, 0.5, 0.0], atol=1e-3)


def test_recall_by_a_loop():
    noisy = lists(6, 40, noise=5.0)
    dots = noisy.items @ direction(noisy)
    expected = []
    for number in range(6):
        rows = np.flatnonzero(noisy.request == number)
        best = sorted(rows, key=lambda row: -noisy.scores[row])[:10]
        through = sorted(rows, key=lambda row: -dots[row])[:20]
        expected.append(len(set(best) & set(through)) / 10)
    measured = recall(noisy, dots)
    assert set(measured) == {"10", "20"}  # 50 and 100 are longer than the lists
    assert measured["20"]["recall"] == pytest.approx(np.mean(expected))
    assert measured["20"]["chance"] == pytest.approx(0.5)
    assert measured["20"]["requests"] == 6


def test_lists_that_are_too_short_to_measure():
    short = lists(3, 5)
    assert recall(short, short.scores) == {}
