"""Columns of a table to arrays: hashed ids, numbers, hashed n-grams, padded lists. Vectorised: no Python per row."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float32, Int64

from graph.hashing import hash_ngrams, hash_values
from prerank.encoding.arrays import ArrayWriter
from prerank.encoding.batches import SideArrays
from prerank.encoding.schema import LIST_LENGTH, TEXT_LENGTH, Column, NumberStatistics, list_file, of_side

LARGEST_NUMBER = 1e18
"""Numbers beyond are cut to this: their squares would overflow float32."""
INNER_EDGES = 31
SAMPLED_ROWS = 1_000_000
"""Rows that quantile edges are computed from at most; mean and deviation use every row."""
STATISTICS_ROWS = 500_000

Part = TypeVar("Part")
Encoded = TypeVar("Encoded")
Tally = Counter[tuple[str, str]]
"""(column, what happened to some of its values) → how many, to be said out loud at the end."""


def in_order(function: Callable[[Part], Encoded], parts: Iterable[Part]) -> Iterator[Encoded]:
    """A function of each part, in the parts' order, computed in threads; a few parts are in memory at a time.

    Arrow, NumPy and the compiled kernels hold no interpreter lock while they work.
    """
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        ahead: deque[Future[Encoded]] = deque()
        for part in parts:
            ahead.append(pool.submit(function, part))
            if len(ahead) > workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def encode_side(
    columns: tuple[Column, ...], side: str, rows: int, values: Callable[[Column], pa.Array], tally: Tally
) -> SideArrays:
    """Encode one side's columns of some rows.

    Args:
        columns: of all sides.
        side: item, request or pair.
        rows: how many rows there are; a side without columns still has that many.
        values: gives a column's values for those rows.
        tally: is added to.
    """
    ids = [encode_ids(values(column)) for column in of_side(columns, side, "id")]
    numbers = [encode_numbers(values(column), column.name, tally) for column in of_side(columns, side, "number")]
    lists = {}
    for column in of_side(columns, side, "text", "list"):
        if column.kind == "text":
            lists[column.name] = encode_text(values(column))
        else:
            lists[column.name] = encode_list(values(column), column.name, tally)
    return SideArrays(
        np.stack(ids, axis=1) if ids else np.empty((rows, 0), np.int64),
        np.stack(numbers, axis=1) if numbers else np.empty((rows, 0), np.float32),
        lists,
    )


def encode_ids(values: pa.Array) -> Int64[np.ndarray, " rows"]:
    """Hash each value, each distinct one once; a null has a hash of its own."""
    codes, distinct = factorise(values)
    # The last place is read by the code -1 of a null.
    hashed = hash_values(pa.concat_arrays([distinct, pa.nulls(1, distinct.type)]))
    return hashed[codes]


def encode_text(values: pa.Array) -> Int64[np.ndarray, "rows length"]:
    """Hashed words and character 3-grams of each text; 0 is padding, a null is all padding."""
    codes, distinct = factorise(values)
    hashed = hash_ngrams(pa.concat_arrays([distinct, pa.nulls(1, distinct.type)]), TEXT_LENGTH)
    return hashed[codes]


def encode_list(values: pa.Array, name: str, tally: Tally) -> Int64[np.ndarray, "rows length"]:
    """Hashes of each list's first values, which are the most recent; 0 is padding and where a value is null."""
    lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    tally[name, f"lists longer than {LIST_LENGTH}, of which the first {LIST_LENGTH} values are kept"] += int(
        (lengths > LIST_LENGTH).sum()
    )
    truncated = np.minimum(lengths, LIST_LENGTH)
    flat = pc.list_flatten(pc.list_slice(values, 0, LIST_LENGTH, return_fixed_size_list=False))
    hashed = np.where(flat.is_null().to_numpy(zero_copy_only=False), 0, hash_values(flat))
    row = np.repeat(np.arange(len(truncated)), truncated)
    place = np.arange(len(flat)) - np.repeat(np.cumsum(truncated) - truncated, truncated)
    padded = np.zeros((len(truncated), LIST_LENGTH), np.int64)
    padded[row, place] = hashed
    return padded


def encode_numbers(values: pa.Array, name: str, tally: Tally) -> Float32[np.ndarray, " rows"]:
    """Numbers as float32; NaN where null, NaN or infinite, and at most ``LARGEST_NUMBER`` in size."""
    numbers = pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)
    infinite = np.isinf(numbers)
    huge = (np.abs(numbers) > LARGEST_NUMBER) & ~infinite
    tally[name, "infinite values, taken as missing"] += int(infinite.sum())
    tally[name, f"values beyond ±{LARGEST_NUMBER:g}, cut to it"] += int(huge.sum())
    numbers = np.where(infinite, np.nan, np.clip(numbers, -LARGEST_NUMBER, LARGEST_NUMBER))
    return numbers.astype(np.float32)


def as_array(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One array of all chunks."""
    if isinstance(values, pa.Array):
        return values
    return values.chunk(0) if values.num_chunks == 1 else pa.concat_arrays(values.chunks or [pa.array([], values.type)])


def factorise(values: pa.Array | pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], pa.Array]:
    """Codes into the distinct values, -1 for a null; codes [rows]."""
    flat = as_array(values)
    encoded = flat if pa.types.is_dictionary(flat.type) else pc.dictionary_encode(flat)
    codes = pc.fill_null(encoded.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
    return codes, encoded.dictionary


def number_statistics(columns: Sequence[Column], numbers: npt.NDArray[np.float32]) -> tuple[NumberStatistics, ...]:
    """Mean, deviation, quantile edges and missing share of each number.

    Args:
        columns: the number columns, in order.
        numbers: float32 [rows, columns] of training rows, possibly memory-mapped; NaN = missing.
    """
    count, mean = _moment(numbers, np.zeros(len(columns)), power=1)
    _, variance = _moment(numbers, mean, power=2)
    sample = numbers
    if len(numbers) > SAMPLED_ROWS:
        # Drawn, not strided: a stride that divides the list length would see one position only.
        sample = numbers[np.unique(np.random.default_rng(0).integers(0, len(numbers), SAMPLED_ROWS))]
    return tuple(
        NumberStatistics(
            name=column.name,
            mean=float(mean[place]),
            std=float(np.sqrt(variance[place])) or 1.0,
            edges=_edges(sample[:, place]),
            missing_share=float(1 - count[place] / len(numbers)) if len(numbers) else 1.0,
            rows=len(numbers),
        )
        for place, column in enumerate(columns)
    )


def _moment(
    numbers: npt.NDArray[np.float32], centre: npt.NDArray[np.float64], power: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Values present, and mean of (value - centre)^power over them (0 where there is none), in float64."""
    count, total = np.zeros(len(centre), np.int64), np.zeros(len(centre))
    for start in range(0, len(numbers), STATISTICS_ROWS):
        block = numbers[start : start + STATISTICS_ROWS].astype(np.float64)
        count += (~np.isnan(block)).sum(axis=0)
        total += np.nansum((block - centre) ** power, axis=0)
    return count, total / np.maximum(count, 1)


def _edges(values: npt.NDArray[np.float32]) -> tuple[float, ...]:
    present = values[~np.isnan(values)]
    if not len(present):
        return ()
    shares = np.arange(1, INNER_EDGES + 1) / (INNER_EDGES + 1)
    # Values of the data, not interpolated between them, so that an edge is the same number in float32.
    return tuple(float(edge) for edge in np.unique(np.quantile(present, shares, method="lower")))


class SideWriter:
    """The files of one side: ids.npy, numbers.npy, lists_<name>.npy.

    Args:
        folder: to write to.
        columns: of all sides.
        side: item, request or pair.
        rows: that will be written in all.
    """

    def __init__(self, folder: Path, columns: tuple[Column, ...], side: str, rows: int) -> None:
        def writer(name: str, dtype: npt.DTypeLike, width: int) -> ArrayWriter:
            return ArrayWriter(folder / name, dtype, (rows, width))

        self.ids = writer("ids.npy", np.int64, len(of_side(columns, side, "id")))
        self.numbers = writer("numbers.npy", np.float32, len(of_side(columns, side, "number")))
        lengths = {"text": TEXT_LENGTH, "list": LIST_LENGTH}
        self.lists = {
            column.name: writer(list_file(column.name), np.int64, lengths[column.kind])
            for column in of_side(columns, side, "text", "list")
        }

    def append(self, encoded: SideArrays) -> None:
        """Write the next rows."""
        self.ids.append(encoded.ids)
        self.numbers.append(encoded.numbers)
        for name, values in encoded.lists.items():
            self.lists[name].append(values)

    def close(self) -> None:
        for writer in (self.ids, self.numbers, *self.lists.values()):
            writer.close()
