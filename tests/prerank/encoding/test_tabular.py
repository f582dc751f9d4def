"""Ids as counts and rates: out of fold for training rows, over all training rows elsewhere, against a loop."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from prerank.encoding import tabular
from prerank.encoding.tabular import FOLDS, PRIOR_ROWS, TabularEncoder


@pytest.fixture
def train(small_encoded_log):
    return small_encoded_log.split("train")


@pytest.fixture
def encoder(train):
    return TabularEncoder(train, train.feedback_rows())


@pytest.mark.parametrize("training", [True, False])
def test_counts_and_rates_are_the_loop(small_encoded_log, train, encoder, monkeypatch, training):
    monkeypatch.setattr(tabular, "MOST_CATEGORIES", 3)
    learnt = train.feedback_rows()
    split = train if training else small_encoded_log.split("test")
    rows = learnt if training else np.arange(split.rows)
    made = encoder.matrix(split, rows, training)
    columns = dict(zip(made.names, made.columns, strict=True))
    keys, asked = train.raw_ids(learnt)["item:item_id"], split.raw_ids(rows)["item:item_id"]
    clicked = np.asarray(train.clicked)[learnt].astype(float)
    average = clicked.mean()
    for place, value in enumerate(asked):
        same = keys == value
        if training:
            same &= encoder.fold != encoder.fold[place]
        scale = FOLDS / (FOLDS - 1) if training else 1
        assert columns["item:item_id:count"][place] == pytest.approx(same.sum() * scale)
        rate = (clicked[same].sum() + PRIOR_ROWS * average) / (same.sum() + PRIOR_ROWS)
        assert columns["item:item_id:click_rate"][place] == pytest.approx(rate, rel=1e-5)


def test_rows_of_one_request_share_a_fold(train, encoder):
    request = np.asarray(train.request)[train.feedback_rows()]
    assert all(len(set(encoder.fold[request == number])) == 1 for number in np.unique(request))
    assert len(set(encoder.fold)) == FOLDS


def test_requests_of_one_session_share_a_fold(train):
    requests = len(train.requests)
    names = [None if number % 7 == 0 else f"s{number // 3}" for number in range(requests)]
    train.requests = _with_sessions(train.requests, names)
    rows = train.feedback_rows()
    fold = TabularEncoder(train, rows).fold
    of_session = np.array([name or "" for name in names])[np.asarray(train.request)[rows]]
    for name in set(of_session) - {""}:
        assert len(set(fold[of_session == name])) == 1
    assert len(set(fold[of_session == ""])) > 1  # requests without a session are not one session
    assert len(set(fold)) == FOLDS


def test_one_session_of_everything_is_no_fold(train):
    train.requests = _with_sessions(train.requests, ["s"] * len(train.requests))
    assert len(set(TabularEncoder(train, train.feedback_rows()).fold)) == FOLDS


def _with_sessions(requests: pa.Table, names: list[str | None]) -> pa.Table:
    kept = requests.drop_columns("session_id") if "session_id" in requests.column_names else requests
    return kept.append_column("session_id", pa.array(names, pa.string()))


def test_no_label_of_a_list_shows_in_its_rates(train, encoder, monkeypatch):
    """Else the clicked row of a list is the one whose rate misses a click, and a loss over lists learns just that."""
    monkeypatch.setattr(tabular, "MOST_CATEGORIES", 3)
    rows = train.feedback_rows()
    request, clicked = np.asarray(train.request)[rows], np.asarray(train.clicked)
    lists = [rows[request == number] for number in np.unique(request)]
    chosen = next(of_list for of_list in lists if 0 < clicked[of_list].sum() < len(of_list))
    train.clicked = clicked.copy()
    train.clicked[chosen] = np.roll(clicked[chosen], 1)
    assert (train.clicked != clicked).any()
    swapped = TabularEncoder(train, rows).matrix(train, rows, training=True)
    made, inside = encoder.matrix(train, rows, training=True), np.isin(rows, chosen)
    np.testing.assert_array_equal(swapped.values()[inside], made.values()[inside])
    assert not np.array_equal(swapped.values(), made.values(), equal_nan=True)


def test_a_value_seen_once_looks_like_one_never_seen(train, monkeypatch):
    """Its own training row does not count itself, so training rows of rare ids teach what test rows of new ids need."""
    monkeypatch.setattr(tabular, "MOST_CATEGORIES", 0)
    rows = train.feedback_rows()
    once = rows[np.unique(train.raw_ids(rows)["item:item_id"], return_index=True)[1]]
    made = TabularEncoder(train, once).matrix(train, once, training=True)
    assert made.columns[made.names.index("item:item_id:count")].tolist() == [0] * len(once)


def test_few_values_are_categories_and_new_ones_are_missing(small_encoded_log, train, encoder):
    split = small_encoded_log.split("test")
    made = encoder.matrix(split, np.arange(split.rows), training=False)
    assert "item:brand" in made.categories
    brand = made.columns[made.names.index("item:brand")]
    assert np.nanmax(brand) < 8
    unseen = TabularEncoder(train, train.feedback_rows()[:1]).matrix(split, np.arange(split.rows), training=False)
    assert np.isnan(unseen.columns[unseen.names.index("item:brand")]).any()
