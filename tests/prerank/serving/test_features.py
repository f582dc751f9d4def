"""The runtime encodes raw values as the training code does, and refuses what it cannot encode by place, value, rule."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prerank.encoding import encode as training
from prerank.encoding.schema import LIST_LENGTH, TEXT_LENGTH
from prerank.serving import features
from prerank.serving.features import (
    Column,
    Lengths,
    encode_ids,
    encode_lists,
    encode_numbers,
    encode_side,
    encode_texts,
)
from prerank.serving.hashing import NULL_HASH, Texts
from prerank.serving.request import RequestError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=25)
FEW = settings(max_examples=100, deadline=None)
VALUES = {
    "text": (TEXT, pa.string()),
    "integer": (st.integers(-(2**63), 2**63 - 1), pa.int64()),
    "float": (st.floats(), pa.float64()),
    "float32": (st.floats(width=32), pa.float32()),
    "boolean": (st.booleans(), pa.bool_()),
}


def where(row: int | None) -> str:
    return "column" if row is None else f"column[{row}]"


def rows_of(values: st.SearchStrategy[Any], **sizes: int) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.none() | values, **(sizes or {"max_size": 20}))


@pytest.mark.parametrize("type_", VALUES)
@FEW
@given(data=st.data())
def test_ids(type_: str, data: st.DataObject) -> None:
    strategy, arrow = VALUES[type_]
    values = data.draw(rows_of(strategy))
    assert encode_ids(values, type_, where).tolist() == training.encode_ids(pa.array(values, arrow)).tolist()


@FEW
@given(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=10))
def test_arrays_are_as_lists(values: list[int]) -> None:
    for dtype in (np.int32, np.int64):
        assert np.array_equal(
            encode_ids(np.array(values, dtype), "integer", where), encode_ids(values, "integer", where)
        )
    texts = [str(value) for value in values]
    expected = encode_ids(texts, "text", where)
    assert np.array_equal(encode_ids(Texts.of(texts), "text", where), expected)
    assert np.array_equal(encode_ids(np.array(texts, np.str_), "text", where), expected)
    assert np.array_equal(encode_ids(np.array(texts, object), "text", where), expected)


def test_a_narrow_float_is_hashed_as_its_column_rounds_it() -> None:
    """JSON has doubles: 0.1 is another number than the column's 0.1."""
    expected = training.encode_ids(pa.array([0.1, 1e300], pa.float64()).cast(pa.float32(), safe=False))
    assert encode_ids([0.1, 1e300], "float32", where).tolist() == expected.tolist()


def test_unsigned_ids_beyond_int64() -> None:
    values = [2**63, 2**64 - 1, 0, None]
    assert encode_ids(values, "integer", where).tolist() == training.encode_ids(pa.array(values, pa.uint64())).tolist()


@FEW
@given(rows_of(st.floats() | st.sampled_from([np.inf, -np.inf, 1e30, -1e30, np.nan, -0.0])))
def test_numbers(values: list[float | None]) -> None:
    expected = training.encode_numbers(pa.array(values, pa.float64()), "column", Counter())
    for same in (values, np.array([np.nan if value is None else value for value in values], np.float64)):
        encoded = encode_numbers(same, "float", where)
        assert encoded.dtype == np.float32
        assert np.array_equal(encoded, expected, equal_nan=True)


@pytest.mark.parametrize(
    ("values", "type_", "arrow"),
    [
        ([1, None, -3], "integer", pa.int32()),
        ([True, False, None], "boolean", pa.bool_()),
        ([0.25, None], "decimal", pa.decimal128(8, 2)),
        ([None, None], "null", pa.null()),
    ],
)
def test_numbers_of_other_types(values: list[Any], type_: str, arrow: pa.DataType) -> None:
    stored = [Decimal(str(value)) if type_ == "decimal" and value is not None else value for value in values]
    expected = training.encode_numbers(pa.array(stored, arrow), "column", Counter())
    assert np.array_equal(encode_numbers(values, type_, where), expected, equal_nan=True)


@FEW
@given(rows_of(TEXT, max_size=6))
def test_texts(values: list[str | None]) -> None:
    expected = training.encode_text(pa.array(values, pa.string()))
    assert np.array_equal(encode_texts(values, "text", TEXT_LENGTH, where), expected)
    if None not in values:
        assert np.array_equal(encode_texts(Texts.of(values), "text", TEXT_LENGTH, where), expected)


@pytest.mark.parametrize("type_", ["text", "integer"])
@FEW
@given(data=st.data())
def test_lists(type_: str, data: st.DataObject) -> None:
    strategy, arrow = VALUES[type_]
    values = data.draw(rows_of(rows_of(strategy, max_size=LIST_LENGTH + 3), max_size=4))
    expected = training.encode_list(pa.array(values, pa.list_(arrow)), "column", Counter())
    assert np.array_equal(encode_lists(values, type_, LIST_LENGTH, where), expected)


def test_a_side() -> None:
    """A column left out is missing; one name may be an id and a text."""
    columns = [Column("query", "id", "text"), Column("query", "text", "text"), Column("age", "number", "float")]
    values = {"query": ["red shoes"]}
    encoded = encode_side(columns, values, 1, Lengths(16, 20), lambda name, _row: f"request.{name}")
    assert encoded.ids["query"] == training.encode_ids(pa.array(["red shoes"]))
    assert np.array_equal(encoded.lists["query"], training.encode_text(pa.array(["red shoes"])))
    assert np.isnan(encoded.numbers["age"])
    assert encode_ids([None], "null", where) == NULL_HASH


@pytest.mark.parametrize(
    ("encode", "type_", "values", "field", "rule"),
    [
        (encode_ids, "text", ["a", 3], "column[1]", "text or null"),
        (encode_ids, "text", np.array([1, 2]), "column", "text or null"),
        (encode_ids, "text", [["a"]], "column[0]", "text or null"),
        (encode_ids, "text", ["a", "\ud800"], "column", "valid Unicode"),
        (encode_ids, "integer", ["3"], "column[0]", "an integer or null"),
        (encode_ids, "integer", [1, True], "column[1]", "an integer or null"),
        (encode_ids, "integer", [1.0], "column[0]", "an integer or null"),
        (encode_ids, "integer", [1, 2**64], "column[1]", "64 bits"),
        (encode_ids, "integer", [None, -(2**63) - 1], "column[1]", "64 bits"),
        (encode_ids, "integer", Texts.of(["a"]), "column", "an integer or null"),
        (encode_ids, "boolean", [1], "column[0]", "true, false or null"),
        (encode_ids, "float", [True], "column[0]", "a number or null"),
        (encode_ids, "null", ["a"], "column[0]", "never had a value"),
        (encode_numbers, "float", [1.0, "2"], "column[1]", "a number or null"),
        (encode_numbers, "float", [1.0, False], "column[1]", "a number or null"),
        (encode_numbers, "float", [1, 10**400], "column[1]", "double precision"),
        (encode_numbers, "float", np.array(["1"]), "column", "a number or null"),
        (encode_numbers, "float", [{}], "column[0]", "a number or null"),
        (encode_texts, "text", [b"a"], "column[0]", "text or null"),
        (encode_lists, "text", ["abc"], "column[0]", "a list or null"),
        (encode_lists, "text", [[], ["a", 3]], "column[1]", "text or null"),
        (encode_lists, "text", [["a"], [["b"]]], "column[1]", "text or null"),
        (encode_lists, "integer", Texts.of(["a"]), "column", "lists"),
    ],
)
def test_what_cannot_be_encoded_is_named(encode: Any, type_: str, values: Any, field: str, rule: str) -> None:
    length = () if encode in (encode_ids, encode_numbers) else (4,)
    with pytest.raises(RequestError, match=rule) as caught:
        encode(values, type_, *length, where)
    assert caught.value.field == field
    assert caught.value.rule in str(caught.value)


def test_the_constants_of_training() -> None:
    assert features.LARGEST_NUMBER == training.LARGEST_NUMBER
