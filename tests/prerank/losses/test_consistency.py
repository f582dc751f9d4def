"""Eqs. 6, 8 and 9: labels with known answers, and the identity of a shared head."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from prerank.losses.consistency import rank_labels, rank_loss

INFINITY, UNKNOWN = math.inf, math.nan


def test_rank_labels_known_answer():
    position = torch.tensor([1.0, 10.0, 11.0, INFINITY, UNKNOWN, 2.0])
    length = torch.tensor([40.0, 40.0, 40.0, 40.0, 40.0, 10.0])
    labels, mask = rank_labels(position, length, [10, 30])
    assert labels.tolist() == [[1, 1], [1, 1], [0, 1], [0, 0], [0, 0], [1, 1]]
    # Unknown position: nothing is learnt. A list of 10 says nothing about the top 10, nor about the top 30.
    assert mask.tolist() == [[True, True]] * 4 + [[False, False]] * 2


def test_a_random_negative_is_below_every_k_even_of_a_short_list():
    _, mask = rank_labels(torch.tensor([INFINITY, 1.0]), torch.tensor([3.0, 3.0]), [10])
    assert mask.tolist() == [[True], [False]]


@pytest.mark.parametrize("cutoffs", [[], [0, 3], [3, 3], [10, 5]])
def test_rank_labels_refuse_bad_cutoffs(cutoffs):
    with pytest.raises(ValueError, match="ascending"):
        rank_labels(torch.tensor([1.0]), torch.tensor([9.0]), cutoffs)


@pytest.mark.parametrize("rows", [1, 5, 64])
def test_shared_rank_head_learns_the_mean_label(rows):
    """Σ w_k BCE(y^k, ŷ) = (Σ w_k) BCE(ȳ, ŷ): eqs. 8 and 9 with one ŷ_rank."""
    torch.manual_seed(rows)
    cutoffs, weights = [1, 3, 10], torch.tensor([0.5, 0.2, 0.7])
    position = torch.randint(1, 20, (rows,)).float()
    labels, mask = rank_labels(position, torch.full((rows,), 50.0), cutoffs)
    logit = torch.randn(rows)
    loss = rank_loss(logit.unsqueeze(1).expand(-1, 3), labels, mask, weights)
    mean_label = (labels * weights).sum(dim=1) / weights.sum()
    identity = weights.sum() * F.binary_cross_entropy_with_logits(logit, mean_label)
    assert loss.item() == pytest.approx(identity.item(), abs=1e-5)


def test_what_is_masked_teaches_nothing():
    logits = torch.tensor([[0.5, -1.0], [2.0, 0.3], [-0.7, 1.1]])
    labels = torch.tensor([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    mask = torch.tensor([[True, False], [True, True], [False, True]])
    expected = 0.0
    for k, weight in enumerate((0.25, 2.0)):
        rows = [row for row in range(3) if mask[row, k]]
        losses = [F.binary_cross_entropy_with_logits(logits[row, k], labels[row, k]).item() for row in rows]
        expected += weight * sum(losses) / len(losses)
    assert rank_loss(logits, labels, mask, torch.tensor([0.25, 2.0])).item() == pytest.approx(expected, rel=1e-6)
