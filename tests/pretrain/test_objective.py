"""The losses against loops written from their formulas, and known answers."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from pretrain.objective import graphsage_loss, softmax_loss


def inputs(pairs: int, negatives: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def unit(*shape: int) -> torch.Tensor:
        return F.normalize(torch.randn(*shape, 6, generator=generator), dim=-1)

    return unit(pairs), unit(pairs), unit(pairs, negatives)


def naive_softmax(
    queries: torch.Tensor,
    items: torch.Tensor,
    log_q: list[float],
    known: list[list[bool]],
    negatives: torch.Tensor,
    negatives_log_q: list[list[float]],
    negatives_known: list[list[bool]],
    temperature: float,
) -> float:
    total = 0.0
    for i, query in enumerate(queries):
        positive = math.exp(float(query @ items[i]) / temperature - log_q[i])
        everything = positive
        for j, item in enumerate(items):
            if j != i and not known[i][j]:
                everything += math.exp(float(query @ item) / temperature - log_q[j])
        for h, item in enumerate(negatives[i]):
            if not negatives_known[i][h]:
                everything += math.exp(float(query @ item) / temperature - negatives_log_q[i][h])
        total -= math.log(positive / everything)
    return total / len(queries)


@pytest.mark.parametrize("pairs", [1, 2, 7])
@pytest.mark.parametrize("negatives", [0, 1, 3])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_softmax_agrees_with_loops(pairs: int, negatives: int, temperature: float) -> None:
    queries, items, drawn = inputs(pairs, negatives, pairs + negatives)
    generator = torch.Generator().manual_seed(9)
    log_q = torch.rand(pairs, generator=generator).log()
    drawn_log_q = torch.rand(pairs, negatives, generator=generator).log()
    known = torch.rand(pairs, pairs, generator=generator) < 0.3
    drawn_known = torch.rand(pairs, negatives, generator=generator) < 0.3
    found = softmax_loss(queries, items, log_q, known, drawn, drawn_log_q, drawn_known, temperature)
    expected = naive_softmax(
        queries, items, log_q.tolist(), known.tolist(), drawn, drawn_log_q.tolist(), drawn_known.tolist(), temperature
    )
    assert float(found) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def nothing(pairs: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.zeros(pairs, 0, 6), torch.zeros(pairs, 0), torch.zeros(pairs, 0, dtype=torch.bool)


def test_a_batch_of_one_and_a_batch_of_known_items_cost_nothing() -> None:
    for pairs in (1, 4):
        queries, items, _ = inputs(pairs, 0, 0)
        queries.requires_grad_()
        known = torch.ones(pairs, pairs, dtype=torch.bool)
        loss = softmax_loss(queries, items, torch.zeros(pairs), known, *nothing(pairs), 0.1)
        assert loss.item() == 0.0
        loss.backward()
        assert queries.grad is not None
        assert queries.grad.isfinite().all()


def test_an_item_that_comes_twice_is_no_negative_of_its_own() -> None:
    """Known to both queries, so each sees one positive and no negative."""
    queries, items, _ = inputs(2, 0, 3)
    twice = items[[0, 0]]
    known = torch.ones(2, 2, dtype=torch.bool)
    assert softmax_loss(queries, twice, torch.zeros(2), known, *nothing(2), 0.1).item() == 0.0
    assert softmax_loss(queries, twice, torch.zeros(2), ~known, *nothing(2), 0.1).item() == pytest.approx(math.log(2))


def test_log_q_known_answer() -> None:
    """Equal cosines; the other item has 1/4 of the positive's share: its odds are 4 to 1."""
    queries = items = torch.tensor([[1.0, 0.0]] * 2)
    log_q = torch.tensor([0.8, 0.2]).log()
    nothing_known = torch.zeros(2, 2, dtype=torch.bool)
    none = (torch.zeros(2, 0, 2), torch.zeros(2, 0), torch.zeros(2, 0, dtype=torch.bool))
    loss = softmax_loss(queries, items, log_q, nothing_known, *none, 0.1)
    assert loss.item() == pytest.approx((math.log(1 + 4) + math.log(1 + 1 / 4)) / 2, rel=1e-5)


@pytest.mark.parametrize("pairs", [1, 5])
@pytest.mark.parametrize("negatives", [0, 1, 4])
def test_graphsage_agrees_with_loops(pairs: int, negatives: int) -> None:
    queries, items, drawn = inputs(pairs, negatives, 1)
    known = torch.rand(pairs, negatives, generator=torch.Generator().manual_seed(2)) < 0.3
    expected = 0.0
    for i in range(pairs):
        expected -= math.log(1 / (1 + math.exp(-float(queries[i] @ items[i]) / 0.5)))
        for n in range(negatives):
            if not known[i, n]:
                expected -= math.log(1 / (1 + math.exp(float(queries[i] @ drawn[i, n]) / 0.5)))
    assert graphsage_loss(queries, items, drawn, known, 0.5).item() == pytest.approx(expected / pairs, rel=1e-4)
