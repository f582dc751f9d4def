"""DSSM (Huang et al., CIKM 2013): a request tower, an item tower, and the cosine between them.

The item tower sees nothing of the request, so that the vectors of a whole catalogue are computed beforehand and a
candidate costs one inner product. For the same reason the pair side (the item's price at that time, how its text
matches) is left out: a tower that saw it could not be precomputed.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from configs.schema import ModelConfig
from graph.neural.perceptron import perceptron
from prerank.encoding.batches import Batch, SideFeatures
from prerank.encoding.schema import EncodedSchema
from prerank.evaluation.calibration import logistic_line
from prerank.network.heads import Outputs, task_heads
from prerank.network.inputs import SideEncoder
from prerank.network.item_network import ItemNetwork
from prerank.network.parts import SideParts
from prerank.network.perceptrons import dense_parameters, matched_hidden
from prerank.network.pre_ranking import PreRankingNetwork, ServingNetwork
from prerank.training.contracts import Work
from prerank.training.network_system import NETWORK_KEYS, FittedNetwork, NetworkSystem


@dataclass(frozen=True)
class TowerOutputs(Outputs):
    """Outputs of two towers; ``phi`` and ``request`` are unit vectors, ``[batch, dimension]``."""

    request: Tensor


def sampled_softmax_loss(
    scores: Float[Tensor, "batch batch"],
    item: Int64[Tensor, " batch"],
    request: Int64[Tensor, " batch"],
    positive: Bool[Tensor, " batch"],
    shown: Bool[Tensor, " batch"],
) -> Float[Tensor, ""]:
    r"""Softmax of each clicked item against the items of the batch.

    .. math:: -\frac{1}{|B^+|} \sum_{i ∈ B^+} \log \frac{\exp s_{ii}}{\sum_{j ∈ N_i ∪ \{i\}} \exp s_{ij}}

    The negatives N_i of row i are the rows that were shown, less those of the same item and the other clicked ones of
    the same request. There is no correction for how often an item is drawn: rows are drawn as items are shown, so the
    best score is that of a click given an impression, which a pre-ranker wants; the correction, which retrieval
    wants, would add an item's popularity to it.

    Args:
        scores: γ·cosine of the request of row i and the item of row j.
        item, request: of each row.
        positive: the clicked rows.
        shown: rows that may be negatives.
    """
    if not bool(positive.any()):
        return scores.sum() * 0.0
    same_item = item[positive].unsqueeze(1) == item
    same_request = request[positive].unsqueeze(1) == request
    own = torch.eye(len(item), dtype=torch.bool, device=item.device)[positive]
    masked = (same_item | (same_request & positive) | ~shown) & ~own
    chosen = scores[positive].float()
    # finfo.min, not -inf: a row of which everything is masked must give a finite loss.
    losses = chosen.masked_fill(masked, torch.finfo(chosen.dtype).min).logsumexp(dim=1) - chosen[own]
    return losses.mean()


class ItemTower(nn.Module):
    """φ's architecture, ending on the unit sphere.

    Args:
        network: of the dimension of the two towers.
    """

    def __init__(self, network: ItemNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, item_hash: Int64[Tensor, batch], features: SideFeatures) -> Float[Tensor, "batch dimension"]:
        return F.normalize(self.network(item_hash, features), dim=1)

    def dense(self, looked_up: Float[Tensor, "batch width"]) -> Float[Tensor, "batch dimension"]:
        """The unit vector from what the item network looks up."""
        return F.normalize(self.network.dense(looked_up), dim=1)


class TwoTowers(ServingNetwork):
    """Request and item towers of about PLE's size, and an affine map of the score to each task's logit.

    Args:
        schema, config, dimension: as of :class:`~prerank.network.pre_ranking.PreRankingNetwork`.
        hidden: hidden layers of each tower.
    """

    item_network: ItemTower
    slope: Tensor
    intercept: Tensor

    def __init__(self, schema: EncodedSchema, config: ModelConfig, dimension: int, hidden: list[int]) -> None:
        super().__init__()
        item = dataclasses.replace(config.item, hidden=hidden)
        self.item_network = ItemTower(
            ItemNetwork(schema.sides["item"], item, config.buckets, config.dimension, dimension)
        )
        hash_id = self.item_network.network.hash_id
        shared = {} if hash_id is None else {"item_id": hash_id}
        self.request = SideEncoder(schema.sides["request"], config.buckets, config.dimension, shared)
        self.request_tower = perceptron(self.request.width, hidden, dimension, config.experts.dropout)
        self.gamma = config.dssm.gamma
        self.tasks = list(task_heads(schema, config)[0])
        # Not in the checkpoint: they are fitted to validation again whenever the weights are read.
        self.register_buffer("slope", torch.ones(len(self.tasks)), persistent=False)
        self.register_buffer("intercept", torch.zeros(len(self.tasks)), persistent=False)

    def item_side(self, item_hash: Int64[Tensor, batch], features: SideFeatures) -> list[Tensor]:
        return [self.item_network(item_hash, features)]

    def request_side(self, features: SideFeatures) -> list[Tensor]:
        return [self.request_dense(self.request(features))]

    def request_dense(self, looked_up: Float[Tensor, "batch width"]) -> Float[Tensor, "batch dimension"]:
        """The unit vector of a request."""
        return F.normalize(self.request_tower(looked_up), dim=1)

    def pair_side(self, _features: SideFeatures) -> list[Tensor]:
        return []

    def score(self, item: list[Tensor], request: list[Tensor], _pair: list[Tensor]) -> TowerOutputs:
        score = self.gamma * (request[0] * item[0]).sum(dim=1)
        logits = {task: self.slope[place] * score + self.intercept[place] for place, task in enumerate(self.tasks)}
        click, order = logits.get("click"), logits.get("order")
        return TowerOutputs(phi=item[0], click=click, order=order, rank=None, request=request[0])

    def sides(self) -> dict[str, SideParts]:
        item = self.item_network
        return {
            "item": SideParts(tuple(item.network.parts()), item.dense),
            "request": SideParts(tuple(self.request.parts()), self.request_dense),
            "pair": SideParts(),
        }


class DSSM(NetworkSystem):
    """The softmax over a batch of whole requests, so that a click meets what was passed over beside it.

    Args:
        work: as of :class:`~prerank.training.trainer.NetworkSystem`.

    """

    KEYS = (*NETWORK_KEYS, "model.dssm")
    whole_requests = True

    @classmethod
    def fit(cls, work: Work) -> FittedNetwork:
        return calibrated(super().fit(work), work)

    @classmethod
    def load(cls, work: Work) -> FittedNetwork:
        return calibrated(super().load(work), work)

    def make_network(self, work: Work, dimension: int) -> TwoTowers:
        schema, config = work.encoded.schema, work.config.model

        def size(hidden: list[int]) -> int:
            return dense_parameters(lambda: TwoTowers(schema, config, dimension, hidden))

        budget = dense_parameters(lambda: PreRankingNetwork(schema, config, dimension))
        return TwoTowers(schema, config, dimension, matched_hidden(config.experts.hidden, budget, size))

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """The softmax of the clicked rows; of the ordered ones, where the log has no clicks."""
        assert isinstance(outputs, TowerOutputs)
        shown = batch.has_feedback
        label = batch.clicked if outputs.click is not None else batch.ordered
        scores = self.model.dssm.gamma * outputs.request @ outputs.phi.T
        return {"softmax": sampled_softmax_loss(scores, batch.item, batch.request, (label > 0) & shown, shown)}


def calibrated(fitted: FittedNetwork, work: Work) -> FittedNetwork:
    """Fit each task's affine map of the score to validation, so that its probabilities mean something.

    A softmax knows nothing of how often items are clicked. Two numbers a task, from the rows whose feedback is known;
    the order of items stays as it is.
    """
    network, split = fitted.module.network, work.encoded.split("validation")
    assert isinstance(network, TwoTowers)
    network.slope.fill_(1.0)
    network.intercept.zero_()
    rows = split.feedback_rows()
    predictions = fitted.predict(split)
    score = predictions.click if predictions.click is not None else predictions.order
    assert score is not None
    for place, task in enumerate(network.tasks):
        labels = (split.clicked if task == "click" else split.ordered)[rows]
        slope, intercept = logistic_line(score[rows], labels, "dssm", task)
        network.slope[place], network.intercept[place] = slope, intercept
    return fitted


SYSTEM = DSSM
