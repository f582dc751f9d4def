"""The curve: every index, recall that rises with the setting and is exact for exact search."""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from index.measures import ann, approximate
from index.measures.ann import ivfpq_index, normalised, pieces, pq_index, search
from index.measures.approximate import approximate_figures, milliseconds
from index.measures.figures import Bootstrap
from index.measures.suite import Subject

K = 10


def subject(items: int, dimension: int, neighbours: tuple[int, ...] = (K, 20)) -> Subject:
    generator = np.random.default_rng(0)
    units = normalised(generator.normal(size=(items, dimension)).astype(np.float32))
    nothing = np.zeros(0, dtype=np.int64)
    return Subject(
        psi=units,
        phi=units,
        psi_centred=units,
        phi_centred=units,
        outside=units[:0],
        queries=np.arange(items),
        attributes={},
        outside_attributes={"nothing": nothing},
        impressions=np.zeros(items, dtype=np.int64),
        neighbours=list(neighbours),
        bootstrap=Bootstrap(50, 0.95, 0),
    )


@pytest.fixture(autouse=True)
def few_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approximate, "TIMED", 5)


def test_every_index_is_on_the_curve_and_exact_search_is_exact() -> None:
    figures, curve = approximate_figures(subject(3000, 16))
    kinds = list(dict.fromkeys(point["index"] for point in curve))
    assert kinds == [
        "Flat",
        *(["Flat on GPU"] if faiss.get_num_gpus() else []),
        "IVF",
        "HNSW",
        "PQ",
        "IVFPQ",
    ]
    assert curve[0]["recall@10"] == 1
    assert curve[0]["bytes_per_item"] == pytest.approx(4 * 16, rel=0.01)
    for point in curve:
        assert point["low"] <= point["recall@10"] <= point["high"]
        assert point["n"] == 2000
        assert 0 < point["ms_per_query"] <= point["ms_p90"]
    for kind in ("IVF", "HNSW", "PQ"):
        recalls = [point["recall@10"] for point in curve if point["index"] == kind]
        assert recalls == sorted(recalls)
        assert recalls[-1] > 0.6
    at = {point["setting"]: point for point in curve}
    # The settings of the single figures are points of the curve.
    assert at["nprobe=8"]["recall@10"] == pytest.approx(figures["phi"]["ivf@10"].value, abs=1e-9)
    assert at["efSearch=64"]["recall@10"] == pytest.approx(figures["phi"]["hnsw@10"].value, abs=0.02)
    # Probing every list is exact search.
    assert at["nprobe=64"]["recall@10"] > 0.99


def test_recall_is_that_of_a_loop() -> None:
    made = subject(400, 6)
    _, curve = approximate_figures(made)
    point = next(point for point in curve if point["index"] == "PQ")
    exact = search(ann.exact_index(made.phi), made.phi, made.queries, K)
    parts = int(point["setting"].removeprefix("M="))
    near = search(pq_index(made.phi, parts), made.phi, made.queries, K)
    naive = np.mean([len(set(a) & set(b)) / K for a, b in zip(exact.tolist(), near.tolist(), strict=True)])
    assert point["recall@10"] == pytest.approx(naive, abs=1e-9)


@pytest.mark.parametrize("items", [3, 7, 8, 60])
def test_few_items_have_a_curve_too(items: int, capsys: pytest.CaptureFixture[str]) -> None:
    _, curve = approximate_figures(subject(items, 7, (1,)))
    quantised = {"PQ", "IVFPQ"} & {point["index"] for point in curve}
    assert quantised == ({"PQ", "IVFPQ"} if items >= 8 else set())
    assert ("too few to quantise" in capsys.readouterr().out) == (items < 8)
    assert {"Flat", "IVF", "HNSW"} <= {point["index"] for point in curve}


@pytest.mark.parametrize(("dimension", "expected"), [(32, [8, 16]), (7, [1]), (1, [1]), (12, [3, 6]), (10, [2, 5])])
def test_vectors_are_cut_into_equal_pieces(dimension: int, expected: list[int]) -> None:
    assert pieces(dimension) == expected


@pytest.mark.parametrize("build", [lambda points: pq_index(points, 1), lambda points: ivfpq_index(points, 1)])
def test_quantised_indexes_search_by_inner_product(build) -> None:  # type: ignore[no-untyped-def]
    points = np.array([[1.0, 0.1], [30.0, 1.0], *([-1.0, -row] for row in range(6))], dtype=np.float32)
    index = build(points)
    assert index.metric_type == faiss.METRIC_INNER_PRODUCT
    assert search(index, np.array([[1.0, 0.1]], dtype=np.float32), np.array([-1]), 1)[0, 0] == 1


def test_timing_leaves_the_threads_as_they_were() -> None:
    units = subject(50, 6).psi
    before = faiss.omp_get_max_threads()
    taken = milliseconds(ann.exact_index(units), units[:4], 3)
    assert taken.shape == (4,)
    assert (taken > 0).all()
    assert faiss.omp_get_max_threads() == before
