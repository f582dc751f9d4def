"""COLD (Wang et al. 2020): feature groups chosen under a compute budget, then a plain perceptron.

First all groups are trained with a squeeze-and-excitation block in front of the perceptron; the groups that it weighs
most on average are kept, and the perceptron is trained on these alone, without the block. ``cost.json`` has the other
side of its quality: operations per candidate and measured time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import numpy as np
import torch
from jaxtyping import Float64

from configs.console import say
from configs.schema import ModelConfig
from configs.stages import read_json, write_json
from prerank.batches import Batch, BatchLoader
from prerank.cost import serving_cost
from prerank.feature_groups import FeatureGroups, SqueezeExcitation, group_names
from prerank.network import Outputs, PreRankingNetwork, ServingNetwork, task_heads, to_outputs
from prerank.perceptrons import CommonPerceptron, dense_parameters, matched_hidden
from prerank.schema import EncodedSchema
from prerank.systems import FittedSystem, Work
from prerank.systems.ple import PLE
from prerank.training import SCORING_ROWS, FittedNetwork, fit_network, load_network

NEEDS_PSI = False
GROUPS = "groups.json"
"""The chosen groups, within the system's folder."""


class COLDNetwork(ServingNetwork):
    """Feature groups through a perceptron that is common to the tasks.

    Its layers are as wide as makes it about as large as PLE where it sees every group, so that each group less saves
    operations.

    Args:
        schema, config, dimension: as of :class:`~prerank.network.PreRankingNetwork`.
        kept: names of the groups that it sees; all where None.
        excitation: whether a squeeze-and-excitation block weighs them.
    """

    item_network = None

    def __init__(
        self,
        schema: EncodedSchema,
        config: ModelConfig,
        dimension: int,
        kept: Collection[str] | None = None,
        excitation: bool = False,
    ) -> None:
        super().__init__()
        self.groups = FeatureGroups(schema, config, kept)
        self.excitation = SqueezeExcitation(self.groups.group_of) if excitation else None
        heads, self.rank_heads = task_heads(schema, config)
        self.tasks = list(heads)
        hidden = _hidden(schema, config, dimension, heads)
        self.body = CommonPerceptron(self.groups.width, heads, hidden, config.experts.dropout)

    def forward(self, batch: Batch) -> Outputs:
        inputs = self.groups(batch)
        weighed = inputs if self.excitation is None else self.excitation(inputs)
        return to_outputs(inputs[:, :0], self.body(weighed), self.rank_heads)


def _hidden(schema: EncodedSchema, config: ModelConfig, dimension: int, heads: dict[str, int]) -> list[int]:
    """Hidden layers in the proportions of PLE's experts and towers, for all groups at PLE's size."""
    with torch.device("meta"):
        width = FeatureGroups(schema, config).width

    def size(hidden: list[int]) -> int:
        return dense_parameters(lambda: CommonPerceptron(width, heads, hidden, config.experts.dropout))

    budget = dense_parameters(lambda: PreRankingNetwork(schema, config, dimension))
    return matched_hidden([*config.experts.hidden, *config.experts.tower], budget, size)


class Selection(PLE):
    """The first training: every group, weighed."""

    def make_network(self, work: Work, dimension: int) -> COLDNetwork:
        return COLDNetwork(work.encoded.schema, work.config.model, dimension, excitation=True)


class COLD(PLE):
    """The second training: the kept groups alone. Its losses are PLE's."""

    def make_network(self, work: Work, dimension: int) -> COLDNetwork:
        kept = read_json(work.folder / GROUPS)["kept"]
        return COLDNetwork(work.encoded.schema, work.config.model, dimension, kept)


def fit(work: Work) -> FittedSystem:
    if not (work.folder / GROUPS).exists():
        write_json(work.folder / GROUPS, choose_groups(work))
    # A training that is resumed after the selection starts from the same weights as one that was never stopped.
    torch.manual_seed(work.config.seed)
    fitted = fit_network(COLD(work), work)
    write_costs(fitted, work)
    return fitted


def load(work: Work) -> FittedSystem:
    return load_network(COLD(work), work)


def choose_groups(work: Work) -> dict[str, object]:
    """The groups to keep, and the mean weight of each group where there was a choice to make."""
    names, budget = group_names(work.encoded.schema, work.config.model), work.config.model.cold.groups
    if len(names) <= budget:
        say(f"model=cold: the log has {len(names)} feature groups, all within model.cold.groups={budget}")
        return {"kept": names, "weights": None}
    say(f"model=cold: choosing {budget} of {len(names)} feature groups")
    selecting = dataclasses.replace(work, folder=work.folder / "selection")
    weights = mean_weights(fit_network(Selection(selecting), selecting), work)
    ranked = [names[place] for place in np.argsort(-weights, kind="stable")]
    say(f"model=cold: kept {', '.join(ranked[:budget])}; left out {', '.join(ranked[budget:])}")
    return {"kept": ranked[:budget], "weights": dict(zip(names, weights.tolist(), strict=True))}


@torch.inference_mode()
def mean_weights(fitted: FittedNetwork, work: Work) -> Float64[np.ndarray, " groups"]:
    """The mean of s over the validation rows; no label is looked at."""
    network = fitted.module.network
    assert isinstance(network, COLDNetwork)
    assert network.excitation is not None
    split = work.encoded.split("validation")
    total = torch.zeros(len(network.groups.names), dtype=torch.float64)
    for batch in BatchLoader(split, SCORING_ROWS):
        total += network.excitation.weights(network.groups(batch)).double().sum(dim=0)
    mean: np.ndarray = (total / max(split.rows, 1)).numpy()
    return mean


def write_costs(fitted: FittedNetwork, work: Work) -> None:
    """Say and write what a candidate costs, beside the same network on all groups and beside PLE."""
    schema, config, split = work.encoded.schema, work.config.model, work.encoded.split("validation")
    network = fitted.module.network
    assert isinstance(network, COLDNetwork)
    dimension = work.config.pretrain.dimension
    every = COLDNetwork(schema, config, dimension)
    compared = {"cold": network, "all_groups": every, "ple": PreRankingNetwork(schema, config, dimension)}
    costs = {name: serving_cost(each, split) for name, each in compared.items()}
    words = {
        "cold": f"{len(network.groups.names)} of {len(every.groups.names)} groups",
        "all_groups": "all groups",
        "ple": "PLE",
    }
    for name, cost in costs.items():
        say(f"  {words[name]}: {cost.flops:,} FLOPs a candidate, {cost.latency_ms:.2f} ms for 1,000 candidates")
    groups = {"cold": len(network.groups.names), "all_groups": len(every.groups.names), "ple": None}
    write_json(
        work.folder / "cost.json",
        {name: {**dataclasses.asdict(cost), "groups": groups[name]} for name, cost in costs.items()},
    )
