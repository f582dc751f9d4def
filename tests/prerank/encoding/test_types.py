"""5, 5.0 and "5" are one value of a column of ids; what is none of its type is refused; codes with a gap stay codes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from configs.errors import InputError
from graph.hashing import hash_values
from prerank.encoding.codes import is_code, with_codes
from prerank.encoding.schema import list_file
from prerank.encoding.types import as_type, type_name

NAN = float("nan")
LARGEST = 2**63 - 1


@pytest.mark.parametrize(
    ("values", "wanted", "expected"),
    [
        (pa.array([5.0, None, NAN, -3.0]), "integer", [5, None, None, -3]),
        (pa.array(["5", "5.0", " 007 ", "", "nan", None, "-3", "+4"]), "integer", [5, 5, 7, None, None, None, -3, 4]),
        (pa.array([str(LARGEST), str(-LARGEST), "-0", "00"]), "integer", [LARGEST, -LARGEST, 0, 0]),
        (pa.array(["5", "6", "5"]).dictionary_encode(), "integer", [5, 6, 5]),
        (pa.array([True, None]), "integer", [1, None]),
        (pa.array([5, None, 2**60]), "text", ["5", None, str(2**60)]),
        (pa.array([5.0, 7.5, None, NAN]), "text", ["5", "7.5", None, None]),
        (pa.array(["true", "False", "1", "0.0", None]), "boolean", [True, False, True, False, None]),
        (pa.array([0.0, 1.0, None]), "boolean", [False, True, None]),
        (pa.array([2**60 + 1, None]), "float", [float(2**60), None]),
        (pa.array(["1.5", "1e3", ".5", "None"]), "float32", [1.5, 1000.0, 0.5, None]),
        (pa.array([[5.0, None], None, [], [3.0]])[1:], "integer", [None, [], [3]]),
        (pa.array([["5"], ["6.0", None]]), "integer", [[5], [6, None]]),
        (pa.array([], pa.float64()), "integer", []),
    ],
)
def test_values_as_another_type(values, wanted, expected):
    converted = as_type(values, wanted, "items: column brand")
    assert converted.to_pylist() == expected
    assert type_name(converted.type) == wanted


@pytest.mark.parametrize(
    ("values", "wanted", "example"),
    [
        (pa.array([5.0, 5.5, 6.5]), "integer", "'5.5'"),
        (pa.array(["5", "a"]), "integer", "'a'"),
        (pa.array([str(2**63)]), "integer", f"'{2**63}'"),
        (pa.array([float("inf")]), "integer", "'inf'"),
        (pa.array([0, 2]), "boolean", "'2'"),
        (pa.array(["yes"]), "boolean", "'yes'"),
        (pa.array([["5"], ["b"]]), "integer", "'b'"),
    ],
)
def test_what_the_type_does_not_have_is_refused(values, wanted, example):
    with pytest.raises(InputError, match="items: column brand has type") as raised:
        as_type(values, wanted, "items: column brand")
    assert example in str(raised.value)
    assert f"in training it was {wanted}" in str(raised.value)


def test_one_value_has_one_hash_whatever_its_file_made_of_it():
    trained = hash_values(pa.array([5, 12, None]))
    for drifted in (pa.array([5.0, 12.0, None]), pa.array(["5", "12", None]), pa.array(["5.0", "12.0", "nan"])):
        assert not (hash_values(drifted) == trained)[:2].any()  # hashed as they are, all would be new values
        np.testing.assert_array_equal(hash_values(as_type(drifted, "integer", "")), trained)


def test_a_file_of_a_list_has_a_name_that_every_file_system_takes(tmp_path):
    names = ["list", "列" * 48, "列" * 48 + "b", "a/b", "x" * 1000, "🙂" * 48]
    files = [list_file(name) for name in names]
    assert files[0] == "lists_list.npy"  # as older folders have it
    assert len(set(files)) == len(names)
    for file in files:
        (tmp_path / f".{file}.{2**22}.tmp").touch()


CODES = [1.0, 2.0, 1.0, 2.0, None]


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("category", pa.array(CODES), True),
        ("categoryId", pa.array([1.0, 1.0, NAN]), True),
        ("country", pa.array(CODES), True),
        ("category", pa.array(CODES[:4]), False),  # without a gap it would have stayed integers
        ("category", pa.array(CODES, pa.float32()), False),
        ("category", pa.array([1.5, 1.5, None]), False),
        ("category", pa.array([-1.0, -1.0, None]), False),
        ("category", pa.array([1.0, 2.0, 3.0, None]), False),  # no value repeats
        ("category", pa.array([None, None], pa.float64()), False),
        ("price", pa.array(CODES), False),
        ("list_price", pa.array(CODES), False),
        ("listPrice", pa.array(CODES), False),
        ("reviewcount", pa.array(CODES), False),
        ("stars", pa.array(CODES), False),
        ("n_days", pa.array(CODES), False),
    ],
)
def test_what_counts_as_codes(name, values, expected):
    assert is_code(name, pa.chunked_array([values])) is expected


def test_codes_become_the_integers_that_they_were():
    table = pa.table({"item_id": [1, 2, 3], "category": [7.0, 7.0, None], "price": [3.0, 3.0, None]})
    assert with_codes(table)["category"].to_pylist() == [7, 7, None]
    assert with_codes(table)["price"].type == pa.float64()
