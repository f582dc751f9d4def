"""A network that looks at the user's earlier items in the light of each candidate, beside all that PLE sees."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from configs.console import say
from configs.errors import InputError
from configs.schema import DINConfig, ExpertsConfig, HistoryPooling, ModelConfig
from graph.neural.attention import TargetAttention
from graph.neural.hash_pooling import HashCollisionPooling
from prerank.encoding.batches import Batch
from prerank.encoding.schema import ITEM_TABLE, EncodedSchema
from prerank.network.experts import ProgressiveLayeredExtraction
from prerank.network.pre_ranking import PreRankingNetwork


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

    def context(self, batch: Batch) -> list[Tensor]:
        """Request and pair, and the history that :meth:`pooled_history` makes of the candidate's point of view."""
        pooled = [] if self.pooling is None else [self.pooled_history(batch)]
        return [*super().context(batch), *pooled]

    def pooled_history(self, batch: Batch) -> Float[Tensor, "batch embedding"]:
        """The pooled history of each row.

        Rows are gathered by request: what depends on the history alone is made once for all of its candidates.
        """
        hash_id = self.item_network.hash_id
        assert hash_id is not None
        assert self.pooling is not None
        first, group, slot = gather_requests(batch.request)
        lists = batch.sides["request"].lists
        hashes = torch.cat([lists[name][first] for name in self.histories], dim=1)
        present = hashes != 0
        earlier = hash_id(hashes[present])
        history = earlier.new_zeros(*hashes.shape, hash_id.dimension).index_put((present,), earlier)
        candidates = history.new_zeros(len(first), int(slot.max()) + 1 if len(slot) else 0, hash_id.dimension)
        candidates = candidates.index_put((group, slot), hash_id(batch.item_hash))
        pooled: Tensor = self.pooling(history, present, candidates)
        return pooled[group, slot]


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
