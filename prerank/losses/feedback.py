"""The losses of GRACE in the order of the paper: feedback (2-4), rank consistency (6-9), generalisation (10).

All take logits, never probabilities, and are computed in float32 whatever the precision of the network. A loss with
nothing to learn from is 0 with a gradient, so that a batch without orders, ranked rows or items of P trains on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from configs.schema import Contrast, ContrastConfig, ConversionSpace, Reduction


def masked_cross_entropy(
    logits: Float[Tensor, batch], labels: Float[Tensor, batch], mask: Bool[Tensor, batch]
) -> Float[Tensor, ""]:
    r"""Binary cross-entropy, averaged over the rows whose label is known (GRACE, eqs. 2, 3 and 8).

    .. math:: -\frac{1}{N} \sum_i y_i \log σ(z_i) + (1 - y_i) \log (1 - σ(z_i))

    Args:
        logits: z, before the sigmoid.
        labels: 0 or 1; ignored where ``mask`` is False.
        mask: rows to learn from; where it is all False the loss is 0.
    """
    labels = torch.where(mask, labels, 0.0)
    losses = F.binary_cross_entropy_with_logits(logits.float(), labels.float(), reduction="none")
    return torch.where(mask, losses, 0.0).sum() / mask.sum().clamp(min=1)


def log_product_of_sigmoids(first: Float[Tensor, batch], second: Float[Tensor, batch]) -> Float[Tensor, batch]:
    r"""The logit of :math:`σ(a)σ(b)`, stable for large ``|a|`` and ``|b|``.

    With :math:`p = σ(a)σ(b)`, :math:`\log p = \log σ(a) + \log σ(b)` and
    :math:`1/p - 1 = e^{-a} + e^{-b} + e^{-a-b}`.
    """
    first, second = first.float(), second.float()
    return -torch.logsumexp(torch.stack([-first, -second, -first - second]), dim=0)


def conversion_logit(
    click: Float[Tensor, batch], order: Float[Tensor, batch], space: ConversionSpace
) -> Float[Tensor, batch]:
    """The logit of P(order | impression), whatever space the order head lives in.

    In impression space (eq. 3 literally) the head is that already and must never be multiplied by pCTR; in the click
    and ESMM spaces the head is P(order | click) and the product with P(click) is the answer.
    """
    return order.float() if space is ConversionSpace.impression else log_product_of_sigmoids(click, order)


def conversion_loss(
    click: Float[Tensor, batch],
    order: Float[Tensor, batch],
    clicked: Float[Tensor, batch],
    ordered: Float[Tensor, batch],
    mask: Bool[Tensor, batch],
    space: ConversionSpace,
) -> Float[Tensor, ""]:
    """The conversion loss: over impressions (eq. 3), over clicks, or of pCTR·pCVR over impressions (ESMM).

    Args:
        click, order: logits of the two heads.
        clicked, ordered: labels, 0 or 1.
        mask: impressions whose feedback is known.
        space: ``impression``, ``click`` or ``esmm``.
    """
    if space is ConversionSpace.click:
        return masked_cross_entropy(order, ordered, mask & (clicked > 0))
    return masked_cross_entropy(conversion_logit(click, order, space), ordered, mask)


def rank_labels(
    position: Float[Tensor, batch], list_length: Float[Tensor, batch], cutoffs: Sequence[int]
) -> tuple[Float[Tensor, "batch cutoffs"], Bool[Tensor, "batch cutoffs"]]:
    r"""Top-k membership labels of the rank-consistency loss (GRACE, eq. 6).

    .. math:: y^k = 1[\mathrm{pos} \le k]

    Args:
        position: 1-based position by the ranking model; ``inf`` for a random negative, ``nan`` where unknown.
        list_length: rows that the ranking model ordered in the row's request.
        cutoffs: the values of k, ascending, each at least 1.

    Returns:
        The labels, and a mask that is False where the label must not be learnt from: the position is unknown, or the
        ranked list is no longer than k, so that every ranked row would be a positive. A random negative is below
        every k.

    Raises:
        ValueError: if ``cutoffs`` is empty, not ascending, or holds a value below 1.
    """
    if not cutoffs or cutoffs[0] < 1 or any(a >= b for a, b in pairwise(cutoffs)):
        raise ValueError(f"cutoffs must be ascending and at least 1, got {list(cutoffs)}")
    k = position.new_tensor(cutoffs)
    labels = position.unsqueeze(1) <= k
    telling = (list_length.unsqueeze(1) > k) | position.isinf().unsqueeze(1)
    return labels.to(position.dtype), telling & ~position.isnan().unsqueeze(1)


def rank_loss(
    logits: Float[Tensor, "batch cutoffs"],
    labels: Float[Tensor, "batch cutoffs"],
    mask: Bool[Tensor, "batch cutoffs"],
    weights: Float[Tensor, cutoffs],
) -> Float[Tensor, ""]:
    r"""The rank-consistency loss (GRACE, eqs. 8 and 9).

    .. math:: L_{rank} = \sum_{k \in K} w_k L_k

    With one logit for every k (``rank_head=shared``: the same column repeated) and the same rows known for every k
    this equals :math:`(\sum_k w_k)` times the cross-entropy against the weighted mean label, since cross-entropy is
    linear in its label.

    Args:
        logits: one column for each k.
        labels, mask: from :func:`rank_labels`.
        weights: w_k.
    """
    losses = [
        masked_cross_entropy(logits[:, column], labels[:, column], mask[:, column]) for column in range(labels.shape[1])
    ]
    return (torch.stack(losses) * weights).sum()


def unique_items(
    item: Int64[Tensor, batch], chosen: Bool[Tensor, batch]
) -> tuple[Int64[Tensor, items], Bool[Tensor, items]]:
    """The first row of each distinct item of a batch, and whether any of the item's rows is chosen.

    Eq. 10 sums over items: without this, an item that fills ten rows would be its own negative nine times.
    """
    items, inverse = torch.unique(item, return_inverse=True)
    rows = torch.arange(item.numel(), device=item.device)
    first = torch.full_like(items, item.numel()).scatter_reduce_(0, inverse, rows, "amin")
    any_chosen = torch.zeros(items.numel(), dtype=torch.bool, device=item.device)
    any_chosen[inverse[chosen]] = True
    return first, any_chosen


def contrastive_loss(
    phi: Float[Tensor, "items dimension"],
    psi: Float[Tensor, "items dimension"],
    in_p: Bool[Tensor, items],
    config: ContrastConfig,
    anchors: Bool[Tensor, items] | None = None,
) -> Float[Tensor, ""]:
    r"""The generalisation loss (GRACE, eq. 10), its variants and its controls.

    .. math:: L_{cl} = -\sum_{x_i \in P} \log
        \frac{\exp(⟨φ(x_i), ψ(x_i)⟩ / τ)}{\sum_j \exp(⟨φ(x_i), φ(x_j)⟩ / τ)}

    ``phi_phi`` is eq. 10 with L2 on both sides and the j = i term kept; ``literal`` leaves L2 out and is bounded only
    by the j = i term (by :math:`-‖ψ‖²/4τ` for each anchor). ``phi_psi`` contrasts against the batch's ψ instead,
    ``relational`` matches the pairwise cosines, and ``mse`` and ``cosine`` are controls without negatives.

    Args:
        phi: φ of the distinct items of a batch, un-normalised.
        psi: ψ of the same items, mean-centred over P; rows outside P are ignored.
        in_p: which items have a ψ.
        config: variant, temperature, reduction and false-negative mask.
        anchors: which items are pulled towards their ψ; all items of P where None. Others only serve as negatives.

    Returns:
        The mean (or sum) over the anchors; 0 with a gradient where there is no anchor.
    """
    anchors = in_p if anchors is None else anchors & in_p
    if not bool(anchors.any()):
        return phi.float().sum() * 0.0
    with torch.autocast(device_type=phi.device.type, enabled=False):
        phi = phi.float()
        psi = torch.where(in_p.unsqueeze(1), psi.float(), 0.0)
        if config.loss is Contrast.mse:
            losses = (phi - psi)[anchors].square().sum(dim=1)
        elif config.loss is Contrast.relational:
            losses = _relational(phi, psi, in_p)[anchors]
        elif config.loss is Contrast.cosine:
            losses = 1 - F.cosine_similarity(phi, psi)[anchors]
        else:
            losses = _info_nce(phi, psi, in_p, config)[anchors]
    return losses.sum() if config.reduction is Reduction.sum else losses.mean()


def _info_nce(phi: Tensor, psi: Tensor, in_p: Tensor, config: ContrastConfig) -> Tensor:
    literal = config.loss is Contrast.literal
    if not literal:
        phi, psi = F.normalize(phi, dim=1), F.normalize(psi, dim=1)
    positive = (phi * psi).sum(dim=1) / config.temperature
    against = psi if config.loss is Contrast.phi_psi else phi
    logits = phi @ against.T / config.temperature
    masked = torch.zeros_like(logits, dtype=torch.bool)
    if config.loss is Contrast.phi_psi:
        masked |= ~in_p.unsqueeze(0)
    if config.mask_above < 1 and not literal:
        masked |= (psi @ psi.T > config.mask_above).fill_diagonal_(False)
    # finfo.min, not -inf: a row of which everything is masked must give a finite loss.
    logits = logits.masked_fill(masked, torch.finfo(logits.dtype).min)
    return torch.logsumexp(logits, dim=1) - positive


def _relational(phi: Tensor, psi: Tensor, in_p: Tensor) -> Tensor:
    phi, psi = F.normalize(phi, dim=1), F.normalize(psi, dim=1)
    pairs = (in_p.unsqueeze(0) & in_p.unsqueeze(1)).fill_diagonal_(False)
    squares = torch.where(pairs, (phi @ phi.T - psi @ psi.T).square(), 0.0)
    return squares.sum(dim=1) / pairs.sum(dim=1).clamp(min=1)


def alignment(phi: Float[Tensor, "items dimension"], psi: Float[Tensor, "items dimension"]) -> float:
    """Mean squared distance between φ and ψ on the unit sphere (Wang and Isola 2020); nan for no item."""
    return float((F.normalize(phi.float(), dim=1) - F.normalize(psi.float(), dim=1)).square().sum(dim=1).mean())


def uniformity(phi: Float[Tensor, "items dimension"]) -> float:
    r"""Log of the mean Gaussian potential between items, :math:`\log E\, e^{-2‖u - v‖²}` (Wang and Isola 2020).

    0 for collapsed embeddings, more negative for spread ones; nan for fewer than two items.
    """
    if phi.shape[0] < 2:
        return math.nan
    return float(torch.pdist(F.normalize(phi.float(), dim=1)).square().mul(-2).exp().mean().log())
