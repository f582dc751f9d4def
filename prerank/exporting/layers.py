"""The bodies of the networks as they are served: products expert by expert, and the request's share from without.

The training code multiplies the request's side with the first layer once for each candidate. Here that layer is cut by
its inputs: the request's share is one row, which is made once and added by each product. Products go expert by expert,
since to cut one wide activation afterwards would cost as much as a product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from configs.errors import InputError
from graph.neural.experts import BatchedLinear, ExtractionLevel, ProgressiveLayeredExtraction
from prerank.network.perceptrons import CommonPerceptron, SeparatePerceptrons

Linear = tuple[Tensor, Tensor]
"""Weight ``[inputs, outputs]`` and bias ``[outputs]`` of a layer."""


class FirstLayers(nn.Module):
    """Linear layers of one input, of which a part comes from the request and is the same for all rows.

    Args:
        layers: weights and biases.
        of_request: which inputs are the request's, bool ``[inputs]``; the others are in ``rows`` in their order.
    """

    def __init__(self, layers: Sequence[Linear], of_request: Bool[Tensor, " inputs"]) -> None:
        super().__init__()
        self.of_rows = nn.ParameterList(weight[~of_request].contiguous() for weight, _ in layers)
        self.outputs = [len(bias) for _, bias in layers]
        self.bias = nn.Parameter(_side_by_side(layers)) if not bool(of_request.any()) else None

    def forward(self, rows: Float[Tensor, "n inputs"], shares: Float[Tensor, "1 outputs"] | None) -> list[Tensor]:
        added = self.bias if shares is None else shares
        assert added is not None
        split = torch.split(added, self.outputs, dim=1)
        return [torch.addmm(share, rows, weight) for share, weight in zip(split, self.of_rows, strict=True)]


class RequestShares(nn.Module):
    """What the request adds to all first layers, their biases with it.

    Args:
        layers, of_request: as of :class:`FirstLayers`.
    """

    def __init__(self, layers: Sequence[Linear], of_request: Bool[Tensor, " inputs"]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.cat([weight[of_request] for weight, _ in layers], dim=1))
        self.bias = nn.Parameter(_side_by_side(layers))

    def forward(self, request: Float[Tensor, "1 inputs"]) -> Float[Tensor, "1 outputs"]:
        return torch.addmm(self.bias, request, self.weight)


class Layers(nn.Module):
    """Linear layers with a ReLU between them and, for an expert, after the last.

    Args:
        layers: weights and biases.
        last: whether there is a ReLU at the end.
    """

    def __init__(self, layers: Sequence[Linear], last: bool) -> None:
        super().__init__()
        self.weights = nn.ParameterList(weight.contiguous() for weight, _ in layers)
        self.biases = nn.ParameterList(bias.unsqueeze(0) for _, bias in layers)
        self.last = last

    def forward(self, inputs: Float[Tensor, "n inputs"]) -> Float[Tensor, "n outputs"]:
        output = inputs
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            output = torch.addmm(bias, output, weight)
            if self.last or place < len(self.weights) - 1:
                output = output.relu()
        return output


class Body(nn.Module):
    """From the rows and the request's shares to each task's logits.

    Attributes:
        first_layers: of which the request has its share.
    """

    first_layers: list[Linear]

    def forward(
        self, rows: Float[Tensor, "n inputs"], shares: Float[Tensor, "1 outputs"] | None
    ) -> dict[str, Float[Tensor, "n logits"]]:
        raise NotImplementedError


class Perceptrons(Body):
    """Perceptrons on a common input; of one that is common to the tasks, the output is cut into theirs.

    Args:
        towers: each a sequence of linear layers, ReLUs and dropouts.
        outputs: task → logits, of all towers together.
        of_request: as of :class:`FirstLayers`.
    """

    def __init__(self, towers: Sequence[nn.Module], outputs: Mapping[str, int], of_request: Tensor) -> None:
        super().__init__()
        linear = [_linear(tower) for tower in towers]
        self.first_layers = [layers[0] for layers in linear]
        self.first = FirstLayers(self.first_layers, of_request)
        self.rest = nn.ModuleList(Layers(layers[1:], last=False) for layers in linear)
        self.hidden = len(linear[0]) > 1
        self.outputs = dict(outputs)

    def forward(self, rows: Tensor, shares: Tensor | None) -> dict[str, Tensor]:
        logits = self.first(rows, shares)
        if self.hidden:
            logits = [rest(first.relu()) for first, rest in zip(logits, self.rest, strict=True)]
        if len(logits) < len(self.outputs):
            logits = list(torch.split(logits[0], list(self.outputs.values()), dim=1))
        return dict(zip(self.outputs, logits, strict=True))


class Level(nn.Module):
    """An extraction level behind the first layers of its experts and its gates.

    Args:
        level: as it was trained.
    """

    def __init__(self, level: ExtractionLevel) -> None:
        super().__init__()
        count = level.tasks * level.specific + level.shared
        layers = [_of_expert(level, expert) for expert in range(count)]
        self.experts = nn.ModuleList(Layers(each[1:], last=True) for each in layers)
        gates = [*level.task_gates, *([] if level.shared_gate is None else [level.shared_gate])]
        self.layers = [each[0] for each in layers] + [(gate.weight.T, gate.bias) for gate in gates]
        shared = list(range(level.tasks * level.specific, count))
        own = [list(range(task * level.specific, (task + 1) * level.specific)) for task in range(level.tasks)]
        self.seen = [[*each, *shared] for each in own] + [list(range(count))] * (len(gates) - level.tasks)
        self.inputs = [task for task in range(level.tasks) for _ in range(level.specific)] + [
            level.tasks
        ] * level.shared
        self.inputs += list(range(len(gates)))

    def forward(self, first: Sequence[Tensor]) -> list[Tensor]:
        """The mixtures of the tasks, and the shared one if there is another level."""
        experts = [rest(each.relu()) for rest, each in zip(self.experts, first, strict=False)]
        mixtures = []
        for seen, gate in zip(self.seen, first[len(experts) :], strict=True):
            weights = torch.split(gate.softmax(dim=1), 1, dim=1)
            mixture = weights[0] * experts[seen[0]]
            for weight, expert in zip(weights[1:], seen[1:], strict=True):
                mixture = mixture + weight * experts[expert]
            mixtures.append(mixture)
        return mixtures


class Extraction(Body):
    """PLE or MMoE.

    Args:
        body: as it was trained.
        of_request: as of :class:`FirstLayers`.
    """

    def __init__(self, body: ProgressiveLayeredExtraction, of_request: Tensor) -> None:
        super().__init__()
        self.tasks = body.tasks
        levels = [Level(level) for level in body.levels if isinstance(level, ExtractionLevel)]
        self.levels = nn.ModuleList(levels)
        self.first_layers = levels[0].layers
        self.first = FirstLayers(self.first_layers, of_request)
        inputs = [torch.zeros(len(level.layers[0][0]), dtype=torch.bool) for level in levels[1:]]
        self.later = nn.ModuleList(
            nn.ModuleList(FirstLayers([layer], none) for layer in level.layers)
            for level, none in zip(levels[1:], inputs, strict=True)
        )
        self.towers = nn.ModuleList(Layers(_linear(body.towers[task]), last=False) for task in body.tasks)

    def forward(self, rows: Tensor, shares: Tensor | None) -> dict[str, Tensor]:
        mixtures = self.levels[0](self.first(rows, shares))
        for level, layers in zip(list(self.levels)[1:], self.later, strict=True):
            assert isinstance(level, Level)
            assert isinstance(layers, nn.ModuleList)
            mixtures = level(
                [layer(mixtures[place], None)[0] for place, layer in zip(level.inputs, layers, strict=True)]
            )
        towers = zip(self.tasks, self.towers, mixtures, strict=False)
        return {task: tower(mixture) for task, tower, mixture in towers}


def served_body(body: nn.Module, of_request: Bool[Tensor, " inputs"]) -> Body:
    """A body with its first layer cut.

    Raises:
        InputError: for a body that is none of ours.
    """
    if isinstance(body, ProgressiveLayeredExtraction):
        return Extraction(body, of_request)
    if isinstance(body, SeparatePerceptrons):
        return Perceptrons(list(body.towers.values()), dict.fromkeys(body.towers, 0), of_request)
    if isinstance(body, CommonPerceptron):
        return Perceptrons([body.layers], body.outputs, of_request)
    raise unknown(body)


def unknown(module: nn.Module) -> InputError:
    """For a network that the exporter cannot cut."""
    return InputError(
        f"{type(module).__module__}.{type(module).__name__} is no network that can be exported: expected one of "
        "prerank.network or prerank.systems, or a subclass that scores as it does"
    )


def _side_by_side(layers: Sequence[Linear]) -> Tensor:
    return torch.cat([bias for _, bias in layers]).unsqueeze(0)


def _linear(layers: nn.Module) -> list[Linear]:
    return [(layer.weight.T, layer.bias) for layer in layers.modules() if isinstance(layer, nn.Linear)]


def _of_expert(level: ExtractionLevel, expert: int) -> list[Linear]:
    layers = [layer for layer in level.experts.layers if isinstance(layer, BatchedLinear)]
    return [(layer.weight[expert], layer.bias[expert, 0]) for layer in layers]
