"""Eq. 10, its variants and controls against slow loops over their formulas."""

from __future__ import annotations

import math

import pytest
import torch

from configs.schema import Contrast, ContrastConfig, Reduction
from prerank.losses.generalisation import alignment, contrastive_loss, uniformity, unique_items

UNKNOWN = math.nan


def naive_contrast(phi, psi, in_p, config):
    """Eq. 10 and its variants, one pair at a time."""
    count = phi.shape[0]

    def unit(v):
        return v / max(math.sqrt(sum(x * x for x in v)), 1e-12)

    literal = config.loss is Contrast.literal
    rows_phi = [torch.tensor(r) if literal else unit(torch.tensor(r)) for r in phi.tolist()]
    rows_psi = [torch.tensor(r) if literal else unit(torch.tensor(r)) for r in psi.tolist()]
    losses = []
    for i in range(count):
        if not in_p[i]:
            continue
        if config.loss is Contrast.mse:
            losses.append(sum((phi[i] - psi[i]) ** 2).item())
            continue
        if config.loss is Contrast.cosine:
            losses.append(1 - float(unit(phi[i]) @ unit(psi[i])))
            continue
        if config.loss is Contrast.relational:
            pairs = [
                float((rows_phi[i] @ rows_phi[j] - rows_psi[i] @ rows_psi[j]) ** 2)
                for j in range(count)
                if j != i and in_p[j]
            ]
            losses.append(sum(pairs) / max(len(pairs), 1))
            continue
        positive = float(rows_phi[i] @ rows_psi[i]) / config.temperature
        total = 0.0
        for j in range(count):
            if config.loss is Contrast.phi_psi and not in_p[j]:
                continue
            alike = in_p[i] and in_p[j] and float(rows_psi[i] @ rows_psi[j]) > config.mask_above
            if not literal and config.mask_above < 1 and i != j and alike:
                continue
            other = rows_psi[j] if config.loss is Contrast.phi_psi else rows_phi[j]
            total += math.exp(float(rows_phi[i] @ other) / config.temperature)
        losses.append(math.log(total) - positive)
    return sum(losses) if config.reduction is Reduction.sum else sum(losses) / len(losses)


@pytest.mark.parametrize("loss", [kind for kind in Contrast if kind is not Contrast.none])
@pytest.mark.parametrize(("items", "temperature"), [(1, 0.1), (2, 0.5), (9, 0.1), (33, 1.0)])
@pytest.mark.parametrize("reduction", list(Reduction))
def test_contrast_is_the_loop(loss, items, temperature, reduction):
    generator = torch.Generator().manual_seed(items)
    phi, psi = torch.randn(items, 4, generator=generator), torch.randn(items, 4, generator=generator)
    in_p = torch.rand(items, generator=generator) < 0.7
    in_p[0] = True
    config = ContrastConfig(loss=loss, temperature=temperature, reduction=reduction, mask_above=0.6)
    expected = naive_contrast(phi, psi, in_p, config)
    found = contrastive_loss(phi, psi, in_p, config).item()
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_two_items_have_one_pair_each():
    generator = torch.Generator().manual_seed(0)
    phi, psi = torch.randn(2, 2, 4, generator=generator)
    config = ContrastConfig(loss=Contrast.relational)
    in_p = torch.tensor([True, True])
    assert contrastive_loss(phi, psi, in_p, config).item() == pytest.approx(naive_contrast(phi, psi, in_p, config))


def test_a_pair_at_the_mask_is_a_negative_and_a_mask_of_one_masks_nothing():
    phi, in_p = torch.randn(2, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([True, True])
    at_right_angles = torch.eye(2, 3)  # their cosine is 0 to the bit
    twins = torch.tensor([[3.0, 4.0, 3.0]]).repeat(2, 1)  # and theirs rounds to more than 1
    for psi, mask_above in ((at_right_angles, 0.0), (twins, 1.0)):
        unit = torch.nn.functional.normalize(psi, dim=1)
        assert (unit @ unit.T)[0, 1] >= mask_above
        config = ContrastConfig(loss=Contrast.phi_phi, mask_above=mask_above)
        expected = naive_contrast(phi, psi, in_p, config)
        assert contrastive_loss(phi, psi, in_p, config).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("everybody", [False, True])
@pytest.mark.parametrize("mask_above", [0.3, 1.0])
def test_gradients_of_eq_10_are_those_of_the_formula(mask_above, everybody):
    """Where pairs are masked too: they pull and push nobody."""
    torch.manual_seed(2)
    phi, psi = torch.randn(20, 4, requires_grad=True), torch.randn(20, 4)
    in_p = torch.ones(20, dtype=torch.bool) if everybody else torch.rand(20) < 0.6
    contrastive_loss(phi, psi, in_p, ContrastConfig(loss=Contrast.phi_phi, mask_above=mask_above)).backward()
    found, phi.grad = phi.grad, None
    unit, psi = torch.nn.functional.normalize(phi, dim=1), torch.nn.functional.normalize(psi, dim=1)
    alike = (psi @ psi.T > mask_above) & in_p.unsqueeze(0) & in_p.unsqueeze(1)
    alike = alike.fill_diagonal_(False)
    assert bool(alike.any()) == (mask_above < 1)
    logits = torch.where(alike, -torch.inf, unit @ unit.T / 0.1)
    (logits.logsumexp(dim=1) - (unit * psi).sum(dim=1) / 0.1)[in_p].mean().backward()
    torch.testing.assert_close(found, phi.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("loss", [kind for kind in Contrast if kind is not Contrast.none])
def test_nobody_in_p_is_zero_with_a_gradient(loss):
    phi = torch.randn(5, 3, requires_grad=True)
    found = contrastive_loss(
        phi, torch.full((5, 3), UNKNOWN), torch.zeros(5, dtype=torch.bool), ContrastConfig(loss=loss)
    )
    found.backward()
    assert found.item() == 0
    assert phi.grad.abs().sum() == 0


def test_psi_of_items_outside_p_is_never_read():
    torch.manual_seed(1)
    phi, psi = torch.randn(4, 3), torch.randn(4, 3)
    in_p = torch.tensor([True, False, True, False])
    for loss in (Contrast.phi_phi, Contrast.phi_psi, Contrast.relational, Contrast.mse):
        config = ContrastConfig(loss=loss)
        poisoned = psi.clone()
        poisoned[~in_p] = UNKNOWN
        assert torch.equal(contrastive_loss(phi, psi, in_p, config), contrastive_loss(phi, poisoned, in_p, config))


def test_one_item_of_p_alone_keeps_its_self_term():
    """Eq. 10 for a batch of one: −⟨φ, ψ⟩/τ + ⟨φ, φ⟩/τ, which is (1 − cos)/τ with L2."""
    phi, psi = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0]])
    found = contrastive_loss(phi, psi, torch.tensor([True]), ContrastConfig(loss=Contrast.phi_phi, temperature=0.5))
    assert found.item() == pytest.approx((1 - 0.6) / 0.5, abs=1e-6)


def test_literal_is_bounded_by_its_self_term():
    """Minimising over φ cannot get below −‖ψ‖²/4τ for each anchor, as j = i stays in the denominator."""
    psi = torch.tensor([[2.0, 1.0]])
    phi = torch.zeros(1, 2, requires_grad=True)
    config = ContrastConfig(loss=Contrast.literal, temperature=0.5, reduction=Reduction.sum)
    optimiser = torch.optim.SGD([phi], lr=0.1)
    for _ in range(300):
        optimiser.zero_grad()
        contrastive_loss(phi, psi, torch.tensor([True]), config).backward()
        optimiser.step()
    found = contrastive_loss(phi, psi, torch.tensor([True]), config).item()
    assert found == pytest.approx(-5 / (4 * 0.5), abs=1e-3)


def test_gradients_stay_finite_over_hundreds_of_batches():
    torch.manual_seed(7)
    for step in range(300):
        items = int(torch.randint(1, 20, ()))
        phi = (torch.randn(items, 4) * 10 ** torch.empty(1).uniform_(-6, 3)).requires_grad_()
        psi, in_p = torch.randn(items, 4), torch.rand(items) < 0.5
        if step % 10 == 0:
            phi = torch.zeros(items, 4, requires_grad=True)
        loss = contrastive_loss(phi, psi, in_p, ContrastConfig(loss=list(Contrast)[1 + step % 6], temperature=0.05))
        loss.backward()
        assert loss.isfinite()
        assert phi.grad.isfinite().all()


def test_duplicates_count_once():
    item = torch.tensor([7, 3, 7, 7, 3, 9])
    first = unique_items(item)
    assert first.tolist() == [1, 0, 5]
    assert item[first].tolist() == [3, 7, 9]


def test_alignment_and_uniformity_known_answers():
    u = torch.tensor([[2.0, 0.0], [0.0, 5.0]])
    assert alignment(u, u) == pytest.approx(0)
    assert alignment(u, -u) == pytest.approx(4)
    assert uniformity(u) == pytest.approx(-4)
    assert uniformity(torch.ones(3, 2)) == pytest.approx(0)
    assert math.isnan(uniformity(torch.ones(1, 2)))
