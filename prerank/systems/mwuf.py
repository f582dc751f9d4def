"""MWUF (Zhu et al., SIGIR 2021): a cold id is scaled by the item's attributes and shifted by the item's users.

A PLE is fitted first and frozen. Every item is then treated as cold: the cold embedding learns from its own loss, the
scaling and shifting networks from the loss of the warmed embedding.
"""

from __future__ import annotations

from torch import Tensor

from prerank.encoding.batches import Batch
from prerank.network.pre_ranking import PreRankingNetwork
from prerank.systems.cold_ids import WarmedIds, fitted_base, leave_out, start_from
from prerank.systems.ple import PLE
from prerank.training.contracts import Work
from prerank.training.network_system import NETWORK_KEYS, FittedNetwork, fit_network, load_network


class MWUF(PLE):
    """The second phase: the cold embeddings and the two networks train."""

    KEYS = (*NETWORK_KEYS, "model.cold_ids")
    CONTINUES = False

    network: PreRankingNetwork

    def make_network(self, work: Work, dimension: int) -> PreRankingNetwork:
        network = PreRankingNetwork(work.encoded.schema, work.config.model, dimension)
        impressions = work.config.model.cold_ids.impressions
        network.item_network = WarmedIds(network.item_network, work.encoded, impressions, network.request)
        return network

    @property
    def warmed(self) -> WarmedIds:
        """The item network with the cold ids."""
        items = self.network.item_network
        assert isinstance(items, WarmedIds)
        return items

    def training_terms(self, batch: Batch) -> dict[str, Tensor]:
        """Feedback losses of the cold embedding and of the warmed one, which leaves the cold one as it is."""
        items = self.warmed
        attributes = items.attributes(batch.sides["item"])
        cold = items.embed_cold(batch.item_hash)
        users = leave_out(*items.users_of(batch.item_hash), self.network.request(batch.sides["request"]), batch)
        identities = {"cold": cold, "warm": items.warmed(cold.detach(), attributes, users)}
        terms: dict[str, Tensor] = {}
        for name, identity in identities.items():
            outputs = self.network.outputs_of(items.join(attributes, identity), batch)
            terms |= {f"{name}_{task}": loss for task, loss in self.losses(batch, outputs).items()}
        return terms

    @classmethod
    def fit(cls, work: Work) -> FittedNetwork:
        module = cls(work)
        items = module.warmed
        start_from(module, fitted_base(work), (items.cold, items.scale, items.shift))
        items.start_cold()
        items.remember_users(module.network.request, work.encoded.split("train"))
        return fit_network(module, work)

    @classmethod
    def load(cls, work: Work) -> FittedNetwork:
        module = cls(work)
        fitted = load_network(module, work)
        module.warmed.remember_users(module.network.request, work.encoded.split("train"))
        return fitted


SYSTEM = MWUF
