"""Tables of vectors in safetensors files, memory-mapped: a request reads the rows that it asks for and no others."""

from __future__ import annotations

import json
import mmap
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from configs.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float32, Int, Shaped

Tensors = dict[str, npt.NDArray[Any]]
DTYPES: dict[str, npt.DTypeLike] = {
    "F32": np.float32,
    "F16": np.float16,
    "F64": np.float64,
    "I8": np.int8,
    "U8": np.uint8,
    "I32": np.int32,
    "I64": np.int64,
}
HEADER_BYTES = 8
"""The length of the header that follows, in little-endian order."""


def map_tensors(path: Path) -> Tensors:
    """The tensors of a safetensors file, as views of its mapped bytes.

    The library's own reader for NumPy copies each tensor whole.

    Raises:
        InputError: if the file is missing or is no such file.
    """
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        start = HEADER_BYTES + int.from_bytes(mapped[:HEADER_BYTES], "little")
        if start > len(mapped):
            raise ValueError(f"a header of {start - HEADER_BYTES} bytes")
        header = json.loads(mapped[HEADER_BYTES:start])
        return {name: _view(mapped, start, entry) for name, entry in header.items() if name != "__metadata__"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is no readable safetensors file ({error}): export the bundle again") from None


def _view(mapped: mmap.mmap, start: int, entry: dict[str, Any]) -> npt.NDArray[Any]:
    dtype, shape = np.dtype(DTYPES[entry["dtype"]]), tuple(entry["shape"])
    first, stop = entry["data_offsets"]
    if stop - first != prod(shape) * dtype.itemsize or not 0 <= first <= stop <= len(mapped) - start:
        raise ValueError(f"a tensor of shape {list(shape)} at bytes {first} to {stop}")
    if first == stop:
        return np.zeros(shape, dtype)
    return np.frombuffer(mapped, dtype, prod(shape), start + first).reshape(shape)


@dataclass(frozen=True)
class Table:
    """Rows of float32, stored as they are, as halves, or as int8 with a scale for each row.

    Shapes: ``values`` [rows, width], ``scale`` float32 [rows] or None.
    """

    values: Shaped[np.ndarray, "rows width"]
    scale: Float32[np.ndarray, " rows"] | None = None

    @classmethod
    def of(cls, tensors: Tensors, name: str) -> Table:
        """The table of that name, with ``name.scale`` where there is one.

        Raises:
            InputError: if there is none of this name.
        """
        return cls(tensor(tensors, name), tensors.get(f"{name}.scale"))

    @property
    def width(self) -> int:
        return int(self.values.shape[1])

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Int[np.ndarray, " asked"]) -> Float32[np.ndarray, "asked width"]:
        """Some rows."""
        taken: npt.NDArray[np.float32] = self.values.take(rows, axis=0).astype(np.float32, copy=False)
        return taken if self.scale is None else taken * self.scale.take(rows)[:, None]


def tensor(tensors: Tensors, name: str) -> npt.NDArray[Any]:
    """The tensor of that name.

    Raises:
        InputError: if there is none.
    """
    if name not in tensors:
        raise InputError(f"the bundle's tables hold no {name!r}, which features.json names: export the bundle again")
    return tensors[name]
