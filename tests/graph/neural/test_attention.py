"""Target attention against a loop over requests, candidates and history items that concatenates as the paper does."""

from __future__ import annotations

import pytest
import torch

from graph.neural.attention import TargetAttention


def naive(layer: TargetAttention, history, present, candidates):
    pooled = torch.zeros_like(candidates)
    for request in range(len(history)):
        for place, candidate in enumerate(candidates[request]):
            for item, there in zip(history[request], present[request], strict=True):
                if there:
                    joined = torch.cat([item, candidate, item - candidate, item * candidate])
                    pooled[request, place] += layer.second(torch.relu(layer.first(joined))) * item
    return pooled


def example(requests: int, length: int, candidates: int, width: int):
    torch.manual_seed(requests + 10 * length)
    layer = TargetAttention(width, hidden=5)
    history, present = torch.randn(requests, length, width), torch.rand(requests, length) < 0.6
    return layer, history, present, torch.randn(requests, candidates, width)


@pytest.mark.parametrize(("requests", "length", "candidates", "width"), [(1, 1, 1, 1), (3, 4, 5, 6), (2, 7, 1, 3)])
def test_it_is_the_loop(requests, length, candidates, width):
    layer, history, present, vectors = example(requests, length, candidates, width)
    found = layer(history, present, vectors)
    assert found.shape == vectors.shape
    assert torch.allclose(found, naive(layer, history, present, vectors), atol=1e-5)


def test_what_stands_in_padding_is_ignored():
    layer, history, present, vectors = example(3, 4, 5, 6)
    other = history.where(present.unsqueeze(2), torch.tensor(float("inf")))
    assert torch.equal(layer(history, present, vectors), layer(other, present, vectors))


def test_an_empty_history_gives_zeros_and_finite_gradients():
    layer, history, present, vectors = example(2, 3, 4, 5)
    pooled = layer(history, torch.zeros_like(present), vectors)
    assert not pooled.any()
    pooled.sum().backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in layer.parameters())


def test_weights_are_not_normalised():
    layer, history, present, vectors = example(2, 3, 4, 5)
    twice = layer(torch.cat([history, history], dim=1), torch.cat([present, present], dim=1), vectors)
    assert torch.allclose(twice, 2 * layer(history, present, vectors), atol=1e-5)
