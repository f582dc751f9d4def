"""COLD (Wang et al. 2020): feature groups chosen under a compute budget, then a plain perceptron.

First all groups are trained with a squeeze-and-excitation block in front of the perceptron; the groups that this
network can spare least are kept, and the perceptron is trained on these alone, without the block. ``cost.json`` has the
other side of its quality: operations per candidate and measured time.

COLD keeps the groups with the highest mean s. Here that is written down and not followed: what the block takes from a
group, the layer behind it can give back, so nothing in the loss says how large s has to be, and s is higher for ids of
many values and lower for numbers, noise or not (docs/results/cost.md has the figures). Ours is what held-out rows lose
without the group.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from configs.console import say
from configs.schema import ModelConfig
from configs.stages import read_json, write_json
from prerank.encoding.batch_loader import BatchLoader
from prerank.encoding.batches import SideFeatures
from prerank.encoding.schema import SIDES, EncodedSchema
from prerank.network.feature_groups import FeatureGroups, SqueezeExcitation, group_names
from prerank.network.heads import Outputs, task_heads, to_outputs
from prerank.network.parts import SideParts
from prerank.network.perceptrons import CommonPerceptron, dense_parameters, matched_hidden
from prerank.network.pre_ranking import PreRankingNetwork, ServingNetwork
from prerank.systems.ple import PLE
from prerank.training.contracts import Work
from prerank.training.cost import serving_cost
from prerank.training.network_system import NETWORK_KEYS, SCORING_ROWS, FittedNetwork, fit_network

GROUPS = "groups.json"
"""The chosen groups, within the system's folder."""
RANKING = "selection/ranking.json"
"""All groups, the most important first, and what that rests on; the same whatever the budget."""
RANKING_ROWS = SCORING_ROWS
"""Validation rows, spread evenly, that groups are ranked on: every pair of groups costs a pass over them."""


class COLDNetwork(ServingNetwork):
    """Feature groups through a perceptron that is common to the tasks.

    Its layers are as wide as makes it about as large as PLE where it sees every group, so that each group less saves
    operations.

    Args:
        schema, config, dimension: as of :class:`~prerank.network.pre_ranking.PreRankingNetwork`.
        selection: names of the groups that it sees; all where None.
        excitation: whether a squeeze-and-excitation block weighs them.
    """

    item_network = None

    def __init__(
        self,
        schema: EncodedSchema,
        config: ModelConfig,
        dimension: int,
        selection: Collection[str] | None = None,
        excitation: bool = False,
    ) -> None:
        super().__init__()
        self.groups = FeatureGroups(schema, config, selection)
        self.excitation = SqueezeExcitation(self.groups.group_of) if excitation else None
        heads, self.rank_heads = task_heads(schema, config)
        self.tasks = list(heads)
        hidden = _hidden(schema, config, dimension, heads)
        self.body = CommonPerceptron(self.groups.width, heads, hidden, config.experts.dropout)

    def item_side(self, item_hash: Int64[Tensor, batch], features: SideFeatures) -> list[Tensor]:
        return self.groups.item(item_hash, features)

    def request_side(self, features: SideFeatures) -> list[Tensor]:
        return [self.groups.sides["request"](features)]

    def pair_side(self, features: SideFeatures) -> list[Tensor]:
        return [self.groups.sides["pair"](features)]

    def score(self, item: list[Tensor], request: list[Tensor], pair: list[Tensor]) -> Outputs:
        return self.outputs_of(torch.cat([*item, *request, *pair], dim=1))

    def sides(self) -> dict[str, SideParts]:
        return {side: SideParts(self.groups.parts(side)) for side in SIDES}

    def outputs_of(self, inputs: Float[Tensor, "batch width"]) -> Outputs:
        """The logits from embedded groups."""
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

    KEYS = (*NETWORK_KEYS, "model.cold")

    def make_network(self, work: Work, dimension: int) -> COLDNetwork:
        selection = read_json(work.folder / GROUPS)["kept"]
        return COLDNetwork(work.encoded.schema, work.config.model, dimension, selection)

    @classmethod
    def fit(cls, work: Work) -> FittedNetwork:
        if not (work.folder / GROUPS).exists():
            # A training that goes on from another keeps its groups, without which its weights would not fit.
            chosen = choose_groups(work) if work.start is None else read_json(work.start / GROUPS)
            write_json(work.folder / GROUPS, chosen)
        # A training that is resumed after the selection starts from the same weights as one that was never stopped.
        torch.manual_seed(work.config.seed)
        fitted = super().fit(work)
        write_costs(fitted, work)
        return fitted


def choose_groups(work: Work) -> dict[str, object]:
    """The groups to keep, and where there was a choice to make, what it rests on (:func:`rank_groups`)."""
    names, budget = group_names(work.encoded.schema, work.config.model), work.config.model.cold.groups
    if len(names) <= budget:
        say(f"model=cold: the log has {len(names)} feature groups, all within model.cold.groups={budget}")
        return {"kept": names}
    say(f"model=cold: choosing {budget} of {len(names)} feature groups")
    if not (work.folder / RANKING).exists():
        write_json(work.folder / RANKING, rank_groups(work))
    ranking = read_json(work.folder / RANKING)
    selection, spared = ranking["order"][:budget], ranking["order"][budget:]
    say(f"model=cold: kept {', '.join(selection)}; left out {', '.join(spared)}")
    return {"kept": selection, **ranking}


def rank_groups(work: Work) -> dict[str, object]:
    """Train on all groups and rank them.

    Returns:
        ``order``: names of the groups, the most important first; ``losses``: what each costs (:func:`close_in_turn`);
        ``weights``: the mean of its s, the original's criterion.
    """
    selecting = dataclasses.replace(work, folder=(work.folder / RANKING).parent)
    fitted = fit_network(Selection(selecting), selecting)
    losses, weights = close_in_turn(fitted, work), mean_weights(fitted, work)
    names = group_names(work.encoded.schema, work.config.model)
    return {"order": list(losses), "losses": losses, "weights": dict(zip(names, weights.tolist(), strict=True))}


@torch.inference_mode()
def close_in_turn(fitted: FittedNetwork, work: Work) -> dict[str, float]:
    r"""What validation rows lose by each group, the most important group first (ours).

    Turn by turn, the group whose closing leaves the least loss is closed for good; so of two columns that say the same,
    only the first is cheap. A closed group says its mean to everybody, the block included:

    .. math:: g_t = \arg\min_{g} L(C_{t-1} \cup \{g\}), \qquad
        \mathrm{loss}_{g_t} = L(C_{t-1} \cup \{g_t\}) - L(C_{t-1})

    Returns:
        Group → loss, in the unit of the training's loss; negative where the rows are better off without the group.
    """
    module = fitted.module
    network = module.network
    assert isinstance(network, COLDNetwork)
    split = work.encoded.split("validation")
    batch = split.batch(np.linspace(0, split.rows - 1, min(split.rows, RANKING_ROWS)).astype(np.int64))
    inputs = network.groups(batch)
    mean, group_of, names = inputs.mean(dim=0), network.groups.group_of, network.groups.names

    def without(group: int) -> Tensor:
        return torch.where(group_of == group, mean, inputs)

    def loss(said: Tensor) -> float:
        return torch.stack(list(module.losses(batch, network.outputs_of(said)).values())).sum().item()

    left, before, closed = list(range(len(names))), loss(inputs), {}
    while left:
        losses = {group: loss(without(group)) for group in left}
        least = min(left, key=lambda group: losses[group])
        closed[names[least]] = losses[least] - before
        inputs, before = without(least), losses[least]
        left.remove(least)
    return dict(reversed(closed.items()))


@torch.inference_mode()
def mean_weights(fitted: FittedNetwork, work: Work) -> Float64[np.ndarray, " groups"]:
    """The mean of s over the validation rows."""
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


SYSTEM = COLD
