"""Multi-layer perceptrons in PLE's place, as wide as makes them as large as PLE.

Systems are compared at equal size. What counts is the dense part, which every candidate passes through: of an embedding
table a candidate reads one row, however many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from graph.neural.perceptron import perceptron
from prerank.network.inputs import HashedTable, NumberEncoder


class SeparatePerceptrons(nn.Module):
    """A perceptron for each task on the common input; the tasks share what is below.

    Args:
        inputs: width of the common input.
        outputs: task name → number of logits.
        hidden: widths of each perceptron's hidden layers.
        dropout: after each hidden layer.
    """

    def __init__(self, inputs: int, outputs: Mapping[str, int], hidden: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.towers = nn.ModuleDict(
            {task: perceptron(inputs, hidden, logits, dropout) for task, logits in outputs.items()}
        )

    def forward(self, inputs: Float[Tensor, "batch inputs"]) -> dict[str, Float[Tensor, "batch logits"]]:
        """The logits of every task."""
        return {task: tower(inputs) for task, tower in self.towers.items()}


class CommonPerceptron(nn.Module):
    """One perceptron whose output is the logits of all tasks.

    Args:
        inputs, outputs, hidden, dropout: as of :class:`SeparatePerceptrons`.
    """

    def __init__(self, inputs: int, outputs: Mapping[str, int], hidden: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.outputs = dict(outputs)
        self.layers = perceptron(inputs, hidden, sum(outputs.values()), dropout)

    def forward(self, inputs: Float[Tensor, "batch inputs"]) -> dict[str, Float[Tensor, "batch logits"]]:
        """The logits of every task."""
        logits = self.layers(inputs).split(list(self.outputs.values()), dim=1)
        return dict(zip(self.outputs, logits, strict=True))


def dense_parameters(make: Callable[[], nn.Module]) -> int:
    """Parameters of a network beside its embedding tables; it is made without memory and without drawing numbers."""
    with torch.device("meta"):
        module = make()
    tables = sum(each.weight.numel() for each in module.modules() if isinstance(each, HashedTable | NumberEncoder))
    return sum(parameter.numel() for parameter in module.parameters()) - tables


def matched_hidden(hidden: Sequence[int], budget: int, size: Callable[[list[int]], int]) -> list[int]:
    """Widths in the proportions of ``hidden`` whose network comes closest to a number of parameters.

    Args:
        hidden: widths that give the proportions; each stays at least 1.
        budget: parameters to come close to.
        size: parameters of a network with given widths; must grow with them.
    """

    def scaled(first: int) -> list[int]:
        return [max(1, round(width * first / hidden[0])) for width in hidden]

    low, high = 1, 2
    while size(scaled(high)) < budget:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size(scaled(middle)) < budget else (low, middle)
    return min(scaled(low), scaled(high), key=lambda widths: abs(size(widths) - budget))
