"""Segments: cuts at ties, cold items, rare queries, first requests."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from prerank.evaluation.segments import SEGMENTS, SegmentSources, popularity_cut, segments_of


def of_items(seen, **others):
    """Segments of one request that shows every item once."""
    rows = len(seen)
    table = pa.table(
        {"item": np.arange(rows, dtype=np.int32), "request": np.zeros(rows, dtype=np.int32), "query": ["q"] * rows}
    )
    return segments_of(table, SegmentSources(np.array(seen), **others), head_share=0.5, tail_share=0.1)


def test_a_tie_at_one_impression_is_the_whole_tail():
    """Every rare item was seen once: a cut by share alone would split equal items by chance."""
    seen = [50, 30, 2] + [1] * 40
    found = of_items(seen)
    assert found.masks["tail"].sum() == 40
    assert found.masks["torso"].tolist() == [False, True, True] + [False] * 40
    assert found.masks["head"].tolist() == [True] + [False] * 42
    assert "exactly 1" in found.facts["tail"]["definition"]
    assert found.facts["tail"]["share_of_training_impressions"] == pytest.approx(40 / 122)


def test_the_cut_is_the_tie_nearest_to_the_share():
    counts = np.array([100, 60, 20, 8, 6, 6])  # shares from below: 6 %, 10 %, 20 %, ...
    cut = popularity_cut(counts, head_share=0.5, tail_share=0.1)
    assert cut.tail_most == 8
    assert cut.head_least == 100
    assert popularity_cut(counts, head_share=0.78, tail_share=0.05).head_least == 60


def test_without_training_impressions_every_item_is_cold():
    found = of_items([0, 0])
    assert found.masks["cold"].all()
    assert not (found.masks["head"] | found.masks["torso"] | found.masks["tail"]).any()
    assert found.facts["cold"]["share_of_training_impressions"] is None


@given(arrays.arrays(np.int64, st.integers(1, 60), elements=st.integers(0, 30)), st.floats(0, 0.6), st.floats(0, 0.4))
def test_head_torso_tail_and_cold_partition_the_items_and_no_tie_is_cut(seen, head_share, tail_share):
    table = pa.table(
        {"item": np.arange(len(seen)), "request": np.zeros(len(seen), dtype=int), "query": ["q"] * len(seen)}
    )
    masks = segments_of(table, SegmentSources(seen), head_share, tail_share).masks
    parts = [masks[name] for name in ("head", "torso", "tail", "cold")]
    assert (np.sum(parts, axis=0) == 1).all()
    for part in parts:
        assert not set(seen[part]) & set(seen[~part])
    if masks["head"].any() and masks["tail"].any():
        assert seen[masks["head"]].min() > seen[masks["tail"]].max()
    if (seen > 0).any():
        assert masks["tail"].any()


def test_segments_that_a_run_cannot_have_are_left_out_with_a_reason():
    found = of_items([3, 1])
    assert set(found.left_out) == {"outside_p", "collisions", "tail_query", "first_request"}
    assert list(found.masks) == [name for name in SEGMENTS if name in found.masks]
    full = of_items(
        [3, 1], in_p=np.array([True, False]), bucket_load=np.array([1, 2]), training_queries=pa.array(["q"])
    )
    assert full.masks["outside_p"].tolist() == [False, True]
    assert full.masks["collisions"].tolist() == [False, True]
    assert set(full.left_out) == {"first_request"}


@pytest.mark.parametrize("as_key", [str, int])
def test_tail_queries_are_rare_or_new(as_key):
    training = pa.array([as_key(1)] * 90 + [as_key(2)] * 8 + [as_key(3)] * 2)
    table = pa.table({"item": [0] * 4, "request": [0, 1, 2, 3], "query": pa.array([as_key(n) for n in (1, 2, 3, 4)])})
    masks = segments_of(table, SegmentSources(np.array([1]), training_queries=training), 0.5, 0.1).masks
    assert masks["tail_query"].tolist() == [False, True, True, True]


def test_first_request_of_a_session_and_rows_without_one():
    table = pa.table(
        {
            "item": [0] * 6,
            "request": pa.array([0, 0, 1, 2, 3, 4], pa.int32()),
            "query": ["q"] * 6,
            "session_id": pa.array(["b", "b", "a", "b", "a", None]),
        }
    )
    masks = segments_of(table, SegmentSources(np.array([1])), 0.5, 0.1).masks
    assert masks["first_request"].tolist() == [True, True, True, False, False, True]
