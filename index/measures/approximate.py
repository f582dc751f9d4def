"""What an approximate index would cost: its recall against the exact lists, beside its latency and its bytes.

Recall is measured on lists that are searched all at once. Latency is what one search at a time takes on one thread, as
a server would see it under load; it depends on the machine, and recall does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from jaxtyping import Float32, Float64, Int64

from configs.console import say
from graph.figure import Figure
from index.measures import ann
from index.measures.geometry import varies
from index.measures.neighbourhoods import overlap
from index.measures.suite import Figures, Subject

ITEMS = 100_000
"""Items over which approximate indexes are built at most: a graph over a million takes minutes."""
QUERIES = 2000
TIMED = 200
"""Searches that are timed, one at a time."""
PROBES = (1, 4, 8, 16, 64)
EFFORTS = (16, 32, 64, 128, 256)
COMPRESSED_PROBES = (8, 32)

Units = Float32[np.ndarray, "items dimension"]


@dataclass(frozen=True)
class Sample:
    """The items that an approximate index is built over, and those of them that are asked for their neighbours."""

    units: Units
    rows: Int64[np.ndarray, " queries"]
    exact: Int64[np.ndarray, "queries widest"]


def approximate_figures(subject: Subject) -> tuple[dict[str, Figures], list[dict[str, Any]]]:
    """Recall of HNSW and IVF at their defaults for ψ and φ, and the curve of recall, latency and bytes for φ.

    Returns:
        ``{"psi": figures, "phi": figures}``, and the curve's points, of one kind of index after the other.
    """
    generator = np.random.default_rng(subject.bootstrap.seed)
    subset = np.sort(generator.permutation(len(subject.psi))[:ITEMS])
    if len(subset) < len(subject.psi):
        say(f"approximate indexes: built over a random {len(subset):,} of {len(subject.psi):,} items")
    rows = np.sort(generator.permutation(len(subset))[:QUERIES])
    widest = min(subject.widest, len(subset) - 2)
    figures: dict[str, Figures] = {}
    curve: list[dict[str, Any]] = []
    for name, units in (("psi", subject.psi[subset]), ("phi", subject.phi[subset])):
        if not varies(units):
            say(f"approximate indexes: left out for {name}, all of whose vectors are one")
            nothing = Figure.undefined("all vectors are one: no list is more exact than another", len(rows))
            figures[name] = {f"{kind}@{k}": nothing for k in subject.neighbours for kind in ("hnsw", "ivf")}
            continue
        flat = ann.exact_index(units)
        sample = Sample(units, rows, ann.search(flat, units[rows], rows, widest, f"exact, {name}"))
        built = {"hnsw": ann.hnsw_index(units), "ivf": ann.ivf_index(units)}
        columns: dict[str, Float64[np.ndarray, " queries"]] = {}
        for kind, index in built.items():
            lists = ann.search(index, units[rows], rows, widest, f"{kind}, {name}")
            columns |= {f"{kind}@{k}": overlap(lists[:, :k], sample.exact[:, :k]) for k in subject.neighbours}
        figures[name] = subject.bootstrap.means(columns)
        if name == "phi":
            curve = latency_curve(sample, {"flat": flat, **built}, subject)
    return figures, curve


def latency_curve(sample: Sample, built: dict[str, ann.Index], subject: Subject) -> list[dict[str, Any]]:
    """Recall@k (the first k), milliseconds a query, and bytes an item of every index at every setting.

    Args:
        sample: what is searched.
        built: the indexes ``flat``, ``hnsw`` and ``ivf`` over its items.
        subject: for k and the intervals.

    Returns:
        ``{"index", "setting", "recall@k", "low", "high", "n", "ms_per_query", "ms_p90", "bytes_per_item"}`` each:
        recall with its interval, and the median and ninetieth percentile of the time of one search.
    """
    k = min(subject.neighbours[0], sample.exact.shape[1])
    points = []
    for kind, setting, index, tuned in _settings(sample.units, built):
        tuned()
        lists = ann.search(index, sample.units[sample.rows], sample.rows, k, f"{kind} {setting}")
        recall = subject.bootstrap.means({"recall": overlap(lists, sample.exact[:, :k])})["recall"]
        times = milliseconds(index, sample.units[sample.rows[:TIMED]], k)
        points.append(_point(kind, setting, k, recall, times, index))
    return points


def milliseconds(index: ann.Index, queries: Units, k: int) -> Float64[np.ndarray, " queries"]:
    """The time that each query takes by itself, on one thread (a GPU: as many as it likes)."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    times = np.empty(len(queries))
    try:
        for place in range(len(queries)):
            start = time.perf_counter()
            index.search(queries[place : place + 1], k + 1)
            times[place] = 1000 * (time.perf_counter() - start)
    finally:
        faiss.omp_set_num_threads(threads)
    return times


def _settings(units: Units, built: dict[str, ann.Index]) -> Iterator[tuple[str, str, ann.Index, Callable[[], None]]]:
    """Every index with every setting, and how it is set."""
    flat, ivf, hnsw = built["flat"], built["ivf"], built["hnsw"]
    yield "Flat", "exact", flat, _nothing
    if faiss.get_num_gpus() > 0:
        yield "Flat on GPU", "exact", ann.on_fastest(flat), _nothing
    for probes in _up_to(PROBES, ivf.nlist):
        yield "IVF", f"nprobe={probes}", ivf, _setter(ivf, "nprobe", probes)
    for effort in EFFORTS:
        yield "HNSW", f"efSearch={effort}", hnsw, _setter(hnsw.hnsw, "efSearch", effort)
    if len(units) < ann.FEWEST_TO_QUANTISE:
        say(f"approximate indexes: {len(units)} items are too few to quantise, so there is no PQ")
        return
    pieces = ann.pieces(units.shape[1])
    for parts in pieces:
        yield "PQ", f"M={parts}", ann.pq_index(units, parts), _nothing
    compressed = ann.ivfpq_index(units, pieces[-1])
    for probes in _up_to(COMPRESSED_PROBES, compressed.nlist):
        setting = f"M={pieces[-1]}, nprobe={probes}"
        yield "IVFPQ", setting, compressed, _setter(compressed, "nprobe", probes)


def _point(
    kind: str, setting: str, k: int, recall: Figure, times: Float64[np.ndarray, " queries"], index: ann.Index
) -> dict[str, Any]:
    on_cpu = faiss.index_gpu_to_cpu(index) if kind.endswith("GPU") else index
    return {
        "index": kind,
        "setting": setting,
        f"recall@{k}": recall.value,
        "low": recall.low,
        "high": recall.high,
        "n": recall.n,
        "ms_per_query": float(np.median(times)),
        "ms_p90": float(np.quantile(times, 0.9)),
        "bytes_per_item": ann.bytes_per_item(on_cpu),
    }


def _up_to(values: tuple[int, ...], most: int) -> list[int]:
    return sorted({min(value, most) for value in values})


def _setter(owner: Any, name: str, value: int) -> Callable[[], None]:
    return lambda: setattr(owner, name, value)


def _nothing() -> None:
    """An index without a setting."""
