"""PLE of other libraries on the documented work, for the benchmarks that hold ours against it.

Each peer is trained as its own guide says: tables of its own for the twelve id columns, Adagrad over all of them, which
for both means dense gradients. They are an extra (``pip install -e '.[peers]'``); a peer that is not installed is left
out and named.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

COLUMNS, WIDTH, ID_WIDTH = 11, 16, 32
EXPERTS, TOWER = [128, 64], [64]
SPECIFIC, SHARED, TASKS = 2, 2, 2
PEERS = {"torch-rechub": "torch_rechub", "deepctr-torch": "deepctr_torch"}
"""Name on PyPI → module."""


@dataclass(frozen=True)
class Peer:
    """A library's PLE.

    Attributes:
        module: the network, with all its tables.
        probabilities: of the ids, int64 [batch, 12], the item's first: float32 [batch, tasks].
    """

    module: nn.Module
    probabilities: Callable[[Int64[Tensor, "batch columns"]], Float[Tensor, "batch tasks"]]

    def make_step(self) -> Callable[[Int64[Tensor, "batch columns"], Float[Tensor, "batch tasks"]], None]:
        """A training step on ids and labels."""
        optimizer = torch.optim.Adagrad(self.module.parameters(), lr=0.02)

        def step(ids: Tensor, labels: Tensor) -> None:
            optimizer.zero_grad()
            F.binary_cross_entropy(self.probabilities(ids), labels).backward()
            optimizer.step()

        return step


def installed() -> list[str]:
    """The peers that are here."""
    return [name for name, module in PEERS.items() if importlib.util.find_spec(module) is not None]


def peer(name: str, item_rows: int, column_rows: int, levels: int = 1) -> Peer:
    """A peer's PLE with the documented sizes.

    Args:
        name: of :data:`PEERS`, installed.
        item_rows, column_rows: buckets of the item's id and of each other column.
        levels: of extraction.
    """
    vocabularies = [item_rows, *[column_rows] * COLUMNS]
    widths = [ID_WIDTH, *[WIDTH] * COLUMNS]
    return (_rechub if name == "torch-rechub" else _deepctr)(vocabularies, widths, levels)


def _rechub(vocabularies: list[int], widths: list[int], levels: int) -> Peer:
    from torch_rechub.basic.features import SparseFeature
    from torch_rechub.models.multi_task import PLE

    # It wants one width for all columns: the item's id of 32 is two columns of 16, as many numbers in all.
    places = [place for place, width in enumerate(widths) for _ in range(width // WIDTH)]
    names = [f"c{number}" for number in range(len(places))]
    features = [SparseFeature(name, vocabularies[place], WIDTH) for name, place in zip(names, places, strict=True)]
    experts = {"dims": EXPERTS, "activation": "relu", "dropout": 0.0}
    towers = [{"dims": TOWER, "activation": "relu", "dropout": 0.0}] * TASKS
    module = PLE(features, ["classification"] * TASKS, levels, SPECIFIC, SHARED, experts, towers)
    return Peer(module, lambda ids: module({name: ids[:, at] for name, at in zip(names, places, strict=True)}))


def _deepctr(vocabularies: list[int], widths: list[int], levels: int) -> Peer:
    from deepctr_torch.inputs import SparseFeat
    from deepctr_torch.models import PLE

    columns = [
        SparseFeat(f"c{number}", rows, width)
        for number, (rows, width) in enumerate(zip(vocabularies, widths, strict=True))
    ]
    # Its own L2 would be one pass over every table; the others have none.
    module = PLE(
        columns, SHARED, SPECIFIC, levels, EXPERTS, gate_dnn_hidden_units=(), tower_dnn_hidden_units=tuple(TOWER),
        l2_reg_linear=0.0, l2_reg_embedding=0.0, task_names=("click", "order"),
    )  # fmt: skip
    # It takes ids as float32, which holds every whole number below 2^24.
    return Peer(module, lambda ids: module(ids.float()))
