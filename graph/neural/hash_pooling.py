"""Hash-collision pooling of long histories (SDIM, Cao et al., CIKM 2022): attention without comparing vectors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn


class HashCollisionPooling(nn.Module):
    r"""Pools each request's history once for every candidate, by the items whose signatures equal the candidate's.

    .. math:: u(v) = \frac{1}{G} \sum_{g=1}^{G} \mathrm{normalise}\left(
        \sum_j [\mathrm{sign}(R_g h_j) = \mathrm{sign}(R_g v)] h_j\right)

    Each of the G groups has ``bits`` random hyperplanes R_g, which never train. A history item falls together with the
    candidate in a group with probability (1 − angle/π)^bits, so near ones count more. A group in which none does, and
    an empty history, give zeros.

    Args:
        width: of the vectors of history items and candidates.
        hashes: hyperplanes in all.
        bits: hyperplanes of a group.

    Raises:
        ValueError: if ``hashes`` is no multiple of ``bits``.
    """

    planes: Tensor
    powers: Tensor

    def __init__(self, width: int, hashes: int, bits: int) -> None:
        super().__init__()
        if hashes % bits:
            raise ValueError(f"hashes must be a multiple of bits, got {hashes} and {bits}")
        # Saved with the weights: other hyperplanes would make another function.
        self.register_buffer("planes", torch.randn(width, hashes // bits, bits))
        self.register_buffer("powers", 2 ** torch.arange(bits), persistent=False)

    def signatures(self, vectors: Float[Tensor, "*shape width"]) -> Int64[Tensor, "*shape groups"]:
        """Each group's signs, as the bits of a number."""
        signs = torch.einsum("...d,dgb->...gb", vectors, self.planes) > 0
        return (signs * self.powers).sum(dim=-1)

    def forward(
        self,
        history: Float[Tensor, "requests length width"],
        present: Bool[Tensor, "requests length"],
        candidates: Float[Tensor, "requests candidates width"],
    ) -> Float[Tensor, "requests candidates width"]:
        """Pool the histories.

        Args:
            history: what the user clicked before.
            present: False where the history is padded; what stands there is ignored.
            candidates: the vectors to pool for.
        """
        history = history.masked_fill(~present.unsqueeze(2), 0.0)
        buckets = 2 ** len(self.powers)
        # One sum for each group and signature of a request, whatever the number of candidates.
        belongs = F.one_hot(self.signatures(history), buckets).to(history.dtype)
        sums = F.normalize(torch.einsum("rlgs,rld->rgsd", belongs, history), dim=3)
        chosen = F.one_hot(self.signatures(candidates), buckets).to(history.dtype)
        return torch.einsum("rcgs,rgsd->rcd", chosen, sums) / self.planes.shape[1]
