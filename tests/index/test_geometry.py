"""Geometry against naive references and on vectors whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import skew

from index.ann import exact_index, normalised, search
from index.figures import Bootstrap
from index.geometry import alignment, effective_rank, hubness, k_occurrence, procrustes, similarity, spread

BOOTSTRAP = Bootstrap(draws=40, confidence=0.95, seed=0)


def vectors(items: int = 300, dimension: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(items, dimension)).astype(np.float32)


def rotation(dimension: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(9).normal(size=(dimension, dimension)))[0].astype(np.float32)


def naive_cka(first: np.ndarray, second: np.ndarray) -> float:
    """Kornblith et al. 2019, by the n × n kernels."""
    centring = np.eye(len(first)) - 1 / len(first)
    one, two = (centring @ (x.astype(np.float64) @ x.T.astype(np.float64)) @ centring for x in (first, second))
    return float((one * two).sum() / np.sqrt((one * one).sum() * (two * two).sum()))


def test_k_occurrence_counts_lists() -> None:
    lists = np.array([[1, 2], [2, -1], [2, 1]])
    assert k_occurrence(lists, 4).tolist() == [0, 2, 3, 0]


def test_hubness_equals_scipy_and_the_share_of_zeros() -> None:
    units = normalised(vectors(dimension=20))
    occurrence = k_occurrence(search(exact_index(units), units, np.arange(300), 5), 300)
    found = hubness(occurrence, 300, 5, BOOTSTRAP)
    assert found["k_occurrence_skew"].value == pytest.approx(skew(occurrence))
    assert found["never_a_neighbour"].value == (occurrence == 0).mean()


def test_the_chance_levels_of_hubness_are_those_of_random_lists() -> None:
    generator, items, k = np.random.default_rng(0), 2000, 4
    lists = generator.integers(0, items - 1, (items, k))
    lists += lists >= np.arange(items)[:, None]
    found = hubness(k_occurrence(lists, items), items, k, BOOTSTRAP)
    assert found["never_a_neighbour"].value == pytest.approx(found["never_a_neighbour_chance"].value, abs=0.01)
    assert found["k_occurrence_skew"].value == pytest.approx(found["k_occurrence_skew_chance"].value, abs=0.15)


def test_effective_rank_of_known_spectra() -> None:
    assert effective_rank(np.eye(5)) == pytest.approx(5)
    assert effective_rank(np.diag([1.0, 1.0, 0, 0])) == pytest.approx(2)
    assert effective_rank(np.zeros((4, 4))) == 0
    singular = np.array([3.0, 1.0])
    shares = singular / singular.sum()
    assert effective_rank(np.diag(singular**2)) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))


def test_spread_equals_the_naive_reference() -> None:
    units = normalised(vectors() + 0.5)
    cosines = units.astype(np.float64) @ units.T.astype(np.float64)
    off = ~np.eye(len(units), dtype=bool)
    found = spread(units, BOOTSTRAP)
    assert found["mean_cosine"].value == pytest.approx(cosines[off].mean(), abs=1e-6)
    centred = units - units.mean(axis=0)
    assert found["effective_rank"].value == pytest.approx(effective_rank(centred.T @ centred / len(units)), rel=1e-4)
    exact = np.log(np.exp(-2 * (2 - 2 * cosines[off])).mean())
    assert found["uniformity"].value == pytest.approx(exact, abs=0.05)
    assert found["mean_cosine"].low < found["mean_cosine"].value < found["mean_cosine"].high


@pytest.mark.parametrize("seed", [1, 2])
def test_cka_equals_the_kernel_form(seed: int) -> None:
    first = normalised(vectors())
    second = normalised(vectors(dimension=9, seed=seed) + np.pad(first, ((0, 0), (0, 3))))
    assert similarity(first, second, BOOTSTRAP)["linear_cka"].value == pytest.approx(naive_cka(first, second))


def test_cka_is_one_after_rotation_and_near_zero_after_a_shuffle() -> None:
    units = normalised(vectors(4000))
    found = similarity(units, units @ rotation(6), BOOTSTRAP)
    assert found["linear_cka"].value == pytest.approx(1, abs=1e-6)
    assert found["linear_cka_chance"].value < 0.01


def test_alignment_is_the_mean_squared_distance() -> None:
    first, second = normalised(vectors()), normalised(vectors(seed=1))
    found = alignment(first, second, BOOTSTRAP)
    assert found["alignment"].value == pytest.approx(np.square(first - second).sum(axis=1).mean())
    assert alignment(first, first, BOOTSTRAP)["alignment"].value == 0
    assert alignment(first, first, BOOTSTRAP)["alignment_chance"].value == pytest.approx(2, abs=0.3)


def test_procrustes_finds_the_rotation() -> None:
    source, turned = vectors(), rotation(6)
    np.testing.assert_allclose(procrustes(source, source @ turned), turned, atol=1e-5)


def test_collapsed_vectors_break_nothing() -> None:
    units = normalised(np.ones((50, 6), dtype=np.float32))
    lists = search(exact_index(units), units, np.arange(50), 5)
    assert spread(units, BOOTSTRAP)["effective_rank"].value == 0
    assert spread(units, BOOTSTRAP)["mean_cosine"].value == pytest.approx(1)
    assert similarity(units, units, BOOTSTRAP)["linear_cka"].value is None
    assert hubness(k_occurrence(lists, 50), 50, 5, BOOTSTRAP)["never_a_neighbour"].value > 0.5
