"""Rows of a table by its key, against a dictionary."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from prerank.encoding import lookup
from prerank.encoding.lookup import Lookup

NUMBERS = pa.array(np.random.default_rng(0).permutation(1000) * 7 - 500)
WORDS = NUMBERS.cast(pa.string())


def naive(keys, asked):
    places = {key: row for row, key in enumerate(keys.to_pylist())}
    return [None if value is None else places.get(value) for value in asked.to_pylist()]


@pytest.mark.parametrize("keys", [NUMBERS, WORDS, NUMBERS[:1], WORDS[:0], NUMBERS[3:40]])
@pytest.mark.parametrize("kind", [pa.int64(), pa.string()])
def test_rows_are_those_of_a_dictionary(keys, kind):
    keys = keys.cast(kind)
    asked = pa.concat_arrays([keys, pa.array([None, 6, -500, 10**15]).cast(kind), keys.slice(0, 5)])
    table = pa.table({"key": keys})
    assert Lookup(table, "key").rows(asked).to_pylist() == naive(keys, asked)
    assert Lookup(table, "key").rows(asked.slice(2)).to_pylist() == naive(keys, asked)[2:]
    assert Lookup(table, "key").rows(asked.dictionary_encode()).to_pylist() == naive(keys, asked)


@pytest.mark.parametrize("keys", [NUMBERS, WORDS])
@pytest.mark.parametrize("hashes", [1, 40])
def test_hashes_that_collide_mislead_nobody(monkeypatch, keys, hashes):
    whole = lookup.hash_values
    monkeypatch.setattr(lookup, "hash_values", lambda values: whole(values) % hashes)
    asked = pa.concat_arrays([keys, pa.array([1, 2, None]).cast(keys.type)])
    assert Lookup(pa.table({"key": keys}), "key").rows(asked).to_pylist() == naive(keys, asked)
    one_key = pa.table({"key": keys[:1]})
    assert Lookup(one_key, "key").rows(asked).to_pylist() == [0, *[None] * (len(asked) - 1)]
