"""Boosted trees: the feature matrix of :class:`prerank.encoding.tabular.TabularEncoder`, and LightGBM's own models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np
import numpy.typing as npt

from prerank.serving.bundle import Bundle
from prerank.serving.features import Encoded
from prerank.serving.hashing import Hashes
from prerank.serving.lookups import place_among
from prerank.serving.models import Logits
from prerank.serving.network import Threads
from prerank.serving.prepared import Prepared
from prerank.serving.request import ITEM_ID
from prerank.serving.spec import SIDES, Features
from prerank.serving.tables import Tensors, map_tensors, tensor

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64

MOST_CATEGORIES = 254
"""Above this many values a column of ids is described by its counts and rates instead."""
PRIOR_ROWS = 20.0
"""Rows at the average rate that every value starts with."""


@dataclass(frozen=True)
class SeenValues:
    """What training rows say of a column's values.

    Attributes:
        known: their hashes, ascending.
        count: rows of each.
        events: task → positives of each.
    """

    known: Hashes
    count: Float64[np.ndarray, " values"]
    events: Mapping[str, Float64[np.ndarray, " values"]]

    @classmethod
    def of(cls, tensors: Tensors, column: str, tasks: Mapping[str, float]) -> SeenValues:
        """Those of ``side:column``, of the tasks whose averages are known."""
        events = {task: tensor(tensors, f"{column}.{task}") for task in tasks}
        return cls(tensor(tensors, f"{column}.known"), tensor(tensors, f"{column}.count"), events)

    def features(self, hashes: Hashes, averages: Mapping[str, float]) -> Iterator[npt.NDArray[Any]]:
        """The place among few values; of many, how often the value was seen and each task's smoothed rate."""
        place = place_among(self.known, hashes)
        known = place < len(self.known)
        if len(self.known) <= MOST_CATEGORIES:
            yield np.where(known, place, np.nan)
            return
        rows = np.where(known, self.count.take(place, mode="clip"), 0)
        yield rows
        for task, events in self.events.items():
            seen = np.where(known, events.take(place, mode="clip"), 0)
            yield (seen + PRIOR_ROWS * averages[task]) / (rows + PRIOR_ROWS)


class Trees:
    """A booster for each task.

    Args:
        bundle, features: what it reads.
        ranking: heads that weigh anything in the score.
        threads: how many LightGBM may use.
    """

    def __init__(self, bundle: Bundle, features: Features, ranking: Sequence[str], threads: Threads) -> None:
        items = map_tensors(bundle.path("items.safetensors"))
        seen = map_tensors(bundle.path("tables.safetensors"))
        self._averages: Mapping[str, float] = (features.trees or {})["averages"]
        self._columns = {side: [(_kind(each.kind), each.name) for each in features.columns[side]] for side in SIDES}
        self._items = {(kind, name): tensor(items, f"{kind}:{name}") for kind, name in self._columns["item"]}
        ids = [f"{side}:{name}" for side in SIDES for kind, name in self._columns[side] if kind == "id"]
        self._seen = {column: SeenValues.of(seen, column, self._averages) for column in [f"item:{ITEM_ID}", *ids]}
        self._lines = {task: tuple(line) for task, line in json.loads(bundle.read("lines.json")).items()}
        self._boosters = {
            task: lightgbm.Booster(model_str=bundle.read(f"{task}.txt").decode()) for task in features.heads
        }
        self._ranking = ranking
        self._threads = threads.count

    def logits(self, prepared: Prepared, ranking: bool) -> Logits:
        matrix = self._matrix(prepared)
        logits = {}
        for task, booster in self._boosters.items():
            if ranking and task not in self._ranking:
                continue
            slope, intercept = self._lines[task]
            score = np.asarray(booster.predict(matrix, raw_score=True, num_threads=self._threads))
            logits[task] = (slope * score + intercept).astype(np.float32)
        return Logits(logits.get("click"), logits.get("order"), None)

    def _matrix(self, prepared: Prepared) -> Float32[np.ndarray, "rows features"]:
        """Numbers, lengths of lists, and what is known of ids, each side by side."""
        values = {side: self._values(side, prepared) for side in SIDES}

        def of_kind(kind: str) -> Iterator[tuple[str, npt.NDArray[Any]]]:
            for side in SIDES:
                yield from ((f"{side}:{name}", column) for (each, name), column in values[side].items() if each == kind)

        columns = [column for kind in ("number", "length") for _, column in of_kind(kind)]
        for name, hashes in ((f"item:{ITEM_ID}", prepared.item_hash), *of_kind("id")):
            columns += self._seen[name].features(hashes, self._averages)
        matrix = np.empty((prepared.rows, len(columns)), np.float32)
        for place, column in enumerate(columns):
            matrix[:, place] = column
        return matrix

    def _values(self, side: str, prepared: Prepared) -> dict[tuple[str, str], npt.NDArray[Any]]:
        """The columns of a side, for each candidate (the request's: one value for all of them)."""
        if side != "item":
            encoded = prepared.request if side == "request" else prepared.pair
            return {(kind, name): _raw(encoded, kind, name) for kind, name in self._columns[side]}
        values = {}
        for (kind, name), stored in self._items.items():
            column = stored.take(prepared.item, mode="clip") if len(stored) else np.zeros(prepared.rows, stored.dtype)
            if len(prepared.new.candidates):
                column[prepared.new.candidates] = _raw(prepared.new.encoded, kind, name)[prepared.new.places]
            values[kind, name] = column
        return values


def _kind(kind: str) -> str:
    """Of a text or list, trees see the length."""
    return "length" if kind in ("text", "list") else kind


def _raw(encoded: Encoded, kind: str, name: str) -> npt.NDArray[Any]:
    if kind == "length":
        return np.asarray((encoded.lists[name] != 0).sum(axis=1))
    return encoded.ids[name] if kind == "id" else encoded.numbers[name]
