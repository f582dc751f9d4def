"""Means over compressed rows: some rows only, and the same bytes however many threads share them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pretrain.sparse import MANY, SHARED_FROM, RowMeans, products, sharing


def random_means(rows: int, columns: int, longest: int, weighted: bool) -> RowMeans:
    random = np.random.default_rng(rows)
    lengths = random.integers(0, longest + 1, 2 * rows)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    weight = random.uniform(0.1, 2.0, indptr[-1]).astype(np.float32) if weighted else None
    indices = random.integers(0, columns, indptr[-1]).astype(np.int32)
    return RowMeans(indptr, indices, weight, columns, random.integers(0, 2 * rows, rows))


def dense_of(matrix: RowMeans) -> torch.Tensor:
    dense = torch.zeros(len(matrix), matrix.columns, dtype=torch.float64)
    assert matrix.rows is not None
    for at, row in enumerate(matrix.rows.tolist()):
        entries = range(*matrix.indptr[row : row + 2].tolist())
        total = sum(1.0 if matrix.weight is None else float(matrix.weight[e]) for e in entries)
        for entry in entries:
            dense[at, matrix.indices[entry]] += (1.0 if matrix.weight is None else float(matrix.weight[entry])) / total
    return dense


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("columns", [3, 400], ids=["many entries a column", "few"])
def test_rows_that_repeat_and_lie_in_any_order(weighted: bool, columns: int) -> None:
    matrix = random_means(60, columns, 9, weighted)
    assert (matrix.entries >= MANY * columns) == (columns == 3), "both ways of adding up the gradient"
    vectors = torch.randn(columns, 5, requires_grad=True)
    product, again = products(vectors, [matrix, matrix])
    expected = dense_of(matrix)
    torch.testing.assert_close(product.double(), expected @ vectors.detach().double(), atol=1e-6, rtol=1e-5)
    gradient = torch.randn(60, 5)
    (found,) = torch.autograd.grad((product * gradient).sum() + 2 * (again * gradient).sum(), vectors)
    torch.testing.assert_close(found.double(), 3 * (expected.T @ gradient.double()), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("columns", [50, 20_000])
def test_threads_change_no_byte(columns: int) -> None:
    matrix, width = random_means(4000, columns, 30, weighted=True), 64
    assert matrix.entries * width > SHARED_FROM
    torch.manual_seed(0)
    vectors, gradient = torch.randn(columns, width), torch.randn(4000, width)

    def both(threads: int) -> tuple[torch.Tensor, torch.Tensor]:
        leaf = vectors.clone().requires_grad_()
        with sharing(threads):
            product = matrix @ leaf
            product.backward(gradient)  # type: ignore[no-untyped-call]
        assert leaf.grad is not None
        return product.detach(), leaf.grad

    alone = both(1)
    for threads in (2, 3):
        for one, other in zip(alone, both(threads), strict=True):
            assert torch.equal(one, other)


def test_sharing_gives_torch_its_threads_back() -> None:
    before = torch.get_num_threads()
    with sharing(2):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
