"""Overlap and purity against loops over the lists, chance levels against simulated shuffles, tables of known answer."""

from __future__ import annotations

import numpy as np
import pytest

from index.measures import neighbourhoods
from index.measures.ann import exact_index, normalised, search
from index.measures.neighbourhoods import (
    Labels,
    Null,
    attribute_neighbours,
    overlap,
    overlap_chance,
    popularity_strata,
    purities,
    purity,
    rarity,
)

ITEMS, K = 120, 8


def neighbours(vectors: np.ndarray, k: int = K) -> np.ndarray:
    units = normalised(vectors)
    return search(exact_index(units), units, np.arange(len(units)), k)


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(ITEMS, 12)).astype(np.float32)


def labels_of(codes: np.ndarray) -> Labels:
    return Labels(codes, codes, np.arange(len(codes)))


def expected_purity(
    lists: np.ndarray, labels: Labels, strata: np.ndarray | None = None, within: Labels | None = None
) -> np.ndarray:
    return purities(lists, [lists.shape[1]], labels, Null(labels, strata, within)).expected[0]


def test_overlap_equals_set_intersection(vectors: np.ndarray) -> None:
    first, second = neighbours(vectors), neighbours(vectors + 0.5 * vectors[::-1])
    second[3, -2:] = -1
    naive = [len(set(a) & set(b) - {-1}) / K for a, b in zip(first.tolist(), second.tolist(), strict=True)]
    np.testing.assert_allclose(overlap(first, second), naive)


def test_nothing_found_matches_nothing() -> None:
    nothing = np.full((2, 3), -1)
    assert overlap(nothing, nothing).tolist() == [0.0, 0.0]


def test_overlap_of_identical_and_of_rotated_vectors_is_one(vectors: np.ndarray) -> None:
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(12, 12)))[0].astype(np.float32)
    assert overlap(neighbours(vectors), neighbours(vectors)).mean() == 1
    assert overlap(neighbours(vectors), neighbours(vectors @ rotation)).mean() == 1


def test_overlap_of_shuffled_vectors_is_chance() -> None:
    found = []
    for seed in range(30):
        generator = np.random.default_rng(seed)
        made = generator.normal(size=(ITEMS, 12)).astype(np.float32)
        found.append(overlap(neighbours(made), neighbours(generator.permutation(made))).mean())
    chance = overlap_chance(K, ITEMS)
    assert abs(np.mean(found) - chance) < 4 * np.std(found) / np.sqrt(len(found))
    assert chance == K / (ITEMS - 1)


def test_overlap_of_half_shuffled_lists_is_half() -> None:
    generator = np.random.default_rng(0)
    made = generator.normal(size=(2000, 12)).astype(np.float32)
    first, second = neighbours(made), neighbours(made)
    second[:, : K // 2] = generator.integers(0, 2000, (2000, K // 2))
    assert overlap(first, second).mean() == pytest.approx(0.5, abs=0.01)


def test_overlap_refuses_lists_of_different_length() -> None:
    with pytest.raises(ValueError, match="one shape"):
        overlap(np.zeros((2, 3), dtype=np.int64), np.zeros((2, 4), dtype=np.int64))


def naive_purity(lists: np.ndarray, codes: np.ndarray, within: np.ndarray | None) -> list[float]:
    found = []
    for row, near in enumerate(lists.tolist()):
        if within is not None:
            near = [item for item in near if within[row] >= 0 and within[item] == within[row]]
        if codes[row] < 0 or not near:
            found.append(np.nan)
        else:
            found.append(float(np.mean([codes[item] == codes[row] for item in near])))
    return found


@pytest.mark.parametrize("nested", [False, True])
def test_purity_equals_the_loop(vectors: np.ndarray, nested: bool) -> None:
    generator = np.random.default_rng(3)
    codes, group = generator.integers(-1, 4, ITEMS), generator.integers(-1, 3, ITEMS)
    lists = neighbours(vectors)
    found = purity(lists, labels_of(codes), labels_of(group) if nested else None)
    np.testing.assert_allclose(found, naive_purity(lists, codes, group if nested else None))


def test_the_base_rate_is_the_chance_of_a_random_pair() -> None:
    codes = np.random.default_rng(0).integers(-1, 5, ITEMS)
    lists = neighbours(np.random.default_rng(1).normal(size=(ITEMS, 4)).astype(np.float32))
    counts = np.bincount(codes[codes >= 0])
    pairs = (counts * (counts - 1)).sum() / (counts.sum() * (ITEMS - 1))
    assert np.nanmean(expected_purity(lists, labels_of(codes))) == pytest.approx(pairs)


@pytest.mark.parametrize("nested", [False, True])
def test_the_matched_shuffle_equals_its_simulation(vectors: np.ndarray, nested: bool) -> None:
    generator = np.random.default_rng(5)
    codes, group = generator.integers(0, 4, ITEMS), generator.integers(0, 2, ITEMS)
    strata, lists = generator.integers(0, 3, ITEMS), neighbours(vectors)
    within = labels_of(group) if nested else None
    expected = expected_purity(lists, labels_of(codes), strata, within)
    row = int(np.flatnonzero(np.isfinite(expected))[0])
    draws = []
    for item in lists[row]:
        if nested and group[item] != group[row]:
            continue
        same = (strata == strata[item]) & (group == group[item] if nested else True)
        same[row] = False
        draws.append((codes[generator.choice(np.flatnonzero(same), 20_000)] == codes[row]).mean())
    assert expected[row] == pytest.approx(np.mean(draws), abs=0.02)


def test_queries_that_are_no_candidates_are_not_left_out() -> None:
    labels = Labels(np.array([1]), np.array([1, 1, 0, -1]), np.array([-1]))
    lists = np.array([[0, 2]])
    assert purity(lists, labels).tolist() == [0.5]
    assert expected_purity(lists, labels).tolist() == [0.5]


def test_popularity_strata_keep_ties_together() -> None:
    impressions = np.array([0] * 50 + [1] * 20 + list(range(2, 32)))
    strata = popularity_strata(impressions)
    assert (np.diff(strata[np.argsort(impressions, kind="stable")]) >= 0).all()
    for value in np.unique(impressions):
        assert len(set(strata[impressions == value])) == 1
    assert set(strata) == set(range(strata.max() + 1))
    assert popularity_strata(np.full(5, 3)).tolist() == [0] * 5
    assert popularity_strata(np.zeros(0, dtype=np.int64)).tolist() == []


def test_attribute_neighbours_share_what_can_be_shared_and_leave_the_item_out() -> None:
    codes = np.array([[0, 0], [0, 0], [0, 1], [1, 1], [1, -1], [-1, -1]])
    found = attribute_neighbours(codes, np.array([0, 5]), 2, seed=0)
    assert set(found[0]) == {1, 2}
    assert 5 not in found[1]


def test_attribute_neighbours_prefer_the_rarer_value() -> None:
    codes = np.array([[0, 0], [0, 1], [1, 0], *[[0, 2]] * 20])
    assert attribute_neighbours(codes, np.array([0]), 1, seed=0)[0, 0] == 2
    assert attribute_neighbours(codes, np.array([0]), 5, seed=0)[0, 0] == 2


def test_attribute_neighbours_share_as_much_as_those_of_a_full_sort() -> None:
    codes = np.random.default_rng(0).integers(-1, 5, (80, 3))
    found = attribute_neighbours(codes, np.arange(80), 6, seed=0)
    weights = [rarity(codes[:, column], 5) for column in range(3)]
    for row, near in enumerate(found):
        scores = np.array(
            [
                sum(float(weights[c][codes[row, c]]) for c in range(3) if codes[row, c] == other[c] >= 0)
                for other in codes
            ]
        )
        scores[row] = -1
        np.testing.assert_allclose(scores[near], np.sort(scores)[::-1][:6], atol=1e-5)


def test_attribute_neighbours_break_ties_at_random() -> None:
    codes = np.zeros((60, 1), dtype=np.int64)
    found = attribute_neighbours(codes, np.zeros(2000, dtype=np.int64), 5, seed=0)
    counts = np.bincount(found.ravel(), minlength=60)
    assert counts[0] == 0
    assert counts[1:].min() > 100
    np.testing.assert_array_equal(found, attribute_neighbours(codes, np.zeros(2000, dtype=np.int64), 5, seed=0))


@pytest.mark.parametrize("nested", [False, True])
def test_many_values_are_counted_like_few(vectors: np.ndarray, nested: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(3)
    codes, group = generator.integers(-1, 9, ITEMS), labels_of(generator.integers(-1, 3, ITEMS))
    lists, strata = neighbours(vectors), generator.integers(0, 3, ITEMS)
    lists[5] = -1
    within = group if nested else None
    dense = expected_purity(lists, labels_of(codes), strata, within)
    monkeypatch.setattr(neighbourhoods, "DENSE_CELLS", 0)
    np.testing.assert_array_equal(expected_purity(lists, labels_of(codes), strata, within), dense)


def test_several_lengths_at_once_are_each_length_alone(vectors: np.ndarray) -> None:
    codes = np.random.default_rng(3).integers(-1, 4, ITEMS)
    lists, label = neighbours(vectors), labels_of(codes)
    found = purities(lists, [1, 3, K], label, Null(label, None))
    for place, k in enumerate((1, 3, K)):
        np.testing.assert_array_equal(found.observed[place], purity(lists[:, :k], label))
        np.testing.assert_array_equal(found.expected[place], expected_purity(lists[:, :k], label))
