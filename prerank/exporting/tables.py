"""Tables as they are stored: float32, halves, or int8 with a scale for each row; and named tensors in a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from configs.errors import InputError
from configs.schema import TablePrecision

LARGEST_INT8 = 127
Arrays = dict[str, Shaped[np.ndarray, "..."]]


def stored(table: Float[np.ndarray, "rows dimension"], precision: TablePrecision, name: str) -> Arrays:
    """A table as it is stored: under its name, and for int8 each row's scale under ``name.scale``.

    int8 is symmetric by rows: value ≈ int8 · scale, and the largest value of a row is ±127 · scale.

    Raises:
        InputError: if a value is not finite, or too large for a half.
    """
    if precision is TablePrecision.fp16:
        with np.errstate(over="ignore"):
            table = table.astype(np.float16)
    if not np.isfinite(table).all():
        raise InputError(
            f"{name} holds values that are not finite as {precision.value}: give export.tables=fp32, or fit again with "
            "a lower prerank.learning_rate"
        )
    if precision is not TablePrecision.int8:
        return {name: table}
    scale = np.abs(table).max(axis=1, initial=0.0).astype(np.float32) / np.float32(LARGEST_INT8)
    rounded = np.rint(table / np.where(scale > 0, scale, 1)[:, None]).clip(-LARGEST_INT8, LARGEST_INT8)
    return {name: rounded.astype(np.int8), f"{name}.scale": scale}


def restored(arrays: Mapping[str, np.ndarray], name: str) -> Float[np.ndarray, "rows dimension"]:
    """The float32 table that a reader sees."""
    table: np.ndarray = arrays[name].astype(np.float32)
    return table * arrays[f"{name}.scale"][:, None] if f"{name}.scale" in arrays else table


def rounded(
    table: Float[np.ndarray, "rows dimension"], precision: TablePrecision
) -> Float[np.ndarray, "rows dimension"]:
    """What is left of a table that was stored."""
    return restored(stored(table, precision, "table"), "table")


class Tensors:
    """Tensors by name: those of a network have the names of its state.

    Args:
        network: whose tensors they are; None: of no network.
        precision: of tables.
    """

    def __init__(self, network: nn.Module | None, precision: TablePrecision) -> None:
        named: Iterable[tuple[str, Tensor]] = (
            ()
            if network is None
            else (
                *network.named_parameters(),
                *network.named_buffers(),
            )
        )
        self._names = {id(tensor): name for name, tensor in named}
        self.precision = precision
        self.arrays: Arrays = {}

    def table(self, tensor: Tensor, otherwise: str) -> str:
        """Add a table, unless it is there; its name is ``otherwise`` where the network has no such tensor."""
        name = self._names.get(id(tensor), otherwise)
        if name not in self.arrays:
            self.arrays |= stored(tensor.detach().numpy(), self.precision, name)
        return name

    def exact(self, tensor: Tensor, otherwise: str) -> str:
        """Add a tensor that is stored as it is."""
        name = self._names.get(id(tensor), otherwise)
        self.arrays[name] = tensor.detach().numpy()
        return name

    def write(self, path: Path) -> None:
        write_tensors(self.arrays, path)


def write_tensors(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Write a safetensors file."""
    safetensors.numpy.save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
    path.chmod(0o644)  # the library's files are for their owner only, and who serves may be another user


@torch.no_grad()
def round_tables(tables: Iterable[Tensor], precision: TablePrecision) -> None:
    """Replace tables by what is left of them once they are stored."""
    for tensor in {id(tensor): tensor for tensor in tables}.values():
        tensor.copy_(torch.from_numpy(rounded(tensor.detach().numpy(), precision)))
