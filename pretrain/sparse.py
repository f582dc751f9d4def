"""Sparse times dense with gradients, the one kernel that messages and feature bags run on.

torch multiplies CSR matrices by MKL in a twentieth of the time of gathering and scattering edge by edge; its own
backward pass converts the matrix, so the transpose is made here by a counting sort.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")


@dataclass(frozen=True)
class SparseRows:
    """A sparse matrix [rows, columns] in CSR form, on the CPU.

    Columns of a row need not be sorted; a pair that is repeated counts twice.
    """

    indptr: Int64[Tensor, " rows_plus_1"]
    indices: Int64[Tensor, " entries"]
    values: Float32[Tensor, " entries"]
    columns: int

    def __matmul__(self, dense: Float32[Tensor, "columns width"]) -> Float32[Tensor, "rows width"]:
        """The product, differentiable in ``dense`` only."""
        product: Tensor = _Product.apply(dense, self)  # type: ignore[no-untyped-call]
        return product

    def product(self, dense: Float32[Tensor, "columns width"]) -> Float32[Tensor, "rows width"]:
        """The product without gradients."""
        if not len(self.indices):
            return dense.new_zeros(len(self.indptr) - 1, dense.shape[1])
        size = (len(self.indptr) - 1, self.columns)
        matrix = torch.sparse_csr_tensor(self.indptr, self.indices, self.values, size, check_invariants=False)
        return matrix @ dense

    def transposed(self) -> SparseRows:
        """Columns as rows."""
        indptr, indices, values = _transpose(
            self.indptr.numpy(), self.indices.numpy(), self.values.numpy(), self.columns
        )
        return SparseRows(
            torch.from_numpy(indptr), torch.from_numpy(indices), torch.from_numpy(values), len(self.indptr) - 1
        )

    @classmethod
    def means(
        cls,
        indptr: Int64[np.ndarray, " rows_plus_1"],
        indices: Int64[np.ndarray, " entries"],
        weight: Float32[np.ndarray, " entries"] | None,
        columns: int,
    ) -> SparseRows:
        """The matrix whose product is each row's mean, weighted where weights (above 0) are given."""
        values = _shares(indptr, np.ones(len(indices), np.float32) if weight is None else weight)
        return cls(torch.from_numpy(indptr), torch.from_numpy(indices), torch.from_numpy(values), columns)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dense: Tensor, matrix: SparseRows) -> Tensor:
        ctx.matrix = matrix
        return matrix.product(dense)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None]:
        if not ctx.needs_input_grad[0]:
            return None, None
        return ctx.matrix.transposed().product(gradient.contiguous()), None


@numba.njit(cache=True)
def gather_rows(indptr: np.ndarray, indices: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Some rows of a CSR matrix: their own indptr and indices."""
    ends = np.zeros(len(rows) + 1, dtype=np.int64)
    for at in range(len(rows)):
        ends[at + 1] = ends[at] + indptr[rows[at] + 1] - indptr[rows[at]]
    gathered = np.empty(ends[-1], dtype=np.int64)
    for at in range(len(rows)):
        start = indptr[rows[at]]
        for place in range(ends[at], ends[at + 1]):
            gathered[place] = indices[start + place - ends[at]]
    return ends, gathered


@numba.njit(cache=True)
def _shares(indptr: np.ndarray, weight: np.ndarray) -> np.ndarray:
    shares = np.empty(len(weight), dtype=np.float32)
    for row in range(len(indptr) - 1):
        total = np.float64(0.0)
        for place in range(indptr[row], indptr[row + 1]):
            total += weight[place]
        for place in range(indptr[row], indptr[row + 1]):
            shares[place] = weight[place] / total
    return shares


@numba.njit(cache=True)
def _transpose(
    indptr: np.ndarray, indices: np.ndarray, values: np.ndarray, columns: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ends = np.zeros(columns + 1, dtype=np.int64)
    for column in indices:
        ends[column + 1] += 1
    for column in range(columns):
        ends[column + 1] += ends[column]
    free = ends[:-1].copy()
    rows, moved = np.empty(len(indices), dtype=np.int64), np.empty(len(indices), dtype=np.float32)
    for row in range(len(indptr) - 1):
        for place in range(indptr[row], indptr[row + 1]):
            to = free[indices[place]]
            free[indices[place]] += 1
            rows[to], moved[to] = row, values[place]
    return ends, rows, moved
