"""Ranks and their means against sorting by hand; the baselines' known answers."""

from __future__ import annotations

import numpy as np
import pytest

from graph.figure import Figure
from pretrain.baselines import matrix_factorisation_scores, popularity_scores, random_scores
from pretrain.negatives import KnownPairs
from pretrain.sampling import Pairs
from pretrain.validation import Scores, candidates_of, metrics, ranks


def table_scores(table: np.ndarray) -> Scores:
    return lambda queries, items: table[np.ix_(queries, items)]


def naive_rank(table: np.ndarray, query: int, item: int, candidates: list[int], known: set[tuple[int, int]]) -> float:
    rivals = [c for c in candidates if (query, c) not in known]
    above = sum(table[query, c] > table[query, item] for c in rivals)
    return float(1 + above + sum(table[query, c] == table[query, item] for c in rivals) / 2)


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("cells", [1, 1 << 24])
def test_ranks_agree_with_counting(ties: bool, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretrain.validation.CELLS_AT_ONCE", cells)
    random = np.random.default_rng(0)
    table = random.random((6, 20), dtype=np.float32)
    if ties:
        table = np.round(table * 3).astype(np.float32)
    codes = random.choice(6 * 20, 40, replace=False)
    pairs = Pairs(*np.divmod(codes.astype(np.int64), 20))
    known = KnownPairs.of(pairs, 6)
    held_out = pairs.take(np.arange(15))
    candidates = candidates_of(pairs, 0)
    held = set(zip(pairs.queries.tolist(), pairs.items.tolist(), strict=True))
    expected = [
        naive_rank(table, q, i, candidates.tolist(), held)
        for q, i in zip(held_out.queries.tolist(), held_out.items.tolist(), strict=True)
    ]
    assert ranks(table_scores(table), held_out, known, candidates).tolist() == expected


def test_constant_scores_get_the_middle_rank_and_scores_must_be_finite() -> None:
    one = Pairs(np.array([0]), np.array([4]))
    known = KnownPairs.of(one, 1)
    assert ranks(table_scores(np.zeros((1, 9), np.float32)), one, known, np.arange(9)).tolist() == [5.0]
    with pytest.raises(FloatingPointError, match="finite"):
        ranks(table_scores(np.full((1, 9), np.nan, np.float32)), one, known, np.arange(9))


def test_metrics_known_answers() -> None:
    found = metrics(np.array([1.0, 2.0, 10.0, 11.0, 100.0]), np.arange(5), draws=200, confidence=0.9, seed=0)
    assert found["mrr"].value == pytest.approx((1 + 0.5 + 0.1 + 1 / 11 + 0.01) / 5)
    assert found["hits_at_10"].value == 0.6
    assert found["hits_at_50"].value == 0.8
    for figure in found.values():
        assert figure.low <= figure.value <= figure.high
        assert figure.n == 5
    alone = metrics(np.array([4.0]), np.array([3]), draws=50, confidence=0.9, seed=0)["mrr"]
    assert alone == Figure(0.25, None, None, 1)  # one query says nothing of others


def test_intervals_respect_the_queries() -> None:
    """Pairs of one query rise and fall together: the interval is that of the queries, not of the pairs."""
    random = np.random.default_rng(0)
    per_query = random.integers(1, 50, 30).astype(float)
    once = metrics(per_query, np.arange(30), 2000, 0.95, 0)["mrr"]
    copies = metrics(np.repeat(per_query, 20), np.repeat(np.arange(30), 20), 2000, 0.95, 0)["mrr"]
    assert copies.high - copies.low == pytest.approx(once.high - once.low, rel=1e-9)


def test_popularity_counts_training_pairs() -> None:
    scores = popularity_scores(Pairs(np.array([0, 1, 2]), np.array([3, 3, 1])), items=5)
    assert scores(np.array([0, 1]), np.array([0, 1, 3])).tolist() == [[0, 1, 2], [0, 1, 2]]


def test_matrix_factorisation_finds_planted_blocks() -> None:
    """Queries and items of 4 groups; a held-out item of the query's group comes before the other groups."""
    random = np.random.default_rng(0)
    codes = {(q, int(random.integers(12)) * 4 + q % 4) for q in range(40) for _ in range(8)}
    every = Pairs(*(np.array(part) for part in zip(*sorted(codes), strict=True)))
    held = random.permutation(len(every)) < 20
    training, held_out = every.take(~held), every.take(held)
    known, candidates = KnownPairs.of(every, 40), np.arange(48)

    def mrr(scores: Scores) -> float:
        return float((1 / ranks(scores, held_out, known, candidates)).mean())

    factorised = matrix_factorisation_scores(training, 40, 48, 4, mrr, seed=0)
    assert ranks(factorised, held_out, known, candidates).max() <= 12
    assert mrr(factorised) > 2 * mrr(popularity_scores(training, 48))
    assert mrr(factorised) > 2 * mrr(random_scores(0))


def test_matrix_factorisation_of_a_single_row_falls_back() -> None:
    pairs = Pairs(np.zeros(3, np.int64), np.arange(3))
    scores = matrix_factorisation_scores(pairs, 1, 4, 32, lambda _: 0.0, seed=0)
    assert scores(np.array([0]), np.arange(4)).tolist() == [[1, 1, 1, 0]]


def test_many_candidates_are_sampled_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretrain.validation.LARGEST_CANDIDATES", 10)
    pairs = Pairs(np.arange(50), np.arange(50) * 2)
    sample = candidates_of(pairs, seed=1)
    assert len(np.unique(sample)) == 10
    assert set(sample) <= set(pairs.items)
    assert np.array_equal(sample, candidates_of(pairs, seed=1))
