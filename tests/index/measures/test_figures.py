"""Values, intervals and n of figures."""

from __future__ import annotations

import numpy as np
import pytest

from graph.figure import Figure
from index.measures.figures import Bootstrap

BOOTSTRAP = Bootstrap(draws=400, confidence=0.95, seed=0)


def test_a_mean_its_interval_and_its_n() -> None:
    values = np.random.default_rng(0).normal(size=1000)
    figure = BOOTSTRAP.means({"x": values})["x"]
    assert figure.value == pytest.approx(values.mean())
    error = values.std() / np.sqrt(1000)
    assert figure.low == pytest.approx(values.mean() - 1.96 * error, abs=0.5 * error)
    assert figure.high == pytest.approx(values.mean() + 1.96 * error, abs=0.5 * error)
    assert figure.n == 1000


def test_items_without_a_value_are_left_out_of_their_column_only() -> None:
    found = BOOTSTRAP.means({"x": np.array([1.0, np.nan, 3.0]), "y": np.array([1.0, 2.0, 3.0])})
    assert (found["x"].value, found["x"].n) == (2.0, 2)
    assert (found["y"].value, found["y"].n) == (2.0, 3)


@pytest.mark.parametrize("values", [np.array([np.nan, np.nan]), np.empty(0)])
def test_a_mean_of_nothing_is_undefined_and_says_why(values: np.ndarray) -> None:
    found = BOOTSTRAP.means({"x": values})["x"].as_json()
    assert found == {"value": None, "low": None, "high": None, "n": 0, "reason": "no item has a value"}


def test_one_item_has_no_interval() -> None:
    reason = "no interval: there is one unit to draw from"
    assert BOOTSTRAP.means({"x": np.array([0.5])})["x"] == Figure(0.5, None, None, 1, reason=reason)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = {"x": np.random.default_rng(1).normal(size=50)}
    assert BOOTSTRAP.means(values) == BOOTSTRAP.means(values)
    assert BOOTSTRAP.means(values) != Bootstrap(400, 0.95, 1).means(values)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_share_is_the_mean_of_zeros_and_ones(share: float) -> None:
    holds = np.arange(500) < share * 500
    found, mean = BOOTSTRAP.share(holds), BOOTSTRAP.means({"x": holds.astype(float)})["x"]
    assert (found.value, found.n) == (mean.value, mean.n)
    assert found.low == pytest.approx(mean.low, abs=0.02)
    assert found.high == pytest.approx(mean.high, abs=0.02)
    assert BOOTSTRAP.share(holds[:0]).value is None
