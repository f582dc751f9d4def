"""Flat arrays on disk: written piece by piece, read through a memory map. Plain ``.npy`` files, never pickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from configs.errors import InputError
from configs.stages import mend


class ArrayWriter:
    """An ``.npy`` file written piece by piece.

    Written with ordinary writes: on a full disk these raise an error, where a memory map would kill the process.

    Args:
        path: of the file.
        dtype: of the elements.
        shape: of the whole array; its first axis is the one that pieces are appended along.
    """

    def __init__(self, path: Path, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> None:
        self.path = path
        self.dtype = np.dtype(dtype)
        self.shape = shape
        self.written = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = path.open("wb")
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)

    def append(self, values: npt.NDArray[Any]) -> None:
        """Write the next rows."""
        assert values.shape[1:] == self.shape[1:], f"{self.path.name}: {values.shape} after {self.shape}"
        self.written += len(values)
        np.ascontiguousarray(values, dtype=self.dtype).tofile(self._file)

    def close(self) -> None:
        self._file.close()


def load_array(path: Path) -> npt.NDArray[Any]:
    """Map an array that the encoder wrote; an empty one is read, because it cannot be mapped.

    Raises:
        InputError: if the file is missing or damaged.
    """
    try:
        with path.open("rb") as file:
            empty = not _header_shape(file)
        # The view drops numpy's memmap class, whose bookkeeping would cost more than a small gather itself.
        array: npt.NDArray[Any] = np.load(path) if empty else np.load(path, mmap_mode="r").view(np.ndarray)
        return array
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a readable array ({error}): {mend(path)}") from None


def _header_shape(file: BinaryIO) -> int:
    """Number of elements that an array's header announces."""
    np.lib.format.read_magic(file)
    shape, _, _ = np.lib.format.read_array_header_1_0(file)
    return int(np.prod(shape))
