"""Any two embedding tables, brought together: the items that both hold, in one order, and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Float32, Int64

from configs.command import Invocation
from configs.console import say, warn
from configs.errors import InputError
from configs.schema import Config
from configs.stages import source_fingerprint
from graph.logs.log import catalogue_fingerprint
from index.measures.ann import ROWS_AT_ONCE, centred, clip, normalised
from index.measures.catalogue import CatalogueItems, read_catalogue
from index.measures.figures import Bootstrap
from index.measures.sources import Rows, drawn
from index.measures.suite import Subject
from pretrain.embeddings import EmbeddingTable

OUTPUT = "audit_of_tables"
"""Where an audit of two tables is written without a run and without ``index.output``."""
NO_COLD_START = "two tables alone cannot be trained again without some of their items; audit a run for the cold start"
NO_COLLISIONS = "two tables alone do not say how ids were hashed"


@dataclass(frozen=True)
class Tables:
    """Two tables on the items that both hold.

    Args:
        first, second: as loaded; the first is the reference and takes ψ's part, the second φ's.
        rows: of the first and of the second table, item by item.
        catalogue: of these items, in the same order; it has no popularity.
        inputs: fingerprints of the files.
        facts: folder, name, size and dimension of both, for ``audit.json``.
    """

    first: EmbeddingTable
    second: EmbeddingTable
    rows: tuple[Rows, Rows]
    catalogue: CatalogueItems
    inputs: dict[str, str]
    facts: dict[str, Any]


def wants_tables(config: Config) -> bool:
    """Whether the audit was asked for two tables rather than for a run.

    Raises:
        InputError: if only a part of them was named.
    """
    asked = {"a": config.index.a, "b": config.index.b, "items": config.index.items, "output": config.index.output}
    named = [key for key, value in asked.items() if value is not None]
    if named and (asked["a"] is None or asked["b"] is None):
        raise InputError(f"two tables are compared: expected a=FOLDER and b=FOLDER, found only {', '.join(named)}=")
    return bool(named)


def output_of(invocation: Invocation) -> Path:
    """``index.output``, else a folder within the run that was named, else one in the working directory."""
    if invocation.config.index.output is not None:
        return Path(invocation.config.index.output)
    return invocation.run.index / "tables" if "run" in invocation.asked else Path(OUTPUT)


def open_tables(config: Config) -> Tables:
    """Load both tables and the items, and find what they share; what only one of them holds is counted out loud.

    Raises:
        InputError: if a file is missing or damaged, ids are of different kinds, nothing is shared, or a vector is not
            finite.
    """
    folders = {"a": Path(str(config.index.a)), "b": Path(str(config.index.b))}
    loaded = {key: EmbeddingTable.load(folder) for key, folder in folders.items()}
    first, second = loaded["a"], loaded["b"]
    _require_one_kind(first.ids.type, second.ids.type, "b's ids")
    in_second = _rows_of(second, first.ids)
    rows = np.flatnonzero(in_second >= 0), in_second[in_second >= 0]
    if len(rows[0]) == 0:
        raise InputError(
            f"a ({folders['a']}) and b ({folders['b']}) share no item: a holds e.g. {_examples(first.ids)}, b "
            f"{_examples(second.ids)}; give two tables of one catalogue, with ids written in the same way"
        )
    if first.catalogue != second.catalogue:
        warn("a and b were made for different catalogues: equal ids are taken to be the same item")
    for key, table, own in (("a", first, rows[0]), ("b", second, rows[1])):
        say(f"{key}: {table.name}, {len(table):,} items of {table.dimension} numbers, {folders[key]}")
        if len(own) < len(table):
            say(f"{key}: {len(table) - len(own):,} items that the other table lacks are left out")
        _require_finite(table, key)
    ids = first.ids.take(pa.array(rows[0])) if len(rows[0]) < len(first) else first.ids
    inputs = {key: source_fingerprint(folder) for key, folder in folders.items()}
    if config.index.items is not None:
        inputs["items"] = source_fingerprint(Path(config.index.items))
    facts = {
        key: {"folder": str(folders[key]), "name": table.name, "items": len(table), "dimension": table.dimension}
        for key, table in loaded.items()
    }
    return Tables(first, second, rows, _catalogue(ids, config.index.items), inputs, facts)


def subject_of_tables(tables: Tables, config: Config) -> Subject:
    """Both embeddings on the shared items; no item is outside, and popularity is not known."""
    psi, phi = (_taken(table, own) for table, own in zip((tables.first, tables.second), tables.rows, strict=True))
    items = len(tables.catalogue)
    remedy = "give tables that share more items"
    subject = Subject(
        psi=normalised(psi),
        phi=normalised(phi),
        psi_centred=centred(psi),
        phi_centred=centred(phi),
        outside=np.zeros((0, phi.shape[1]), dtype=np.float32),
        queries=drawn(np.arange(items), config, "shared items"),
        attributes=tables.catalogue.attributes,
        outside_attributes=dict.fromkeys(tables.catalogue.attributes, np.zeros(0, dtype=np.int64)),
        impressions=tables.catalogue.impressions,
        neighbours=clip(config.index.neighbours, items, "what both tables hold", remedy),
        bootstrap=Bootstrap(config.evaluation.draws, config.evaluation.confidence, config.seed),
    )
    for key, units in (("a", subject.psi), ("b", subject.phi)):
        zeros = int((~units.any(axis=1)).sum())
        if zeros:
            warn(f"{key}: {zeros:,} vectors are zero; they have no neighbours, and count in no overlap and no purity")
    return subject


def _catalogue(ids: pa.Array, path: str | None) -> CatalogueItems:
    """The items' rows in the order of ``ids``; without a file, the ids alone."""
    impressions = np.zeros(len(ids), dtype=np.int64)
    if path is None:
        say("no items=items.parquet: attributes are not known, so there is no purity")
        return read_catalogue(pa.table({"item_id": ids}), impressions)
    items = _read_items(Path(path))
    _require_one_kind(ids.type, items["item_id"].type, f"item_id of {path}")
    known = items["item_id"].cast(ids.type)
    rows = pc.index_in(ids, value_set=known)
    lacking = rows.null_count
    if lacking == len(ids):
        raise InputError(
            f"{path} holds none of the {len(ids):,} items that both tables hold, e.g. {_examples(ids)}; it holds e.g. "
            f"{_examples(known)}: give the items.parquet of the tables' catalogue"
        )
    if lacking:
        say(f"{lacking:,} of {len(ids):,} items are not in {path}: they have no attributes")
    catalogue = items.take(rows)
    return read_catalogue(catalogue.set_column(catalogue.column_names.index("item_id"), "item_id", ids), impressions)


def _read_items(path: Path) -> pa.Table:
    try:
        items = pq.read_table(path)
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"items={path} does not exist: give a Parquet file with a column item_id") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"items={path} is not a readable Parquet file ({error})") from None
    if "item_id" not in items.column_names:
        raise InputError(f"items={path} has no column item_id; it has {', '.join(items.column_names)}")
    repeated = len(items) - pc.count_distinct(items["item_id"]).as_py()
    if repeated:
        raise InputError(f"items={path}: {repeated:,} of {len(items):,} item_id are repeated or null; one row an item")
    return items


def _require_one_kind(expected: pa.DataType, actual: pa.DataType, what: str) -> None:
    if _is_text(expected) != _is_text(actual):
        raise InputError(
            f"a's ids are of type {expected}, {what} of type {actual}: text and numbers cannot be matched; write one "
            "of them again with the other's type"
        )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _rows_of(table: EmbeddingTable, ids: pa.Array) -> Rows:
    try:
        return table.rows_of(ids)
    except pa.ArrowInvalid as error:
        raise InputError(
            f"a's ids are of type {ids.type}, b's of type {table.ids.type}, and cannot be matched ({error}): write one "
            "of them again with the other's type"
        ) from None


def _require_finite(table: EmbeddingTable, key: str) -> None:
    for start in range(0, len(table), ROWS_AT_ONCE):
        broken = ~np.isfinite(table.vectors[start : start + ROWS_AT_ONCE]).all(axis=1)
        if broken.any():
            row = start + int(broken.argmax())
            raise InputError(f"{key}: the vector of item {table.ids[row]} (row {row:,}) is not finite; make it again")


def _taken(table: EmbeddingTable, rows: Int64[np.ndarray, " items"]) -> Float32[np.ndarray, "items dimension"]:
    """The vectors of these rows; the table's own map where they are all of them in their order."""
    vectors: Float32[np.ndarray, "items dimension"] = np.asarray(table.vectors)
    in_order = len(rows) == len(table) and bool((np.diff(rows) == 1).all())
    return vectors if in_order else vectors[rows]


def _examples(ids: pa.Array | pa.ChunkedArray) -> str:
    return ", ".join(repr(value) for value in ids.slice(0, 3).to_pylist())


def table_facts(tables: Tables) -> dict[str, Any]:
    """What ``audit.json`` says of the two tables: ``psi`` in it is a, ``phi`` is b."""
    shared = len(tables.catalogue)
    return {
        "run": f"{tables.first.name} and {tables.second.name}",
        "system": f"{tables.second.name} (b) against {tables.first.name} (a)",
        "simulated": False,
        "catalogue": catalogue_fingerprint(tables.catalogue.ids),
        "inputs": tables.inputs,
        "items": shared,
        "items_of_p": shared,
        "tables": {
            key: {**facts, "left_out": facts["items"] - shared, "stands_for": part}
            for (key, facts), part in zip(tables.facts.items(), ("psi", "phi"), strict=True)
        },
    }
