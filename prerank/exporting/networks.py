"""A network in a bundle: dense graphs, tables, item sides of the catalogue, and its scores once tables are rounded."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from configs.schema import TablePrecision
from prerank.encoding.batch_loader import BatchLoader
from prerank.encoding.batches import Batch, EncodedLog, EncodedSplit
from prerank.exporting.features import describe_history, describe_side, history_length, tables_of, tensors_of
from prerank.exporting.graphs import EXAMPLE_ROWS, Dense, write_graph
from prerank.exporting.scores import Served, served
from prerank.exporting.sources import Source
from prerank.exporting.tables import Arrays, Tensors, restored, round_tables, stored
from prerank.network.heads import Outputs
from prerank.network.history import HistoryNetwork
from prerank.network.pre_ranking import ServingNetwork
from prerank.systems.dssm import TwoTowers
from prerank.training.contracts import Predictions
from prerank.training.network_system import SCORING_ROWS, FittedNetwork, NetworkSystem

NETWORK, ITEM, REQUEST = "network", "item", "request"
"""Names of the graphs' files: the score, and what an item's and a request's look-ups pass through."""


class ExportedNetwork:
    """A network on its way into a bundle.

    Args:
        source: of a fitted network.
        fitted: the network.

    Attributes:
        kind: of the bundle.
        items: ``vectors``, the item sides of the catalogue, stored.
        phi: φ of the catalogue, not rounded; None for a network without it.
    """

    def __init__(self, source: Source, fitted: FittedNetwork) -> None:
        self.source, self.module = source, fitted.module
        self.network = fitted.module.network
        self.kind = "two_towers" if isinstance(self.network, TwoTowers) else "network"
        self.served: Served = served(self.network, self.module.task_logits)
        sides, widths = item_sides(self.network, source.encoded)
        self.widths = widths
        self.items: Arrays = stored(sides, source.precision, "vectors")
        self.phi = None if self.network.item_network is None else sides[:, : widths[0]]

    def write(self, folder: Path) -> dict[str, Any]:
        """Write tables and graphs.

        Returns:
            What ``features.json`` says of them.
        """
        sides, score = self.network.sides(), self.served.score
        tensors = Tensors(self.network, self.source.precision)
        request = None if self.served.request is None else f"{REQUEST}.onnx"
        item = None if sides["item"].dense is None else f"{ITEM}.onnx"
        described = {
            "item": describe_side(sides["item"], "item", tensors, score.widths["item"], item),
            "request": describe_side(sides["request"], "request", tensors, score.widths["request"], request),
            "pair": describe_side(sides["pair"], "pair", tensors, score.widths["pair"], None),
        }
        history = describe_history(self.network, tensors)
        tensors.write(folder / "tables.safetensors")
        self._write_graphs(folder)
        return {"sides": described, "history": history, "heads": score.heads}

    def _write_graphs(self, folder: Path) -> None:
        sides, score = self.network.sides(), self.served.score
        if sides["item"].dense is not None:
            outside = [*tensors_of(sides), *_computed_later(self.network)]
            dense, looked_up = Dense(sides["item"].dense, outside), torch.zeros(EXAMPLE_ROWS, sides["item"].width)
            dense.forget_unused(looked_up)
            write_graph(dense, {"item": looked_up}, ["output"], ["item"], folder / ITEM)
        if self.served.request is not None:
            looked_up = torch.zeros(1, sides["request"].width)
            write_graph(self.served.request, {"request": looked_up}, ["output"], [], folder / REQUEST)
        examples = {name: _example(name, score.widths, self.network) for name in score.names}
        write_graph(score, examples, score.heads, ["item", "pair"], folder / NETWORK)

    def stored_predictions(self) -> Callable[[EncodedSplit], Predictions] | None:
        """Scores rows with rounded tables and item sides, as the bundle does; None where nothing is rounded."""
        if self.source.precision is TablePrecision.fp32:
            return None
        network = copy.deepcopy(self.network)
        round_tables(tables_of(network.sides()), self.source.precision)
        vectors = torch.from_numpy(restored(self.items, "vectors"))

        def predict(split: EncodedSplit) -> Predictions:
            parts = [
                _scored(self.module, network, vectors, self.widths, batch) for batch in BatchLoader(split, SCORING_ROWS)
            ]
            click, order, rank = (
                np.concatenate([head.float().numpy() for head in heads]) if heads[0] is not None else None
                for heads in zip(*parts, strict=True)
            )
            return Predictions(click, order, rank)

        return predict


@torch.inference_mode()
def item_sides(network: ServingNetwork, encoded: EncodedLog) -> tuple[Float32[np.ndarray, "items width"], list[int]]:
    """The item side of the whole catalogue, and the widths of its pieces."""
    parts: list[Tensor] = []
    widths: list[int] = []
    for start in range(0, encoded.schema.n_items, SCORING_ROWS):
        rows = np.arange(start, min(start + SCORING_ROWS, encoded.schema.n_items))
        pieces = network.item_side(*encoded.item_features(rows))
        widths = [piece.shape[1] for piece in pieces]
        parts.append(torch.cat(pieces, dim=1).float())
    vectors: np.ndarray = torch.cat(parts).numpy()
    return vectors, widths


@torch.inference_mode()
def _scored(
    module: NetworkSystem,
    network: ServingNetwork,
    vectors: Float[Tensor, "items width"],
    widths: list[int],
    batch: Batch,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    item = list(torch.split(vectors[batch.item], widths, dim=1))
    request, pair = network.request_side(batch.sides["request"]), network.pair_side(batch.sides["pair"])
    if isinstance(network, HistoryNetwork) and network.pooling is not None:
        outputs: Outputs = network.score(item, request, pair, network.histories_of(batch))
    else:
        outputs = network.score(item, request, pair)
    return (*module.task_logits(outputs), outputs.rank)


def _computed_later(network: ServingNetwork) -> list[Tensor]:
    """Buffers that are no part of the state, such as sums over training rows: look-ups are made of them."""
    saved = network.state_dict(keep_vars=True)
    return [buffer for name, buffer in network.named_buffers() if name not in saved]


def _example(name: str, widths: dict[str, int], network: ServingNetwork) -> Tensor:
    if isinstance(network, HistoryNetwork) and name in ("history", "present"):
        length = history_length(network)
        return (
            torch.ones(length, dtype=torch.bool)
            if name == "present"
            else torch.zeros(length, network.hash_id.dimension)
        )
    return torch.zeros(1 if name == "request" else EXAMPLE_ROWS, widths[name])
