"""DIN (Zhou et al., KDD 2018) with PLE's heads: a ranking model that attends to the user's earlier items.

``model.din.pooling=sdim`` pools them by hash collisions instead (SDIM). A log without earlier items leaves PLE.
"""

from __future__ import annotations

from prerank.network.history import HistoryNetwork
from prerank.network.pre_ranking import PreRankingNetwork
from prerank.systems.ple import PLE
from prerank.training.contracts import Work
from prerank.training.network_system import NETWORK_KEYS


class DIN(PLE):
    """Feedback losses on a network with attention."""

    KEYS = (*NETWORK_KEYS, "model.din")

    def make_network(self, work: Work, dimension: int) -> PreRankingNetwork:
        return HistoryNetwork(work.encoded.schema, work.config.model, dimension)


SYSTEM = DIN
