"""PLE against a loop over experts and rows, for any number of own and shared experts, levels, and a batch of one."""

from __future__ import annotations

import pytest
import torch

from configs.schema import ExpertsConfig
from graph.neural.experts import BatchedLinear, ProgressiveLayeredExtraction


def one_expert(experts, index, x):
    for layer in experts.layers:
        x = torch.relu(x @ layer.weight[index] + layer.bias[index, 0])
    return x


def naive_ple(model: ProgressiveLayeredExtraction, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    """Tang et al. 2020, eqs. 1-6, one row and one expert at a time."""
    logits = {task: [] for task in model.tasks}
    for row in inputs:
        task_inputs, shared_input = [row] * len(model.tasks), row
        for level in model.levels:
            own = [
                [one_expert(level.experts, task * level.specific + e, task_inputs[task]) for e in range(level.specific)]
                for task in range(level.tasks)
            ]
            start = level.tasks * level.specific
            shared = [one_expert(level.experts, start + e, shared_input) for e in range(level.shared)]
            mixed = []
            for task in range(level.tasks):
                experts = own[task] + shared
                gate = torch.softmax(level.task_gates[task](task_inputs[task]), dim=0)
                mixed.append(sum(weight * expert for weight, expert in zip(gate, experts, strict=True)))
            if level.shared_gate is not None:
                experts = [expert for group in own for expert in group] + shared
                gate = torch.softmax(level.shared_gate(shared_input), dim=0)
                shared_input = sum(weight * expert for weight, expert in zip(gate, experts, strict=True))
            task_inputs = mixed
        for task, mixture in zip(model.tasks, task_inputs, strict=True):
            logits[task].append(model.towers[task](mixture))
    return {task: torch.stack(rows) for task, rows in logits.items()}


@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize(("specific", "shared"), [(2, 2), (1, 3), (3, 1), (2, 0), (0, 2)])
@pytest.mark.parametrize("rows", [1, 5])
def test_ple_is_the_loop(levels, specific, shared, rows):
    torch.manual_seed(levels * 100 + specific * 10 + shared)
    config = ExpertsConfig(levels=levels, specific=specific, shared=shared, hidden=[7, 5], tower=[4])
    model = ProgressiveLayeredExtraction(6, {"click": 1, "order": 1, "rank": 3}, config)
    inputs = torch.randn(rows, 6)
    found, expected = model(inputs), naive_ple(model, inputs)
    assert found["rank"].shape == (rows, 3)
    for task, logits in expected.items():
        assert torch.allclose(found[task], logits, atol=1e-5), task


@pytest.mark.parametrize("levels", [1, 2])
def test_gradients_are_those_of_the_loop(levels):
    torch.manual_seed(levels)
    model = ProgressiveLayeredExtraction(6, {"click": 1, "order": 1}, ExpertsConfig(levels=levels, hidden=[7, 5]))
    inputs = torch.randn(5, 6, requires_grad=True)
    gradients = []
    for forward in (model, lambda rows: naive_ple(model, rows)):
        loss = sum(logits.square().sum() for logits in forward(inputs).values())
        gradients.append(torch.autograd.grad(loss, [inputs, *model.parameters()]))
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_the_last_level_has_no_shared_gate_and_the_others_see_all_experts():
    config = ExpertsConfig(levels=2, specific=2, shared=3, hidden=[4])
    model = ProgressiveLayeredExtraction(6, {"click": 1, "order": 1}, config)
    assert model.levels[0].shared_gate.out_features == 2 * 2 + 3
    assert model.levels[1].shared_gate is None
    assert [gate.out_features for gate in model.levels[0].task_gates] == [5, 5]


def test_every_parameter_gets_a_gradient():
    config = ExpertsConfig(levels=2, specific=2, shared=2, hidden=[8, 8])
    model = ProgressiveLayeredExtraction(6, {"click": 1, "order": 1}, config)
    sum(logits.square().sum() for logits in model(torch.randn(64, 6)).values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_batched_linear_is_the_same_for_common_and_repeated_input():
    layer = BatchedLinear(3, 4, 5)
    inputs = torch.randn(6, 4)
    assert torch.allclose(layer(inputs), layer(inputs.expand(3, 6, 4)), atol=1e-6)


def test_no_experts_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        ProgressiveLayeredExtraction(6, {"click": 1}, ExpertsConfig(specific=0, shared=0))
