"""DeepFM (Guo et al., IJCAI 2017) with a click and an order head: a ranking model that is weaker than DIN.

Every id, list and text is a field with one embedding, of its own table or of the items'. The factorisation machine sums
the fields' weights and their pairwise products; the deep part sees all embeddings and the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from configs.schema import ItemNetworkConfig, ModelConfig
from graph.neural.perceptron import perceptron
from prerank.encoding.batches import SideFeatures
from prerank.encoding.schema import ITEM_TABLE, SIDES, EncodedSchema
from prerank.network.hash_id import HashId
from prerank.network.heads import Outputs
from prerank.network.inputs import NumberEncoder, SideEncoder
from prerank.network.parts import HashedId, Part, SideParts
from prerank.network.perceptrons import dense_parameters, matched_hidden
from prerank.network.pre_ranking import PreRankingNetwork, ServingNetwork
from prerank.systems.ple import PLE
from prerank.training.contracts import Work
from prerank.training.network_system import NETWORK_KEYS


def factorisation(fields: Float[Tensor, "batch fields width"]) -> Float[Tensor, "batch width"]:
    r"""The sum over all pairs of fields of their elementwise product.

    .. math:: \sum_{i < j} v_i \circ v_j = \frac12 \left(\left(\sum_i v_i\right)^2 - \sum_i v_i^2\right)
    """
    return (fields.sum(dim=1).square() - fields.square().sum(dim=1)) / 2


class ProjectedIds(nn.Module):
    """The item's hashed id, as long as for every other system, brought to the width that all fields share.

    Args:
        config: of the hashed id.
        width: of a field.
    """

    def __init__(self, config: ItemNetworkConfig, width: int) -> None:
        super().__init__()
        self.dimension = width
        self.hash_id = HashId(config)
        self.projection = nn.Linear(config.hash_dimension, width, bias=False)

    def forward(self, hashes: Int64[Tensor, batch]) -> Float[Tensor, "batch width"]:
        projected: Tensor = self.projection(self.hash_id(hashes))
        return projected

    def pool(self, column: str, hashes: Int64[Tensor, "batch length"]) -> Float[Tensor, "batch width"]:
        """The mean of a list of items; 0 is padding."""
        projected: Tensor = self.projection(self.hash_id.pool(column, hashes))
        return projected

    def part(self, column: str | None, pooled: bool) -> HashedId:
        """What is looked up: of the item's own id where the column is None."""
        return replace(self.hash_id.part(column, pooled), projection=self.projection.weight)


class FieldEmbeddings(nn.Module):
    """One embedding for each field: the item's hashed id, and every id, list and text of the three sides.

    Args:
        schema: the log's columns.
        item: embeds the item's id; None leaves it out.
        buckets: rows of every other table.
        width: of an embedding.
    """

    def __init__(self, schema: EncodedSchema, item: HashId | ProjectedIds | None, buckets: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.item = item
        shared = {} if item is None else {ITEM_TABLE: item}
        self.sides = nn.ModuleDict(
            {side: SideEncoder(replace(schema.sides[side], numbers=()), buckets, width, shared) for side in SIDES}
        )
        widths = [encoder.width for encoder in self.sides.values() if isinstance(encoder, SideEncoder)]
        self.fields = sum(widths) // width + (item is not None)

    def item_fields(self, item_hash: Int64[Tensor, batch], features: SideFeatures) -> list[Tensor]:
        """The fields of the item side: its id, if that is one, and its columns."""
        return [*([] if self.item is None else [self.item(item_hash)]), self.sides["item"](features)]

    def parts(self, side: str) -> list[Part]:
        """What the fields of a side look up, in their order."""
        own = [self.item.part(None, False)] if side == "item" and self.item is not None else []
        encoder = self.sides[side]
        assert isinstance(encoder, SideEncoder)
        return [*own, *encoder.parts()]

    def join(self, fields: Sequence[Tensor]) -> Float[Tensor, "batch fields width"]:
        """The fields of item, request and pair, one below the other."""
        return torch.cat(list(fields), dim=1).view(-1, self.fields, self.width)


class DeepFMNetwork(ServingNetwork):
    r"""DeepFM's two halves for each task.

    .. math:: z_t = \sum_i w_{t,i} + a_t^\top \sum_{i<j} v_i \circ v_j + \mathrm{deep}_t(v, \mathrm{numbers})

    With :math:`a_t = 1`, where it starts, the second term is the paper's; the tasks share embeddings, and a of its own
    lets each weigh their products.

    Args:
        schema, config, dimension: as of :class:`~prerank.network.pre_ranking.PreRankingNetwork`; the deep part
            is as large as makes this network as large as that one beside the tables.
    """

    def __init__(self, schema: EncodedSchema, config: ModelConfig, dimension: int) -> None:
        super().__init__()
        self.item_network = None
        self.tasks = [task for task in ("click", "order") if schema.tasks[task]["available"]]
        heads = len(self.tasks) or 1  # a log without either is refused when training starts
        item, weight = None, None
        if config.item.use_hash_id:
            item = ProjectedIds(config.item, config.dimension)
            weight = HashId(replace(config.item, hash_dimension=heads))
        self.embeddings = FieldEmbeddings(schema, item, config.buckets, config.dimension)
        self.weights = FieldEmbeddings(schema, weight, config.buckets, heads)
        numbers = {side: schema.sides[side].numbers for side in SIDES if schema.sides[side].numbers}
        encoders = {side: NumberEncoder(statistics, config.dimension) for side, statistics in numbers.items()}
        self.numbers = nn.ModuleDict(encoders)
        self.products = nn.Parameter(torch.ones(heads, config.dimension))
        width = self.embeddings.fields * config.dimension + sum(encoder.width for encoder in encoders.values())
        budget = dense_parameters(lambda: PreRankingNetwork(schema, config, dimension)) - dense_parameters(lambda: self)
        hidden = matched_hidden(
            config.deepfm.hidden, budget, lambda widths: dense_parameters(lambda: perceptron(width, widths, heads))
        )
        self.deep = perceptron(width, hidden, heads, config.experts.dropout)

    def item_side(self, item_hash: Int64[Tensor, batch], features: SideFeatures) -> list[Tensor]:
        fields = self.embeddings.item_fields(item_hash, features)
        return [*fields, *self.weights.item_fields(item_hash, features), *self._numbers("item", features)]

    def request_side(self, features: SideFeatures) -> list[Tensor]:
        return self._side("request", features)

    def pair_side(self, features: SideFeatures) -> list[Tensor]:
        return self._side("pair", features)

    def _side(self, side: str, features: SideFeatures) -> list[Tensor]:
        """Fields, their weights, and numbers if the side has any."""
        embedded, weights = self.embeddings.sides[side](features), self.weights.sides[side](features)
        return [embedded, weights, *self._numbers(side, features)]

    def _numbers(self, side: str, features: SideFeatures) -> list[Tensor]:
        return [self.numbers[side](features.numbers)] if side in self.numbers else []

    def score(self, item: list[Tensor], request: list[Tensor], pair: list[Tensor]) -> Outputs:
        own = 1 + (self.embeddings.item is not None)
        fields = self.embeddings.join([*item[:own], request[0], pair[0]])
        weights = self.weights.join([*item[own : 2 * own], request[1], pair[1]])
        numbers = [*item[2 * own :], *request[2:], *pair[2:]]
        logits = weights.sum(dim=1) + factorisation(fields) @ self.products.T
        logits = logits + self.deep(torch.cat([fields.flatten(1), *numbers], dim=1))
        of_task = dict(zip(self.tasks, logits.unbind(dim=1), strict=True))
        return Outputs(fields.new_zeros(len(fields), 0), of_task.get("click"), of_task.get("order"), None)

    def sides(self) -> dict[str, SideParts]:
        numbers = {
            side: [encoder.part()] for side, encoder in self.numbers.items() if isinstance(encoder, NumberEncoder)
        }
        return {
            side: SideParts((*self.embeddings.parts(side), *self.weights.parts(side), *numbers.get(side, [])))
            for side in SIDES
        }


class DeepFM(PLE):
    """Feedback losses."""

    KEYS = (*NETWORK_KEYS, "model.deepfm")

    def make_network(self, work: Work, dimension: int) -> ServingNetwork:
        return DeepFMNetwork(work.encoded.schema, work.config.model, dimension)


SYSTEM = DeepFM
