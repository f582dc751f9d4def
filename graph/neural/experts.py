"""Progressive layered extraction (Tang et al., RecSys 2020), the base model of GRACE (eq. 1).

All experts of a level are evaluated as one batched matrix product; where they share their input (the first level) the
first layer is one product over the whole input, which is most of the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from configs.schema import ExpertsConfig
from graph.neural.perceptron import perceptron


class BatchedLinear(nn.Module):
    """``experts`` linear layers of one size, each with its ReLU.

    Shapes: input ``[batch, inputs]``, common to all, or ``[experts, batch, inputs]``; output
    ``[experts, batch, outputs]``.
    """

    def __init__(self, experts: int, inputs: int, outputs: int) -> None:
        super().__init__()
        # nn.Linear's initialisation, one expert at a time.
        bound = inputs**-0.5
        weight = torch.empty(experts, inputs, outputs).uniform_(-bound, bound)
        # Each input's weights for all experts lie side by side in memory, so that their common product needs no copy.
        self.weight = nn.Parameter(weight.transpose(0, 1).contiguous().transpose(0, 1))
        self.bias = nn.Parameter(torch.empty(experts, 1, outputs).uniform_(-bound, bound))

    def forward(self, inputs: Tensor) -> Float[Tensor, "experts batch outputs"]:
        if inputs.dim() == 3:
            return torch.baddbmm(self.bias.to(inputs.dtype), inputs, self.weight).relu_()
        experts, width, outputs = self.weight.shape
        joined = self.weight.transpose(0, 1).reshape(width, experts * outputs)
        rectified = torch.addmm(self.bias.flatten().to(inputs.dtype), inputs, joined).relu_()
        return rectified.view(-1, experts, outputs).transpose(0, 1)


class Experts(nn.Module):
    """``experts`` multi-layer perceptrons of one shape, ReLU after every layer.

    Args:
        experts: how many.
        inputs: width of the input.
        hidden: widths of the layers; the last is the experts' output.
        dropout: after each layer.
    """

    def __init__(self, experts: int, inputs: int, hidden: Sequence[int], dropout: float) -> None:
        super().__init__()
        widths = [inputs, *hidden]
        self.layers = nn.ModuleList(BatchedLinear(experts, before, after) for before, after in pairwise(widths))
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs: Tensor) -> Float[Tensor, "experts batch hidden"]:
        for layer in self.layers:
            inputs = self.dropout(layer(inputs))
        return inputs


class ExtractionLevel(nn.Module):
    """One level of customised gate control: own experts of each task and shared ones, mixed by softmax gates.

    A task's gate chooses among its own and the shared experts; the shared gate chooses among **all** experts and feeds
    the next level's shared experts, so the last level has none.

    Args:
        tasks: number of tasks.
        inputs: width of each input.
        config: experts per level, their layers.
        last: whether this is the last level.
    """

    columns: Tensor

    def __init__(self, tasks: int, inputs: int, config: ExpertsConfig, last: bool) -> None:
        super().__init__()
        if config.specific + config.shared < 1:
            raise ValueError("an extraction level needs at least one own or shared expert for each task")
        self.tasks = tasks
        self.specific = config.specific
        self.shared = config.shared
        experts = tasks * config.specific + config.shared
        self.experts = Experts(experts, inputs, config.hidden, config.dropout)
        self.task_gates = nn.ModuleList(nn.Linear(inputs, config.specific + config.shared) for _ in range(tasks))
        self.shared_gate = None if last else nn.Linear(inputs, experts)
        every = torch.arange(experts)
        own, shared = every[: tasks * config.specific], every[tasks * config.specific :]
        chosen = [torch.cat([each, shared]) for each in own.view(tasks, config.specific)]
        chosen += [] if last else [every]
        columns = torch.cat([experts * gate + each for gate, each in enumerate(chosen)])
        self.register_buffer("columns", columns, persistent=False)

    def forward(self, task_inputs: Sequence[Tensor], shared_input: Tensor) -> tuple[list[Tensor], Tensor | None]:
        """Mix the experts.

        Args:
            task_inputs: one ``[batch, inputs]`` for each task; the same object for all on the first level.
            shared_input: ``[batch, inputs]``.

        Returns:
            One ``[batch, hidden]`` for each task, and the shared mixture, None on the last level.
        """
        experts = self.experts(self._expert_inputs(task_inputs, shared_input))
        mixed = torch.bmm(self._weights(task_inputs, shared_input), experts.transpose(0, 1)).unbind(dim=1)
        return list(mixed[: self.tasks]), None if self.shared_gate is None else mixed[-1]

    def _weights(self, task_inputs: Sequence[Tensor], shared_input: Tensor) -> Float[Tensor, "batch mixtures experts"]:
        """The gates' weights of all experts, 0 where a gate does not see one: all mixtures are then one product."""
        gates = [gate(inputs).softmax(dim=1) for gate, inputs in zip(self.task_gates, task_inputs, strict=True)]
        gates += [] if self.shared_gate is None else [self.shared_gate(shared_input).softmax(dim=1)]
        weights = torch.cat(gates, dim=1)
        experts = self.tasks * self.specific + self.shared
        every = weights.new_zeros(len(weights), len(gates) * experts).index_copy(1, self.columns, weights)
        return every.view(len(weights), len(gates), experts)

    def _expert_inputs(self, task_inputs: Sequence[Tensor], shared_input: Tensor) -> Tensor:
        if all(task_input is shared_input for task_input in task_inputs):
            return shared_input
        repeated = [task_input for task_input in task_inputs for _ in range(self.specific)]
        return torch.stack([*repeated, *[shared_input] * self.shared])


class ProgressiveLayeredExtraction(nn.Module):
    """PLE: extraction levels and one tower for each task.

    Args:
        inputs: width of the common input.
        outputs: task name → number of logits of its tower.
        config: levels, experts and towers.
    """

    def __init__(self, inputs: int, outputs: dict[str, int], config: ExpertsConfig) -> None:
        super().__init__()
        self.tasks = list(outputs)
        widths = [inputs] + [config.hidden[-1]] * (config.levels - 1)
        self.levels = nn.ModuleList(
            ExtractionLevel(len(outputs), width, config, last=level == config.levels - 1)
            for level, width in enumerate(widths)
        )
        self.towers = nn.ModuleDict(
            {
                task: perceptron(config.hidden[-1], config.tower, logits, config.dropout)
                for task, logits in outputs.items()
            }
        )

    def forward(self, inputs: Float[Tensor, "batch inputs"]) -> dict[str, Float[Tensor, "batch logits"]]:
        """The logits of every task."""
        task_inputs, shared_input = [inputs] * len(self.tasks), inputs
        for level in self.levels:
            task_inputs, shared_input = level(task_inputs, shared_input)
        return {task: self.towers[task](mixed) for task, mixed in zip(self.tasks, task_inputs, strict=True)}
