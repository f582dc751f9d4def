"""Yesterday's psi as the start of today's: the encoder's parameters, whatever rows and relations have come or gone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from configs.keys import Keys
from configs.schema import Config
from configs.stages import Run, require_current
from graph.increment import places_in
from graph.logs.log import SearchLog
from graph.store import Graph
from pretrain.encoder import GraphEncoder
from pretrain.node_features import node_features
from pretrain.sampling import Pairs
from pretrain.targets import engaged_pairs
from pretrain.training import BEST, read_parameters

TABLE = "nodes.table.weight"
GOES_ON_WITH = Keys(
    tuple(f"pretrain.{key}" for key in ("dimension", "hidden", "fan_out", "text_buckets", "text_dimension", "shuffled"))
)
"""What the shapes of the encoder depend on."""


@dataclass(frozen=True)
class WarmStart:
    """What is known of yesterday.

    Attributes:
        parameters: of yesterday's encoder.
        buckets: the hash bucket of each row of its table.
        graph: yesterday's.
    """

    parameters: dict[str, Tensor]
    buckets: Int64[np.ndarray, " rows"]
    graph: Graph

    @classmethod
    def of(cls, origin: Run, config: Config) -> WarmStart:
        """Read it.

        Args:
            origin: yesterday's run.
            config: today's, whose ``data`` and ``pretrain`` say what nodes are described by.

        Raises:
            InputError: if its graph or log have been made anew since its psi was.
        """
        require_current(origin, [(origin.pretrain, f"python -m pretrain.run run={origin.root.name}")])
        graph = Graph.open(origin.graph)
        features = node_features(graph, SearchLog.open(origin.logs), config.data, config.pretrain)
        parameters = read_parameters(origin.pretrain / "checkpoints" / BEST)
        buckets = features["item"].buckets
        whole = len(parameters[TABLE]) > len(buckets)  # trained before the empty buckets were left out
        return cls(parameters, np.arange(len(parameters[TABLE])) if whole else buckets, graph)

    @torch.no_grad()
    def give(self, encoder: GraphEncoder) -> None:
        """Overwrite what an encoder with a whole table, of every bucket, has in common with yesterday's."""
        own = encoder.state_dict()
        for name, values in self.parameters.items():
            if name == TABLE:
                own[name][torch.from_numpy(self.buckets)] = values
            elif name in own:
                own[name].copy_(values)

    def unseen(self, pairs: Pairs, graph: Graph) -> Bool[np.ndarray, " pairs"]:
        """Which of today's pairs yesterday's graph did not have, so that yesterday's encoder has not learnt them."""
        numbers = places_in(graph.nodes("query")["key"], self.graph.nodes("query")["key"])
        before, items = engaged_pairs(self.graph), graph.node_counts["item"]
        return ~np.isin(pairs.queries * items + pairs.items, numbers[before.queries] * items + before.items)
