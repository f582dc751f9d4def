"""Perceptrons of several tasks, and widths that make them as large as something else."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from graph.neural.perceptron import perceptron
from prerank.network.inputs import HashedTable
from prerank.network.perceptrons import CommonPerceptron, SeparatePerceptrons, dense_parameters, matched_hidden


@pytest.mark.parametrize("hidden", [[], [5], [5, 3]])
def test_a_perceptron_is_linear_relu_linear(hidden):
    layers = perceptron(4, hidden, 2)
    inputs = torch.randn(7, 4)
    expected = inputs
    linear = [layer for layer in layers if isinstance(layer, torch.nn.Linear)]
    assert [layer.out_features for layer in linear] == [*hidden, 2]
    for place, layer in enumerate(linear):
        expected = expected @ layer.weight.T + layer.bias
        if place < len(hidden):
            expected = expected.clamp(min=0)
    torch.testing.assert_close(layers(inputs), expected)


@pytest.mark.parametrize("rows", [1, 6])
def test_each_task_has_its_logits(rows):
    inputs, outputs = torch.randn(rows, 4), {"click": 1, "order": 1, "rank": 3}
    for body in (SeparatePerceptrons(4, outputs, [5], 0.0), CommonPerceptron(4, outputs, [5], 0.0)):
        logits = body(inputs)
        assert {task: tuple(each.shape) for task, each in logits.items()} == {t: (rows, n) for t, n in outputs.items()}


def test_separate_perceptrons_share_nothing_and_a_common_one_its_layers():
    inputs, outputs = torch.randn(3, 4), {"click": 1, "order": 1}
    for body, reached in ((SeparatePerceptrons(4, outputs, [5], 0.0), 4), (CommonPerceptron(4, outputs, [5], 0.0), 4)):
        body(inputs)["click"].sum().backward()
        touched = [p for p in body.parameters() if p.grad is not None and p.grad.abs().sum() > 0]
        assert len(touched) == reached
    separate = SeparatePerceptrons(4, outputs, [5], 0.0)
    separate(inputs)["click"].sum().backward()
    assert all(parameter.grad is None for parameter in separate.towers["order"].parameters())


def test_tables_are_not_counted_and_nothing_is_drawn():
    def make() -> torch.nn.Module:
        return torch.nn.ModuleList([HashedTable({"brand": 1000}, 8), torch.nn.Linear(8, 3)])

    before = torch.random.get_rng_state()
    assert dense_parameters(make) == 8 * 3 + 3
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("budget", [1, 40, 1234, 283_112])
@pytest.mark.parametrize("proportions", [[8], [128, 64, 64]])
def test_the_widths_come_as_close_as_any(budget, proportions):
    def size(hidden: list[int]) -> int:
        widths = [30, *hidden, 1]
        return sum((before + 1) * after for before, after in pairwise(widths))

    assert size([5, 4]) == dense_parameters(lambda: perceptron(30, [5, 4], 1))
    found = matched_hidden(proportions, budget, size)
    every = [[max(1, round(width * first / proportions[0])) for width in proportions] for first in range(1, 10_000)]
    assert abs(size(found) - budget) == min(abs(size(hidden) - budget) for hidden in every)
