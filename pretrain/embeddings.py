"""Vectors of items on disk: psi now, phi later.

A folder of three files: ``vectors.safetensors`` (tensor ``vectors``, float32), ``ids.parquet`` (column ``item_id``,
in the vectors' order) and ``manifest.json``, written last. Vectors are memory-mapped: a table may exceed memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import safetensors.numpy
from jaxtyping import Float32, Int64

from configs.errors import InputError
from configs.stages import read_json, replacing, write_json

VECTORS, IDS, MANIFEST = "vectors.safetensors", "ids.parquet", "manifest.json"
LARGEST_HEADER_BYTES = 1 << 20


@dataclass(frozen=True)
class EmbeddingTable:
    """One vector for each of n items.

    Args:
        ids: int64 or string [n], unique, not null.
        vectors: one finite row per id, not normalised; a memory map where the table was loaded.
        catalogue: fingerprint of the catalogue that the ids belong to (``log.json``).
        name: what the vectors are, e.g. ``psi``.

    Raises:
        InputError: if ids are null or repeated, or ids and vectors differ in number.

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
        if self.vectors.ndim != 2 or self.vectors.dtype != np.float32:
            raise InputError(
                f"{self.name}: expected float32 vectors [items, dimension], "
                f"found {self.vectors.dtype} {list(self.vectors.shape)}"
            )
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

    def rows_of(self, ids: pa.Array | pa.ChunkedArray) -> Int64[np.ndarray, " ids"]:
        """The row of each id; -1 where the table has none (a null included).

        Raises:
            InputError: if the ids are of another kind than the table's (text against numbers).
        """
        if ids.type != self.ids.type:
            if _is_text(ids.type) != _is_text(self.ids.type):
                raise InputError(
                    f"{self.name} holds ids of type {self.ids.type}, asked for ids of type {ids.type}: "
                    "it belongs to another log"
                )
            ids = ids.cast(self.ids.type)
        rows: Int64[np.ndarray, " ids"] = pc.fill_null(pc.index_in(ids, value_set=self.ids), -1).to_numpy()
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


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _map_vectors(path: Path) -> Float32[np.ndarray, "items dimension"]:
    """Memory-map the one tensor of a safetensors file, whose own reader would copy it into memory."""
    try:
        with path.open("rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
            if not 0 < header_bytes <= LARGEST_HEADER_BYTES:
                raise ValueError(f"its header claims {header_bytes} bytes")
            entry: Mapping[str, Any] = json.loads(file.read(header_bytes))["vectors"]
        shape = (int(entry["shape"][0]), int(entry["shape"][1]))
        expected = 8 + header_bytes + 4 * shape[0] * shape[1]
        if entry["dtype"] != "F32" or entry["data_offsets"] != [0, 4 * shape[0] * shape[1]]:
            raise ValueError(f"expected one float32 tensor, found {entry}")
        if path.stat().st_size != expected:
            raise ValueError(f"expected {expected} bytes, found {path.stat().st_size}")
    except FileNotFoundError:
        raise InputError(f"{path} is missing: make the embeddings again") from None
    except (ValueError, KeyError, IndexError, TypeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is truncated or corrupt ({error}): make the embeddings again") from None
    if 0 in shape:
        return np.zeros(shape, dtype=np.float32)
    return np.memmap(path, dtype="<f4", mode="r", offset=8 + header_bytes, shape=shape)


def _read_ids(path: Path) -> pa.Array:
    try:
        column = pq.read_table(path, columns=["item_id"])["item_id"]
    except FileNotFoundError:
        raise InputError(f"{path} is missing: make the embeddings again") from None
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError) as error:
        raise InputError(f"{path} is truncated or corrupt ({error}): make the embeddings again") from None
    combined = column.combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined
