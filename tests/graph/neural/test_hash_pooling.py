"""Hash-collision pooling against a loop over groups and items."""

from __future__ import annotations

import pytest
import torch

from graph.neural.hash_pooling import HashCollisionPooling


def naive(layer, history, present, candidate):
    """The pooled history of one candidate, item by item."""
    groups, bits = layer.planes.shape[1:]
    pooled = torch.zeros(len(candidate))
    for group in range(groups):

        def signs(vector, group=group):
            return tuple(bool(vector @ layer.planes[:, group, bit] > 0) for bit in range(bits))

        alike = [
            item for item, there in zip(history, present, strict=True) if there and signs(item) == signs(candidate)
        ]
        if alike:
            total = torch.stack(alike).sum(dim=0)
            pooled += total / total.norm() / groups
    return pooled


@pytest.mark.parametrize(("requests", "candidates", "length"), [(1, 1, 1), (3, 5, 7), (2, 1, 20)])
def test_equals_a_loop(requests, candidates, length):
    torch.manual_seed(length)
    layer = HashCollisionPooling(6, hashes=12, bits=3)
    history, vectors = torch.randn(requests, length, 6), torch.randn(requests, candidates, 6)
    present = torch.rand(requests, length) < 0.7
    found = layer(history, present, vectors)
    for request in range(requests):
        for place in range(candidates):
            expected = naive(layer, history[request], present[request], vectors[request, place])
            torch.testing.assert_close(found[request, place], expected)


def test_the_candidate_itself_counts_in_every_group_and_its_opposite_in_none():
    layer = HashCollisionPooling(6, hashes=12, bits=3)
    vector = torch.randn(6)
    there = torch.tensor([[True]])
    itself = layer(vector.view(1, 1, 6), there, vector.view(1, 1, 6))
    torch.testing.assert_close(itself.flatten(), vector / vector.norm())
    assert not layer(-vector.view(1, 1, 6), there, vector.view(1, 1, 6)).any()


def test_padding_may_hold_anything_and_an_empty_history_gives_zeros():
    layer = HashCollisionPooling(4, hashes=6, bits=2)
    padded = torch.full((1, 3, 4), torch.inf)
    assert not layer(padded, torch.zeros(1, 3, dtype=torch.bool), torch.randn(1, 2, 4)).any()


def test_hyperplanes_must_fill_the_groups():
    with pytest.raises(ValueError, match="multiple of bits, got 10 and 3"):
        HashCollisionPooling(4, hashes=10, bits=3)


def test_the_hyperplanes_are_saved():
    first, second = HashCollisionPooling(4, 6, 2), HashCollisionPooling(4, 6, 2)
    second.load_state_dict(first.state_dict())
    vectors = torch.randn(2, 3, 4)
    there = torch.ones(2, 3, dtype=torch.bool)
    torch.testing.assert_close(first(vectors, there, vectors), second(vectors, there, vectors))
