"""Names, keys and tables that every engine's package has."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from prerank.exporting.engines import as_list, decimal, item_keys, legal_names, markdown_table, without_pairs


def test_names_are_legal_distinct_and_not_reserved():
    columns = [
        "brand",
        "Brand",
        "preis €/kg",
        "价格",
        "",
        "2nd",
        "_id",
        "a.b",
        "a b",
        "select",
        "C_SELECT",
        "c_select_2",
    ]
    names = legal_names(columns, {"select"})
    assert list(names) == columns
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) for name in names.values())
    assert len({name.lower() for name in names.values()}) == len(columns)
    assert "select" not in {name.lower() for name in names.values()}
    assert names["brand"] == "brand"
    assert names["a.b"] == "a_b"


@pytest.mark.parametrize("value", [1e-30, -1e-7, 0.1, 1.0, 1e30, 0.0, 3.4e38])
def test_numbers_are_written_without_an_exponent_and_exactly(value):
    written = decimal(value)
    assert re.fullmatch(r"-?\d+\.\d+", written)
    assert np.float32(written) == np.float32(value)
    assert np.float32(as_list(np.array([value], np.float32))[0]) == np.float32(value)


def test_keys_are_names_that_need_no_quotes():
    keys = item_keys(["a", "b c", ""], "text")
    assert len(set(keys)) == 3
    assert all(re.fullmatch(r"i[0-9a-f]{16}", key) for key in keys)


def test_a_cell_of_a_table_stays_one():
    assert markdown_table([["a", "b"], ["x|y", "1\n2"]]).splitlines()[2] == "| x\\|y | 1 2 |"


def test_what_is_lost_without_pairs_is_measured(odd_bundle: Path, bundle_of: Callable[..., Path]):
    assert without_pairs(odd_bundle, ()) == "not measured: no golden request has more than 10 candidates"
    bundle = bundle_of(ids=[f"item {number}" for number in range(30)])
    assert re.fullmatch(
        r"0\.\d\d of the 10 best stay among the 10 best, over 3 golden requests", without_pairs(bundle, ())
    )
    assert without_pairs(bundle, ("price", "offer")).startswith("1.00 of the 10 best")
