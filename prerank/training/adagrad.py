"""Adagrad (Duchi et al. 2011) for embedding tables of which a step sees few rows, and for everything beside them.

The arithmetic is that of ``torch.optim.Adagrad``. Its sparse update adds the rows to the table through sparse tensors,
row by row; here they are gathered, updated and written back as one block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.optim.adagrad import adagrad

EPSILON = 1e-10
"""Added to the root of the accumulator, as torch does."""


class Adagrad(torch.optim.Optimizer):
    r"""Adagrad that reads and writes only the rows that a sparse gradient names.

    .. math:: s \leftarrow s + g^2, \qquad θ \leftarrow θ - η \frac{g}{\sqrt{s} + ε}

    g is the sum of the gradients of a row, however often a batch names it. The sums are taken in a fixed order, so that
    a step gives the same bits on any number of threads.

    Args:
        parameters: with dense or sparse gradients.
        lr: η.

    Attributes:
        state: ``sum`` of each parameter: s, which starts at 0.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter] = {"sum": torch.zeros_like(parameter), "step": torch.zeros(())}

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            dense: list[Tensor] = []
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if parameter.grad.is_sparse:
                    rows, gradient = summed_rows(parameter.grad)
                    update_rows(parameter, self.state[parameter]["sum"], rows, gradient, group["lr"])
                else:
                    dense.append(parameter)
            self._update_dense(dense, group["lr"])
        return loss

    def _update_dense(self, parameters: list[Tensor], lr: float) -> None:
        """All of them in one call of torch's own update."""
        if not parameters:
            return
        on_cpu = all(parameter.device.type == "cpu" for parameter in parameters)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        states = [self.state[parameter] for parameter in parameters]
        adagrad(
            parameters, gradients, [state["sum"] for state in states], [state["step"] for state in states],
            fused=on_cpu, foreach=not on_cpu, has_sparse_grad=False, differentiable=False, has_complex=False,
            lr=lr, weight_decay=0.0, lr_decay=0.0, eps=EPSILON, maximize=False,
        )  # fmt: skip


def summed_rows(gradient: Tensor) -> tuple[Int64[Tensor, rows], Float[Tensor, "rows dimension"]]:
    """The distinct rows of a sparse gradient, ascending, and what each of them adds up to."""
    index, values = gradient._indices()[0], gradient._values()
    if gradient.is_coalesced() or not len(index):
        return index, values
    ordered, order = index.sort(stable=True)
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    starts = first.nonzero().squeeze(1)
    # A bag's sum is one pass over the values; torch's coalesce and index_add make a call for each row.
    return ordered[starts], F.embedding_bag(order, values, starts, mode="sum")


def update_rows(
    table: Float[Tensor, "all dimension"],
    accumulator: Float[Tensor, "all dimension"],
    rows: Int64[Tensor, rows],
    gradient: Float[Tensor, "rows dimension"],
    lr: float,
) -> None:
    """Adagrad's step of some rows of a table, in place.

    Args:
        table, accumulator: θ and s.
        rows: distinct.
        gradient: g of each.
        lr: η.
    """
    squares = accumulator.index_select(0, rows).addcmul_(gradient, gradient)
    accumulator.index_copy_(0, rows, squares)
    values = table.index_select(0, rows).addcdiv_(gradient, squares.sqrt_().add_(EPSILON), value=-lr)
    table.index_copy_(0, rows, values)
