"""Searches against brute force, and the traps: duplicates, the query itself, the metric."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pytest

from configs.errors import InputError
from index.measures.ann import (
    BLAS_FROM,
    clip,
    exact_index,
    hnsw_index,
    ivf_index,
    load_index,
    normalised,
    save_index,
    search,
)


def vectors(items: int, dimension: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(items, dimension)).astype(np.float32)


@pytest.mark.parametrize(("items", "k"), [(5, 1), (60, 7), (60, 59)])
def test_exact_search_is_brute_force_without_the_query(items: int, k: int) -> None:
    units = normalised(vectors(items))
    found = search(exact_index(units), units, np.arange(items), k)
    cosines = units @ units.T
    np.fill_diagonal(cosines, -np.inf)
    np.testing.assert_array_equal(found, np.argsort(-cosines, axis=1)[:, :k])


def test_small_searches_are_a_matrix_product_too() -> None:
    assert faiss.cvar.distance_compute_blas_threshold <= BLAS_FROM < 2000 * 32


def test_a_query_that_is_no_candidate_loses_nothing() -> None:
    units = normalised(vectors(20))
    found = search(exact_index(units), units[:1], np.array([-1]), 3)
    assert found[0, 0] == 0


def test_the_query_is_left_out_by_its_id_even_where_duplicates_outrank_it() -> None:
    units = normalised(np.repeat(vectors(1), 12, axis=0))
    found = search(exact_index(units), units, np.arange(12), 4)
    assert found.shape == (12, 4)
    for row, near in enumerate(found):
        assert row not in near
        assert len(set(near.tolist())) == 4


def test_a_zero_vector_stays_zero_and_does_not_break_the_search() -> None:
    units = normalised(np.concatenate([np.zeros((1, 6), dtype=np.float32), vectors(9)]))
    assert np.isfinite(units).all()
    assert search(exact_index(units), units, np.arange(10), 3).shape == (10, 3)


def test_search_refuses_an_index_that_is_too_small() -> None:
    units = normalised(vectors(4))
    with pytest.raises(ValueError, match="at least 5 rows, got 4"):
        search(exact_index(units), units, np.arange(4), 4)


@pytest.mark.parametrize("build", [hnsw_index, ivf_index])
def test_approximate_indexes_search_by_inner_product(build) -> None:  # type: ignore[no-untyped-def]
    # A long vector in the query's direction wins by inner product and loses by distance.
    points = np.array([[1.0, 0.1], [30.0, 1.0], [-1.0, 0.0], [0.0, -1.0]], dtype=np.float32)
    index = build(points)
    assert index.metric_type == faiss.METRIC_INNER_PRODUCT
    assert search(index, np.array([[1.0, 0.1]], dtype=np.float32), np.array([-1]), 1)[0, 0] == 1


@pytest.mark.parametrize("build", [hnsw_index, ivf_index])
def test_approximate_lists_are_nearly_exact_on_few_items(build) -> None:  # type: ignore[no-untyped-def]
    units, rows = normalised(vectors(2000, 16)), np.arange(100)
    exact = search(exact_index(units), units[rows], rows, 10)
    near = search(build(units), units[rows], rows, 10)
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact.tolist(), near.tolist(), strict=True)])
    assert recall > 0.3
    assert not (near == rows[:, None]).any()


def test_clip_cuts_large_k_out_loud(capsys: pytest.CaptureFixture[str]) -> None:
    assert clip([50, 10], 30, "P") == [10, 28]
    assert "clipped to [10, 28]" in capsys.readouterr().out
    assert clip([10, 50], 100, "P") == [10, 50]
    assert capsys.readouterr().out == ""


def test_clip_refuses_what_has_no_neighbourhoods() -> None:
    with pytest.raises(InputError, match="at least 3 items"):
        clip([10], 2, "P")
    with pytest.raises(InputError, match="at least 1"):
        clip([0], 20, "P")


def test_an_index_and_its_ids_come_back(tmp_path: Path) -> None:
    units, ids = normalised(vectors(7)), pa.array([f"i{row}" for row in range(7)])
    save_index(exact_index(units), ids, tmp_path / "psi.faiss")
    index, read = load_index(tmp_path / "psi.faiss")
    assert read.to_pylist() == ids.to_pylist()
    assert index.metric_type == faiss.METRIC_INNER_PRODUCT
    np.testing.assert_array_equal(index.reconstruct_n(0, 7), units)


def test_a_damaged_index_says_what_to_do(tmp_path: Path) -> None:
    save_index(exact_index(normalised(vectors(7))), pa.array(range(7)), tmp_path / "psi.faiss")
    (tmp_path / "psi.faiss").write_bytes(b"IxFI")
    with pytest.raises(InputError, match=r"python -m index\.audit"):
        load_index(tmp_path / "psi.faiss")
