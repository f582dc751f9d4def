"""The pass over a log's impressions: read in whole requests, encoded in chunks, appended to the splits' arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Bool, Int64

from configs.errors import InputError
from graph.logs.contract import day_files, family_of
from graph.logs.log import SearchLog
from prerank.encoding.arrays import ArrayWriter
from prerank.encoding.batches import SideArrays
from prerank.encoding.computed import KEYS, columns_read
from prerank.encoding.encode import SideWriter, Tally, as_array, encode_list, encode_side, factorise
from prerank.encoding.lookup import Lookup
from prerank.encoding.schema import STAGES, Column

CHUNK_ROWS = 262_144
"""Rows read at a time; a longer request is still taken whole."""
REQUEST_COLUMNS = ("request_id", "user_id", "query", "timestamp", "session_id")
"""What ``requests.parquet`` keeps, as far as the log has it."""
LABEL_COLUMNS = ("item_id", "clicked", "ordered", "position", "stage", "price", "rank_score", "split")
ROW_ARRAYS: Mapping[str, npt.DTypeLike] = {
    "item": np.int32,
    "request": np.int32,
    "clicked": np.uint8,
    "ordered": np.uint8,
    "position": np.float32,
    "stage": np.uint8,
    "price": np.float32,
    "rank_score": np.float32,
}


def whole_requests(log: SearchLog, columns: Sequence[Column]) -> Iterator[pa.Table]:
    """The log's rows in order, in chunks that never cut a request.

    Args:
        log: the checked log; rows of a request lie together in it.
        columns: features, of which those that lie in impressions are read.
    """
    named = columns_read(columns, "impressions")
    remainder = pa.table({})
    for chunk in _chunks(log, [*REQUEST_COLUMNS, *LABEL_COLUMNS, *named]):
        rows = pa.concat_tables([remainder, chunk]).unify_dictionaries().combine_chunks() if len(remainder) else chunk
        last_start = int(Runs.of(rows).first[-1])
        if last_start:
            yield rows.slice(0, last_start)
        remainder = rows.slice(last_start)
    if len(remainder):
        yield remainder


def _chunks(log: SearchLog, wanted: Sequence[str]) -> Iterator[pa.Table]:
    """Tables of ``CHUNK_ROWS``, fewer at the end of a file; text stays as the codes and dictionaries of the file."""
    for files in day_files(log.folder / "impressions").values():
        for path in files:
            schema = pq.read_schema(path)
            texts = [field.name for field in schema if family_of(field.type) == "string"]
            with pq.ParquetFile(path, read_dictionary=texts) as file:
                columns = [name for name in dict.fromkeys(wanted) if name in schema.names]
                yield from _of_length(file.iter_batches(CHUNK_ROWS, columns=columns), CHUNK_ROWS)


def _of_length(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """Batches put together to tables of so many rows: a batch ends with its dictionary, at a row group's end."""
    pending, count = [], 0
    for batch in batches:
        while len(batch):
            part = batch.slice(0, rows - count)
            pending.append(part)
            count += len(part)
            batch = batch.slice(len(part))
            if count == rows:
                yield pa.Table.from_batches(pending).unify_dictionaries().combine_chunks()
                pending, count = [], 0
    if count:
        yield pa.Table.from_batches(pending).unify_dictionaries().combine_chunks()


@dataclass(frozen=True)
class Runs:
    """The requests of a chunk. Shapes: ``starts``, ``request`` and ``first_of_row`` [rows], ``first`` [requests]."""

    starts: Bool[np.ndarray, " rows"]

    @classmethod
    def of(cls, rows: pa.Table) -> Runs:
        starts = np.ones(len(rows), np.bool_)
        starts[1:] = _changes(as_array(rows["request_id"]))
        return cls(starts)

    @cached_property
    def first(self) -> Int64[np.ndarray, " requests"]:
        return np.flatnonzero(self.starts)

    @cached_property
    def request(self) -> Int64[np.ndarray, " rows"]:
        request: npt.NDArray[np.int64] = np.cumsum(self.starts) - 1
        return request

    @property
    def first_of_row(self) -> Int64[np.ndarray, " rows"]:
        first: npt.NDArray[np.int64] = self.first[self.request]
        return first


@dataclass(frozen=True)
class EncodedRows:
    """Whole requests of one split, encoded.

    Attributes:
        arrays: ``ROW_ARRAYS``; requests are counted from 0.
        list_length: ranked rows of each request.
        pair, request: the sides' features.
        requests: what ``requests.parquet`` keeps.
        tally: what happened to some of the values.
    """

    arrays: Mapping[str, npt.NDArray[Any]]
    list_length: npt.NDArray[np.int64]
    pair: SideArrays
    request: SideArrays
    requests: pa.Table
    tally: Tally


def encode_rows(rows: pa.Table, columns: tuple[Column, ...], lookups: Mapping[str, Lookup]) -> EncodedRows:
    """Encode whole requests.

    Args:
        rows: of one split, as ``whole_requests`` reads them.
        columns: the features.
        lookups: items, and users and queries if the log has them.

    Raises:
        InputError: if a column of the request side varies within a request, or an item or stage is not known.
    """
    runs, tally = Runs.of(rows), Counter[tuple[str, str]]()
    features = [c.name for c in columns if c.side == "request" and c.source == "impressions"]
    constant = [name for name in dict.fromkeys([*REQUEST_COLUMNS[1:], *features]) if name in rows.column_names]
    require_constant(rows, constant, runs, {column.name for column in columns})
    arrays = _row_arrays(rows, runs, lookups["items"])
    pair = encode_side(columns, "pair", len(rows), lambda column: as_array(rows[column.name]), tally)
    firsts = _decoded(rows.take(pa.array(runs.first)))
    return EncodedRows(
        arrays=arrays,
        list_length=np.bincount(runs.request[np.isfinite(arrays["position"])], minlength=len(runs.first)),
        pair=pair,
        request=encode_requests(firsts, lookups, columns, tally),
        requests=firsts.select([name for name in REQUEST_COLUMNS if name in firsts.column_names]),
        tally=tally,
    )


def _decoded(table: pa.Table) -> pa.Table:
    """The table with plain text in place of dictionaries."""
    plain = [f.with_type(f.type.value_type) if pa.types.is_dictionary(f.type) else f for f in table.schema]
    return table.cast(pa.schema(plain))


def _row_arrays(rows: pa.Table, runs: Runs, items: Lookup) -> dict[str, npt.NDArray[Any]]:
    item = items.rows(as_array(rows["item_id"]))
    stage = pc.index_in(as_array(rows["stage"]), value_set=pa.array(STAGES))
    for name, indices in (("item_id", item), ("stage", stage)):
        if indices.null_count:
            example = rows[name].filter(indices.is_null())[0]
            raise InputError(
                f"impressions: {indices.null_count} rows have an unknown {name}, e.g. {example}: the checked log "
                "was changed; delete its folder and run the command again"
            )
    position = _floats(rows["position"])
    codes = stage.to_numpy(zero_copy_only=False)
    return {
        "item": item.to_numpy(zero_copy_only=False),
        "request": runs.request,
        "clicked": as_array(rows["clicked"]).to_numpy(zero_copy_only=False),
        "ordered": as_array(rows["ordered"]).to_numpy(zero_copy_only=False),
        "position": np.where(np.isnan(position) & (codes == STAGES.index("random")), np.inf, position),
        "stage": codes,
        "price": _floats(rows["price"]),
        "rank_score": _floats(rows["rank_score"]),
    }


class SplitWriter:
    """Appends the rows of one split, and checks at the end that all that the log announced have come.

    Args:
        folder: to write to.
        announced: ``rows`` and ``requests`` of the split, from log.json.
        columns: the features.
    """

    def __init__(self, folder: Path, announced: Mapping[str, int], columns: tuple[Column, ...]) -> None:
        rows, requests = announced["rows"], announced["requests"]
        self.arrays = {name: ArrayWriter(folder / f"{name}.npy", dtype, (rows,)) for name, dtype in ROW_ARRAYS.items()}
        self.list_length = ArrayWriter(folder / "requests" / "list_length.npy", np.int32, (requests,))
        self.pair = SideWriter(folder, columns, "pair", rows)
        self.request = SideWriter(folder / "requests", columns, "request", requests)
        self.table_path = folder / "requests" / "requests.parquet"
        self.table: pq.ParquetWriter | None = None

    def __enter__(self) -> SplitWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for array in (*self.arrays.values(), self.list_length):
            array.close()
        self.pair.close()
        self.request.close()
        if self.table is not None:
            self.table.close()
        if error is None:
            self._check_announced()

    def append(self, encoded: EncodedRows) -> None:
        """Write whole requests."""
        before = self.list_length.written
        for name, writer in self.arrays.items():
            values = encoded.arrays[name]
            writer.append(values + before if name == "request" else values)
        self.list_length.append(encoded.list_length)
        self.pair.append(encoded.pair)
        self.request.append(encoded.request)
        if self.table is None:
            self.table = pq.ParquetWriter(self.table_path, encoded.requests.schema)
        self.table.write_table(encoded.requests)

    def _check_announced(self) -> None:
        for what, writer in (("rows", self.arrays["item"]), ("requests", self.list_length)):
            if writer.written != writer.shape[0]:
                raise InputError(
                    f"{writer.path.parent}: log.json announces {writer.shape[0]} {what}, found {writer.written} "
                    "(rows of a request must lie together): the checked log was changed; delete its folder, run again"
                )


def encode_requests(
    requests: pa.Table, lookups: Mapping[str, Lookup], columns: tuple[Column, ...], tally: Tally
) -> SideArrays:
    """Encode the request side.

    Args:
        requests: a row per request, with the impressions' columns that are features or keys of a lookup.
        lookups: users and queries if the log has them.
        columns: the features.
        tally: is added to.
    """
    rows_by_source = {
        source: lookup.rows(as_array(requests[KEYS[source]])) for source, lookup in lookups.items() if source != "items"
    }
    for source, rows in rows_by_source.items():
        tally[source, f"requests without a row in {source}.parquet, its columns taken as missing"] += rows.null_count

    def values(column: Column) -> pa.Array:
        if column.source == "impressions":
            return as_array(requests[column.name])
        return as_array(lookups[column.source].table[column.name].take(rows_by_source[column.source]))

    return encode_side(columns, "request", len(requests), values, tally)


def require_constant(rows: pa.Table, names: Sequence[str], runs: Runs, features: set[str]) -> None:
    """Check that columns have one value per request.

    Args:
        rows: whole requests.
        names: the columns.
        runs: where the requests are.
        features: names of the features; the others are what a request is.

    Raises:
        InputError: naming the column, how many rows differ, and a request.
    """
    for name in names:
        flat = as_array(rows[name])
        if not (_changes(flat) & ~runs.starts[1:]).any():
            continue
        differs = _differs(flat, runs.first_of_row)
        if differs.any():
            example = rows["request_id"][int(np.flatnonzero(differs)[0])]
            advice = (
                "name it in data.features with side: pair"
                if name in features and name not in REQUEST_COLUMNS
                else "a request has one user, query, session and time; give each its own request_id"
            )
            raise InputError(
                f"impressions: column {name} must be the same in all rows of a request, but differs from the request's "
                f"first row in {int(differs.sum())} rows, e.g. of request {example}: {advice}"
            )


def _changes(flat: pa.Array) -> Bool[np.ndarray, " rows_but_one"]:
    """Whether each row but the first differs from the one before it, as NaN does from NaN."""
    if pa.types.is_nested(flat.type):
        return _list_changes(flat)
    if pa.types.is_null(flat.type):
        return np.zeros(len(flat) - 1, np.bool_)
    if pa.types.is_dictionary(flat.type):
        flat = flat.indices
    changed = pc.fill_null(pc.not_equal(flat.slice(0, len(flat) - 1), flat.slice(1)), False)
    changed = changed.to_numpy(zero_copy_only=False)
    if flat.null_count:  # which equals another null and nothing else
        missing = flat.is_null().to_numpy(zero_copy_only=False)
        changed = changed | (missing[1:] != missing[:-1])
    return np.asarray(changed)


def _list_changes(lists: pa.Array) -> Bool[np.ndarray, " rows_but_one"]:
    """As ``_changes``, for lists; a null is an empty list."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    values = pc.list_flatten(lists)
    whole = pa.types.is_integer(values.type) and not values.null_count
    codes = values.to_numpy() if whole else factorise(values)[0]
    changed: npt.NDArray[np.bool_] = _compare_lists(codes, lengths)
    return changed


@numba.njit(nogil=True, cache=True)
def _compare_lists(values, lengths):  # type: ignore[no-untyped-def]
    changed = np.zeros(len(lengths) - 1, np.bool_)
    start = 0
    for row in range(len(changed)):
        following = start + lengths[row]
        changed[row] = lengths[row] != lengths[row + 1]
        for place in range(0 if changed[row] else lengths[row]):
            changed[row] |= values[start + place] != values[following + place]
        start = following
    return changed


def _differs(flat: pa.Array, first_of_row: Int64[np.ndarray, " rows"]) -> Bool[np.ndarray, " rows"]:
    if not pa.types.is_nested(flat.type):
        codes, _ = factorise(flat)
        scalars: npt.NDArray[np.bool_] = codes != codes[first_of_row]
        return scalars
    # Lists have no codes: their first values, which are all that is kept of them, and their lengths are compared.
    lengths = pc.fill_null(pc.list_value_length(flat), 0).to_numpy(zero_copy_only=False)
    together = np.column_stack([lengths, encode_list(flat, "", Counter())])
    nested: npt.NDArray[np.bool_] = (together != together[first_of_row]).any(axis=1)
    return nested


def _floats(values: pa.ChunkedArray) -> npt.NDArray[np.float32]:
    """float32, NaN for null."""
    numbers: npt.NDArray[np.float32] = pc.cast(as_array(values), pa.float32()).to_numpy(zero_copy_only=False)
    return numbers
