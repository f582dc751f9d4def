"""Losses over whole lists against loops that follow their formulas, and at their edges."""

from __future__ import annotations

import math

import pytest
import torch

from prerank.losses.consistency import rank_labels
from prerank.losses.top import relaxed_recall_loss, top_softmax_loss

CUTOFFS = [2, 4]
WEIGHTS = torch.tensor([0.25, 0.75])


def some_batch(seed: int = 0):
    """Three lists (of 6, 5 and 3 rows: the last is too short for k = 4), a random negative and an unknown row each."""
    draw = torch.Generator().manual_seed(seed)
    lengths = [6, 5, 3]
    request = torch.tensor([7] * 8 + [3] * 7 + [9] * 5)
    position = torch.cat([torch.cat([torch.arange(1.0, n + 1), torch.tensor([math.inf, math.nan])]) for n in lengths])
    length = torch.repeat_interleave(torch.tensor([6.0, 5.0, 3.0]), torch.tensor([8, 7, 5]))
    order = torch.randperm(20, generator=draw)
    logits = torch.randn(20, 2, generator=draw)
    return logits, request[order], position[order], length[order]


def naive(logits, request, position, length, loss_of_row):
    """The mean over lists of the mean over the top k's rows, weighted over k, by loops."""
    labels, mask = rank_labels(position, length, CUTOFFS)
    total = 0.0
    for column, weight in enumerate(WEIGHTS.tolist()):
        lists = []
        for wanted in request.unique():
            rows = [i for i in range(len(request)) if request[i] == wanted and mask[i, column]]
            inside = [i for i in rows if labels[i, column]]
            outside = [i for i in rows if not labels[i, column]]
            if inside and outside:
                z = logits[:, column].tolist()
                lists.append(sum(loss_of_row(z, i, inside, outside, CUTOFFS[column]) for i in inside) / len(inside))
        total += weight * sum(lists) / max(len(lists), 1)
    return total


def softmax_of_row(z, i, _inside, outside, _k):
    return -math.log(math.exp(z[i]) / (math.exp(z[i]) + sum(math.exp(z[j]) for j in outside)))


def recall_of_row(z, i, inside, outside, k):
    rank = 0.5 + sum(1 / (1 + math.exp(z[i] - z[j])) for j in inside + outside)
    return math.log(1 + math.exp(-(k + 0.5 - rank) / (k / 2)))


@pytest.mark.parametrize("seed", [0, 1])
def test_both_losses_are_their_formulas(seed):
    logits, request, position, length = some_batch(seed)
    labels, mask = rank_labels(position, length, CUTOFFS)
    softmax = top_softmax_loss(logits, labels, mask, request, WEIGHTS)
    recall = relaxed_recall_loss(logits, labels, mask, request, CUTOFFS, WEIGHTS)
    assert float(softmax) == pytest.approx(naive(logits, request, position, length, softmax_of_row), rel=1e-5)
    assert float(recall) == pytest.approx(naive(logits, request, position, length, recall_of_row), rel=1e-5)


def both(logits, request, position, length):
    labels, mask = rank_labels(position, length, CUTOFFS)
    return (
        top_softmax_loss(logits, labels, mask, request, WEIGHTS),
        relaxed_recall_loss(logits, labels, mask, request, CUTOFFS, WEIGHTS),
    )


@pytest.mark.parametrize(
    "position",
    [[math.nan] * 3, [math.inf] * 3, [1.0, 2.0, math.nan], [1.0]],
    ids=["unknown", "random negatives", "a list as short as k", "one row"],
)
def test_a_batch_that_tells_nothing_has_loss_0_with_a_gradient(position):
    logits = torch.randn(len(position), 2, requires_grad=True)
    size = torch.full((len(position),), 2.0)
    for loss in both(logits, torch.zeros(len(position), dtype=torch.int64), torch.tensor(position), size):
        assert loss.item() == 0
        (gradient,) = torch.autograd.grad(loss, logits, retain_graph=True)
        assert (gradient == 0).all()


def test_an_empty_batch_has_loss_0():
    empty = torch.zeros(0)
    for loss in both(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), empty, empty):
        assert loss.item() == 0


def test_a_list_in_the_right_order_is_better_and_huge_logits_stay_finite():
    position = torch.arange(1.0, 7.0)
    request, length = torch.zeros(6, dtype=torch.int64), torch.full((6,), 6.0)
    right = -position.unsqueeze(1).expand(-1, 2)
    for better, worse in zip(
        both(right, request, position, length), both(-right, request, position, length), strict=True
    ):
        assert better < worse
    for extreme in (right * 1e4, -right * 1e4):
        logits = extreme.clone().requires_grad_()
        for loss in both(logits, request, position, length):
            (gradient,) = torch.autograd.grad(loss, logits, retain_graph=True)
            assert loss.isfinite()
            assert gradient.isfinite().all()


def test_the_order_within_the_top_k_is_free():
    position, request, length = torch.arange(1.0, 7.0), torch.zeros(6, dtype=torch.int64), torch.full((6,), 6.0)
    logits = torch.tensor([3.0, 2.0, 0.0, -1.0, -2.0, -3.0]).unsqueeze(1).expand(-1, 2)
    swapped = logits[[1, 0, 2, 3, 4, 5]]
    labels, mask = rank_labels(position, length, CUTOFFS)
    losses = [top_softmax_loss(each, labels, mask, request, WEIGHTS) for each in (logits, swapped)]
    torch.testing.assert_close(*losses)
