"""Weighted means of rows with gradients, the one kernel that messages and feature bags run on.

It reads the compressed rows where they lie: no matrix is built for a batch, no transpose for its gradient. Threads
share the rows of a product and the columns or two sums of its gradient, so that the order of additions never changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numba
import numpy as np
import torch
from jaxtyping import Float32, Int64, Integer
from torch import Tensor

SHARED_FROM = 1 << 20
"""Products of numbers from which on a mean is worth a second thread: some 0.2 ms."""
MANY = 16
"""Entries a column from which on each thread adds up a gradient of its own."""


@dataclass(frozen=True)
class RowMeans:
    r"""A matrix of weighted means: row r of its product with x is :math:`\sum_e w_e x_{c_e} / \sum_e w_e`.

    The sums run over the entries e of row r; a row without entries has the mean 0.

    Args:
        indptr: where each stored row begins and ends.
        indices: the column c of each entry, in any order; one that is repeated counts twice.
        weight: w, above 0; None for 1 each.
        columns: rows of x.
        rows: which of the stored rows are the matrix's; None for all of them.
    """

    indptr: Integer[np.ndarray, " stored_plus_1"]
    indices: Integer[np.ndarray, " entries"]
    weight: Float32[np.ndarray, " entries"] | None
    columns: int
    rows: Int64[np.ndarray, " rows"] | None = None

    def __len__(self) -> int:
        return len(self.indptr) - 1 if self.rows is None else len(self.rows)

    @property
    def entries(self) -> int:
        """Those of its rows; where only some rows are taken, as many as rows of mean length would have."""
        stored = len(self.indptr) - 1
        return int(self.indptr[-1] - self.indptr[0]) * len(self) // max(stored, 1)

    def __matmul__(self, dense: Float32[Tensor, "columns width"]) -> Float32[Tensor, "rows width"]:
        """The product, differentiable in ``dense``."""
        return products(dense, [self])[0]


def products(
    dense: Float32[Tensor, "columns width"], matrices: Sequence[RowMeans]
) -> tuple[Float32[Tensor, "rows width"], ...]:
    """The products of some matrices with the same rows, whose gradient is added up in one place."""
    if not matrices:
        return ()
    means: tuple[Tensor, ...] = _Products.apply(dense, *matrices)  # type: ignore[no-untyped-call]
    return means


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dense: Tensor, *matrices: RowMeans) -> tuple[Tensor, ...]:
        ctx.matrices = matrices
        ctx.set_materialize_grads(False)
        return tuple(_product(matrix, dense.detach().contiguous()) for matrix in matrices)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        matrices: tuple[RowMeans, ...] = ctx.matrices
        pairs = [
            (matrix, gradient) for matrix, gradient in zip(matrices, gradients, strict=True) if gradient is not None
        ]
        if not pairs or not ctx.needs_input_grad[0]:
            return (None,) * (1 + len(matrices))
        spread = pairs[0][1].new_zeros(matrices[0].columns, pairs[0][1].shape[1])
        for matrix, gradient in pairs:
            _spread(matrix, gradient.contiguous(), spread)
        return (spread, *(None for _ in matrices))


def _product(matrix: RowMeans, dense: Tensor) -> Tensor:
    means = dense.new_empty(len(matrix), dense.shape[1])
    x, y = dense.numpy(), means.numpy()

    def part(first: int, last: int) -> None:
        _mean_rows(matrix.indptr, matrix.indices, matrix.weight, matrix.rows, x, y, first, last)

    _shared(part, len(matrix), 8, matrix.entries * dense.shape[1])
    return means


def _spread(matrix: RowMeans, gradient: Tensor, spread: Tensor) -> None:
    """Add the gradient of a product to that of its dense factor."""
    width, work = gradient.shape[1], matrix.entries * gradient.shape[1]
    csr = (matrix.indptr, matrix.indices, matrix.weight, matrix.rows, gradient.numpy())
    if matrix.entries < MANY * matrix.columns:

        def columns(first: int, last: int) -> None:
            _add_spread(*csr, spread.numpy(), 0, len(matrix), first, last)

        _shared(columns, width, max(1, width // 32), work)
        return
    # So many entries to a column that a second sum costs less than a second walk over the entries.
    sums, middle = (spread, torch.zeros_like(spread)), len(matrix) // 2

    def half(first: int, last: int) -> None:
        for number in range(first, last):
            begin, end = (0, middle) if number == 0 else (middle, len(matrix))
            _add_spread(*csr, sums[number].numpy(), begin, end, 0, width)

    _shared(half, 2, 2, work)
    spread += sums[1]


@contextmanager
def sharing(threads: int) -> Iterator[None]:
    """Let products alone be shared by some threads.

    The other operations of a batch are so short that waking torch's threads for each costs more than they save: a step
    of the demo took 118 ms with two of them and a thread that makes batches, 69 ms with one.
    """
    global _threads
    before = _threads, torch.get_num_threads()
    _threads = threads
    torch.set_num_threads(1)
    try:
        yield
    finally:
        _threads = before[0]
        torch.set_num_threads(before[1])


_threads = 1


def _shared(part: Callable[[int, int], None], length: int, parts: int, work: int) -> None:
    """Do ``part(first, last)`` for all parts of a range; a free thread takes the next one."""
    threads = max(_threads, torch.get_num_threads()) if work >= SHARED_FROM else 1
    if threads == 1:
        part(0, length)
        return
    bounds = [length * number // parts for number in range(parts + 1)]
    left = iter(list(pairwise(bounds)))

    def take() -> None:
        for first, last in left:
            part(first, last)

    others = [_pool(threads).submit(take) for _ in range(threads - 1)]
    take()
    for other in others:
        # One that has not begun is not needed any more.
        if not other.cancel():
            other.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads - 1, thread_name_prefix="means")


@numba.njit(nogil=True, cache=True)
def _mean_rows(
    indptr: np.ndarray,
    indices: np.ndarray,
    weight: np.ndarray | None,
    rows: np.ndarray | None,
    dense: np.ndarray,
    means: np.ndarray,
    first: int,
    last: int,
) -> None:
    width = dense.shape[1]
    for at in range(first, last):
        row = at
        if rows is not None:
            row = rows[at]
        mean = means[at]
        mean[:] = 0.0
        total = np.float32(0.0)
        place, end = indptr[row], indptr[row + 1]
        while place + 4 <= end:
            # Four at a time: the mean is read and written a quarter as often.
            s, t, u, v = np.float32(1.0), np.float32(1.0), np.float32(1.0), np.float32(1.0)
            if weight is not None:
                s, t, u, v = weight[place], weight[place + 1], weight[place + 2], weight[place + 3]
            total += (s + t) + (u + v)
            a, b = dense[indices[place]], dense[indices[place + 1]]
            c, d = dense[indices[place + 2]], dense[indices[place + 3]]
            for column in range(width):
                mean[column] += (s * a[column] + t * b[column]) + (u * c[column] + v * d[column])
            place += 4
        while place < end:
            share = np.float32(1.0)
            if weight is not None:
                share = weight[place]
            total += share
            source = dense[indices[place]]
            for column in range(width):
                mean[column] += share * source[column]
            place += 1
        if total > 0:
            scale = np.float32(1.0) / total
            for column in range(width):
                mean[column] *= scale


@numba.njit(nogil=True, cache=True)
def _add_spread(
    indptr: np.ndarray,
    indices: np.ndarray,
    weight: np.ndarray | None,
    rows: np.ndarray | None,
    gradient: np.ndarray,
    spread: np.ndarray,
    begin_row: int,
    end_row: int,
    first: int,
    last: int,
) -> None:
    """Only some rows' gradients, and of these the columns from ``first`` to before ``last``."""
    scaled = np.empty(last - first, dtype=np.float32)
    for at in range(begin_row, end_row):
        row = at
        if rows is not None:
            row = rows[at]
        begin, end = indptr[row], indptr[row + 1]
        if begin == end:
            continue
        total = np.float32(end - begin)
        if weight is not None:
            total = np.float32(0.0)
            for place in range(begin, end):
                total += weight[place]
        for column in range(first, last):
            scaled[column - first] = gradient[at, column] / total
        for place in range(begin, end):
            share = np.float32(1.0)
            if weight is not None:
                share = weight[place]
            into = spread[indices[place], first:last]
            for column in range(last - first):
                into[column] += share * scaled[column]
