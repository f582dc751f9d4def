"""Hashes: known constants (they name rows of saved tables, so they never change) and a reference in plain Python."""

from __future__ import annotations

import datetime
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import InputError
from graph.hashing import NULL_HASH, hash_ngrams, hash_values

MASK = 2**64 - 1
TEXT, WORD, TRIGRAM = 0x8CB92BA72F3D8DD7, 0xAEF17502108EF2D9, 0x589965CC75374CC3


def finish(state: int) -> int:
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return ((state ^ (state >> 31)) & (2**63 - 1)) or 1


def naive_text(content: bytes, salt: int) -> int:
    state = 0xCBF29CE484222325 ^ salt
    for byte in content:
        state = ((state ^ byte) * 0x100000001B3) & MASK
    return finish(state)


def naive_ngrams(text: str, length: int) -> list[int]:
    words = "".join(c if ord(c) >= 128 or c.isalnum() else " " for c in text.lower()).split(" ")
    words = [word for word in words if word]
    grams = [f"\x02{word}\x03"[i : i + 3] for word in words for i in range(len(word))]
    hashes = [naive_text(word.encode(), WORD) for word in words] + [naive_text(g.encode(), TRIGRAM) for g in grams]
    kept = list(dict.fromkeys(hashes))[:length]
    return kept + [0] * (length - len(kept))


def test_known_constants() -> None:
    """Taken once from this implementation and confirmed by the reference above: a change breaks every saved model."""
    assert hash_values(pa.array([0, 1, 2, -1])).tolist() == [
        7070836379803831727,
        1227844342346046657,
        1682153688901572302,
        7266964230113668128,
    ]
    assert hash_values(pa.array(["", "a", "red", "größe", "1"])).tolist() == [
        2852568335076652925,
        8453388671086211013,
        9158029582865252717,
        497026755879201601,
        927340445353351121,
    ]
    assert hash_values(pa.array([0.0, 1.5])).tolist() == [146846928924908304, 1870389786122974487]
    assert hash_ngrams(pa.array(["Red shoe"]), 3).tolist() == [
        [8038136599234639686, 385298049917433254, 4457335405465349514]
    ]


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.text()), max_size=8))
def test_texts_agree_with_the_reference(texts: list[str | None]) -> None:
    array = pa.array(texts, pa.string())
    expected = [NULL_HASH if text is None else naive_text(text.encode(), TEXT) for text in texts]
    assert hash_values(array).tolist() == expected
    assert hash_values(array.cast(pa.large_string())).tolist() == expected
    assert hash_values(array.dictionary_encode()).tolist() == expected


@settings(deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=8))
def test_integers_agree_with_the_reference(numbers: list[int]) -> None:
    expected = [finish((number + 0x9E3779B97F4A7C15) & MASK) for number in numbers]
    assert hash_values(pa.array(numbers, pa.int64())).tolist() == expected


@settings(deadline=None)
@given(st.lists(st.text(alphabet="abZ09 -_,é日ß", max_size=20), max_size=5), st.integers(1, 12))
def test_ngrams_agree_with_the_reference(texts: list[str], length: int) -> None:
    found = hash_ngrams(pa.array(texts, pa.string()), length)
    assert found.shape == (len(texts), length)
    assert found.tolist() == [naive_ngrams(text, length) for text in texts]


def test_integer_widths_and_array_layouts_do_not_matter() -> None:
    expected = hash_values(pa.array([3, None, 5]))
    for kind in (pa.int8(), pa.uint16(), pa.int32(), pa.uint64()):
        np.testing.assert_array_equal(hash_values(pa.array([3, None, 5], kind)), expected)
    texts = pa.array(["x", "one", None, "three"])
    np.testing.assert_array_equal(hash_values(texts[1:]), hash_values(pa.array(["one", None, "three"])))
    np.testing.assert_array_equal(hash_values(pa.chunked_array([texts[:2], texts[2:]])), hash_values(texts))
    np.testing.assert_array_equal(hash_ngrams(texts[1:], 4), hash_ngrams(pa.array(["one", None, "three"]), 4))
    assert hash_values(pa.chunked_array([], pa.string())).shape == (0,)
    assert hash_ngrams(pa.chunked_array([], pa.string()), 3).shape == (0, 3)


def test_kinds_of_value_are_apart_and_null_is_a_value() -> None:
    assert hash_values(pa.array([1]))[0] != hash_values(pa.array(["1"]))[0] != hash_ngrams(pa.array(["1"]), 1)[0, 0]
    assert hash_values(pa.array([None, 1.0, float("nan"), -0.0])).tolist()[::2] == [NULL_HASH, NULL_HASH]
    assert hash_values(pa.array([0.0]))[0] == hash_values(pa.array([-0.0]))[0]
    assert hash_values(pa.array([datetime.date(2020, 1, 1)]))[0] == hash_values(pa.array([18262]))[0]
    assert hash_values(pa.nulls(2)).tolist() == [NULL_HASH, NULL_HASH]
    with pytest.raises(InputError, match="list"):
        hash_values(pa.array([[1], [2]]))


def test_hashes_are_positive_and_spread_over_buckets() -> None:
    for values in (pa.array(np.arange(100_000)), pa.array([f"item {i}" for i in range(100_000)])):
        hashed = hash_values(values)
        assert hashed.min() > 0
        assert len(np.unique(hashed)) == 100_000
        loads = np.bincount(hashed % 1000, minlength=1000)
        statistic = ((loads - 100.0) ** 2 / 100.0).sum()
        assert 999 - 5 * np.sqrt(2 * 999) < statistic < 999 + 5 * np.sqrt(2 * 999)


def test_ngram_length_must_be_positive() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        hash_ngrams(pa.array(["a"]), 0)


def test_another_process_with_another_hash_seed_agrees() -> None:
    code = "import pyarrow as pa; from graph.hashing import hash_values; print(hash_values(pa.array(['a', 'red']))[1])"
    printed = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": "77"}, capture_output=True, text=True, check=True
    ).stdout
    assert int(printed) == hash_values(pa.array(["red"]))[0]
