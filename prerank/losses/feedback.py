"""The feedback losses: of clicks (GRACE, eq. 2), of orders (eq. 3), whose sum is eq. 4.

All losses of this package take logits, never probabilities, and are computed in float32 whatever the precision of the
network. A loss with nothing to learn from is 0 with a gradient, so that a batch without orders, ranked rows or items of
P trains on.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from configs.schema import ConversionSpace


def masked_cross_entropy(
    logits: Float[Tensor, "batch ..."], labels: Float[Tensor, "batch ..."], mask: Bool[Tensor, "batch ..."]
) -> Float[Tensor, "*columns"]:
    r"""Binary cross-entropy, averaged over the rows whose label is known (GRACE, eqs. 2, 3 and 8).

    .. math:: -\frac{1}{N} \sum_i y_i \log σ(z_i) + (1 - y_i) \log (1 - σ(z_i))

    Args:
        logits: z, before the sigmoid; of several columns, each has a loss of its own.
        labels: 0 or 1; ignored where ``mask`` is False.
        mask: rows to learn from; where it is all False the loss is 0.
    """
    labels = torch.where(mask, labels, 0.0)
    losses = F.binary_cross_entropy_with_logits(logits.float(), labels.float(), reduction="none")
    return torch.where(mask, losses, 0.0).sum(dim=0) / mask.sum(dim=0).clamp(min=1)


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
