"""Geometry against naive references and on vectors whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.spatial
from scipy.stats import skew

from index.measures import geometry
from index.measures.ann import exact_index, normalised, search
from index.measures.figures import Bootstrap
from index.measures.geometry import (
    alignment,
    duplicated,
    effective_rank,
    hubness,
    k_occurrence,
    procrustes,
    procrustes_residual,
    similarity,
    spread,
    varies,
)

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


@pytest.mark.parametrize("other", [6, 9])
def test_the_procrustes_residual_is_scipys(other: int) -> None:
    first = vectors()
    second = np.pad(first, ((0, 0), (0, other - 6))) + 0.8 * vectors(dimension=other, seed=3)
    blocks = np.concatenate([first, second], axis=1).astype(np.float64)
    padded = np.pad(first, ((0, 0), (0, other - 6)))
    expected = scipy.spatial.procrustes(padded, second)[2]
    assert procrustes_residual(np.cov(blocks.T), 6) == pytest.approx(expected)
    assert 0.05 < expected < 0.9
    units = normalised(first), normalised(second)
    padded = np.pad(units[0], ((0, 0), (0, other - 6)))
    figure = similarity(*units, BOOTSTRAP)["procrustes_residual"]
    assert figure.value == pytest.approx(scipy.spatial.procrustes(padded, units[1])[2], abs=1e-6)
    assert figure.low < figure.value < figure.high


def test_the_procrustes_residual_of_a_shuffle_is_near_one() -> None:
    units = normalised(vectors(4000))
    assert similarity(units, units, BOOTSTRAP)["procrustes_residual_chance"].value > 0.98


def test_few_blocks_give_the_same_values(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = normalised(vectors()), normalised(vectors(seed=1))
    whole = {name: figure.value for name, figure in similarity(first, second, BOOTSTRAP).items()}
    monkeypatch.setattr(geometry, "MOMENTS", 1)
    monkeypatch.setattr(geometry, "ROWS_AT_ONCE", 7)
    assert {name: figure.value for name, figure in similarity(first, second, BOOTSTRAP).items()} == pytest.approx(whole)


def test_vectors_of_other_lengths_have_no_alignment() -> None:
    figure = alignment(vectors(), vectors(dimension=4), BOOTSTRAP)["alignment"]
    assert (figure.value, figure.reason) == (None, "vectors of 6 and of 4 numbers have no distance")


def test_the_interval_of_alignment_is_that_of_a_mean() -> None:
    first, second = normalised(vectors()), normalised(vectors(seed=1))
    found = alignment(first, second, BOOTSTRAP)["alignment"]
    distances = np.square(first - second).sum(axis=1)
    assert found.high - found.value == pytest.approx(1.96 * distances.std(ddof=1) / np.sqrt(300), rel=0.15)


def test_doubles_are_those_of_a_loop() -> None:
    made = vectors(200, 3)
    made[10], made[20], made[30] = made[5], made[5], -made[5]
    made[40], made[50] = 0.0, -0.0
    naive = [
        any((row == other).all() for at, other in enumerate(made) if at != place) for place, row in enumerate(made)
    ]
    assert duplicated(made).tolist() == naive
    assert sum(naive) == 5


def test_whether_vectors_vary() -> None:
    assert varies(normalised(vectors()))
    assert not varies(normalised(np.full((50, 6), 0.3, dtype=np.float32)))
    assert not varies(np.zeros((50, 6), dtype=np.float32))


def test_hubness_of_no_list_is_undefined() -> None:
    found = hubness(np.zeros(5, dtype=np.int64), 0, 3, BOOTSTRAP)
    assert found["never_a_neighbour"].value is None
