"""FAISS: build and search, on the GPU where ``faiss.get_num_gpus()`` finds one, else on the CPU.

The metric is always inner product over L2-normalised vectors, stated at every index: HNSW's default is L2, and an index
on one metric audited against another is a classic bug.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Float32, Int64

from configs.console import progress, say
from configs.errors import InputError
from configs.stages import replacing

QUERIES_AT_ONCE = 4096
"""What FAISS itself searches at a time; fewer would read all vectors more often."""
ROWS_AT_ONCE = 65_536
HNSW_LINKS, HNSW_CONSTRUCTION, HNSW_SEARCH = 32, 40, 64
IVF_PROBES = 8
IVF_POINTS_PER_LIST = 39
"""FAISS warns below this number of training points per list."""
PQ_BITS, PQ_ROUNDS = 8, 10
FEWEST_TO_QUANTISE = 8
"""FAISS's kernels take eight centroids at a time, and need as many points to place them."""

BLAS_FROM = 2048
"""Queries × dimension from which an exact search is one matrix product. FAISS 1.15 asks for 128,000, below which it
took up to four times as long (2,000 queries of 32 numbers against 300,000 items on 2 cores: 2.1 s, against 0.5 s)."""
faiss.cvar.distance_compute_blas_threshold = min(faiss.cvar.distance_compute_blas_threshold, BLAS_FROM)

Index = Any
"""A ``faiss.Index``: the package has no types."""


def normalised(vectors: Float[np.ndarray, "items dimension"]) -> Float32[np.ndarray, "items dimension"]:
    """Rows of length 1, so that the inner product is the cosine; a zero row stays zero."""
    return _normalised(vectors, np.zeros(vectors.shape[1], dtype=np.float32))


def centred(vectors: Float[np.ndarray, "items dimension"]) -> Float32[np.ndarray, "items dimension"]:
    """Vectors less their mean, as eq. 10's loss takes psi, then L2-normalised."""
    return _normalised(vectors, vectors.mean(axis=0, dtype=np.float64).astype(np.float32))


def _normalised(
    vectors: Float[np.ndarray, "items dimension"], less: Float32[np.ndarray, " dimension"]
) -> Float32[np.ndarray, "items dimension"]:
    """A few rows at a time: the vectors may be a memory map that is larger than what can be held twice."""
    units = np.empty(vectors.shape, dtype=np.float32)
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        moved = vectors[part] - less
        lengths = np.linalg.norm(moved, axis=1, keepdims=True).astype(np.float32)
        np.divide(moved, np.maximum(lengths, np.finfo(np.float32).tiny), out=units[part], casting="same_kind")
    return units


def exact_index(units: Float32[np.ndarray, "items dimension"]) -> Index:
    """Exhaustive search by inner product."""
    index = faiss.IndexFlatIP(units.shape[1])
    index.add(units)
    return index


def hnsw_index(units: Float32[np.ndarray, "items dimension"]) -> Index:
    """A navigable small-world graph (Malkov & Yashunin 2018) by inner product."""
    index = faiss.IndexHNSWFlat(units.shape[1], HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = HNSW_CONSTRUCTION
    index.hnsw.efSearch = HNSW_SEARCH
    index.add(units)
    return index


def ivf_index(units: Float32[np.ndarray, "items dimension"]) -> Index:
    """Inverted lists around 4·√n centroids, fewer where there are few points to place them, by inner product."""
    lists = _lists(units)
    quantizer = faiss.IndexFlatIP(units.shape[1])
    index = faiss.IndexIVFFlat(quantizer, units.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
    return _filled(index, units)


def pq_index(units: Float32[np.ndarray, "items dimension"], parts: int) -> Index:
    """Product quantisation (Jégou et al. 2011): each of ``parts`` pieces of a vector as one of 256 centroids.

    Args:
        parts: a divisor of the dimension, and the bytes that an item takes.
        units: at least ``FEWEST_TO_QUANTISE``.
    """
    index = faiss.IndexPQ(units.shape[1], parts, _bits(units), faiss.METRIC_INNER_PRODUCT)
    index.pq.cp.min_points_per_centroid = 1
    index.pq.cp.niter = PQ_ROUNDS
    index.train(units)
    index.add(units)
    return index


def ivfpq_index(units: Float32[np.ndarray, "items dimension"], parts: int) -> Index:
    """Inverted lists that hold product-quantised residuals, by inner product."""
    quantizer = faiss.IndexFlatIP(units.shape[1])
    index = faiss.IndexIVFPQ(quantizer, units.shape[1], _lists(units), parts, _bits(units), faiss.METRIC_INNER_PRODUCT)
    index.pq.cp.min_points_per_centroid = 1
    index.pq.cp.niter = PQ_ROUNDS
    return _filled(index, units)


def pieces(dimension: int) -> list[int]:
    """Numbers of pieces that vectors of this length can be quantised in: about a quarter and a half of it."""
    divisors = [parts for parts in range(1, dimension + 1) if dimension % parts == 0]
    return sorted({max(parts for parts in divisors if parts <= max(dimension // share, 1)) for share in (4, 2)})


def bytes_per_item(index: Index) -> float:
    """What the index takes on disk, shared by all of its items."""
    return float(faiss.serialize_index(index).nbytes / max(index.ntotal, 1))


def _lists(units: Float32[np.ndarray, "items dimension"]) -> int:
    return max(1, min(int(4 * math.sqrt(len(units))), len(units) // IVF_POINTS_PER_LIST))


def _bits(units: Float32[np.ndarray, "items dimension"]) -> int:
    """FAISS refuses more centroids than training points."""
    return min(PQ_BITS, int(math.log2(len(units))))


def _filled(index: Index, units: Float32[np.ndarray, "items dimension"]) -> Index:
    index.cp.min_points_per_centroid = 1
    index.train(units)
    index.add(units)
    index.nprobe = min(IVF_PROBES, index.nlist)
    return index


def on_fastest(index: Index) -> Index:
    """The same index on all GPUs where there are any, else itself."""
    return faiss.index_cpu_to_all_gpus(index) if faiss.get_num_gpus() > 0 else index


def device() -> str:
    """Where searches run, in words."""
    gpus = faiss.get_num_gpus()
    return f"{gpus} GPU{'s' if gpus > 1 else ''}" if gpus else "CPU"


def search(
    index: Index,
    units: Float32[np.ndarray, "queries dimension"],
    own_rows: Int64[np.ndarray, " queries"],
    k: int,
    note: str = "",
) -> Int64[np.ndarray, "queries k"]:
    """The k nearest rows of the index to each query, the query's own row left out.

    A query is left out by its row number, not by its rank: a duplicate of its vector may outrank it.

    Args:
        index: over at least k + 1 rows.
        units: L2-normalised query vectors.
        own_rows: each query's own row in the index; -1 where it is not in it.
        k: neighbours per query.
        note: what the progress bar says.

    Returns:
        Rows of the index, nearest first; -1 where an approximate index found fewer than k.

    Raises:
        ValueError: if the index holds too few rows.
    """
    if index.ntotal <= k:
        raise ValueError(f"{k} neighbours besides the query need an index of at least {k + 1} rows, got {index.ntotal}")
    neighbours = np.empty((len(units), k), dtype=np.int64)
    with progress() as bar:
        task = bar.add_task(note or "searching", total=len(units))
        for start in range(0, len(units), QUERIES_AT_ONCE):
            part = slice(start, start + QUERIES_AT_ONCE)
            _, rows = index.search(np.ascontiguousarray(units[part]), k + 1)
            neighbours[part] = _without(rows, own_rows[part])
            bar.update(task, advance=len(rows))
    return neighbours


def _without(
    rows: Int64[np.ndarray, "queries k_plus_1"], own: Int64[np.ndarray, " queries"]
) -> Int64[np.ndarray, "q k"]:
    """Drop each query's own row, or the last one where its own row did not come up."""
    dropped = (rows == own[:, None]) & (own[:, None] >= 0)
    dropped[~dropped.any(axis=1), -1] = True
    others: Int64[np.ndarray, "q k"] = rows[~dropped].reshape(len(rows), rows.shape[1] - 1)
    return others


def save_index(index: Index, ids: pa.Array, path: Path) -> None:
    """Write ``<name>.faiss`` and its id map ``<name>.ids.parquet``: row of the index → item_id."""
    if index.ntotal != len(ids):
        raise ValueError(f"an id for every row: got {index.ntotal} rows and {len(ids)} ids")
    with replacing(path) as temporary:
        faiss.write_index(index, str(temporary))
    with replacing(path.with_suffix(".ids.parquet")) as temporary:
        pq.write_table(pa.table({"item_id": ids}), temporary)


def load_index(path: Path) -> tuple[Index, pa.ChunkedArray]:
    """An index and its id map, as ``save_index`` wrote them.

    Raises:
        InputError: if a file is missing, unreadable or does not fit the other.
    """
    try:
        index = faiss.read_index(str(path))
        ids = pq.read_table(path.with_suffix(".ids.parquet"))["item_id"]
    except (RuntimeError, OSError, KeyError, pa.ArrowInvalid) as error:
        raise InputError(f"{path} or its id map cannot be read ({error}): run `python -m index.audit` again") from None
    if index.ntotal != len(ids):
        raise InputError(f"{path} has {index.ntotal} rows, its id map {len(ids)}: run `python -m index.audit` again")
    return index, ids


def clip(
    neighbours: list[int],
    candidates: int,
    what: str,
    remedy: str = "lower pretrain.min_engagement or read a longer log",
) -> list[int]:
    """The values of k that say something among so many candidates (the query included), ascending.

    With k = candidates - 1 every list holds everything and every overlap is 1: larger k are cut to one less, out loud.

    Raises:
        InputError: if there are fewer than 3 candidates, or a k below 1 was asked for.
    """
    if candidates < 3:
        raise InputError(f"expected at least 3 items to compare neighbourhoods, found {candidates} in {what}: {remedy}")
    if not neighbours or min(neighbours) < 1:
        raise InputError(f"index.neighbours must hold numbers of at least 1, found {neighbours}")
    clipped = sorted({min(k, candidates - 2) for k in neighbours})
    if clipped != sorted(set(neighbours)):
        say(f"{what} has {candidates} items: neighbours {sorted(set(neighbours))} clipped to {clipped}")
    return clipped
