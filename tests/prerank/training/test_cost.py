"""Counted operations are those of the matrix products."""

from __future__ import annotations

import torch

from prerank.training.cost import CANDIDATES, serving_cost


class Products(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(5, 7), torch.nn.Linear(7, 1)
        self.rows: list[int] = []

    def forward(self, batch):
        self.rows.append(len(batch))
        assert not self.training
        return self.second(self.first(torch.ones(len(batch), 5)))


def test_a_multiply_add_is_two_operations(small_encoded_log):
    network = Products()
    split = small_encoded_log.split("validation")
    assert split.rows < CANDIDATES
    cost = serving_cost(network, split)
    assert cost.flops == 2 * (5 * 7 + 7 * 1)
    assert cost.latency_ms > 0
    assert set(network.rows) == {CANDIDATES}
    assert network.training
