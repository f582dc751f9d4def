"""The catalogue of a bundle: item sides, counts and attributes, in the order of the ids' hashes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32, Int64

from configs.console import say
from prerank.encoding.schema import of_side
from prerank.exporting.sources import Source
from prerank.exporting.tables import Arrays, write_tensors
from pretrain.embeddings import EmbeddingTable


def hash_order(source: Source) -> Int64[np.ndarray, " items"]:
    """The catalogue's rows by ascending hash of their ids."""
    return np.argsort(source.encoded.items.item_hash, kind="stable")


def write_items(source: Source, of_items: Arrays, folder: Path) -> None:
    """Write ``items.safetensors`` and ``item_attributes.parquet``.

    Args:
        source: of the catalogue.
        of_items: what the system knows of every item, in the catalogue's order.
        folder: of the bundle.
    """
    order, counts, items = hash_order(source), source.encoded.training_counts, source.encoded.items
    arrays: Arrays = {name: values[order] for name, values in of_items.items()}
    arrays["hash"] = items.item_hash[order]
    for name, values in (("impressions", counts.impressions), ("clicks", counts.clicks), ("orders", counts.orders)):
        arrays[name] = values[order].astype(np.int32)
    if source.run.psi.exists():
        arrays["in_p"] = (EmbeddingTable.load(source.run.psi).rows_of(items.item_id) >= 0)[order].astype(np.uint8)
    write_tensors(arrays, folder / "items.safetensors")
    table = source.items
    names = dict.fromkeys(
        column.name for column in of_side(source.encoded.schema.columns, "item", "id", "number", "text", "list")
    )
    attributes = table.select(["item_id", *names]).take(pa.array(order)).combine_chunks()
    pq.write_table(attributes, folder / "item_attributes.parquet", compression="zstd")


def write_index(phi: Float32[np.ndarray, "items dimension"], path: Path) -> None:
    """Write a FAISS index of φ for inner products of unit vectors; row r is row r of ``items.safetensors``.

    It is exhaustive: the same bytes each time. Nothing that scores reads it.
    """
    try:
        import faiss
    except ImportError:
        say(f"FAISS is not installed: the bundle has no {path.name}")
        return
    lengths = np.linalg.norm(phi, axis=1, keepdims=True)
    index: Any = faiss.IndexFlatIP(phi.shape[1])
    index.add(np.ascontiguousarray(phi / np.maximum(lengths, np.finfo(np.float32).tiny), np.float32))
    faiss.write_index(index, str(path))
