r"""The graph of yesterday as the start of today's: its edges, decayed, and today's events. No row of it is read again.

.. math:: w' = 2^{-Δ / half\_life} · w + w_{new}

with Δ the days between the ends of the two graphs. Stored weights are normalised, so the graph's folder keeps what they
were divided by, and what else cannot be had from edges:

::

    graph/state/
      query_item.npz, item_item.npz     strengths of each source and target, those of edges beyond the cap too
      item_events.npy                   events of each item: which items are in P
      engaged.parquet                   user_id, item_id, engaged_at: which touched items are events already

So the result is that of a rebuild over all days, to float32's precision, where no cap binds and no session is cut.
Beyond its cap, an edge is forgotten and starts at 0 when it comes again; its strength still counts among those of its
ends.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Float64, Int64

from configs.errors import InputError
from configs.stages import replacing
from graph.adjacency import StrengthBatch, Strengths
from graph.coengagement import RESOLUTION, SECONDS_PER_DAY
from graph.engines import Workbench
from graph.store import Graph, Key

STATE = "state"
ITEM_EVENTS, ENGAGED = "item_events.npy", "engaged.parquet"
QUERY_ITEM: tuple[Key, ...] = (("query", "engaged", "item"), ("item", "engaged_by", "query"))
"""A relation and its reverse: an edge beyond the cap of one end may be within that of the other."""
ITEM_ITEM: tuple[Key, ...] = (("item", "co_engaged", "item"),)
LOST = 1e-4
"""Share of a node's strength below which what lies beyond its cap is nothing but rounding."""
Sums = tuple[Float64[np.ndarray, " sources"], Float64[np.ndarray, " targets"]]
"""The strengths of each source and of each target."""


@dataclass(frozen=True)
class Past:
    """Yesterday's graph, with its nodes numbered as today's are.

    Attributes:
        name: of its run.
        graph: finished.
        items: today's items.
        half_life_days: of an event's weight.
        end: the end of today's training days.
    """

    name: str
    graph: Graph
    items: int
    half_life_days: float
    end: datetime

    @property
    def decay(self) -> float:
        """What is left of a weight since yesterday."""
        days = (self.end - datetime.fromisoformat(str(self.graph.facts["end"]))).total_seconds() / SECONDS_PER_DAY
        return float(0.5 ** (days / self.half_life_days))

    @cached_property
    def known(self) -> npt.NDArray[np.bool_]:
        """Items that an attribute leads to, as it does to those that were shown or listed by yesterday. [items]"""
        known = np.zeros(self.items, np.bool_)
        for (source, _, target), relation in self.graph.relations.items():
            if target == "item" and source not in ("item", "query"):
                known[: len(relation.indptr) - 1] |= np.diff(relation.indptr) > 0
        return known

    @property
    def queries(self) -> pa.ChunkedArray:
        """Yesterday's queries, in the order of their indices."""
        return self.graph.nodes("query")["key"]

    @cached_property
    def item_events(self) -> Int64[np.ndarray, " items"]:
        """Events of each item of today's catalogue up to yesterday."""
        return grown(np.load(self._state(ITEM_EVENTS)), self.items)

    def engaged(self, bench: Workbench) -> Any | None:
        """user_id, item_id, engaged_at of every engagement so far; None where no history was read."""
        path = self.graph.folder / STATE / ENGAGED
        return bench.backend.read_parquet(glob.escape(str(path))) if path.exists() else None

    def keep_strengths(self, bench: Workbench, name: str, keys: tuple[Key, ...], numbers: dict[str, Any]) -> Any:
        """Yesterday's strengths, decayed, as the table ``name`` of source, target, strength.

        Args:
            keys: a relation and, where it has one, its reverse.
            numbers: node type → today's index of each of yesterday's nodes.
        """
        schema = pa.schema({"source": pa.int64(), "target": pa.int64(), "strength": pa.float64()})
        with pq.ParquetWriter(bench.path(name), schema) as writer:
            for source, target, strength in self._strengths(keys):
                columns = [numbers[keys[0][0]][source], numbers[keys[0][2]][target], strength]
                writer.write_table(pa.table(columns, schema=schema))
        table = bench.table(name)
        return table.group_by(["source", "target"]).agg(strength=table.strength.max())

    def beyond(self, keys: tuple[Key, ...], retained: Strengths, numbers: dict[str, Any]) -> Sums:
        """Strengths of each source and target, decayed, whose edges lie beyond the caps and were not stored.

        Args:
            retained: yesterday's strengths as today's numbers have them.
        """
        with np.load(self._state(f"{_named(keys)}.npz")) as stored:
            before = [self.decay * stored["source"], self.decay * stored["target"]]
        sums = []
        for kind, whole, left in zip((keys[0][0], keys[0][2]), before, retained.sums[:2], strict=True):
            full = np.zeros(len(left))
            full[numbers[kind]] = whole[: len(numbers[kind])]
            sums.append(np.where(full - left > LOST * full, full - left, 0.0))
        return sums[0], sums[1]

    def _strengths(self, keys: tuple[Key, ...]) -> Iterator[StrengthBatch]:
        """Source, target (of the first key) and strength of every stored edge of some relations."""
        with np.load(self._state(f"{_named(keys)}.npz")) as stored:
            sums = {"source": stored["source"], "target": stored["target"]}
        for place, key in enumerate(keys):
            if key not in self.graph.relations:
                continue
            for to, of, weight in self.graph.relations[key].batches():
                source, target = (of, to) if place == 0 else (to, of)
                strength = weight.astype(np.float64) * np.sqrt(sums["source"][source] * sums["target"][target])
                if key in ITEM_ITEM:  # both directions are stored, one is wanted
                    once = source < target
                    source, target, strength = source[once], target[once], strength[once]
                yield source, target, np.maximum(np.rint(strength * self.decay / RESOLUTION), 1) * RESOLUTION

    def _state(self, file: str) -> Path:
        path = self.graph.folder / STATE / file
        if not path.exists():
            raise InputError(
                f"{path} is missing: the graph of {self.name} was built by an older version, which kept too little to "
                f"go on from. Delete {self.graph.folder} and run `python -m graph.build run={self.name}`"
            )
        return path


def grown(counts: Int64[np.ndarray, " before"], items: int) -> Int64[np.ndarray, " items"]:
    """Counts of a catalogue's items for one that has grown; 0 for the new ones."""
    return np.concatenate([counts, np.zeros(items - len(counts), np.int64)])


def write_sums(folder: Path, keys: tuple[Key, ...], edges: Strengths) -> None:
    """Keep what the strengths of a relation are normalised by."""
    source, target, _ = edges.sums
    with replacing(_in_state(folder, f"{_named(keys)}.npz")) as temporary, temporary.open("wb") as file:
        np.savez(file, source=source, target=target)


def write_item_events(folder: Path, counts: Int64[np.ndarray, " items"]) -> None:
    """Keep how many events each item has had."""
    with replacing(_in_state(folder, ITEM_EVENTS)) as temporary, temporary.open("wb") as file:
        np.save(file, counts)


def write_engaged(folder: Path, bench: Workbench, engaged: Any) -> None:
    """Keep which user has engaged which item, and when first."""
    bench.keep(engaged, "engaged")
    with replacing(_in_state(folder, ENGAGED)) as temporary:
        pq.write_table(bench.read("engaged").sort_by([("user_id", "ascending"), ("item_id", "ascending")]), temporary)


def read_item_events(graph: Graph) -> Int64[np.ndarray, " items"]:
    """Events of each item, of all days that a graph which goes on from others knows."""
    events: Int64[np.ndarray, " items"] = np.load(graph.folder / STATE / ITEM_EVENTS)
    return events


def places_in(new: pa.ChunkedArray, old: pa.ChunkedArray) -> Int64[np.ndarray, " old"]:
    """Where each of some keys lies among others, which hold them all."""
    return np.asarray(pc.index_in(old, value_set=new).to_numpy().astype(np.int64))


def _named(keys: tuple[Key, ...]) -> str:
    return f"{keys[0][0]}_{keys[0][2]}"


def _in_state(folder: Path, file: str) -> Path:
    (folder / STATE).mkdir(exist_ok=True)
    return folder / STATE / file
