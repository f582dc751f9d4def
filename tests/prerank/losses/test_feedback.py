"""Eqs. 2 to 4 against slow loops over their formulas."""

from __future__ import annotations

import math

import pytest
import torch

from configs.schema import ConversionSpace
from prerank.losses.feedback import (
    conversion_logit,
    conversion_loss,
    log_product_of_sigmoids,
    masked_cross_entropy,
)

UNKNOWN = math.nan


def naive_cross_entropy(logits, labels, mask):
    total, count = 0.0, 0
    for z, y, known in zip(logits.tolist(), labels.tolist(), mask.tolist(), strict=True):
        if known:
            p = 1 / (1 + math.exp(-z))
            total -= y * math.log(p) + (1 - y) * math.log(1 - p)
            count += 1
    return total / count if count else 0.0


@pytest.mark.parametrize("rows", [1, 2, 7, 100])
def test_masked_cross_entropy_is_the_loop(rows):
    torch.manual_seed(rows)
    logits, labels = torch.randn(rows) * 3, (torch.rand(rows) < 0.3).float()
    mask = torch.rand(rows) < 0.7
    expected = naive_cross_entropy(logits, labels, mask)
    assert masked_cross_entropy(logits, labels, mask).item() == pytest.approx(expected, abs=1e-5)


def test_one_known_row_is_averaged_over_itself():
    logits, mask = torch.tensor([1.5, -2.0]), torch.tensor([True, False])
    found = masked_cross_entropy(logits, torch.ones(2), mask)
    assert found.item() == pytest.approx(math.log1p(math.exp(-1.5)), abs=1e-6)


def test_nothing_known_is_zero_with_a_gradient():
    logits = torch.randn(4, requires_grad=True)
    loss = masked_cross_entropy(logits, torch.full((4,), UNKNOWN), torch.zeros(4, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.tolist() == [0, 0, 0, 0]


def test_product_of_sigmoids_is_stable():
    a, b = torch.tensor([0.0, 2.0, -90.0, 90.0, 40.0]), torch.tensor([0.0, -1.0, -90.0, 90.0, -50.0])
    logit = log_product_of_sigmoids(a.double(), b.double())
    p = torch.sigmoid(a[:2].double()) * torch.sigmoid(b[:2].double())
    assert torch.allclose(logit[:2].double(), torch.log(p / (1 - p)), atol=1e-6)
    assert logit.isfinite().all()
    assert logit[2].item() == pytest.approx(-180)
    assert logit[4].item() == pytest.approx(-50)


def test_conversion_spaces():
    torch.manual_seed(0)
    click, order = torch.randn(50), torch.randn(50)
    clicked = (torch.rand(50) < 0.5).float()
    ordered = clicked * (torch.rand(50) < 0.5).float()
    mask = torch.rand(50) < 0.8
    product = torch.sigmoid(click) * torch.sigmoid(order)
    esmm = naive_cross_entropy(torch.log(product / (1 - product)), ordered, mask)
    losses = {space: conversion_loss(click, order, clicked, ordered, mask, space).item() for space in ConversionSpace}
    assert losses[ConversionSpace.impression] == pytest.approx(naive_cross_entropy(order, ordered, mask), abs=1e-5)
    assert losses[ConversionSpace.click] == pytest.approx(
        naive_cross_entropy(order, ordered, mask & (clicked > 0)), abs=1e-5
    )
    assert losses[ConversionSpace.esmm] == pytest.approx(esmm, abs=1e-5)
    # In impression space pCTR must not be multiplied in.
    assert torch.equal(conversion_logit(click, order, ConversionSpace.impression), order)
