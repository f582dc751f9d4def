"""A plain multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class OutputLayer(nn.Linear):
    """A linear layer that stays float32 in mixed precision: in bf16, logits between 2 and 4 are multiples of 1/64."""

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.autocast(inputs.device.type, enabled=False):
            return super().forward(inputs.float())


def perceptron(inputs: int, hidden: Sequence[int], outputs: int, dropout: float = 0.0) -> nn.Sequential:
    """Linear layers with ReLU and dropout between them.

    Args:
        inputs: width of the input.
        hidden: widths of the hidden layers; none makes it one linear layer.
        outputs: width of the output, which is linear.
        dropout: after each hidden layer.
    """
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(dropout)]
        inputs = width
    return nn.Sequential(*layers, OutputLayer(inputs, outputs))
