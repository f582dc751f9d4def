"""The rank-consistency loss: positions (GRACE, eq. 5) to labels (eq. 6), and their losses (eqs. 8 and 9).

The heads that it teaches, eq. 7, are in :mod:`prerank.network.heads`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Bool, Float
from torch import Tensor

from prerank.losses.feedback import masked_cross_entropy


def rank_labels(
    position: Float[Tensor, batch], list_length: Float[Tensor, batch], cutoffs: Sequence[int]
) -> tuple[Float[Tensor, "batch cutoffs"], Bool[Tensor, "batch cutoffs"]]:
    r"""Top-k membership labels of the rank-consistency loss (GRACE, eq. 6), from the positions of eq. 5.

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
    losses = masked_cross_entropy(logits, labels, mask)
    return (losses * weights).sum()
