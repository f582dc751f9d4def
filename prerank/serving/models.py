"""The kinds of model that a bundle may hold, each of which turns a prepared request into logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from configs.errors import InputError
from prerank.serving.bundle import Bundle
from prerank.serving.features import Encoded
from prerank.serving.hashing import Hashes
from prerank.serving.items import Catalogue
from prerank.serving.lookups import id_buckets, part_of, side_by_side
from prerank.serving.network import Network, Threads
from prerank.serving.onnx_outputs import with_outputs
from prerank.serving.prepared import Prepared
from prerank.serving.spec import SIDES, Features, SideSpec
from prerank.serving.tables import Tensors, map_tensors

if TYPE_CHECKING:
    from jaxtyping import Float32

PRIOR_IMPRESSIONS = 20.0
"""Impressions at the average rate that every item starts with, as in :mod:`prerank.systems.popularity`."""
NO_ITEMS = np.zeros(1, np.int64)


@dataclass(frozen=True)
class Logits:
    """Logits of P(click | impression), P(order | impression) and of being among the ranker's first k; None: no head.

    Shapes: [rows], [rows], [rows, cutoffs].
    """

    click: Float32[np.ndarray, " rows"] | None
    order: Float32[np.ndarray, " rows"] | None
    rank: Float32[np.ndarray, "rows cutoffs"] | None

    def by_head(self) -> dict[str, Float32[np.ndarray, " rows"]]:
        """One logit for each head that there is; the rank head's is the mean over its cutoffs."""
        rank = None if self.rank is None else self.rank.mean(axis=1)
        heads = {"click": self.click, "order": self.order, "rank": rank}
        return {head: logit for head, logit in heads.items() if logit is not None}


class Model(Protocol):
    """Scores prepared requests; from several threads at once."""

    def logits(self, prepared: Prepared, ranking: bool) -> Logits:
        """The logits; with ``ranking``, heads that weigh nothing in the score may be left out."""
        ...


class Side:
    """One side of a network: look-ups, and layers behind them if it has any.

    Args:
        spec: of the side.
        tensors: of tables.safetensors.
        bundle: that holds the layers.
        threads: for many rows.
    """

    def __init__(self, spec: SideSpec, tensors: Tensors, bundle: Bundle, threads: Threads) -> None:
        self._parts = [part_of(entry, tensors) for entry in spec.parts]
        self._network = Network(bundle.read(spec.network), spec.network, threads) if spec.network else None
        self.width = spec.output

    def vectors(self, encoded: Encoded, item_hash: Hashes) -> Float32[np.ndarray, "rows width"]:
        """The side's vectors of encoded rows."""
        if not encoded.rows:
            return np.zeros((0, self.width), np.float32)
        looked_up = side_by_side(self._parts, encoded, item_hash)
        if self._network is None:
            return looked_up

        (name,), (output,) = self._network.widths, self._network.outputs
        return self._network.run(encoded.rows, {name: looked_up})[output]


class History:
    """A request's earlier items, for a network that attends to them: hash-id embeddings, zeros where there is none."""

    def __init__(self, entry: dict[str, Any], tensors: Tensors) -> None:
        self._columns = entry["columns"]
        self._embed = id_buckets(entry, tensors)

    def inputs(self, request: Encoded) -> dict[str, npt.NDArray[Any]]:
        """``history`` float32 [length, width] and ``present`` bool [length]."""
        hashes = np.concatenate([request.lists[column][0] for column in self._columns])
        present = hashes != 0
        vectors = np.zeros((len(hashes), self._embed.table.width), np.float32)
        vectors[present] = self._embed(hashes[present])
        return {"history": vectors, "present": present}


class NetworkModel:
    """Item, request and pair side through the score network.

    Args:
        bundle, features, catalogue: what it reads.
        ranking: heads that weigh anything in the score.
        threads: that score chunks of candidates.

    Raises:
        InputError: if the bundle lacks a part, or parts do not fit each other.
    """

    def __init__(
        self, bundle: Bundle, features: Features, catalogue: Catalogue, ranking: Sequence[str], threads: Threads
    ) -> None:
        tensors = map_tensors(bundle.path("tables.safetensors"))
        self._item, self._request, self._pair = (Side(features.sides[side], tensors, bundle, threads) for side in SIDES)
        self._history = History(dict(features.history), tensors) if features.history else None
        self._network = Network(bundle.read("network.onnx"), "network.onnx", threads)
        self._ranking = _network_of(bundle.read("network.onnx"), ranking, self._network, threads)
        self._vectors = catalogue.vectors
        widths = {"item": self._item.width, "request": self._request.width, "pair": self._pair.width}
        for name, width in self._network.widths.items():
            if name in widths and width != widths[name]:
                raise InputError(f"network.onnx takes a {name} side of {width}, features.json says {widths[name]}")
        if self._vectors is not None and len(self._vectors) and self._vectors.width != self._item.width:
            raise InputError(f"items.safetensors has vectors of {self._vectors.width}, expected {self._item.width}")

    def logits(self, prepared: Prepared, ranking: bool) -> Logits:
        inputs: dict[str, npt.NDArray[Any]] = {
            "item": self._item_vectors(prepared),
            "request": self._request.vectors(prepared.request, NO_ITEMS),
            "pair": self._pair.vectors(prepared.pair, prepared.item_hash),
        }
        if self._history is not None:
            inputs |= self._history.inputs(prepared.request)
        outputs = (self._ranking if ranking else self._network).run(prepared.rows, inputs)
        return Logits(outputs.get("click"), outputs.get("order"), outputs.get("rank"))

    def _item_vectors(self, prepared: Prepared) -> Float32[np.ndarray, "rows width"]:
        """From the catalogue, and of new items by what is known of them."""
        new = prepared.new
        if self._vectors is None or not len(self._vectors):
            vectors = np.empty((prepared.rows, self._item.width), np.float32)
        else:
            vectors = self._vectors.take(prepared.item)  # UNSEEN is some row, written below
        vectors[new.candidates] = self._item.vectors(new.encoded, new.item_hash)[new.places]
        return vectors


def _network_of(content: bytes, heads: Sequence[str], whole: Network, threads: Threads) -> Network:
    """The part of a network that some heads need: fusion often gives a head no weight, which then costs experts."""
    if set(heads) == set(whole.outputs):
        return whole
    try:
        part = Network(with_outputs(content, heads), "network.onnx", threads)
    except (ValueError, InputError):  # a model with subgraphs, as none of ours is
        return whole
    return part if whole.agrees(part) else whole


class Popularity:
    """Items by their smoothed click and order rates on training days, whatever the request."""

    def __init__(self, features: Features, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        impressions = catalogue.impressions.astype(np.int64)
        events = {"click": catalogue.clicks, "order": catalogue.orders}
        self._logits = {head: _smoothed_logits(events[head].astype(np.int64), impressions) for head in features.heads}

    def logits(self, prepared: Prepared, ranking: bool) -> Logits:  # noqa: ARG002
        item = self._catalogue.find(prepared.item_hash)
        # UNSEEN is the last place: the logit of an item without an impression.
        of_head = {head: logits.take(item) for head, logits in self._logits.items()}
        return Logits(of_head.get("click"), of_head.get("order"), None)


def _smoothed_logits(
    events: npt.NDArray[np.int64], impressions: npt.NDArray[np.int64]
) -> Float32[np.ndarray, " items_and_1"]:
    """The logit of each item's rate, and at the end that of an item never shown."""
    average = float(np.clip(events.sum() / max(impressions.sum(), 1), 1e-6, 1 - 1e-6))
    rate = (np.append(events, 0) + PRIOR_IMPRESSIONS * average) / (np.append(impressions, 0) + PRIOR_IMPRESSIONS)
    logits: npt.NDArray[np.float32] = np.log(rate / (1 - np.minimum(rate, 1 - 1e-6))).astype(np.float32)
    return logits
