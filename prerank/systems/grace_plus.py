"""GRACE with what may beat it at equal serving cost: the search and what it chose are in docs/results/beyond.md.

The network that serves is GRACE's; φ, with whatever hashing, is made before anybody asks. What may differ is what it
learns from: whole lists beside single rows, rows that the ranking model never saw, and ψ as a target for the request.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from configs.schema import ListLoss, PlusConfig
from prerank.encoding.batches import Batch
from prerank.losses.consistency import rank_labels
from prerank.losses.generalisation import unique_items
from prerank.losses.lists import chunk_pairs_loss, sample_chunks
from prerank.losses.top import relaxed_recall_loss, top_softmax_loss
from prerank.network.heads import Outputs
from prerank.network.pre_ranking import PreRankingNetwork
from prerank.systems.grace import GRACE
from prerank.training.contracts import Work

QUERY_TEMPERATURE = 0.1
"""Of the contrast between requests and ψ, which is bounded as eq. 10 is: τ = 0.1."""


def settle_unranked(batch: Batch, labelled: bool) -> Float[Tensor, " batch"]:
    """Positions for the rank labels: with ``labelled``, rows of unknown position are below every k.

    A row that recall found and an earlier stage left out was not ranked; the paper does not say what it is. As
    "unknown" it teaches nothing. As "below" it teaches what the earlier stages would have done with it, right or wrong.
    """
    return torch.where(batch.position.isnan(), torch.inf, batch.position) if labelled else batch.position


def request_contrast(
    request: Float[Tensor, "rows dimension"],
    item: Int64[Tensor, rows],
    psi: Float[Tensor, "rows dimension"],
    chosen: Bool[Tensor, rows],
) -> Float[Tensor, ""]:
    r"""The request's vector against ψ of the clicked item, among ψ of the other items of the batch.

    .. math:: -\log \frac{\exp(⟨q, ψ(x_i)⟩ / τ)}{\sum_j \exp(⟨q, ψ(x_j)⟩ / τ)}

    j goes over the distinct items of the chosen rows; with L2 on both sides.

    Args:
        request: q of each row's request.
        item: of each row.
        psi: ψ of each row's item.
        chosen: clicked rows whose item is in P.

    Returns:
        The mean over the chosen rows; 0 with a gradient where there is none.
    """
    if not bool(chosen.any()):
        return request.float().sum() * 0.0
    request, item, psi = request[chosen].float(), item[chosen], psi[chosen].float()
    first = unique_items(item)
    place = torch.searchsorted(item[first], item)
    logits = F.normalize(request, dim=1) @ F.normalize(psi[first], dim=1).T
    return F.cross_entropy(logits / QUERY_TEMPERATURE, place)


class GRACEPlus(GRACE):
    """GRACE's losses and those that ``model.plus`` switches on.

    Args:
        work: with ψ of the subset P of items.
    """

    KEYS = (*GRACE.KEYS, "model.plus", "model.copr.chunk")

    network: PreRankingNetwork

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self.plus: PlusConfig = self.model.plus
        self.whole_requests = self.plus.list_loss is not ListLoss.none
        self.query: nn.Linear | None = None
        if self.plus.query_weight > 0:
            self.query = nn.Linear(self.network.request.width, self.psi.shape[1])

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Eq. 11 with the terms of ``model.plus``."""
        terms = super().losses(batch, outputs)
        if self.plus.list_loss is ListLoss.pairs or (self.whole_requests and outputs.rank is not None):
            terms["list"] = self.plus.list_weight * self._list_loss(batch, outputs)
        if self.query is not None:
            terms["query"] = self.plus.query_weight * self._query_loss(batch, self.query)
        return terms

    def rank_positions(self, batch: Batch) -> Tensor:
        """Positions that eq. 6's labels are made of."""
        return settle_unranked(batch, self.plus.unranked_below)

    def generalisation_loss(self, batch: Batch, first: Tensor, phi: Tensor, psi: Tensor, in_p: Tensor) -> Tensor:
        """Eq. 10, of what an item's attributes say, or among items of P only.

        As printed, eq. 10 can be met by each item's own id embedding, which no other item shares, and pushes items
        outside P away from all others: φ then tells who is in P (docs/results/mechanisms.md).
        """
        if self.plus.attributes_only:
            phi = self.network.item_network.without_id(batch.sides["item"].map(lambda values: values[first]))
        if self.plus.negatives_in_p:
            phi, psi, in_p = phi[in_p], psi[in_p], in_p[in_p]
        return super().generalisation_loss(batch, first, phi, psi, in_p)

    def _list_loss(self, batch: Batch, outputs: Outputs) -> Tensor:
        if self.plus.list_loss is ListLoss.pairs:
            return self._pairs_loss(batch, outputs)
        assert outputs.rank is not None
        labels, mask = rank_labels(self.rank_positions(batch), batch.list_length, self.cutoffs)
        if self.plus.list_loss is ListLoss.softmax:
            return top_softmax_loss(outputs.rank, labels, mask, batch.request, self.k_weights)
        return relaxed_recall_loss(outputs.rank, labels, mask, batch.request, self.cutoffs, self.k_weights)

    def _pairs_loss(self, batch: Batch, outputs: Outputs) -> Tensor:
        """COPR's pairs: they order the very logits that clicks teach, where eq. 8 orders a head of its own."""
        draw = torch.rand(len(batch), device=batch.position.device)
        rows, chunks = sample_chunks(batch.request, batch.position, self.model.copr.chunk, draw)
        return chunk_pairs_loss(self.feedback_score(outputs)[rows], batch.request[rows], chunks)

    def _query_loss(self, batch: Batch, query: nn.Linear) -> Tensor:
        rows = self.psi_row[batch.item]
        vectors = query(self.network.request(batch.sides["request"]))
        return request_contrast(vectors, batch.item, self.psi[rows.clamp(min=0)], (rows >= 0) & (batch.clicked > 0))


SYSTEM = GRACEPlus
