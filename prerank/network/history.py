"""A network that looks at the user's earlier items in the light of each candidate, beside all that PLE sees."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from configs.console import say
from configs.errors import InputError
from configs.schema import DINConfig, ExpertsConfig, HistoryPooling, ModelConfig
from graph.neural.attention import TargetAttention
from graph.neural.hash_pooling import HashCollisionPooling
from prerank.encoding.batches import Batch, SideFeatures
from prerank.encoding.schema import ITEM_TABLE, EncodedSchema
from prerank.network.experts import ProgressiveLayeredExtraction
from prerank.network.hash_id import HashId
from prerank.network.heads import Outputs
from prerank.network.parts import SideParts
from prerank.network.pre_ranking import PreRankingNetwork


@dataclass(frozen=True)
class Histories:
    """The earlier items of a batch's requests.

    Attributes:
        history: embeddings ``[requests, length, embedding]``, zeros where there is none.
        present: where there is one, bool ``[requests, length]``.
        group, slot: the number of each row's request, and of the row within it, int64 ``[batch]``.
    """

    history: Tensor
    present: Tensor
    group: Tensor
    slot: Tensor


class HistoryNetwork(PreRankingNetwork):
    """φ, request and pair, and the history pooled for the candidate, to PLE's heads.

    Earlier items and candidate are compared by their embeddings in φ's hash-id table. Without a list of earlier items
    in the log the network is PLE's.

    Args:
        schema, config, dimension: as of :class:`~prerank.network.pre_ranking.PreRankingNetwork`.

    Raises:
        InputError: if there is no hashed id to compare items by.
    """

    def __init__(self, schema: EncodedSchema, config: ModelConfig, dimension: int) -> None:
        if not config.item.use_hash_id:
            raise InputError(
                f"model={config.name} compares earlier items by the hashed id, found model.item.use_hash_id=False: "
                "leave the key out"
            )
        histories = [column.name for column in schema.sides["request"].lists if column.table == ITEM_TABLE]
        width = config.item.hash_dimension
        pooled = width if histories else 0

        def body(inputs: int, heads: dict[str, int], experts: ExpertsConfig) -> nn.Module:
            return ProgressiveLayeredExtraction(inputs + pooled, heads, experts)

        super().__init__(schema, config, dimension, body)
        self.histories = histories
        self.pooling = _pooling(config.din, width) if histories else None
        if not histories:
            say(f"{config.name}: the log has no list of the user's earlier items, so nothing attends: it is PLE")

    @property
    def hash_id(self) -> HashId:
        """The table that earlier items and candidates are compared by."""
        hash_id = self.item_network.hash_id
        assert hash_id is not None
        return hash_id

    def item_side(self, item_hash: Int64[Tensor, batch], features: SideFeatures) -> list[Tensor]:
        """φ, and the embedding that the history is compared with."""
        compared = [] if self.pooling is None else [self.hash_id(item_hash)]
        return [*super().item_side(item_hash, features), *compared]

    def score(
        self, item: list[Tensor], request: list[Tensor], pair: list[Tensor], histories: Histories | None = None
    ) -> Outputs:
        """The outputs of rows whose sides are given, and the histories of their requests."""
        if histories is None:
            return super().score(item, request, pair)
        phi, compared = item
        return super().score([phi], request, [*pair, self.pool(histories, compared)])

    def forward(self, batch: Batch) -> Outputs:
        if self.pooling is None:
            return super().forward(batch)
        phi = self.item_network(batch.item_hash, batch.sides["item"])
        request, pair = self.request_side(batch.sides["request"]), self.pair_side(batch.sides["pair"])
        # Look-ups of one table in another order would sum its gradients in another order.
        histories = self.histories_of(batch)
        return self.score([phi, self.hash_id(batch.item_hash)], request, pair, histories)

    def histories_of(self, batch: Batch) -> Histories:
        """The histories of the batch's requests, each embedded once for all of its candidates."""
        first, group, slot = gather_requests(batch.request)
        lists = batch.sides["request"].lists
        hashes = torch.cat([lists[name][first] for name in self.histories], dim=1)
        present = hashes != 0
        earlier = self.hash_id(hashes[present])
        history = earlier.new_zeros(*hashes.shape, self.hash_id.dimension).index_put((present,), earlier)
        return Histories(history, present, group, slot)

    def pool(
        self, histories: Histories, compared: Float[Tensor, "batch embedding"]
    ) -> Float[Tensor, "batch embedding"]:
        """Each row's history from its candidate's point of view.

        Rows are gathered by request: what depends on the history alone is made once for all of its candidates.
        """
        assert self.pooling is not None
        history, group, slot = histories.history, histories.group, histories.slot
        longest = int(slot.max()) + 1 if len(slot) else 0
        candidates = history.new_zeros(len(history), longest, self.hash_id.dimension)
        candidates = candidates.index_put((group, slot), compared)
        pooled: Tensor = self.pooling(history, histories.present, candidates)
        return pooled[group, slot]

    def sides(self) -> dict[str, SideParts]:
        sides = super().sides()
        return sides if self.pooling is None else {**sides, "item": replace(sides["item"], dense=self.compared)}

    def compared(self, looked_up: Float[Tensor, "batch width"]) -> Float[Tensor, "batch dimensions"]:
        """φ and the embedding that the history is compared with, which is looked up last."""
        return torch.cat([self.item_network.dense(looked_up), looked_up[:, -self.hash_id.dimension :]], dim=1)


def gather_requests(
    request: Int64[Tensor, batch],
) -> tuple[Int64[Tensor, requests], Int64[Tensor, batch], Int64[Tensor, batch]]:
    """Rows by request.

    Returns:
        A row of each distinct request, the number of each row's request among them, and of each row within its request.
    """
    _, group, counts = torch.unique(request, return_inverse=True, return_counts=True)
    order = group.argsort(stable=True)
    starts = counts.cumsum(dim=0) - counts
    slot = torch.empty_like(group)
    slot[order] = torch.arange(len(group), device=group.device) - starts[group[order]]
    return order[starts], group, slot


def _pooling(config: DINConfig, width: int) -> nn.Module:
    if config.pooling is HistoryPooling.attention:
        return TargetAttention(width, config.hidden)
    if config.hashes % config.bits:
        raise InputError(f"model.din.hashes must be a multiple of model.din.bits={config.bits}, found {config.hashes}")
    return HashCollisionPooling(width, config.hashes, config.bits)
