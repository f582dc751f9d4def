"""MMoE against its equation, and its size against PLE's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from configs.schema import ExpertsConfig
from prerank.network.experts import ProgressiveLayeredExtraction
from prerank.network.perceptrons import dense_parameters
from prerank.systems.mmoe import MMoE, mixture


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("tasks", [["click"], ["click", "order"], ["click", "order", "rank"]])
def test_a_task_is_the_gated_sum_of_all_experts(rows, tasks):
    """f_t(x) = h_t(Σ_e softmax(W_t x)_e · f_e(x)), one row and one expert at a time (Ma et al. 2018, eq. 6)."""
    config = ExpertsConfig(hidden=[6, 4], tower=[3])
    body = mixture(5, dict.fromkeys(tasks, 1), config)
    inputs = torch.randn(rows, 5)
    found = body(inputs)
    level = body.levels[0]
    for place, task in enumerate(tasks):
        gate = level.task_gates[place]
        for row in range(rows):
            weights = (gate.weight @ inputs[row] + gate.bias).softmax(dim=0)
            mixed = torch.zeros(4)
            for expert, weight in enumerate(weights):
                value = inputs[row]
                for layer in level.experts.layers:
                    value = (value @ layer.weight[expert] + layer.bias[expert, 0]).clamp(min=0)
                mixed += weight * value
            torch.testing.assert_close(found[task][row], body.towers[task](mixed))


def test_every_expert_serves_every_task():
    body = mixture(5, {"click": 1, "order": 1}, ExpertsConfig(hidden=[6], tower=[3]))
    body(torch.randn(9, 5))["order"].sum().backward()
    reached = body.levels[0].experts.layers[0].weight.grad.abs().sum(dim=(1, 2))
    assert (reached > 0).all()


@pytest.mark.parametrize("tasks", [["click"], ["click", "order"]])
@pytest.mark.parametrize("options", [{}, {"levels": 2}, {"shared": 0}, {"specific": 5}, {"specific": 0, "shared": 1}])
def test_it_has_as_many_experts_as_match_ples_parameters(tasks, options):
    outputs, config = dict.fromkeys(tasks, 1), ExpertsConfig(**options)
    ple = dense_parameters(lambda: ProgressiveLayeredExtraction(300, outputs, config))
    body = mixture(300, outputs, config)
    own = sum(parameter.numel() for parameter in body.parameters())
    one = sum(parameter.numel() for parameter in body.levels[0].experts.parameters()) / body.levels[0].shared
    assert abs(own - ple) < 0.51 * (one + 301 * len(tasks))
    if config.levels == 1:
        assert body.levels[0].shared == len(tasks) * config.specific + config.shared


def test_it_overfits_a_tiny_log(small_encoded_log, work_of, overfit):
    # A tower of 8 rectified units may start dead; 32 do not.
    work = work_of(small_encoded_log, "mmoe", "prerank.learning_rate=0.05", "model.experts.tower=[32]")
    assert overfit(MMoE(work), small_encoded_log) > 0.97


def test_it_is_fitted_and_read_back(small_encoded_log, work_of):
    work, split = work_of(small_encoded_log, "mmoe"), small_encoded_log.split("test")
    fitted, read = MMoE.fit(work), MMoE.load(work)
    np.testing.assert_array_equal(fitted.predict(split).click, read.predict(split).click)
    np.testing.assert_array_equal(fitted.predict(split).order, read.predict(split).order)
    assert fitted.parameters == read.parameters
    assert fitted.item_vectors(small_encoded_log).shape == (50, 32)
