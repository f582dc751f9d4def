"""A system in service against the same system on the log: the same rows must get the same scores."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from configs.command import run_config
from configs.errors import InputError
from configs.worlds import load_world
from graph.logs.log import SearchLog
from graph.marketplace.world.demand import Requests
from graph.marketplace.world.observed import Candidates, Observed
from graph.marketplace.world.state import make_state
from prerank.ab.live import Frozen, LivePreRanker, id_lists, live_items
from prerank.encoding.batches import EncodedLog


@pytest.fixture(scope="module")
def seen(market):
    held = run_config(market.run)
    return make_state(load_world(held.data.world), held.seed).seen


@pytest.fixture(scope="module")
def encoded(market):
    return EncodedLog.open(market.run.encoded)


@pytest.fixture(scope="module")
def logged(market):
    """The test day's rows, each request with its own."""
    rows = SearchLog.open(market.run.logs).dataset().to_table(filter=pc.field("split") == "test").to_pylist()
    requests = {}
    for row in rows:
        requests.setdefault(row["request_id"], []).append(row)
    return requests


def observed_of(seen, logged):
    """The logged requests as an engine met them: every logged row as a candidate, in the log's order, then padding."""
    number = {int(value): place for place, value in enumerate(seen.catalogue.item_id)}
    user = {int(value): place for place, value in enumerate(seen.users.user_id)}
    query = {value: place for place, value in enumerate(seen.queries.text)}
    size = (len(logged), 1 + max(len(rows) for rows in logged.values()))
    items, overlap = np.full(size, -1, np.int32), np.zeros(size)
    prices, history = np.zeros(len(number), np.float32), np.full((len(logged), 20), -1, np.int32)
    for place, rows in enumerate(logged.values()):
        for column, row in enumerate(rows):
            items[place, column], overlap[place, column] = number[row["item_id"]], row["text_match"]
            prices[number[row["item_id"]]] = row["price"]
        for column, item in enumerate(rows[0]["history"]):
            history[place, column] = number[item]
    firsts = [rows[0] for rows in logged.values()]
    requests = Requests(
        request_id=np.array([row["request_id"] for row in firsts]),
        session_id=np.array([row["session_id"] for row in firsts]),
        timestamp=np.array([int(row["timestamp"].timestamp() * 1000) for row in firsts]),
        user=np.array([user[row["user_id"]] for row in firsts]),
        query=np.array([query[row["query"]] for row in firsts]),
        turn=np.zeros(len(firsts), np.int64),
    )
    return Observed(seen, requests, Candidates(items, overlap), prices, history)


@pytest.mark.parametrize("system", ["ple", "grace", "lightgbm", "popularity"])
def test_live_scores_are_the_batch_scores(market, encoded, seen, logged, system):
    predictions = pq.read_table(market.run.system(system) / "predictions.parquet")
    rows = predictions.filter(pc.equal(predictions["split"].cast(pa.string()), "test")).to_pylist()
    batch = {(row["request_id"], row["item_id"]): row["score"] for row in rows}
    live = Frozen.open(market.run, system, encoded)(seen).score(observed_of(seen, logged))
    for place, (request, candidates) in enumerate(logged.items()):
        expected = [batch[request, row["item_id"]] for row in candidates]
        np.testing.assert_allclose(live[place, : len(expected)], expected, rtol=1e-5, atol=1e-5)
        assert np.isneginf(live[place, len(expected) :]).all()
    assert len(np.unique(list(batch.values()))) > 50


@pytest.mark.parametrize("changed", ["history", "prices", "candidates", "requests"])
def test_every_side_of_a_request_is_encoded(market, encoded, seen, logged, changed):
    observed = observed_of(seen, logged)
    other = {
        "history": {"history": np.roll(observed.history, 1, axis=0)},
        "prices": {"prices": observed.prices * 3},
        "candidates": {"candidates": Candidates(observed.candidates.items, 1 - observed.candidates.overlap)},
        "requests": {"requests": dataclasses.replace(observed.requests, query=observed.requests.query[::-1].copy())},
    }
    live = Frozen.open(market.run, "ple", encoded)(seen)
    assert (live.score(observed) != live.score(dataclasses.replace(observed, **other[changed]))).any()


def test_items_listed_after_the_log_are_encoded_and_were_never_seen(encoded, seen):
    frozen = Frozen(encoded, None, None)
    items = LivePreRanker(frozen, seen)._items
    known = np.isin(seen.catalogue.item_id, encoded.item_ids.to_numpy())
    assert 0 < (~known).sum() < known.sum()
    assert items.counts.impressions[~known].sum() == 0
    assert items.counts.impressions.sum() == encoded.training_counts.impressions.sum() > 0
    place = {int(item): row for row, item in enumerate(encoded.item_ids.to_numpy())}
    rows = np.array([place[int(item)] for item in seen.catalogue.item_id[known]])
    np.testing.assert_array_equal(items.item_hash[known], encoded.items.item_hash[rows])
    np.testing.assert_array_equal(items.features.ids[known], encoded.items.features.ids[rows])
    np.testing.assert_array_equal(items.features.lists["title"][known], encoded.items.features.lists["title"][rows])


def test_a_wave_without_candidates_and_a_single_one(market, encoded, seen, logged):
    observed = observed_of(seen, logged)
    live = Frozen.open(market.run, "ple", encoded)(seen)
    nothing = dataclasses.replace(observed.candidates, items=np.full_like(observed.candidates.items, -1))
    assert np.isneginf(live.score(dataclasses.replace(observed, candidates=nothing))).all()
    one = observed.take(slice(0, 1)).arranged(np.zeros((1, 1), np.int64))
    np.testing.assert_allclose(live.score(one)[0, 0], live.score(observed)[0, 0], rtol=1e-5)


def test_it_learns_nothing(market, encoded, seen, logged):
    observed = observed_of(seen, logged)
    live = Frozen.open(market.run, "popularity", encoded)(seen)
    before = live.score(observed)
    shown = observed.candidates.items[observed.candidates.items >= 0]
    live.learn(shown, shown)
    np.testing.assert_array_equal(live.score(observed), before)


def test_another_marketplace_is_refused(encoded, seen):
    held = pa.table({"item_id": pa.array(seen.catalogue.item_id[:-1] + 1)})
    with pytest.raises(InputError, match=r"items are not in the marketplace .* make the run again"):
        live_items(encoded, held)


def test_a_feature_that_is_not_known_before_ranking_is_refused(encoded, seen):
    column = dataclasses.replace(encoded.schema.columns[-1], name="dwell_time")
    changed = EncodedLog(
        encoded.folder, dataclasses.replace(encoded.schema, columns=(*encoded.schema.columns, column)), ""
    )
    with pytest.raises(InputError, match="dwell_time"):
        LivePreRanker(Frozen(changed, None, None), seen)


def test_histories_become_lists_of_ids():
    made = id_lists(np.array([10, 11, 12]), np.array([[2, 0, -1], [-1, -1, -1], [1, -1, -1]], np.int32))
    assert made.to_pylist() == [[12, 10], [], [11]]
