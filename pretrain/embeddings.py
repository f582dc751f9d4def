"""Vectors of items on disk: psi now, phi later.

A folder of three files: ``vectors.safetensors`` (tensor ``vectors``, float32), ``ids.parquet`` (column ``item_id``,
in the vectors' order) and ``manifest.json``, written last. Vectors are memory-mapped: a table may exceed memory. Of
float16 or float64, which other programs write, a copy in float32 is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import safetensors.numpy
from jaxtyping import Float32, Int64

from configs.errors import InputError
from configs.stages import read_json, replacing, write_json

VECTORS, IDS, MANIFEST = "vectors.safetensors", "ids.parquet", "manifest.json"
LARGEST_HEADER_BYTES = 1 << 20
STORED: Mapping[str, npt.DTypeLike] = {"F32": "<f4", "F16": "<f2", "F64": "<f8"}
"""Types of safetensors that are read."""


@dataclass(frozen=True)
class EmbeddingTable:
    """One vector for each of n items.

    Args:
        ids: int64 or string [n], unique, not null; a list or a NumPy array becomes an Arrow array.
        vectors: one finite row per id, not normalised; a memory map where the table was loaded. Other real numbers, or
            lists of them, become float32.
        catalogue: fingerprint of the catalogue that the ids belong to (``log.json``).
        name: what the vectors are, e.g. ``psi``.

    Raises:
        InputError: if ids are null, repeated or neither integers nor text, or ids and vectors differ in number.

    Examples:
        >>> from configs import parse
        >>> from pretrain import EmbeddingTable
        >>> psi = EmbeddingTable.load(parse(["run=notebook"]).run.psi)
        >>> psi.rows_of(psi.ids[:3])
        array([0, 1, 2])
    """

    ids: pa.Array
    vectors: Float32[np.ndarray, "items dimension"]
    catalogue: str
    name: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", _as_ids(self.ids, self.name))
        object.__setattr__(self, "vectors", _as_vectors(self.vectors, self.name))
        if len(self.ids) != len(self.vectors):
            raise InputError(
                f"{self.name}: expected one id per vector, found {len(self.ids)} ids and "
                f"{len(self.vectors)} vectors; make the table again"
            )
        _require_unique(self.ids, self.name)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dimension(self) -> int:
        """Length of one vector."""
        return int(self.vectors.shape[1])

    def rows_of(self, ids: Any) -> Int64[np.ndarray, " ids"]:
        """The row of each id, of an Arrow or NumPy array or a list; -1 where the table has none (a null included).

        Raises:
            InputError: if the ids are of another kind than the table's (text against numbers).
        """
        asked = _as_ids(ids, self.name)
        if asked.type != self.ids.type and asked.null_count < len(asked):
            raise InputError(
                f"{self.name} holds ids of type {self.ids.type}, asked for ids of type {asked.type}: "
                "it belongs to another log"
            )
        asked = pa.nulls(len(asked), self.ids.type) if asked.type != self.ids.type else asked
        rows: Int64[np.ndarray, " ids"] = pc.fill_null(pc.index_in(asked, value_set=self.ids), -1).to_numpy()
        return rows.astype(np.int64)

    def require_catalogue(self, catalogue: str) -> None:
        """Refuse to be used with another catalogue than the one the ids belong to.

        Raises:
            InputError: naming both fingerprints.
        """
        if catalogue != self.catalogue:
            raise InputError(
                f"{self.name} was made for catalogue {self.catalogue[:12]}, the log's catalogue is {catalogue[:12]}: "
                f"train {self.name} on this log, or use the log that it was trained on"
            )

    def save(self, folder: Path) -> None:
        """Write the table; a reader finds either no manifest or the whole table.

        Raises:
            InputError: if a vector is not finite.
        """
        broken = ~np.isfinite(self.vectors).all(axis=1)
        if broken.any():
            raise InputError(
                f"{self.name}: {int(broken.sum())} of {len(self)} vectors are not finite, first at row "
                f"{int(broken.argmax())} (id {self.ids[int(broken.argmax())]}); lower the learning rate and train again"
            )
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
        with replacing(folder / VECTORS) as temporary:
            safetensors.numpy.save_file({"vectors": np.ascontiguousarray(self.vectors)}, temporary)
        with replacing(folder / IDS) as temporary:
            pq.write_table(pa.table({"item_id": self.ids}), temporary)
        facts = {"name": self.name, "rows": len(self), "dimension": self.dimension, "catalogue": self.catalogue}
        write_json(folder / MANIFEST, facts)

    @classmethod
    def load(cls, folder: Path) -> EmbeddingTable:
        """Open a saved table; its vectors are memory-mapped, read-only.

        Raises:
            InputError: if a file is missing, truncated or does not fit the others.
        """
        folder = Path(folder)
        if folder.is_file():
            raise InputError(
                f"{folder} is a file: an embedding table is a folder of {VECTORS}, {IDS} and {MANIFEST}; make one of "
                f"an array by `EmbeddingTable(ids, numpy.load({str(folder)!r}), catalogue, name).save(FOLDER)`"
            )
        if not folder.is_dir():
            raise InputError(f"{folder} does not exist: the stage that writes these embeddings has not run")
        manifest = read_json(folder / MANIFEST)
        if not isinstance(manifest, dict) or not {"name", "rows", "dimension", "catalogue"} <= manifest.keys():
            raise InputError(f"{folder / MANIFEST} is not an embedding table's manifest: make the table again")
        vectors, ids = _map_vectors(folder / VECTORS), _read_ids(folder / IDS)
        if vectors.shape != (manifest["rows"], manifest["dimension"]) or len(ids) != manifest["rows"]:
            raise InputError(
                f"{folder}: manifest.json says {manifest['rows']} rows of {manifest['dimension']}, found "
                f"{list(vectors.shape)} in {VECTORS} and {len(ids)} ids in {IDS}: make the table again"
            )
        return cls(ids=ids, vectors=vectors, catalogue=manifest["catalogue"], name=manifest["name"])


def _require_unique(ids: pa.Array, name: str) -> None:
    if ids.null_count:
        raise InputError(f"{name}: {ids.null_count} of {len(ids)} ids are null; every vector needs an id")
    distinct = pc.count_distinct(ids).as_py()
    if distinct != len(ids):
        counts = ids.value_counts()
        example = counts.filter(pc.greater(counts.field("counts"), 1))[0]["values"]
        raise InputError(f"{name}: {len(ids) - distinct} ids are repeated, e.g. {example}; an item has one vector")


def _as_ids(ids: Any, name: str) -> pa.Array:
    """Ids as one Arrow array of int64 or string.

    Raises:
        InputError: for values that are neither.
    """
    try:
        flat = ids if isinstance(ids, pa.Array | pa.ChunkedArray) else pa.array(ids)
        flat = flat.combine_chunks() if isinstance(flat, pa.ChunkedArray) else flat
        flat = flat.dictionary_decode() if pa.types.is_dictionary(flat.type) else flat
        if pa.types.is_integer(flat.type):
            return flat.cast(pa.int64())
        if pa.types.is_string(flat.type) or pa.types.is_large_string(flat.type) or pa.types.is_string_view(flat.type):
            return flat.cast(pa.string())
        if pa.types.is_null(flat.type):
            return flat.cast(pa.int64())
        reason = f"found {flat.type}"
    except (pa.ArrowException, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
    raise InputError(f"{name}: expected ids that are all integers (of 64 bits) or all text, {reason}")


def _as_vectors(vectors: Any, name: str) -> Float32[np.ndarray, "items dimension"]:
    """Vectors as float32 [items, dimension]; those that are so already are left where they lie.

    Raises:
        InputError: for what is no matrix of real numbers.
    """
    try:
        matrix = vectors if isinstance(vectors, np.memmap) else np.asarray(vectors)
        if matrix.ndim == 2 and matrix.dtype.kind in "fiu":
            return matrix.astype(np.float32, copy=False)
        reason = f"{matrix.dtype} {list(matrix.shape)}"
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
    raise InputError(f"{name}: expected vectors [items, dimension] of real numbers, found {reason}")


def _map_vectors(path: Path) -> Float32[np.ndarray, "items dimension"]:
    """Memory-map the one tensor of a safetensors file, whose own reader would copy it into memory."""
    try:
        with path.open("rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
            if not 0 < header_bytes <= LARGEST_HEADER_BYTES:
                raise ValueError(f"its header claims {header_bytes} bytes")
            entry: Mapping[str, Any] = json.loads(file.read(header_bytes))["vectors"]
        shape = (int(entry["shape"][0]), int(entry["shape"][1]))
        if entry["dtype"] not in STORED:
            raise InputError(f"{path} holds vectors of type {entry['dtype']}: write them as float32")
        stored = np.dtype(STORED[entry["dtype"]])
        size = stored.itemsize * shape[0] * shape[1]
        expected = 8 + header_bytes + size
        if entry["data_offsets"] != [0, size]:
            raise ValueError(f"expected one tensor, found {entry}")
        if path.stat().st_size != expected:
            raise ValueError(f"expected {expected} bytes, found {path.stat().st_size}")
    except FileNotFoundError:
        raise InputError(f"{path} is missing: make the embeddings again") from None
    except (ValueError, KeyError, IndexError, TypeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is truncated or corrupt ({error}): make the embeddings again") from None
    if 0 in shape:
        return np.zeros(shape, dtype=np.float32)
    mapped: np.ndarray = np.memmap(path, dtype=stored, mode="r", offset=8 + header_bytes, shape=shape)
    return mapped if stored == np.float32 else np.asarray(mapped, np.float32)


def _read_ids(path: Path) -> pa.Array:
    try:
        table = pq.read_table(path)
        if "item_id" not in table.column_names:
            raise InputError(f"{path} has no column item_id; it has {', '.join(table.column_names) or 'none'}")
        column = table["item_id"]
    except FileNotFoundError:
        raise InputError(f"{path} is missing: make the embeddings again") from None
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError) as error:
        raise InputError(f"{path} is truncated or corrupt ({error}): make the embeddings again") from None
    combined = column.combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined
