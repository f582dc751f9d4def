"""DIN (Zhou et al., KDD 2018) with PLE's heads: a ranking model that attends to the user's earlier items.

``model.din.pooling=sdim`` pools them by hash collisions instead (SDIM). A log without earlier items leaves PLE.
"""

from __future__ import annotations

from prerank.network.history import HistoryNetwork
from prerank.network.pre_ranking import PreRankingNetwork
from prerank.systems.ple import PLE
from prerank.training.contracts import FittedSystem, Work
from prerank.training.trainer import NETWORK_KEYS, fit_network, load_network

NEEDS_PSI = False
KEYS = (*NETWORK_KEYS, "model.din")


class DIN(PLE):
    """Feedback losses on a network with attention."""

    def make_network(self, work: Work, dimension: int) -> PreRankingNetwork:
        return HistoryNetwork(work.encoded.schema, work.config.model, dimension)


def fit(work: Work) -> FittedSystem:
    return fit_network(DIN(work), work)


def load(work: Work) -> FittedSystem:
    return load_network(DIN(work), work)
