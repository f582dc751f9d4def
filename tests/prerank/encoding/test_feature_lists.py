"""Features added and removed, columns that are computed, and encodings of several lists side by side."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from configs.command import parse
from configs.errors import InputError
from configs.stages import fingerprint, read_json
from prerank.encoding import impressions
from prerank.encoding.batches import EncodedLog
from prerank.encoding.computed import columns_read
from prerank.encoding.features import FORMAT, encode_log, encode_new_log, encoding_settings
from prerank.encoding.places import encoding_for, encoding_of
from prerank.evaluating import evaluate_system
from prerank.fitting import fit_system, require_name
from tests.prerank.conftest import impressions_of

ITEMS = pa.table({"item_id": [1, 2, 3], "brand": ["b", "c", None], "price": pa.array([1.0, 2.0, None], pa.float32())})
USERS = pa.table({"user_id": [7], "age": [30]})
GAP = "{column: gap, kind: number, side: pair, sql: 'price - avg(price) OVER (PARTITION BY request_id)'}"


def rows(split="train", requests=5):
    return [
        {
            **{"request_id": f"{split} {number}", "user_id": 7 + number % 2, "query": f"q{number % 3}", "split": split},
            **{"item_id": 1 + (number + place) % 3, "position": place + 1, "clicked": place == 0},
            **{"price": None if place == number else float(10 * number + place**2)},
        }
        for number in range(requests)
        for place in range(3)
    ]


@pytest.fixture
def log(checked_log):
    return checked_log(impressions_of([row for split in ("train", "validation", "test") for row in rows(split)]), ITEMS)


def columns(encoded):
    return {f"{column.side}:{column.name}:{column.kind}" for column in encoded.schema.columns}


def test_features_are_added_to_those_that_the_log_offers_and_removed_from_them(log, request_for):
    plain = encode_log(request_for(), log)
    added = "data.add_features=[{column: position_bias, kind: number, side: pair, sql: 'price * 2'}]"
    more = encode_log(request_for(added), log)
    assert columns(more) - columns(plain) == {"pair:position_bias:number"}
    assert columns(plain) <= columns(more)
    less = encode_log(request_for("data.remove_features=[query, item:price]"), log)
    assert columns(plain) - columns(less) == {"request:query:id", "request:query:text", "item:price:number"}
    other = encode_log(
        request_for("data.remove_features=[brand]", "data.add_features=[{column: brand, kind: text}]"), log
    )
    assert columns(other) - columns(plain) == {"item:brand:text"}
    named = "data.features=[{column: brand}]"
    both = encode_log(request_for(named, "data.add_features=[{column: price, kind: number}]"), log)
    assert columns(both) == {"item:brand:id", "item:price:number"}
    # Each list has a place of its own, and each is still there.
    places = [encoded.folder.name for encoded in (plain, more, less, other, both)]
    assert places[0] == "encoded"
    assert len(set(places)) == 5
    assert columns(encode_log(request_for(), log)) == columns(plain)
    assert EncodedLog.open(more.folder).identity == more.identity


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            "data.remove_features=[brnad]",
            r"names 'brnad', which is no feature: did you mean 'brand'\? There are: item:",
        ),
        ("data.add_features=[{column: brand}]", r"names brand \(id, item side\) twice"),
        ("data.add_features=[{column: gap, side: pair, sql: clicked}]", "reads clicked: what came of an impression"),
        (
            "data.add_features=[{column: gap, side: pair, sql: prise}]",
            r"mean 'price'\?.* there are .*items.COLUMN",
        ),
        (
            "data.add_features=[{column: gap, side: pair, sql: 'avg(price) OVER ()'}]",
            "window must lie within a request",
        ),
        ("data.add_features=[{column: gap, side: pair, sql: 'sum(price)'}]", "calls sum of all rows"),
        ("data.add_features=[{column: gap, side: pair, sql: 'random()'}]", "calls random, which is not among"),
        ("data.add_features=[{column: gap, side: pair, sql: '(SELECT 1)'}]", "may not hold a subquery"),
        ("data.add_features=[{column: gap, side: pair, sql: 'items.brnad'}]", "Could not find key"),
        ("data.add_features=[{column: price, kind: number, side: pair, sql: '1'}]", "have a column price already"),
        ("data.add_features=[{column: gap, kind: text, side: pair, sql: price}]", "cannot be a feature of kind text"),
        ("data.add_features=[{column: gap, side: request, sql: price}]", "must be the same in all rows of a request"),
        ("data.add_features=[{kind: number, side: pair, sql: price}]", "has no name"),
    ],
)
def test_what_cannot_be_added_or_removed_is_told(log, request_for, keys, message):
    with pytest.raises(InputError, match=message):
        encode_log(request_for(keys), log)


def test_computed_columns_equal_a_loop_over_requests(log, checked_log, request_for, monkeypatch, tmp_path):
    asked = (
        "data.add_features=["
        + GAP
        + ", {column: pair, side: pair, sql: \"coalesce(items.brand, 'none') || query\"}"
        + ", {column: hour, kind: number, side: request, sql: 'hour(timestamp)'}"
        + ", {column: double, kind: number, sql: 'price * 2'}, {column: one, kind: number, side: pair, sql: '1'}]"
    )
    encoded = encode_log(request_for(asked), log)
    monkeypatch.setattr(impressions, "CHUNK_ROWS", 4)  # a request is longer than a part, or is cut by its end
    in_parts = encode_log(request_for(asked, run="parts"), log)
    new = checked_log(impressions_of(rows("test")), ITEMS, name="new")
    again = encode_new_log(encoded, new, tmp_path / "new")
    for split in ("train", "test"):
        mine = rows(split)
        prices = {row["request_id"]: [] for row in mine}
        for row in mine:
            prices[row["request_id"]] += [] if row["price"] is None else [row["price"]]
        means = {request: np.mean(values) for request, values in prices.items()}
        gaps = [np.nan if row["price"] is None else row["price"] - means[row["request_id"]] for row in mine]
        for each in [encoded, in_parts, *([again] if split == "test" else [])]:
            values = each.split(split)
            numbers = values.raw_numbers(np.arange(values.rows))
            np.testing.assert_allclose(numbers["pair:gap"], np.array(gaps, np.float32), atol=1e-5)
            assert set(numbers["request:hour"]) == {12.0}
            assert set(numbers["pair:one"]) == {1.0}
            np.testing.assert_array_equal(numbers["item:double"], 2 * numbers["item:price"])
            pairs = values.raw_ids(np.arange(values.rows))["pair:pair"]
            texts = [f"{ITEMS['brand'][row['item_id'] - 1].as_py() or 'none'}{row['query']}" for row in mine]
            assert len(set(zip(pairs.tolist(), texts, strict=True))) == len(set(texts)) == len(set(pairs.tolist()))


def test_a_new_log_must_have_what_is_computed_from(log, checked_log, request_for, tmp_path):
    users = {"users": USERS}
    table = impressions_of([row for split in ("train", "validation", "test") for row in rows(split)])
    with_users = checked_log(table, ITEMS, name="with users", **users)
    asked = "data.add_features=[{column: old, kind: number, side: request, sql: 'users.age + 1'}]"
    encoded = encode_log(request_for(asked), with_users)
    ages = encoded.split("test").raw_numbers(np.arange(15))["request:old"]
    assert set(ages[~np.isnan(ages)]) == {31.0}
    assert np.isnan(ages).sum() == 6  # of the user whom the table does not know
    with pytest.raises(InputError, match=r"lacks 2 column.*: age \(users\), users, of which old is computed"):
        encode_new_log(encoded, log, tmp_path / "new")


def test_an_encoding_from_before_these_keys_has_the_same_identity():
    config = parse(["data=trivago", "data.path=x"]).config
    settings = encoding_settings(config)
    assert list(settings) == ["data.features", "data.cutoffs", "format"]
    assert all(list(feature) == ["column", "kind", "side", "table"] for feature in settings["data.features"])
    assert settings["format"] == FORMAT
    assert fingerprint(settings["data.features"])


def test_systems_of_two_lists_live_in_one_run(random_run, request_for):
    small = ("evaluation.draws=10", "model=popularity")
    first = random_run(*small)
    fit_system(first)
    fit_system(request_for(*small, "name=more", "data.add_features=[" + GAP + "]"))
    run = first.run
    assert encoding_of(run, "popularity") == run.encoded
    assert encoding_of(run, "more").name.startswith("encoded-")
    before = read_json(run.system("popularity") / "metrics.json")
    for name in ("popularity", "more"):
        path = evaluate_system(request_for(*small, *(["name=more"] if name == "more" else [])))
        assert read_json(path) == read_json(run.system(name) / "metrics.json")
    assert read_json(run.system("popularity") / "metrics.json") == before
    with pytest.raises(InputError, match="another encoded stage"):
        fit_system(request_for(*small, "data.remove_features=[brand]"))
    for taken in ("encoded", "encoded-0123abcd"):
        with pytest.raises(InputError, match="which the run's encoded columns have"):
            require_name(taken)


def test_of_another_log_the_first_place_is_used_again(log, request_for):
    invocation = request_for()
    encode_log(invocation, log)
    settings = encoding_settings(request_for("data.remove_features=[brand]").config)
    assert encoding_for(invocation.run, settings, log.identity).name.startswith("encoded-")
    assert encoding_for(invocation.run, settings, "another log") == invocation.run.encoded
    older = settings | {"format": FORMAT + 1}
    assert encoding_for(invocation.run, older, log.identity) == invocation.run.encoded


def test_what_is_read_of_a_log_for_computed_columns(log, request_for):
    asked = "data.add_features=[{column: pair, side: pair, sql: 'items.brand || query || timestamp'}]"
    columns = encode_log(request_for("data.features=[{column: brand}]", asked), log).schema.columns
    assert columns_read(columns, "impressions") == ["item_id", "query", "timestamp"]
    assert columns_read(columns, "items") == ["brand"]
