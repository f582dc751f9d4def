"""The learned ranking model: it learns, sees no later day, and says the same whatever the number of threads."""

from __future__ import annotations

import ast
import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from configs.worlds import load_world
from graph.marketplace.ranker import counters as ranker_counters
from graph.marketplace.ranker import learned_ranker
from graph.marketplace.ranker.counters import RateTable
from graph.marketplace.ranker.features import NUMBERS, RankerFeatures
from graph.marketplace.ranker.learned_ranker import LearnedRanker
from graph.marketplace.ranker.subjects import subjects
from graph.marketplace.world.demand import Requests
from graph.marketplace.world.observed import Candidates, Observed
from graph.marketplace.world.state import make_state

WORLD = load_world("tiny")
SEED = 3
STATE = make_state(WORLD, SEED)
SEEN = STATE.seen
LENGTH = 14


def wave(draw: int, requests: int = 24, length: int = LENGTH) -> Observed:
    """Random requests of different users with random candidates; some lists and histories are short."""
    random = np.random.default_rng(draw)
    count = 1500
    items = np.stack([random.choice(count, size=length, replace=False) for _ in range(requests)]).astype(np.int32)
    items[random.random(requests) < 0.2, length // 2 :] = -1
    history = random.integers(count, size=(requests, WORLD.history_length)).astype(np.int32)
    history[np.arange(WORLD.history_length) >= random.integers(WORLD.history_length, size=(requests, 1))] = -1
    numbers = np.arange(requests) + 1000 * draw
    users = random.permutation(WORLD.users)[:requests]
    moments = np.full(requests, SEEN.catalogue.listed_at[count] + 1)
    queries = random.integers(len(SEEN.queries.text), size=requests)
    asked = Requests(numbers, numbers, moments, users, queries, np.zeros(requests, np.int64))
    overlap = random.integers(3, size=items.shape) / 2
    return Observed(SEEN, asked, Candidates(items, overlap), SEEN.catalogue.price.astype(np.float32), history)


def outcome(observed: Observed, draw: int, orders: bool = True):
    """Everything is exposed; what has more of the query's words is clicked more."""
    random = np.random.default_rng(1000 + draw)
    exposed = observed.candidates.items >= 0
    clicked = exposed & (random.random(exposed.shape) < 0.05 + 0.6 * observed.candidates.overlap)
    return exposed, clicked, clicked & (random.random(exposed.shape) < 0.2 * orders)


def warmed_up(days: int = 3, waves: int = 1, orders: bool = True, seed: int = SEED) -> LearnedRanker:
    ranker = LearnedRanker(WORLD, seed, SEEN)
    for draw in range(days * waves):
        observed = wave(draw)
        ranker.observe(observed, *outcome(observed, draw, orders))
        if draw % waves == waves - 1:
            ranker.end_day()
    return ranker


@pytest.fixture(scope="module")
def trained() -> LearnedRanker:
    ranker = warmed_up()
    ranker.train()
    return ranker


def test_a_planted_preference_is_learned():
    ranker = warmed_up(days=4, waves=5)
    ranker.train()
    observed = wave(999, requests=60)
    scores, present = ranker.score(observed), observed.candidates.items >= 0
    best = np.where(present, scores, -np.inf).argmax(axis=1)
    assert observed.candidates.overlap[np.arange(60), best].mean() > 0.9
    assert np.corrcoef(scores[present], observed.candidates.overlap[present])[0, 1] > 0.7
    assert abs(scores[present].mean()) < 0.5
    assert 0.5 < scores[present].std() < 2.0


def test_scores_do_not_depend_on_threads_nor_on_luck_drawn_elsewhere(trained):
    observed, found = wave(99), []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            torch.manual_seed(threads)
            luck = torch.get_rng_state()
            ranker = warmed_up()
            ranker.train()
            found.append(ranker.score(observed))
            assert torch.get_num_threads() == threads
            assert torch.equal(torch.get_rng_state(), luck)
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], trained.score(observed))


def test_another_seed_is_another_model(trained):
    other = warmed_up(seed=SEED + 1)
    other.train()
    assert not np.array_equal(other.score(wave(99)), trained.score(wave(99)))


def test_copies_go_on_apart(trained):
    ranker, observed = copy.deepcopy(trained), wave(99)
    before = trained.score(observed)
    assert np.array_equal(ranker.score(observed), before)
    later = wave(50)
    ranker.observe(later, *outcome(later, 50))
    ranker.end_day()
    assert not np.array_equal(ranker.score(observed), before)
    assert np.array_equal(trained.score(observed), before)


def test_one_request_alone_is_scored_as_in_a_crowd(trained):
    observed = wave(77, requests=60)
    together = trained.score(observed)
    alone = np.concatenate([trained.score(observed.take(slice(row, row + 1))) for row in range(60)])
    present = observed.candidates.items >= 0
    assert np.allclose(together[present], alone[present], atol=1e-5)
    assert not together[~present].any()


def test_no_request_gives_no_scores(trained):
    assert trained.score(wave(7).take(slice(0, 0))).shape == (0, LENGTH)


def test_without_orders_and_with_a_single_request_it_trains():
    ranker = LearnedRanker(WORLD, SEED, SEEN)
    observed = wave(0, requests=1)
    exposed, clicked, ordered = outcome(observed, 0, orders=False)
    assert not ordered.any()
    ranker.observe(observed, exposed, clicked, ordered)
    ranker.end_day()
    ranker.train()
    assert np.isfinite(ranker.score(wave(1))).all()


def test_training_needs_a_day_and_scoring_a_training():
    ranker = LearnedRanker(WORLD, SEED, SEEN)
    with pytest.raises(ValueError, match="no day"):
        ranker.train()
    with pytest.raises(ValueError, match="trained before"):
        ranker.score(wave(0))


def test_nothing_of_a_day_tells_of_that_day():
    features = RankerFeatures(SEEN, SEED)
    for draw in range(2):
        observed = wave(draw)
        features.observe(observed, *outcome(observed, draw))
    # Another session: what the running one told is known at once.
    asked = replace(wave(9), requests=replace(wave(0).requests, session_id=wave(0).requests.session_id + 10**6))
    before = features(asked).numbers
    assert np.array_equal(before, RankerFeatures(SEEN, SEED)(asked).numbers)
    features.end_day()
    after = features(asked).numbers
    changed = {name for place, name in enumerate(NUMBERS) if (after[..., place] != before[..., place]).any()}
    assert {"item_clicks", "item_impressions", "brand_clicks", "user_clicks", "user_brand_clicks"} <= changed
    assert not {"text_match", "age", "price", "in_history", "session_told"} & changed


def test_counters_are_the_loop():
    features = RankerFeatures(SEEN, SEED)
    shown, clicks, pairs = {}, {}, {}
    for draw in range(3):
        observed = wave(draw)
        exposed, clicked, ordered = outcome(observed, draw)
        features.observe(observed, exposed, clicked, ordered)
        for row, column in zip(*np.nonzero(exposed), strict=True):
            item, user = observed.candidates.items[row, column], observed.requests.user[row]
            hit, pair = int(clicked[row, column]), (user, SEEN.catalogue.brand[item])
            shown[item] = shown.get(item, 0) + 1
            clicks[item] = clicks.get(item, 0) + hit
            pairs[pair] = pairs.get(pair, 0) + hit
    features.end_day()
    observed = wave(1)
    numbers = dict(zip(NUMBERS, np.moveaxis(features(observed).numbers, 2, 0), strict=True))
    rate = (sum(clicks.values()) + 1) / (sum(shown.values()) + 20)
    for row, column in zip(*np.nonzero(observed.candidates.items >= 0), strict=True):
        item, user = observed.candidates.items[row, column], observed.requests.user[row]
        expected = np.log((clicks.get(item, 0) + 20 * rate) / (shown.get(item, 0) + 20) / rate)
        assert numbers["item_clicks"][row, column] == pytest.approx(expected, abs=1e-5)
        assert numbers["item_impressions"][row, column] == pytest.approx(np.log1p(shown.get(item, 0)))
        liked = pairs.get((user, SEEN.catalogue.brand[item]), 0)
        assert numbers["user_brand_clicks"][row, column] == pytest.approx(np.log1p(liked))
        there = item in observed.history[row]
        assert numbers["in_history"][row, column] == there


def test_a_session_tells_at_once_and_ends_with_its_category():
    features, observed = RankerFeatures(SEEN, SEED), wave(0)
    features.observe(observed, *outcome(observed, 0))
    told = NUMBERS.index("session_told")
    assert (features(observed).numbers[..., told] > 0).all()
    leaf = subjects(SEEN, SEED).query_leaf
    elsewhere = np.array([np.flatnonzero(leaf != leaf[query])[0] for query in observed.requests.query])
    moved = replace(observed, requests=replace(observed.requests, query=elsewhere))
    assert not features(moved).numbers[..., told].any()


def test_tables_stay_within_their_bound(monkeypatch):
    monkeypatch.setattr(ranker_counters, "CELLS", 64)
    monkeypatch.setattr(ranker_counters, "PROFILE_CELLS", 16)
    features = RankerFeatures(SEEN, SEED)
    observed = wave(0)
    features.observe(observed, *outcome(observed, 0))
    features.end_day()
    counters = features._counters
    assert len(counters.user_brand.shown) == len(counters.user_leaf) == 64
    assert np.isfinite(features(observed).numbers).all()


def test_the_latest_blocks_are_kept(monkeypatch):
    monkeypatch.setattr(learned_ranker, "TRAINING_BLOCKS", 60)
    ranker = warmed_up(days=6)
    assert 60 <= sum(len(day.exposed) for day in ranker._days) <= 60 + 24 * 2
    ranker.train()
    assert not ranker._days


def test_rates_without_any_event_are_even():
    assert not RateTable(4).click_rates().any()
    assert not RateTable(4).order_rates().any()


def test_titles_of_a_topic_are_found_alike():
    found = subjects(SEEN, SEED)
    assert np.allclose(found.items.sum(axis=1), 1.0, atol=1e-5)
    assert np.allclose(found.queries.sum(axis=1), 1.0, atol=1e-5)
    of_leaf = np.flatnonzero(SEEN.catalogue.leaf == 0)
    alike = found.items[of_leaf] @ found.items[of_leaf].T
    topic = STATE.items.topic[of_leaf]
    same = topic[:, None] == topic
    apart = ~np.eye(len(of_leaf), dtype=bool)
    assert alike[same & apart].mean() > 2.5 * alike[~same].mean()


def test_only_what_is_observed_is_imported():
    folder = Path(learned_ranker.__file__).parent
    for file in (folder / "learned_ranker.py", *folder.glob("ranker_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert "choice" not in str(node.module), file.name
                assert not [alias.name for alias in node.names if alias.name.startswith("Hidden")], file.name
