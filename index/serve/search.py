"""Search over the items of a run: words to items by DuckDB, an item to its neighbours by exact FAISS search.

Nothing is loaded before it is asked for, and the last few catalogues and indexes are kept. A million items of 32
numbers take about 130 MB an index; a table that was made anew is loaded anew.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import duckdb
import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float32, Int64

from configs.errors import InputError
from configs.stages import read_json
from index.measures import ann
from index.serve.runs import RunsFolder, embeddings_of, without_items
from pretrain.embeddings import EmbeddingTable

KEPT_INDEXES, KEPT_CATALOGUES = 4, 2
MOST_MATCHES, MOST_NEIGHBOURS = 50, 100
MOST_WORDS, MOST_LETTERS = 8, 200
LONGEST_VALUE = 300
"""Letters of an attribute's value that an answer holds."""

Loaded = TypeVar("Loaded")


class RecentlyUsed(Generic[Loaded]):
    """The last few things that were asked for; one is loaded at a time, so that two requests do not load one twice."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, threading.Lock()
        self._loaded: OrderedDict[Hashable, Loaded] = OrderedDict()

    def get(self, key: Hashable, load: Callable[[], Loaded]) -> Loaded:
        """What the key stands for, loaded unless it was lately."""
        with self._lock:
            if key not in self._loaded:
                while len(self._loaded) >= self._most:
                    self._loaded.popitem(last=False)
                self._loaded[key] = load()
            self._loaded.move_to_end(key)
            return self._loaded[key]


@dataclass(frozen=True)
class ItemTexts:
    """A catalogue in DuckDB's memory.

    Args:
        connection: its table ``items`` has ``place`` (row of ``items.parquet``), ``id_text``, ``words`` (what is
            searched), ``impressions`` (null where they are not known) and the catalogue's own columns.
        ids: of ``items.parquet``, in its order.
        shown: the catalogue's columns that an answer holds, ``item_id`` aside.
        fingerprint: of the catalogue, as ``log.json`` has it.
    """

    connection: duckdb.DuckDBPyConnection
    ids: pa.ChunkedArray
    shown: list[str]
    fingerprint: str

    @classmethod
    def read(cls, runs: RunsFolder, name: str) -> ItemTexts:
        """Load a run's catalogue.

        Raises:
            InputError: if the run has no checked log.
        """
        folder = runs.run(name)
        try:
            file = runs.inside(folder / "logs" / "items.parquet")
            fingerprint = str(read_json(runs.inside(folder / "logs" / "log.json")).get("catalogue"))
        except FileNotFoundError:
            raise InputError(f"run {name} has no items{without_items(folder)}") from None
        table = pq.read_table(file, memory_map=True)
        shown = [field.name for field in table.schema if field.name != "item_id" and _is_scalar(field.type)]
        texts = [name for name in shown if _is_text(table.schema.field(name).type)]
        columns = {f"c{place}": _without_zone(table[name]) for place, name in enumerate(shown)}
        words = ["CAST(item_id AS VARCHAR)", *(f"c{shown.index(text)}" for text in texts)]
        impressions = _impressions(runs, folder, len(table))
        places = pa.array(np.arange(len(table)))
        source = pa.table({"place": places, "item_id": table["item_id"], "impressions": impressions, **columns})
        connection = duckdb.connect(":memory:")
        connection.register("source", source)
        connection.execute(
            "CREATE TABLE items AS SELECT CAST(item_id AS VARCHAR) AS id_text, "
            f"lower(strip_accents(concat_ws(' ', {', '.join(words)}))) AS words, * EXCLUDE (item_id) FROM source"
        )
        connection.unregister("source")
        connection.execute("SET enable_external_access = false")
        return cls(connection, table["item_id"], shown, fingerprint)

    def matches(self, text: str, most: int) -> list[dict[str, Any]]:
        """Items with this id, or whose id or text columns hold every word: that id first, then the most seen.

        Args:
            text: as typed; only its first ``MOST_LETTERS`` letters and ``MOST_WORDS`` words count.
            most: how many are wanted, at most ``MOST_MATCHES``.
        """
        words = text[:MOST_LETTERS].split()[:MOST_WORDS]
        if not words:
            return []
        holds = " AND ".join("contains(words, lower(strip_accents(?)))" for _ in words)
        places = self.connection.cursor().execute(
            f"SELECT place FROM items WHERE id_text = ? OR ({holds}) "
            "ORDER BY id_text = ? DESC, impressions DESC NULLS LAST, place LIMIT ?",
            [text.strip(), *words, text.strip(), min(most, MOST_MATCHES)],
        )
        return self.described([place for (place,) in places.fetchall()])

    def place_of(self, item: str) -> int | None:
        """Row of ``items.parquet`` of an id; None where there is no such item."""
        row = self.connection.cursor().execute("SELECT place FROM items WHERE id_text = ?", [item]).fetchone()
        return None if row is None else int(row[0])

    def described(self, places: Sequence[int]) -> list[dict[str, Any]]:
        """``item_id`` (as text), ``impressions`` and ``attributes`` of the items at these rows, in their order."""
        if not places:
            return []
        columns = ", ".join(f"c{place}" for place in range(len(self.shown)))
        rows = self.connection.cursor().execute(
            f"SELECT place, id_text, impressions{', ' + columns if columns else ''} FROM items "
            f"WHERE place IN ({', '.join('?' for _ in places)})",
            list(places),
        )
        described = {
            row[0]: {
                "item_id": row[1],
                "impressions": row[2],
                "attributes": {
                    name: (f"{value:.6g}" if isinstance(value, float) else str(value))[:LONGEST_VALUE]
                    for name, value in zip(self.shown, row[3:], strict=True)
                    if value is not None
                },
            }
            for row in rows.fetchall()
        }
        return [described[place] for place in places]


@dataclass(frozen=True)
class SearchableVectors:
    """One embedding ready to be searched.

    Args:
        index: exact, by inner product of L2-normalised vectors.
        places: row of ``items.parquet`` of each vector.
        rows: the vector of each row of ``items.parquet``; -1 where it has none.
    """

    index: ann.Index
    places: Int64[np.ndarray, " vectors"]
    rows: Int64[np.ndarray, " items"]

    @classmethod
    def read(cls, folder: Path, items: ItemTexts) -> SearchableVectors:
        """Load a table and build its index.

        Raises:
            InputError: if it is damaged, or of another catalogue.
        """
        table = EmbeddingTable.load(folder)
        table.require_catalogue(items.fingerprint)
        rows = table.rows_of(items.ids)
        places = np.full(len(table), -1, dtype=np.int64)
        places[rows[rows >= 0]] = np.flatnonzero(rows >= 0)
        if not len(table) or (places < 0).any():
            raise InputError(f"{table.name} is empty, or holds items that the catalogue lacks: make it again")
        return cls(ann.exact_index(ann.normalised(np.asarray(table.vectors))), places, rows)

    def nearest(self, place: int, k: int, among: SearchableVectors | None) -> list[tuple[int, float]]:
        """Rows of ``items.parquet`` and cosines of the k nearest items, itself left out; empty without a vector.

        Args:
            place: row of ``items.parquet``.
            k: how many.
            among: only items that this embedding holds, too; None: all.
        """
        row = int(self.rows[place])
        if row < 0:
            return []
        query: Float32[np.ndarray, "1 dimension"] = self.index.reconstruct(row).reshape(1, -1)
        parameters = None
        if among is not None:
            allowed = self._shared_with(among)
            library: Any = faiss  # its Python wrappers take other arguments than its stubs say
            selector = library.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
            parameters = library.SearchParameters(sel=selector)
        cosines, neighbours = self.index.search(query, min(k + 1, self.index.ntotal), params=parameters)
        pairs = zip(neighbours[0].tolist(), cosines[0].tolist(), strict=True)
        return [(int(self.places[other]), cosine) for other, cosine in pairs if other not in (row, -1)][:k]

    def searched(self, place: int, among: SearchableVectors | None) -> int:
        """How many items :meth:`nearest` looks through: the item itself is none of them."""
        pool = len(self.places) if among is None else int(self._shared_with(among).sum())
        own = self.rows[place] >= 0 and (among is None or among.rows[place] >= 0)
        return pool - int(own)

    def _shared_with(self, other: SearchableVectors) -> Bool[np.ndarray, " vectors"]:
        both: Bool[np.ndarray, " vectors"] = other.rows[self.places] >= 0
        return both


class ItemSearch:
    """Answers of the search, for all runs of a folder."""

    def __init__(self, runs: RunsFolder) -> None:
        self._runs = runs
        self._items: RecentlyUsed[ItemTexts] = RecentlyUsed(KEPT_CATALOGUES)
        self._vectors: RecentlyUsed[SearchableVectors] = RecentlyUsed(KEPT_INDEXES)

    def items(self, run: str) -> ItemTexts:
        """The run's catalogue, loaded at the first use."""
        folder = self._runs.run(run)
        return self._items.get(_state(folder / "logs" / "items.parquet"), lambda: ItemTexts.read(self._runs, run))

    def vectors(self, run: str, name: str) -> SearchableVectors:
        """One embedding of the run, loaded at the first use.

        Raises:
            InputError: if the run has no such embedding; it names those that there are.
        """
        tables = embeddings_of(self._runs, run)
        if name not in tables:
            raise InputError(f"run {run} has no embedding {name}; it has: {', '.join(tables) or 'none'}")
        items = self.items(run)
        return self._vectors.get(
            _state(tables[name] / "manifest.json"), lambda: SearchableVectors.read(tables[name], items)
        )

    def neighbours(self, run: str, item: str, names: Sequence[str], k: int, shared: bool) -> dict[str, Any]:
        """The k nearest items of one item under one embedding, or under two side by side.

        Args:
            run: its name.
            item: an item's id as text.
            names: one or two embeddings, ``psi`` or ``phi:<system>``.
            k: at most ``MOST_NEIGHBOURS``.
            shared: search only among items that both embeddings hold, so that the lists can agree; else each
                searches among all that it holds.

        Returns:
            The item, the lists (each neighbour with its cosine and its rank in the other list), and how far they agree.

        Raises:
            InputError: if the item or an embedding is not there.
        """
        items = self.items(run)
        place = items.place_of(item)
        if place is None:
            raise InputError(f"run {run} has no item {item}")
        names = list(dict.fromkeys(names))  # one against itself agrees whatever it is
        sides = [self.vectors(run, name) for name in names]
        near = [
            side.nearest(place, min(k, MOST_NEIGHBOURS), other if shared and len(sides) > 1 else None)
            for side, other in zip(sides, reversed(sides), strict=True)
        ]
        return {
            "run": run,
            "item": items.described([place])[0],
            "k": k,
            "among": "shared" if shared else "all",
            "lists": [
                {
                    "embedding": name,
                    "items": int(side.index.ntotal),
                    "searched": side.searched(place, other if shared and len(sides) > 1 else None),
                    "holds_item": bool(side.rows[place] >= 0),
                    "neighbours": _neighbours(items, own, ranked if len(sides) > 1 else []),
                }
                for name, side, own, ranked, other in zip(
                    names, sides, near, reversed(near), reversed(sides), strict=True
                )
            ],
            "agreement": _agreement(near),
        }


Near = list[tuple[int, float]]
"""Rows of ``items.parquet`` and cosines, nearest first."""


def _neighbours(items: ItemTexts, near: Near, other: Near) -> list[dict[str, Any]]:
    ranks = {place: rank for rank, (place, _) in enumerate(other, start=1)}
    shown = items.described([place for place, _ in near])
    return [
        {**entry, "rank": rank, "cosine": round(cosine, 4), "rank_in_other": ranks.get(place)}
        for rank, (entry, (place, cosine)) in enumerate(zip(shown, near, strict=True), start=1)
    ]


def _agreement(near: Sequence[Near]) -> dict[str, Any] | None:
    """How many items both lists hold; None where there is one list, or one of two is empty."""
    if len(near) < 2 or not all(near):
        return None
    common = len({place for place, _ in near[0]} & {place for place, _ in near[1]})
    longest = max(map(len, near))
    return {"common": common, "of": longest, "share": common / longest}


def _impressions(runs: RunsFolder, folder: Path, items: int) -> pa.Array:
    """Training impressions of each item; null where the run's features are not there or of another catalogue."""
    try:
        path = runs.inside(folder / "prerank" / "encoded" / "items" / "training_impressions.npy")
        counts = np.load(path, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, ValueError):
        return pa.nulls(items, pa.int64())
    if counts.shape != (items,):
        return pa.nulls(items, pa.int64())
    return pa.array(np.asarray(counts), pa.int64())


def _state(path: Path) -> tuple[str, int, int]:
    """A file and when it was written, so that what was made anew is read anew; what is missing is for its reader."""
    if not path.exists():
        return str(path), 0, 0
    facts = path.stat()
    return str(path), facts.st_mtime_ns, facts.st_size


def _without_zone(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times in UTC without their zone, for which DuckDB would ask for a further package."""
    zoned = pa.types.is_timestamp(column.type) and column.type.tz is not None
    return column.cast(pa.timestamp(column.type.unit)) if zoned else column


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_scalar(kind: pa.DataType) -> bool:
    return not pa.types.is_nested(kind) and not pa.types.is_binary(kind)
