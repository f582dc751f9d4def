"""Whole requests in chunks, and what varies within them: against loops."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from prerank.encoding.encode import in_order
from prerank.encoding.impressions import _changes, _of_length

DRAW = np.random.default_rng(0)
LISTS = [[], None, [1], [1, 2], [2, 1], [1, 2, 3], [None], [None, 1]]


def drawn(values, kind=None):
    """Values in short runs, so that neighbours are often the same."""
    return pa.array([values[i] for i in np.repeat(DRAW.integers(len(values), size=60), 2)], kind)


@pytest.mark.parametrize(
    "flat",
    [
        drawn([1, 2, None]),
        drawn(["a", "b", "", None]),
        drawn(["a", "b", None]).dictionary_encode(),
        drawn([True, False]),
        drawn(LISTS, pa.list_(pa.int64())),
        drawn([each for each in LISTS if each is None or None not in each], pa.list_(pa.int64())),
        drawn([each and [each and str(each) for each in each] for each in LISTS], pa.list_(pa.string())),
        drawn([None], pa.null()),
        pa.array([5]),
    ],
)
@pytest.mark.parametrize("offset", [0, 3])
def test_changes_are_those_of_neighbours(flat, offset):
    rows = flat.slice(min(offset, len(flat) - 1))
    values = [each or [] for each in rows.to_pylist()] if pa.types.is_list(flat.type) else rows.to_pylist()
    assert _changes(rows).tolist() == [one != other for one, other in pairwise(values)]


def test_nan_is_left_to_the_slower_comparison():
    assert _changes(pa.array([math.nan, math.nan, 1.0])).tolist() == [True, True]


@pytest.mark.parametrize("lengths", [[], [3], [1, 2, 4, 9], [5, 5]])
def test_batches_become_tables_of_one_length(lengths):
    words = [f"w{i % 7}" for i in range(sum(lengths))]
    starts = np.cumsum([0, *lengths])
    batches = [
        pa.record_batch({"word": pa.array(words[start : start + length]).dictionary_encode()})
        for start, length in zip(starts, lengths, strict=False)
    ]
    tables = list(_of_length(batches, 4))
    assert [len(table) for table in tables] == [min(4, len(words) - start) for start in range(0, len(words), 4)]
    assert all(table["word"].num_chunks == 1 for table in tables)
    assert [word for table in tables for word in table["word"].to_pylist()] == words


def test_parts_come_in_order_and_an_error_at_its_place():
    assert list(in_order(lambda part: part * part, range(20))) == [part * part for part in range(20)]
    assert list(in_order(str, [])) == []
    quotients = in_order(lambda part: 6 // part, [3, 2, 0, 1])
    assert [next(quotients), next(quotients)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(quotients)
