"""A network's score as it is served: one request, many candidates; the parity of both is tested for every system."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from configs.errors import InputError
from prerank.encoding.schema import SIDES
from prerank.exporting.layers import Perceptrons, RequestShares, served_body, unknown
from prerank.network.heads import Outputs, to_outputs
from prerank.network.history import HistoryNetwork
from prerank.network.inputs import NumberEncoder
from prerank.network.pre_ranking import PreRankingNetwork
from prerank.systems.cold import COLDNetwork
from prerank.systems.deepfm import DeepFMNetwork
from prerank.systems.dssm import TwoTowers
from prerank.systems.pretrained_item_id import PretrainedNetwork

Segment = tuple[str, int]
"""A piece of a body's input: the side that it comes from (``pooled``: the history), and its width."""
TaskLogits = Callable[[Outputs], tuple[Tensor | None, Tensor | None]]
"""Of a system: from the heads' outputs to the logits of P(click | impression) and P(order | impression)."""


@dataclass(frozen=True)
class Served:
    """A network in two pieces.

    Attributes:
        request: from the request's looked-up vector ``[1, width]`` to what the score takes of it; None where there is
            nothing of a request.
        score: of the candidates.
    """

    request: nn.Module | None
    score: Score


class Score(nn.Module):
    """From the sides of one request to the logits of its candidates.

    Called with the inputs that ``names`` lists, it returns the outputs that ``heads`` lists: ``click`` and ``order``
    ``[n]``, and ``rank`` ``[n, cutoffs]``.

    Args:
        widths: of the inputs ``item``, ``request`` and ``pair``; one of width 0 is no input.
        heads: the outputs.
        task_logits: of the system.
    """

    def __init__(self, widths: Mapping[str, int], heads: Sequence[str], task_logits: TaskLogits) -> None:
        super().__init__()
        self.widths = dict(widths)
        self.names = [side for side, width in widths.items() if width]
        self.heads = list(heads)
        self.task_logits = task_logits

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        outputs = self.outputs(dict(zip(self.names, inputs, strict=True)))
        click, order = self.task_logits(outputs)
        by_head = {"click": click, "order": order, "rank": outputs.rank}
        present = [by_head[head] for head in self.heads]
        return tuple(logit for logit in present if logit is not None)

    def outputs(self, sides: Mapping[str, Tensor]) -> Outputs:
        raise NotImplementedError


class BodyScore(Score):
    """Segments of the sides through a body.

    Args:
        segments: the body's input, piece by piece; ``pooled`` is the history from the candidate's point of view.
        network: body, rank heads, and pooling if there is a segment of it.
        compared: width of the item side's last piece, which the body does not see but the pooling.
    """

    def __init__(self, segments: Sequence[Segment], network: Any, task_logits: TaskLogits, compared: int = 0) -> None:
        of_request = of_side("request", segments)
        body = served_body(network.body, of_request)
        widths = {side: int(of_side(side, segments).sum()) for side in SIDES}
        shares = sum(len(bias) for _, bias in body.first_layers) if widths["request"] else 0
        super().__init__({**widths, "item": widths["item"] + compared, "request": shares}, network.tasks, task_logits)
        self.body = body
        self.segments = [(name, width) for name, width in segments if width]
        self.pieces = [width for name, width in self.segments if name == "item"] + ([compared] if compared else [])
        self.rank_heads = network.rank_heads
        self.pooling: nn.Module | None = network.pooling if compared else None
        self.names += ["history", "present"] if compared else []

    def outputs(self, sides: Mapping[str, Tensor]) -> Outputs:
        values_of = dict(sides)
        items = [sides["item"]] if "item" in sides else []
        if len(self.pieces) > 1:
            items = list(torch.split(sides["item"], self.pieces, dim=1))
        if self.pooling is not None:
            history, present = sides["history"].unsqueeze(0), sides["present"].unsqueeze(0)
            values_of["pooled"] = self.pooling(history, present, items[-1].unsqueeze(0)).squeeze(0)
        place = iter(items)
        rows = [next(place) if name == "item" else values_of[name] for name, _ in self.segments if name != "request"]
        logits = self.body(torch.cat(rows, dim=1) if len(rows) > 1 else rows[0], sides.get("request"))
        return to_outputs(rows[0], logits, self.rank_heads)


def of_side(side: str, segments: Sequence[Segment]) -> Tensor:
    """Which inputs of a body are a side's, bool ``[inputs]``."""
    return torch.cat([torch.full((width,), name == side) for name, width in segments])


class DeepFMScore(Score):
    """DeepFM; of the request it takes the sums that :class:`DeepFMRequest` makes.

    Args:
        network: as it was trained.
    """

    def __init__(self, network: DeepFMNetwork, task_logits: TaskLogits) -> None:
        fields = FieldLayout(network)
        deep = Perceptrons([network.deep], {"all": 0}, of_side("request", fields.segments))
        shares = len(deep.first_layers[0][1]) + 2 * fields.width + fields.logits if fields.widths["request"] else 0
        super().__init__({**fields.widths, "request": shares}, network.tasks, task_logits)
        self.fields, self.deep, self.tasks = fields, deep, network.tasks
        self.products = nn.Parameter(network.products.T.contiguous())

    def outputs(self, sides: Mapping[str, Tensor]) -> Outputs:
        cut = [self.fields.cut(side, sides[side]) for side in ("item", "pair") if side in sides]
        rows = torch.cat([fields for fields, _, _ in cut] + [numbers for _, _, numbers in cut], dim=1)
        sums = [self.fields.sums(fields, weights) for fields, weights, _ in cut if fields.shape[1]]
        shares = None
        if "request" in sides:
            hidden = self.deep.first.outputs[0]
            widths = [hidden, self.fields.width, self.fields.width, self.fields.logits]
            shares, *of_request = torch.split(sides["request"], widths, dim=1)
            sums.append(tuple(of_request))
        total, squares, weights = (_sum(each) for each in zip(*sums, strict=True))
        logits = self.deep(rows, shares)["all"] + weights + (total.square() - squares) / 2 @ self.products
        of_task = dict(zip(self.tasks, logits.unbind(dim=1), strict=True))
        return Outputs(rows, of_task.get("click"), of_task.get("order"), None)


class FieldLayout:
    """Where a side of DeepFM has its fields, their weights and its numbers.

    Args:
        network: as it was trained.
    """

    def __init__(self, network: DeepFMNetwork) -> None:
        sides = network.sides()
        self.widths = {side: sides[side].width for side in SIDES}
        self.width, self.logits = network.embeddings.width, network.weights.width
        encoders = {side: each for side, each in network.numbers.items() if isinstance(each, NumberEncoder)}
        self.numbers = {side: encoders[side].width if side in encoders else 0 for side in SIDES}
        self.fields = {side: (self.widths[side] - self.numbers[side]) // (self.width + self.logits) for side in SIDES}
        embedded = [(side, self.fields[side] * self.width) for side in SIDES]
        self.segments = [*embedded, *((side, self.numbers[side]) for side in SIDES)]

    def cut(self, side: str, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Fields, their weights, and numbers, each ``[n, width]``."""
        widths = [self.fields[side] * self.width, self.fields[side] * self.logits, self.numbers[side]]
        fields, weights, numbers = torch.split(values, widths, dim=1)
        return fields, weights, numbers

    def sums(self, fields: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
        """Sum of the fields, sum of their squares, and sum of the weights."""
        count = fields.shape[1] // self.width
        each = fields.reshape(fields.shape[0], count, self.width)
        of_weights = weights.reshape(fields.shape[0], count, self.logits).sum(dim=1)
        return each.sum(dim=1), each.square().sum(dim=1), of_weights


class DeepFMRequest(nn.Module):
    """The deep part's share of a request, and the sums over its fields.

    Args:
        network: as it was trained.
    """

    def __init__(self, network: DeepFMNetwork) -> None:
        super().__init__()
        self.fields = FieldLayout(network)
        of_request = of_side("request", self.fields.segments)
        self.shares = RequestShares(Perceptrons([network.deep], {"all": 0}, of_request).first_layers, of_request)

    def forward(self, request: Tensor) -> Tensor:
        fields, weights, numbers = self.fields.cut("request", request)
        shares = self.shares(torch.cat([fields, numbers], dim=1))
        return torch.cat([shares, *self.fields.sums(fields, weights)], dim=1)


class TowersScore(Score):
    """The inner product of the two towers' unit vectors, on each task's line.

    Args:
        network: as it was trained and calibrated.
    """

    def __init__(self, network: TwoTowers, task_logits: TaskLogits) -> None:
        dimension = network.item_network.network.dimension
        super().__init__({"item": dimension, "request": dimension, "pair": 0}, network.tasks, task_logits)
        self.tasks = network.tasks
        self.slope = nn.Parameter(network.gamma * network.slope.unsqueeze(0))
        self.intercept = nn.Parameter(network.intercept.unsqueeze(0))

    def outputs(self, sides: Mapping[str, Tensor]) -> Outputs:
        logits = torch.addmm(self.intercept, sides["item"], sides["request"].T * self.slope)
        of_task = dict(zip(self.tasks, logits.unbind(dim=1), strict=True))
        return Outputs(sides["item"], of_task.get("click"), of_task.get("order"), None)


class Tower(nn.Module):
    """A two-tower network's request tower, with nothing else of the network.

    Args:
        network: as it was trained.
    """

    def __init__(self, network: TwoTowers) -> None:
        super().__init__()
        self.layers = network.request_tower

    def forward(self, request: Float[Tensor, "1 width"]) -> Float[Tensor, "1 dimension"]:
        return F.normalize(self.layers(request), dim=1)


@torch.no_grad()
def served(network: nn.Module, task_logits: TaskLogits) -> Served:
    """The network as it is served.

    Args:
        network: as it was trained.
        task_logits: :meth:`~prerank.training.network_system.NetworkSystem.task_logits` of its system.

    Raises:
        InputError: for a network that is none of ours, or that sees neither item nor pair.
    """
    request: nn.Module | None = None
    match network:
        case DeepFMNetwork():
            score: Score = DeepFMScore(network, task_logits)
            request = DeepFMRequest(network)
        case TwoTowers():
            score, request = TowersScore(network, task_logits), Tower(network)
        case _:
            segments, compared = _segments(network)
            of_body = BodyScore(segments, network, task_logits, compared)
            score, request = of_body, RequestShares(of_body.body.first_layers, of_side("request", segments))
    if not (score.widths["item"] or score.widths["pair"]):
        raise InputError("the network sees the request alone, so all candidates score alike: fit it with item columns")
    return Served(request.eval() if score.widths["request"] else None, score.eval())


def _segments(network: nn.Module) -> tuple[list[Segment], int]:
    """The pieces of a body's input, and the width that only the pooling of the history sees."""
    match network:
        case PreRankingNetwork():
            phi, sides = (
                network.item_network.dimension,
                [("request", network.request.width), ("pair", network.pair.width)],
            )
            pooled = (
                network.hash_id.dimension if isinstance(network, HistoryNetwork) and network.pooling is not None else 0
            )
            return [("item", phi), *sides, ("pooled", pooled)], pooled
        case PretrainedNetwork():
            attributes = 0 if network.attributes is None else network.attributes.width
            sides = [("request", network.request.width), ("pair", network.pair.width)]
            return [("item", network.item_network.table.dimension), *sides, ("item", attributes)], 0
        case COLDNetwork():
            return [(side, each.width) for side, each in network.sides().items()], 0
    raise unknown(network)


def _sum(terms: Sequence[Tensor]) -> Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
