"""Meta-Embedding (Pan et al., SIGIR 2019): the id embedding of a cold item is generated from its attributes.

A PLE is fitted first and frozen. The generator then learns on warm items as if they were cold: its embedding should
serve well at once, and better still after one gradient step on a few rows.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from prerank.encoding.batches import Batch
from prerank.losses.generalisation import unique_items
from prerank.network.pre_ranking import PreRankingNetwork
from prerank.systems.cold_ids import GeneratedIds, RowsOfItems, fitted_base, start_from
from prerank.systems.ple import PLE
from prerank.training.contracts import Work
from prerank.training.network_system import NETWORK_KEYS, FittedNetwork, fit_network


class MetaEmbedding(PLE):
    """The second phase: only the generator trains.

    Args:
        work: whose training rows are drawn in pairs of the same item.
    """

    KEYS = (*NETWORK_KEYS, "model.cold_ids")
    CONTINUES = False

    network: PreRankingNetwork

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self.seed = work.config.seed
        self.split = work.encoded.split("train")
        self.rows = RowsOfItems(self.split)

    def make_network(self, work: Work, dimension: int) -> PreRankingNetwork:
        network = PreRankingNetwork(work.encoded.schema, work.config.model, dimension)
        impressions = work.config.model.cold_ids.impressions
        network.item_network = GeneratedIds(network.item_network, work.encoded, impressions)
        return network

    @property
    def generated(self) -> GeneratedIds:
        """The item network with the generator."""
        items = self.network.item_network
        assert isinstance(items, GeneratedIds)
        return items

    def training_terms(self, batch: Batch) -> dict[str, Tensor]:
        """The loss of the generated embeddings on the batch, and, after a step, on other rows of the same items."""
        random = np.random.default_rng((self.seed, self.global_step))
        rows = batch.row.cpu().numpy()
        others = self.rows.another(rows, batch.item.cpu().numpy(), random)
        usable = (others >= 0) & ~self.generated.is_cold(batch.item_hash).cpu().numpy()
        if not usable.any():
            return {"before": self.generated.generator.weight.sum() * 0.0}
        first = self.split.batch(rows[usable]).to(self.device)
        return self.meta_losses(first, self.split.batch(others[usable]).to(self.device))

    def meta_losses(self, first: Batch, second: Batch) -> dict[str, Tensor]:
        """``α·l_a + (1 − α)·l_b``, averaged over items; l_b is the loss after one gradient step on each embedding.

        Args:
            first: batch a, rows of warm items.
            second: batch b, row by row of the same items.
        """
        config = self.model.cold_ids
        _, owner = torch.unique(first.item, return_inverse=True)
        one = unique_items(first.item)
        items = self.generated
        embedding = items.generate(items.attributes(first.sides["item"])[one])
        before = self.item_losses(first, embedding, owner)
        (gradient,) = torch.autograd.grad(before.sum(), embedding, create_graph=True)
        after = self.item_losses(second, embedding - config.step * gradient, owner)
        return {"before": config.alpha * before.mean(), "after": (1 - config.alpha) * after.mean()}

    def item_losses(self, batch: Batch, embedding: Tensor, owner: Tensor) -> Tensor:
        """Each item's mean feedback loss, ``[items]``, when its id has the given embedding.

        Args:
            batch: rows.
            embedding: ``[items, embedding]``.
            owner: the item of each row.
        """
        items = self.generated
        phi = items.join(items.attributes(batch.sides["item"]), embedding[owner])
        click, order = self.task_logits(self.network.outputs_of(phi, batch))
        losses = torch.zeros_like(batch.clicked)
        for logit, label in ((click, batch.clicked), (order, batch.ordered)):
            if logit is not None:
                losses = losses + F.binary_cross_entropy_with_logits(logit.float(), label, reduction="none")
        total = losses.new_zeros(len(embedding)).index_add(0, owner, losses)
        return total / torch.bincount(owner, minlength=len(embedding))

    @classmethod
    def fit(cls, work: Work) -> FittedNetwork:
        module = cls(work)
        start_from(module, fitted_base(work), (module.generated.generator,))
        return fit_network(module, work)


SYSTEM = MetaEmbedding
