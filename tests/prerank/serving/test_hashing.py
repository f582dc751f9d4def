"""The runtime's hashes are those of training, whatever the value."""

from __future__ import annotations

import time
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph import hashing as compiled
from prerank.serving.hashing import (
    LOWER_BEYOND_PYTHON,
    Texts,
    hash_floats,
    hash_integers,
    hash_ngrams,
    hash_texts,
    lower,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
WORDS = st.text(st.sampled_from("aB3é猫İΣς \t-_\x00\x02\x03😀"), max_size=30)


@settings(deadline=None)
@given(st.lists(TEXT | WORDS, max_size=30))
def test_texts(values: list[str]) -> None:
    assert hash_texts(Texts.of(values)).tolist() == compiled.hash_values(pa.array(values, pa.string())).tolist()


def test_one_text_much_longer_than_the_others() -> None:
    values = ["a", "é" * 5000, "", "b" * 300, *(f"item {n}" for n in range(50))]
    assert hash_texts(Texts.of(values)).tolist() == compiled.hash_values(pa.array(values)).tolist()


def test_texts_that_lie_anywhere_in_their_bytes() -> None:
    """A binary body's texts need not begin at its first byte."""
    content = np.frombuffer(b"..red.blue", np.uint8)
    texts = Texts(content, np.array([6, 2, 0]), np.array([4, 3, 0]))
    assert hash_texts(texts).tolist() == compiled.hash_values(pa.array(["blue", "red", ""])).tolist()


@settings(deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20))
def test_integers(values: list[int]) -> None:
    expected = compiled.hash_values(pa.array(values, pa.int64()))
    assert hash_integers(np.array(values, np.int64)).tolist() == expected.tolist()


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=20))
def test_unsigned_integers(values: list[int]) -> None:
    expected = compiled.hash_values(pa.array(values, pa.uint64()))
    assert hash_integers(np.array(values, np.uint64)).tolist() == expected.tolist()


@settings(deadline=None)
@given(st.lists(st.floats(-3e38, 3e38) | st.sampled_from([-0.0, np.inf, -np.inf, np.nan]), max_size=20))
def test_floats(values: list[float]) -> None:
    expected = compiled.hash_values(pa.array(values, pa.float64()))
    assert hash_floats(np.array(values, np.float64)).tolist() == expected.tolist()
    narrow = np.array(values, np.float64).astype(np.float32)
    assert hash_floats(narrow).tolist() == compiled.hash_values(pa.array(narrow)).tolist()


@pytest.mark.parametrize(
    "kind", [pa.date32(), pa.date64(), pa.timestamp("us"), pa.timestamp("ns", "UTC"), pa.time32("s")]
)
def test_dates_and_times_are_their_integers(kind: pa.DataType) -> None:
    numbers = np.array([0, 86_400_000, -86_400_000, 5], np.int32 if kind in (pa.date32(), pa.time32("s")) else np.int64)
    if kind == pa.date64():
        numbers = numbers[:3]
    values = pa.array(numbers).cast(kind) if kind != pa.date64() else pa.array(numbers).view(kind)
    assert hash_integers(numbers.astype(np.int64)).tolist() == compiled.hash_values(values).tolist()


def test_booleans() -> None:
    expected = compiled.hash_values(pa.array([True, False])).tolist()
    assert hash_integers(np.array([True, False])).tolist() == expected


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXT | WORDS, max_size=6), st.integers(1, 20))
def test_ngrams(values: list[str], length: int) -> None:
    expected = compiled.hash_ngrams(pa.array(values, pa.string()), length)
    assert np.array_equal(hash_ngrams(values, length), expected)


def test_lower_case_of_every_character_is_arrows() -> None:
    """Other than Python's: İ becomes i alone, and a sigma that ends a word one that does not."""
    characters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    arrow = pc.utf8_lower(pa.array(characters)).to_pylist()
    newer = {
        code for first, last, step, _ in LOWER_BEYOND_PYTHON for code in range(first, last + 1, step) if code != 0x130
    }
    # An older Arrow leaves characters that it does not know as they are.
    differs = [
        character
        for character, expected in zip(characters, arrow, strict=True)
        if lower(character) != expected and not (ord(character) in newer and expected == character)
    ]
    assert not differs
    assert lower("ΌΣΟΣ İ") == pc.utf8_lower(pa.scalar("ΌΣΟΣ İ")).as_py()


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        Texts.of(["a", "\ud800"])


def test_ten_thousand_ids_take_about_a_millisecond() -> None:
    ids = [f"item {number * 7919 % 100_000}" for number in range(10_000)]
    times = []
    for _ in range(20):
        start = time.process_time()
        hash_texts(Texts.of(ids))
        times.append(time.process_time() - start)
    assert median(times) < 0.01  # 0.7 ms alone; a slip into Python per character costs ten times that
