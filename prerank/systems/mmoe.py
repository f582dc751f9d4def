"""MMoE (Ma et al., KDD 2018): experts that all tasks share, and a softmax gate for each task.

It is PLE with one level and no expert of a task's own. The experts are of PLE's shape and as many as come closest to
PLE's number of parameters.
"""

from __future__ import annotations

import dataclasses

from torch import nn

from configs.schema import ExpertsConfig
from prerank.network.experts import ProgressiveLayeredExtraction
from prerank.network.perceptrons import dense_parameters
from prerank.network.pre_ranking import PreRankingNetwork
from prerank.systems.ple import PLE
from prerank.training.contracts import Work


def mixture(inputs: int, outputs: dict[str, int], config: ExpertsConfig) -> nn.Module:
    """The multi-gate mixture of experts that stands in the place of a PLE.

    Args:
        inputs: width of the common input.
        outputs: task name → number of logits of its tower.
        config: of the PLE.
    """

    def sharing(experts: int) -> ExpertsConfig:
        return dataclasses.replace(config, levels=1, specific=0, shared=experts)

    def size(chosen: ExpertsConfig) -> int:
        return dense_parameters(lambda: ProgressiveLayeredExtraction(inputs, outputs, chosen))

    one, of_another = size(sharing(1)), size(sharing(2)) - size(sharing(1))
    experts = 1 + max(0, round((size(config) - one) / of_another))
    return ProgressiveLayeredExtraction(inputs, outputs, sharing(experts))


class MMoE(PLE):
    """The feedback losses of PLE through another body."""

    def make_network(self, work: Work, dimension: int) -> PreRankingNetwork:
        return PreRankingNetwork(work.encoded.schema, work.config.model, dimension, body=mixture)


SYSTEM = MMoE
