"""Parts of the cascade against naive references and known answers."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from configs.worlds import load_world
from graph.marketplace.cascade.choice import HiddenScales, examination, truth_of
from graph.marketplace.cascade.display import explore, sampled
from graph.marketplace.cascade.history import ClickHistory
from graph.marketplace.cascade.pre_rankers import LoggingPreRanker
from graph.marketplace.cascade.retrieval import Recall
from graph.marketplace.summary import BinnedAUC, ndcg_and_chance
from graph.marketplace.world.catalogue import LATER_DAYS, make_items, make_market, prices_on
from graph.marketplace.world.demand import QueryPicker, requests_of
from graph.marketplace.world.noise import counter_key, normals, stream, uniforms
from graph.marketplace.world.observed import Observed
from graph.marketplace.world.state import make_state
from graph.marketplace.world.words import mistyped, new_words


@pytest.fixture(scope="module")
def state():
    return make_state(load_world("tiny"), 3)


def splitmix(value: int) -> int:
    mask = (1 << 64) - 1
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
    return value ^ (value >> 31)


def test_draws_agree_with_plain_integers():
    key, mask = counter_key(5, "test"), (1 << 64) - 1
    requests, items = np.array([7, 10_000_003]), np.array([[0, 12], [-1, 2**31 - 1]])
    drawn = uniforms(key, requests, items)
    for row, request in enumerate(requests.tolist()):
        for column, item in enumerate(items[row].tolist()):
            bits = splitmix((int(key) + request * 0x9E3779B97F4A7C15) & mask)
            bits = splitmix((bits + item * 0xD1B54A32D192ED03) & mask)
            assert drawn[row, column] == ((bits >> 11) + 0.5) / 2**53


def test_draws_depend_on_the_pair_alone():
    key = counter_key(0, "test")
    wide = uniforms(key, np.arange(50), np.tile(np.arange(40), (50, 1)))
    assert uniforms(key, np.array([31]), np.array([[17]]))[0, 0] == wide[31, 17]
    assert len(np.unique(wide)) == wide.size
    assert abs(wide.mean() - 0.5) < 0.02
    assert not np.array_equal(wide, uniforms(counter_key(1, "test"), np.arange(50), np.tile(np.arange(40), (50, 1))))


def test_normals_are_standard():
    drawn = normals(counter_key(0, "test"), np.arange(200), np.tile(np.arange(200), (200, 1)))
    assert abs(drawn.mean()) < 0.02
    assert abs(drawn.std() - 1) < 0.02


def test_words_are_distinct_and_mistyping_changes_little():
    random, used = stream(0, "words"), {"taken"}
    words = new_words(500, 2, used, random)
    assert len(set(words)) == 500
    assert "taken" not in words
    wrong = [mistyped("brodal", random) for _ in range(200)]
    assert all(5 <= len(word) <= 7 for word in wrong)


def test_items_follow_their_market(state):
    catalogue, world = state.seen.catalogue, state.world
    assert len(np.unique(catalogue.item_id)) == world.items + (world.days + LATER_DAYS) * world.new_items_per_day
    assert (np.diff(catalogue.listed_at) >= 0).all()
    assert (catalogue.brand // world.brands_per_department == catalogue.shelves.leaf_department[catalogue.leaf]).all()
    assert (state.market.topic_leaf[state.items.topic] == catalogue.leaf).all()
    counts = np.sort(np.bincount(catalogue.brand))[::-1]
    assert counts[:10].sum() > 2 * counts[20:30].sum(), "brands are not skewed"
    assert np.corrcoef(state.items.quality, np.log(catalogue.price))[0, 1] < 0.5


def test_more_items_leave_the_market_s_names_alone():
    world = load_world("tiny")
    shelves, market = make_market(world, 0)
    larger, _ = make_market(replace(world, items=5_000), 0)
    assert shelves.brands == larger.brands
    catalogue, _ = make_items(world, 0, shelves, market)
    assert len(catalogue.titles()) == len(catalogue.item_id)


def test_query_texts_are_unique_and_mostly_understood(state):
    queries = state.seen.queries
    assert len(set(queries.text)) == len(queries.text)
    assert (queries.word_count >= 1).all()
    known = (queries.words >= 0).sum() / queries.word_count.sum()
    assert 0.88 < known < 0.99
    assert np.mean(queries.predicted_leaf == state.queries.leaf) == pytest.approx(0.87, abs=0.06)


def test_traffic_has_a_head_and_a_tail(state):
    picker = QueryPicker(state.queries, state.market)
    asked = Counter(q for day in range(30) for q in requests_of(state, picker, day)[0].query.tolist())
    counts = sorted(asked.values(), reverse=True)
    assert sum(counts[:20]) > 0.25 * sum(counts)
    assert sum(count <= 2 for count in counts) > 0.2 * len(counts)


def test_picker_falls_back_where_a_topic_has_no_query(state):
    picker = QueryPicker(state.queries, state.market)
    topics = np.arange(len(state.market.topic_leaf))
    drawn = picker.of_topic(topics, state.market.topic_leaf, np.full(len(topics), 0.5))
    assert (state.queries.leaf[drawn] == state.market.topic_leaf).all()
    has = np.isin(topics, state.queries.topic)
    assert (state.queries.topic[drawn][has] == topics[has]).all()


def test_recall_takes_listed_items_once(state):
    requests, intents = requests_of(state, QueryPicker(state.queries, state.market), 1)
    candidates = Recall(state)(requests, intents)
    on_sale = state.seen.catalogue.on_sale(requests.timestamp)
    strays = 0
    for row, items in enumerate(candidates.items):
        there = items[items >= 0]
        assert len(np.unique(there)) == len(there) == state.world.recalled
        assert there.max() < on_sale[row]
        strays += (state.seen.catalogue.leaf[there] != intents.leaf[row]).sum()
        words = {w for w in state.seen.queries.words[requests.query[row]].tolist() if w >= 0}
        title = set(state.seen.catalogue.title_words[there[0]].tolist())
        count = state.seen.queries.word_count[requests.query[row]]
        assert candidates.overlap[row, 0] == pytest.approx(len(words & title) / count)
    assert strays == len(requests) * round(state.world.recall_noise * state.world.recalled)


def test_recall_from_a_small_category_pads(state):
    small = replace(state, world=replace(state.world, recalled=400))
    requests, intents = requests_of(state, QueryPicker(state.queries, state.market), 0)
    items = Recall(small)(requests, intents).items
    assert (items == -1).any()


def test_pre_ranker_learns_what_is_clicked(state):
    requests, intents = requests_of(state, QueryPicker(state.queries, state.market), 0)
    candidates = Recall(state)(requests, intents)
    pre_ranker = LoggingPreRanker(0, len(state.items.quality))
    prices = prices_on(state.world, state.seed, state.items, 0)
    observed = Observed(state.seen, requests, candidates, prices, np.full((len(requests), 1), -1, np.int32))
    before = pre_ranker.score(observed)
    liked = candidates.items[0, 0]
    pre_ranker.learn(np.repeat(candidates.items[0, :20], 50), np.full(40, liked))
    change = pre_ranker.score(observed) - before
    assert (change[candidates.items == liked] > 1).all()
    assert (change[candidates.items == candidates.items[0, 1]] < 0).all()


def test_explored_slots_are_drawn_evenly_and_keep_every_item():
    world = replace(load_world("tiny"), explored_share=0.5)
    ranking = np.tile(np.arange(30), (20_000, 1))
    shown, propensity = explore(world, 0, np.arange(20_000), ranking, np.full(20_000, 30))
    assert (np.sort(shown, axis=1) == ranking).all()
    rows, slots = np.nonzero(~np.isnan(propensity))
    assert len(rows) / 20_000 == pytest.approx(0.5, abs=0.02)
    assert (propensity[rows, slots] == 1 / 20).all()
    assert (shown[rows, slots] >= 10).all()
    rest = np.array([np.delete(shown[row], slot) for row, slot in zip(rows[:200], slots[:200], strict=True)])
    assert (np.diff(rest, axis=1) > 0).all(), "the other items lost their order"
    assert np.bincount(slots, minlength=10).min() > 0.8 * len(rows) / 10
    assert np.bincount(shown[rows, slots] - 10, minlength=20).min() > 0.75 * len(rows) / 20


def test_lists_of_one_page_are_not_explored():
    world = replace(load_world("tiny"), explored_share=1.0)
    ranking = np.tile(np.arange(10), (5, 1))
    shown, propensity = explore(world, 0, np.arange(5), ranking, np.full(5, 10))
    assert (shown == ranking).all()
    assert np.isnan(propensity).all()


def test_samples_are_drawn_with_the_stated_probability():
    items = np.tile(np.arange(12), (20_000, 1))
    eligible = np.broadcast_to(np.arange(12) < 9, items.shape)
    chosen, propensity = sampled(counter_key(0, "s"), np.arange(20_000), items, eligible, 3)
    assert (chosen.sum(axis=1) == 3).all()
    assert not chosen[:, 9:].any()
    assert np.allclose(chosen[:, :9].mean(axis=0), propensity[0, 0], atol=0.02)
    few, certain = sampled(counter_key(0, "s"), np.arange(2), items[:2], eligible[:2], 100)
    assert (few == eligible[:2]).all()
    assert (certain == 1.0).all()


def test_history_moves_a_repeated_item_to_the_front():
    history = ClickHistory(users=2, length=3)
    users = np.array([1])
    history.add(users, np.array([[5, 6, 7]], np.int32), np.array([[True, False, True]]))
    assert history.of(users).tolist() == [[7, 5, -1]]
    history.add(users, np.array([[5, 8, 9]], np.int32), np.array([[True, True, False]]))
    assert history.of(users).tolist() == [[8, 5, 7]]
    history.add(users, np.array([[1, 2, 3]], np.int32), np.array([[False, False, False]]))
    assert history.of(np.array([0, 1])).tolist() == [[-1, -1, -1], [8, 5, 7]]


def test_utility_is_the_log_of_the_expected_worth():
    world = load_world("tiny")
    scales = HiddenScales((0.0, 1.0), (0.0, 1.0), -2.0, -1.0)
    truth = truth_of(world, scales, np.array([[0.5]]), np.array([[-0.3]]))
    click = 1 / (1 + math.exp(2.0 - 0.5 * world.click_sharpness))
    order = 1 / (1 + math.exp(1.0 + 0.3 * world.order_sharpness))
    assert truth.click[0, 0] == pytest.approx(click)
    assert truth.order[0, 0] == pytest.approx(order)
    assert truth.utility[0, 0] == pytest.approx(math.log(click * (1 + world.order_worth * order)))


def test_examination_is_a_power_of_the_position():
    world = replace(load_world("tiny"), position_bias=0.5)
    assert examination(world, np.array([1, 4, 100])).tolist() == pytest.approx([1.0, 0.5, 0.1])


def naive_ndcg(gains: list[float]) -> float:
    def dcg(ordered: list[float]) -> float:
        return sum(gain / math.log2(rank + 2) for rank, gain in enumerate(ordered[:10]))

    return dcg(gains) / dcg(sorted(gains, reverse=True))


@pytest.mark.parametrize("length", [1, 3, 10, 25])
def test_ndcg_agrees_with_a_loop(length):
    random = np.random.default_rng(0)
    gains, present = random.random((6, 25)), np.arange(25) < length
    found, chance = ndcg_and_chance(gains, np.tile(present, (6, 1)))
    for row in range(6):
        mine = gains[row, :length].tolist()
        assert found[row] == pytest.approx(naive_ndcg(mine))
        shuffled = np.mean([naive_ndcg(random.permutation(mine).tolist()) for _ in range(400)])
        assert chance[row] == pytest.approx(shuffled, abs=0.03)


def test_binned_auc_agrees_with_counting_pairs():
    random = np.random.default_rng(1)
    scores, labels = random.normal(size=400), random.random(400) < 0.3
    scores += labels
    auc = BinnedAUC(-6.0, 6.0)
    auc.add(scores[:150], labels[:150])
    auc.add(scores[150:], labels[150:])
    differences = scores[labels][:, None] - scores[~labels][None, :]
    assert auc.value == pytest.approx(float((np.sign(differences) / 2 + 0.5).mean()), abs=1e-3)
    assert BinnedAUC(0.0, 1.0).value is None


@pytest.mark.parametrize("information", [0.0, 0.5, 1.0])
def test_attributes_are_those_of_other_items_where_they_tell_nothing(information):
    world = replace(load_world("tiny"), attribute_information=information)
    made = make_state(world, 0)
    truth, shown = made.items, made.seen.catalogue
    own = np.stack([getattr(truth, name) == getattr(shown, name) for name in ("leaf", "brand", "shop", "price")])
    assert own.all(axis=0).mean() == pytest.approx(information, abs=0.04)
    assert sorted(truth.brand.tolist()) == sorted(shown.brand.tolist()), "each attribute is shown once"
    if information == 0:
        assert own[0].mean() == pytest.approx(((np.bincount(truth.leaf) / len(truth.leaf)) ** 2).sum(), abs=0.03)
        assert abs(np.corrcoef(np.log(truth.price), np.log(shown.price))[0, 1]) < 0.06
    informed = make_state(replace(world, attribute_information=1.0), 0).items
    assert all((getattr(informed, name) == values).all() for name, values in vars(truth).items()), "the truth moved"
