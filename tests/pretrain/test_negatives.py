"""Negatives: drawn as they should be, and never held against a query that engaged them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from graph.store import Graph
from pretrain.negatives import KnownPairs, PopularNegatives, SameCategoryNegatives
from pretrain.sampling import Pairs
from pretrain.targets import engaged_pairs


def pairs_of(*pairs: tuple[int, int]) -> Pairs:
    return Pairs(np.array([q for q, _ in pairs], dtype=np.int64), np.array([i for _, i in pairs], dtype=np.int64))


@pytest.mark.parametrize("seed", range(3))
def test_known_pairs_agree_with_a_set(seed: int) -> None:
    random = np.random.default_rng(seed)
    codes = np.unique(random.integers(0, 12 * 9, 30))
    shuffled = Pairs(*np.divmod(random.permutation(codes), 9))
    known = KnownPairs.of(shuffled, queries=12)
    held = set(zip(shuffled.queries.tolist(), shuffled.items.tolist(), strict=True))
    queries, candidates = random.integers(0, 12, 7), random.integers(0, 9, 6)
    expected = [[(q, i) in held for i in candidates.tolist()] for q in queries.tolist()]
    assert known.mask(queries, candidates).tolist() == expected
    own = random.integers(0, 9, (7, 3))
    expected = [[(q, i) in held for i in row] for q, row in zip(queries.tolist(), own.tolist(), strict=True)]
    assert known.own_mask(queries, own).tolist() == expected


def test_popular_negatives_follow_degree_to_three_quarters() -> None:
    pairs = pairs_of(*[(q, 0) for q in range(16)], *[(q, 2) for q in range(4)], (0, 3))
    negatives = PopularNegatives(pairs, items=5, amount=40)
    drawn = negatives(pairs_of(*[(0, 0)] * 500), stream=7)
    assert drawn.items.shape == (500, 40)
    held = set(zip(pairs.queries.tolist(), pairs.items.tolist(), strict=True))
    assert set(zip(drawn.queries.ravel().tolist(), drawn.items.ravel().tolist(), strict=True)) == held
    expected = np.array([16.0, 0.0, 4.0, 1.0, 0.0]) ** 0.75
    expected *= 20_000 / expected.sum()
    found = np.bincount(drawn.items.ravel(), minlength=5)
    assert found[expected == 0].sum() == 0
    kept = expected > 0
    assert ((found - expected)[kept] ** 2 / expected[kept]).sum() < chi2.ppf(1 - 1e-4, 2)
    assert np.array_equal(negatives(pairs, 7).items, negatives(pairs, 7).items)
    assert not np.array_equal(negatives(pairs, 7).items, negatives(pairs, 8).items)


def test_hard_negatives_share_the_category_and_wait_for_the_warm_up(shop: Graph) -> None:
    pairs = engaged_pairs(shop)
    negatives = SameCategoryNegatives(shop, pairs, amount=6)
    assert negatives.attribute == "category"
    assert negatives(pairs, 0).items.shape == (len(pairs), 0)
    negatives.active = True
    drawn = negatives(pairs, 0)
    assert drawn.items.shape == (len(pairs), 6)
    assert (drawn.items % 5 == pairs.items[:, None] % 5).all()
    held = set(zip(pairs.queries.tolist(), pairs.items.tolist(), strict=True))
    assert set(zip(drawn.queries.ravel().tolist(), drawn.items.ravel().tolist(), strict=True)) <= held
    assert len(np.unique(drawn.items)) > 40, "all of a category's items come"


def test_an_item_alone_in_its_category_is_its_own_negative(shop: Graph) -> None:
    """It is known to the query, so the losses leave it out."""
    lonely = pairs_of((3, 7))
    negatives = SameCategoryNegatives(shop, pairs_of((1, 0), (3, 5)), amount=2)
    negatives.active = True
    drawn = negatives(lonely, 0)
    assert (drawn.queries.tolist(), drawn.items.tolist()) == ([[3, 3]], [[7, 7]])


def test_without_attributes_nothing_is_drawn(planted: tuple[object, Graph]) -> None:
    graph = planted[1]
    negatives = SameCategoryNegatives(graph, engaged_pairs(graph), amount=3)
    negatives.active = True
    assert negatives.attribute is None
    assert negatives(engaged_pairs(graph), 0).items.shape[1] == 0
