"""The pass over a log's impressions: read in whole requests, encoded in chunks, appended to the splits' arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Bool, Int64

from configs.errors import InputError
from graph.logs.contract import day_files
from graph.logs.log import SearchLog
from prerank.encoding.arrays import ArrayWriter
from prerank.encoding.batches import SideArrays
from prerank.encoding.columns import KEYS
from prerank.encoding.encode import SideWriter, Tally, as_array, encode_list, encode_side, factorise
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
    named = [column.name for column in columns if column.source == "impressions"]
    remainder = pa.table({})
    for chunk in _chunks(log, [*REQUEST_COLUMNS, *LABEL_COLUMNS, *named]):
        rows = pa.concat_tables([remainder, chunk]) if len(remainder) else chunk
        codes, _ = factorise(rows["request_id"])
        others = np.flatnonzero(codes != codes[-1])
        last_start = int(others[-1]) + 1 if len(others) else 0
        if last_start:
            yield rows.slice(0, last_start)
        remainder = rows.slice(last_start)
    if len(remainder):
        yield remainder


def _chunks(log: SearchLog, wanted: Sequence[str]) -> Iterator[pa.Table]:
    for files in day_files(log.folder / "impressions").values():
        for path in files:
            with pq.ParquetFile(path) as file:
                columns = [name for name in dict.fromkeys(wanted) if name in file.schema_arrow.names]
                for batch in file.iter_batches(CHUNK_ROWS, columns=columns):
                    if len(batch):
                        yield pa.Table.from_batches([batch])


@dataclass(frozen=True)
class Runs:
    """The requests of a chunk. Shapes: ``first`` [requests], ``request`` and ``first_of_row`` [rows]."""

    first: Int64[np.ndarray, " requests"]
    request: Int64[np.ndarray, " rows"]

    @classmethod
    def of(cls, rows: pa.Table) -> Runs:
        codes, _ = factorise(rows["request_id"])
        starts = np.concatenate([[True], codes[1:] != codes[:-1]])
        return cls(np.flatnonzero(starts), np.cumsum(starts) - 1)

    @property
    def first_of_row(self) -> Int64[np.ndarray, " rows"]:
        first: npt.NDArray[np.int64] = self.first[self.request]
        return first


class Lookup:
    """Rows of a table by its key.

    Args:
        table: items, users or queries.
        key: its key column.
    """

    def __init__(self, table: pa.Table, key: str) -> None:
        self.table = table
        self.keys = as_array(table[key])

    def rows(self, values: pa.Array) -> pa.Int32Array:
        """Row number of each value; null where the table lacks it."""
        codes, distinct = factorise(values)
        distinct_rows = pc.index_in(distinct.cast(self.keys.type), value_set=self.keys)
        return distinct_rows.take(pa.array(codes, mask=codes < 0))


class SplitWriter:
    """Appends the rows of one split, and checks at the end that all that the log announced have come.

    Args:
        folder: to write to.
        announced: ``rows`` and ``requests`` of the split, from log.json.
        columns: the features.
        lookups: items, and users and queries if the log has them.
        tally: is added to.
    """

    def __init__(
        self,
        folder: Path,
        announced: Mapping[str, int],
        columns: tuple[Column, ...],
        lookups: Mapping[str, Lookup],
        tally: Tally,
    ) -> None:
        self.columns = columns
        self.lookups = lookups
        self.tally = tally
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

    def append(self, rows: pa.Table) -> dict[str, npt.NDArray[Any]]:
        """Encode and write whole requests; return the row arrays."""
        runs = Runs.of(rows)
        require_constant(rows, self._request_level(rows), runs, {column.name for column in self.columns})
        arrays = self._row_arrays(rows, runs)
        ranked = runs.request[np.isfinite(arrays["position"])]
        self.list_length.append(np.bincount(ranked, minlength=len(runs.first)))
        self.pair.append(
            encode_side(self.columns, "pair", len(rows), lambda column: as_array(rows[column.name]), self.tally)
        )
        self._append_requests(rows, runs)
        for name, writer in self.arrays.items():
            writer.append(arrays[name])
        return arrays

    def _request_level(self, rows: pa.Table) -> list[str]:
        features = [c.name for c in self.columns if c.side == "request" and c.source == "impressions"]
        return [name for name in dict.fromkeys([*REQUEST_COLUMNS[1:], *features]) if name in rows.column_names]

    def _row_arrays(self, rows: pa.Table, runs: Runs) -> dict[str, npt.NDArray[Any]]:
        item = self.lookups["items"].rows(as_array(rows["item_id"]))
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
            "request": runs.request + self.list_length.written,
            "clicked": as_array(rows["clicked"]).to_numpy(zero_copy_only=False),
            "ordered": as_array(rows["ordered"]).to_numpy(zero_copy_only=False),
            "position": np.where(np.isnan(position) & (codes == STAGES.index("random")), np.inf, position),
            "stage": codes,
            "price": _floats(rows["price"]),
            "rank_score": _floats(rows["rank_score"]),
        }

    def _append_requests(self, rows: pa.Table, runs: Runs) -> None:
        firsts = rows.take(pa.array(runs.first))
        self.request.append(encode_requests(firsts, self.lookups, self.columns, self.tally))
        requests = firsts.select([name for name in REQUEST_COLUMNS if name in firsts.column_names])
        if self.table is None:
            self.table = pq.ParquetWriter(self.table_path, requests.schema)
        self.table.write_table(requests)

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
        differs = _differs(rows[name], runs.first_of_row)
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


def _differs(values: pa.ChunkedArray, first_of_row: Int64[np.ndarray, " rows"]) -> Bool[np.ndarray, " rows"]:
    flat = as_array(values)
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
