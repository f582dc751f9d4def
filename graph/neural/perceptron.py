"""A plain multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


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
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))
