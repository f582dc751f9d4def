"""A bundle's scores, top n and explanations, against loops over rows; bit for bit the same in any company."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import InputError
from prerank.serving.hashing import Texts
from prerank.serving.models import Logits
from prerank.serving.request import Request, RequestError
from prerank.serving.scorer import Scorer, best, fuse
from tests.prerank.serving.conftest import write_manifest

REQUEST = {"query": "Red shoes", "age": 33, "history": ["item 3", "elsewhere", None, "item 4"]}
HandBundle = Any


@pytest.fixture(scope="module")
def scorer(hand_bundle: HandBundle) -> Scorer:
    return Scorer.load(hand_bundle.folder, threads=2)


def candidates_of(count: int, seed: int = 0) -> dict[str, list[Any]]:
    """Items of the catalogue and others, some twice, with prices that may be missing."""
    draw = np.random.default_rng(seed)
    return {
        "item_id": [f"item {number}" for number in draw.integers(0, 330, count)],
        "price": [None if value < -1.5 else float(value) for value in draw.normal(size=count)],
        "offer": [None if number == 0 else f"offer {number}" for number in draw.integers(0, 9, count)],
    }


def rows_of(candidates: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(candidates, row, strict=True)) for row in zip(*candidates.values(), strict=True)]


@pytest.mark.parametrize("count", [1, 2, 16, 17, 64, 65, 255, 256, 257, 600])
def test_scores(count: int, hand_bundle: HandBundle, scorer: Scorer) -> None:
    candidates = candidates_of(count)
    scores = scorer.score(Request(REQUEST, candidates))
    known = {**REQUEST, "history": ["item 3", "elsewhere", "item 4"]}
    rows = rows_of(candidates)
    assert np.abs(scores.score - [hand_bundle.score(known, row, None) for row in rows]).max() < 1e-5
    expected = [hand_bundle.heads(known, row, None) for row in rows]
    for head in ("click", "order", "rank"):
        assert np.abs(getattr(scores, head) - np.array([each[head] for each in expected])).max() < 1e-5
    outside = [place for place, row in enumerate(rows) if row["item_id"] not in hand_bundle.items]
    assert scores.unknown.tolist() == outside
    assert scores.missing == ()
    assert scores.score.dtype == np.float32


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_rounded_tables(precision: str, write_bundle: Callable[..., HandBundle]) -> None:
    """Scores are those of the tables as they are stored; the vectors of items are rounded once more."""
    hand = write_bundle(precision=precision)
    candidates = candidates_of(300)
    score = Scorer.load(hand.folder, verify=False).score(Request(REQUEST, candidates)).score
    known = {**REQUEST, "history": ["item 3", "elsewhere", "item 4"]}
    expected = np.array([hand.score(known, row, None) for row in rows_of(candidates)])
    outside = np.array([row["item_id"] not in hand.items for row in rows_of(candidates)])
    assert np.abs(score - expected)[outside].max() < 1e-5
    assert np.corrcoef(score, expected)[0, 1] > 0.999


def test_items_that_the_request_describes(hand_bundle: HandBundle, scorer: Scorer) -> None:
    """They may be new, or stand in the place of the catalogue's; what is left out of one is missing."""
    candidates = {"item_id": ["item 5", "new", "item 6", "new", "nothing"], "price": [0.5, 0.1, None, 0.9, 1.0]}
    items = {"item 5": {"brand": "other"}, "new": {"title": "A new shoe", "weight": 3.0, "brand": None}}
    scores = scorer.score(Request(REQUEST, candidates, items))
    known = {**REQUEST, "history": ["item 3", "elsewhere", "item 4"]}
    expected = [hand_bundle.score(known, row, items.get(row["item_id"])) for row in rows_of(candidates)]
    assert np.abs(scores.score - expected).max() < 1e-5
    assert scores.unknown.tolist() == [4]
    assert scores.missing == ("candidates.offer",)


def test_a_bare_request(hand_bundle: HandBundle, scorer: Scorer) -> None:
    scores = scorer.score(Request({}, {"item_id": ["item 5"]}))
    assert abs(scores.score[0] - hand_bundle.score({}, {"item_id": "item 5"}, None)) < 1e-5
    assert scores.missing == ("request.query", "request.age", "request.history", "candidates.price", "candidates.offer")


def test_an_empty_catalogue(write_bundle: Callable[..., HandBundle]) -> None:
    hand = write_bundle(n_items=0)
    scores = Scorer.load(hand.folder).score(Request({}, {"item_id": ["item 5", "b"]}, {"b": {"brand": "x"}}))
    expected = [hand.score({}, {"item_id": each}, {"brand": "x"} if each == "b" else {}) for each in ("item 5", "b")]
    assert np.abs(scores.score - expected).max() < 1e-5
    assert scores.unknown.tolist() == [0]


def test_arrays_and_bytes_are_as_lists(scorer: Scorer) -> None:
    candidates = candidates_of(300)
    prices = np.array([np.nan if each is None else each for each in candidates["price"]])
    binary = {"item_id": Texts.of(candidates["item_id"]), "price": prices, "offer": candidates["offer"]}
    expected = scorer.score(Request(REQUEST, candidates))
    assert np.array_equal(scorer.score(Request(REQUEST, binary)).score, expected.score)
    top = scorer.top(Request(REQUEST, binary), 7)
    assert top.item_id == scorer.top(Request(REQUEST, candidates), 7).item_id
    array = candidates | {"item_id": np.array(candidates["item_id"])}
    assert scorer.top(Request(REQUEST, array), 7).item_id == top.item_id


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_score_does_not_depend_on_its_company(data: st.DataObject, scorer: Scorer) -> None:
    """To the bit: in any order, any subset, by any number of threads."""
    candidates = candidates_of(700)
    whole = scorer.score(Request(REQUEST, candidates)).score
    chosen = data.draw(st.lists(st.integers(0, 699), min_size=1, max_size=700, unique=data.draw(st.booleans())))
    some = {name: [values[place] for place in chosen] for name, values in candidates.items()}
    assert np.array_equal(scorer.score(Request(REQUEST, some)).score, whole[chosen])


def test_a_score_does_not_depend_on_threads_or_on_who_asks_beside(hand_bundle: HandBundle, scorer: Scorer) -> None:
    requests = [Request({**REQUEST, "age": age}, candidates_of(900 + age, age)) for age in range(8)]
    one = Scorer.load(hand_bundle.folder, threads=1, verify=False)
    expected = [one.score(request).score for request in requests]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            together = list(pool.map(lambda request: scorer.score(request).score, requests))
            assert all(np.array_equal(ours, theirs) for ours, theirs in zip(together, expected, strict=True))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 99), n=st.integers(1, 130), count=st.integers(1, 120))
def test_top(seed: int, n: int, count: int, scorer: Scorer) -> None:
    """The order of a whole sort, in which duplicates tie; the same items whatever the order of the candidates."""
    candidates = candidates_of(count, seed)
    scores = scorer.score(Request(REQUEST, candidates)).score
    top = scorer.top(Request(REQUEST, candidates), n)
    assert len(top.position) == len(top.item_id) == min(n, count)
    assert np.array_equal(top.score, np.sort(scores)[::-1][:n])
    assert np.array_equal(top.score, scores[top.position])
    assert top.item_id == [candidates["item_id"][place] for place in top.position]
    order = np.random.default_rng(seed).permutation(count)
    shuffled = {name: [values[place] for place in order] for name, values in candidates.items()}
    assert scorer.top(Request(REQUEST, shuffled), n).item_id == top.item_id


def test_ties_go_by_the_items_hashes() -> None:
    score = np.float32([1, 2, 2, 2, 0])
    item_hash = np.array([5, 9, 3, 7, 1])
    assert best(score, item_hash, 2).tolist() == [2, 3]
    assert best(score, item_hash, 9).tolist() == [2, 3, 1, 0, 4]
    with pytest.raises(ValueError, match="at least 1"):
        best(score, item_hash, 0)


def test_fused_as_in_evaluation() -> None:
    from prerank.evaluation import fusion

    draw = np.random.default_rng(0)
    click, order = draw.normal(size=(2, 50)).astype(np.float32)
    rank = draw.normal(size=(50, 3)).astype(np.float32)
    weights = {"click": 1.0, "order": 0.25, "rank": 2.0}
    said = fusion.FusionWeights(**weights, objective=None, chosen_by=())
    for logits in (Logits(click, order, rank), Logits(click, None, None), Logits(None, order, rank)):
        mean = None if logits.rank is None else logits.rank.mean(axis=1)
        expected = fusion.fuse(logits.click, logits.order, mean, said).astype(np.float32)
        assert np.array_equal(fuse(logits, weights), expected)


def test_an_explanation_adds_up(scorer: Scorer) -> None:
    candidates = {"item_id": ["item 5", "new", "item 6", "nothing"]}
    request = Request(REQUEST, candidates, {"item 6": {"brand": "x"}, "new": {}})
    scores = scorer.score(request)
    explanation = scorer.explain(request)
    assert [each.item_id for each in explanation.candidates] == scorer.top(request, 4).item_id
    for each in explanation.candidates:
        assert each.score == scores.score[each.position]
        assert abs(sum(head.contribution for head in each.heads.values()) - each.score) < 1e-5
        assert each.heads["click"].logit == scores.click[each.position]
        assert abs(each.heads["click"].probability - 1 / (1 + np.exp(-each.heads["click"].logit))) < 1e-9
        assert each.heads["rank"].weight == 0.25
        assert len(each.rank_logits) == 2
    items = {each.item_id: each.item for each in explanation.candidates}
    assert (items["new"].in_catalogue, items["new"].described, items["new"].segment) == (False, True, "cold")
    assert (items["nothing"].in_catalogue, items["nothing"].described) == (False, False)
    assert (items["item 6"].in_catalogue, items["item 6"].described) == (True, True)
    assert len(scorer.explain(request, 2).candidates) == 2
    assert explanation.missing == ("candidates.price", "candidates.offer")
    dataclasses.asdict(explanation)


def test_segments_and_counts(hand_bundle: HandBundle, scorer: Scorer) -> None:
    """As the manifest cuts them: 1 to 3 training impressions are tail, 40 and more are head."""
    explained = scorer.explain(Request({}, {"item_id": list(hand_bundle.items)})).candidates
    for each in explained:
        seen = each.item.training_impressions
        expected = "cold" if seen == 0 else "tail" if seen <= 3 else "head" if seen >= 40 else "torso"
        assert each.item.segment == expected
        assert (each.item.training_clicks, each.item.in_p) == (seen // 3, seen > 20)
    assert {each.item.segment for each in explained} == {"cold", "tail", "torso", "head"}


@pytest.mark.parametrize(
    ("request_", "field", "rule"),
    [
        (Request({"qery": "a"}, {"item_id": ["a"]}), "request.qery", "did you mean 'query'"),
        (Request({}, {"item_id": ["a"], "prices": [1]}), "candidates.prices", "did you mean 'price'"),
        (Request({}, {"price": [1.0]}), "candidates", "item_id"),
        (Request({}, {"item_id": []}), "candidates.item_id", "at least one candidate"),
        (Request({}, {"item_id": ["a", None]}), "candidates.item_id[1]", "an item's id"),
        (Request({}, {"item_id": ["a", 3]}), "candidates.item_id[1]", "text"),
        (Request({}, {"item_id": "abc"}), "candidates.item_id", "an array"),
        (Request({}, {"item_id": np.array([["a"]])}), "candidates.item_id", "an array"),
        (Request({}, {"item_id": ["a", "b"], "price": [1.0]}), "candidates.price", "as many values"),
        (Request({}, {"item_id": ["a", "b"], "price": [1.0, "2"]}), "candidates.price[1]", "a number or null"),
        (Request({"age": "33"}, {"item_id": ["a"]}), "request.age", "an integer or null"),
        (Request({"history": "a"}, {"item_id": ["a"]}), "request.history", "a list or null"),
        (Request({"history": ["a", 3]}, {"item_id": ["a"]}), "request.history", "text or null"),
        (Request({"q" * 10**6: 1}, {"item_id": ["a"]}), "request.qqq", "one of the names"),
        (Request([], {"item_id": ["a"]}), "request", "an object"),
        (Request({}, ["a"]), "candidates", "an object"),
        (Request({}, {"item_id": ["a"]}, ["a"]), "items", "an object"),
        (Request({}, {"item_id": ["a"]}, {"a": "x"}), "items.a", "an object"),
        (Request({}, {"item_id": ["a"]}, {"b": {}}), "items.b", "one of the candidates"),
        (Request({"age": 10**5000}, {"item_id": ["a"]}), "request.age", "an integer of 64 bits"),
        (Request({}, {"item_id": ["a"], "price": [10**5000]}), "candidates.price[0]", "double precision"),
        (Request({}, {"item_id": ["a"]}, {"a": {"brant": "x"}}), "items.a.brant", "did you mean 'brand'"),
        (Request({}, {"item_id": ["a"]}, {"a": {"brand": 3}}), "items.a.brand", "text or null"),
        (Request({}, {"item_id": ["a"]}, {3: {}}), "items.3", "text"),
        (Request({}, {"item_id": ["a"]}, {None: {}}), "items.None", "one of the candidates"),
    ],
)
def test_bad_requests_are_named(request_: Request, field: str, rule: str, scorer: Scorer) -> None:
    with pytest.raises(RequestError) as caught:
        scorer.score(request_)
    assert caught.value.field.startswith(field)
    assert rule in caught.value.rule
    assert isinstance(caught.value, InputError)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("body", "field"),
    [([], "body"), ({}, "body"), ({"candidates": {}, "candidate": {}}, "body.candidate"), ("x", "body")],
)
def test_bad_bodies_are_named(body: Any, field: str) -> None:
    with pytest.raises(RequestError) as caught:
        Request.of(body)
    assert caught.value.field == field


def test_a_body(scorer: Scorer) -> None:
    body = {"request": REQUEST, "candidates": {"item_id": ["item 1"]}, "items": {"item 1": {}}}
    expected = scorer.score(Request(body["request"], body["candidates"], body["items"]))
    assert np.array_equal(scorer.score(Request.of(body)).score, expected.score)


def test_keys_of_integer_ids_are_read_from_text(write_bundle: Callable[..., HandBundle]) -> None:
    """JSON has no other keys; what is no integer of 64 bits is refused as quickly."""
    hand = write_bundle()
    features = json.loads((hand.folder / "features.json").read_bytes())
    features["item_id"]["type"] = "integer"
    (hand.folder / "features.json").write_text(json.dumps(features))
    write_manifest(hand.folder)
    scorer = Scorer.load(hand.folder, verify=False)
    candidates = {"item_id": [7, -8, 2**64 - 1]}
    attributes = {"brand": "x"}
    by_text = scorer.score(Request({}, candidates, {"7": attributes, "-8": attributes, str(2**64 - 1): attributes}))
    by_number = scorer.score(Request({}, candidates, {7: attributes, -8: attributes, 2**64 - 1: attributes}))
    assert np.array_equal(by_text.score, by_number.score)
    assert not len(by_text.unknown)
    with pytest.raises(RequestError, match=r"items\.07: expected one entry for each item"):
        scorer.score(Request({}, candidates, {"7": attributes, "-8": attributes, "07": {"brand": "y"}}))
    for key in ("9" * 5000, "x", "٧", "--7", ""):
        with pytest.raises(RequestError, match="items"):
            scorer.score(Request({}, candidates, {key: attributes}))


def test_ten_thousand_new_items(hand_bundle: HandBundle, scorer: Scorer) -> None:
    """Described or not, they go in chunks as well."""
    ids = [f"new {number}" for number in range(10_000)]
    items = {item: {"brand": f"brand {item}", "weight": 1.0} for item in ids[::2]}
    scores = scorer.score(Request(REQUEST, {"item_id": ids}, items))
    known = {**REQUEST, "history": ["item 3", "elsewhere", "item 4"]}
    for place in (0, 1, 255, 256, 9_999):
        expected = hand_bundle.score(known, {"item_id": ids[place]}, items.get(ids[place], {}))
        assert abs(scores.score[place] - expected) < 1e-5
    assert scores.unknown.tolist() == list(range(1, 10_000, 2))


@pytest.mark.parametrize(
    "weights", [{"order": 0.0}, {"order": 0.0, "rank": 0.0}, {"click": 0.0, "order": 0.0, "rank": 0.0}]
)
def test_heads_without_weight_are_not_computed_to_rank(
    weights: dict[str, float], write_bundle: Callable[..., HandBundle]
) -> None:
    """The order is to the bit that of all heads; an explanation has them all."""
    hand = write_bundle()
    said = json.loads((hand.folder / "fusion.json").read_bytes()) | weights
    (hand.folder / "fusion.json").write_text(json.dumps(said))
    write_manifest(hand.folder)
    scorer = Scorer.load(hand.folder, verify=False)
    request = Request(REQUEST, candidates_of(700))
    whole, ranked = scorer.score(request), scorer.score(request, logits=False)
    assert np.array_equal(whole.score, ranked.score)
    left_out = [head for head in ("click", "order", "rank") if getattr(ranked, head) is None]
    assert left_out == ([] if len(weights) == 3 else list(weights))
    top = scorer.top(request, 20)
    assert np.array_equal(top.score, np.sort(whole.score)[::-1][:20])
    assert [each.position for each in scorer.explain(request, 20).candidates] == top.position.tolist()
    assert set(scorer.explain(request, 1).candidates[0].heads) == {"click", "order", "rank"}
