"""The generalisation loss (GRACE, eq. 10), its variants and controls, and what tells whether φ stays healthy."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from configs.schema import Contrast, ContrastConfig, Reduction


def unique_items(item: Int64[Tensor, batch]) -> Int64[Tensor, items]:
    """The first row of each distinct item of a batch, in the order of their numbers.

    Eq. 10 sums over items: without this, an item that fills ten rows would be its own negative nine times.
    """
    items, inverse = torch.unique(item, return_inverse=True)
    rows = torch.arange(item.numel(), device=item.device)
    return torch.full_like(items, item.numel()).scatter_reduce_(0, inverse, rows, "amin")


def contrastive_loss(
    phi: Float[Tensor, "items dimension"],
    psi: Float[Tensor, "items dimension"],
    in_p: Bool[Tensor, items],
    config: ContrastConfig,
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
        in_p: which items have a ψ, to which they are pulled; the others only serve as negatives.
        config: variant, temperature, reduction and false-negative mask.

    Returns:
        The mean (or sum) over the items of P; 0 with a gradient where there is none.
    """
    own = in_p.nonzero().squeeze(1)
    if not len(own):
        return phi.float().sum() * 0.0
    with torch.autocast(device_type=phi.device.type, enabled=False):
        phi, psi = phi.float(), psi.float().index_select(0, own)
        others = phi.index_select(0, (~in_p).nonzero().squeeze(1))
        phi = phi.index_select(0, own)
        if config.loss is Contrast.mse:
            losses = (phi - psi).square().sum(dim=1)
        elif config.loss is Contrast.relational:
            losses = _relational(phi, psi)
        elif config.loss is Contrast.cosine:
            losses = 1 - F.cosine_similarity(phi, psi)
        else:
            losses = _info_nce(phi, psi, others, config)
    return losses.sum() if config.reduction is Reduction.sum else losses.mean()


def _info_nce(phi: Tensor, psi: Tensor, others: Tensor, config: ContrastConfig) -> Tensor:
    """The loss of each item of P, whose φ and ψ are given; ``others`` is φ of the items outside P."""
    literal = config.loss is Contrast.literal
    if not literal:
        phi, psi, others = (F.normalize(vectors, dim=1) for vectors in (phi, psi, others))
    against = psi if config.loss is Contrast.phi_psi else torch.cat([phi, others])
    phi = phi / config.temperature
    logits = phi @ against.T
    if config.mask_above < 1 and not literal:
        alike = (psi @ psi.T > config.mask_above).fill_diagonal_(False)
        # The backward pass need not know: e^min is 0, and so is its gradient.
        logits.detach()[:, : len(psi)].masked_fill_(alike, torch.finfo(logits.dtype).min)
    # log Σ_j is softmax's cross-entropy of j = i, in one pass over all pairs, and the logit of j = i.
    itself = torch.arange(len(phi), device=phi.device)
    log_sum = F.cross_entropy(logits, itself, reduction="none") + (phi * against[: len(phi)]).sum(dim=1)
    return log_sum - (phi * psi).sum(dim=1)


def _relational(phi: Tensor, psi: Tensor) -> Tensor:
    phi, psi = F.normalize(phi, dim=1), F.normalize(psi, dim=1)
    squares = (phi @ phi.T - psi @ psi.T).square().fill_diagonal_(0.0)
    return squares.sum(dim=1) / max(len(phi) - 1, 1)


def alignment(phi: Float[Tensor, "items dimension"], psi: Float[Tensor, "items dimension"]) -> float:
    """Mean squared distance between φ and ψ on the unit sphere (Wang and Isola 2020); nan for no item."""
    return float((F.normalize(phi.float(), dim=1) - F.normalize(psi.float(), dim=1)).square().sum(dim=1).mean())


def uniformity(phi: Float[Tensor, "items dimension"]) -> float:
    r"""Log of the mean Gaussian potential between items, :math:`\log E\, e^{-2‖u - v‖²}` (Wang and Isola 2020).

    0 for collapsed embeddings, more negative for spread ones; nan for fewer than two items.
    """
    return float(torch.pdist(F.normalize(phi.float(), dim=1)).square().mul(-2).exp().mean().log())
