"""Target attention of the deep interest network (Zhou et al., KDD 2018): a history seen in the light of a candidate."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class TargetAttention(nn.Module):
    r"""Pools each request's history once for every candidate.

    .. math:: u(v) = \sum_j a(h_j, v) h_j, \qquad
        a(h, v) = w^\top \mathrm{ReLU}(W [h; v; h - v; h \circ v] + b) + c

    The weights are not normalised, as in the paper (section 4.3): three liked items of a brand say more than one, and
    softmax would hide it. An empty history gives zeros.

    The first layer is never applied to the concatenation. With :math:`W = [W_h, W_v, W_d, W_p]` its output is
    :math:`(W_h + W_d) h + (W_v - W_d + W_p \mathrm{diag}(h)) v + b`, so that each history item makes one matrix, all
    candidates of the request meet it in one product, and nothing as wide as 4 × width exists for a pair.

    Args:
        width: of the vectors of history items and candidates.
        hidden: width of the attention unit's hidden layer.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.first = nn.Linear(4 * width, hidden)
        self.second = nn.Linear(hidden, 1)

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
        requests, length, width = history.shape
        of_history, of_candidate, of_difference, of_product = self.first.weight.T.chunk(4)
        # Padding may hold anything, an infinity times a weight of 0 included.
        history = history.masked_fill(~present.unsqueeze(2), 0.0)
        fixed = history @ (of_history + of_difference) + self.first.bias
        matrices = history.transpose(1, 2).unsqueeze(3) * of_product.unsqueeze(1)
        matrices = matrices + (of_candidate - of_difference).unsqueeze(1)
        hidden = torch.relu(
            torch.baddbmm(fixed.view(requests, 1, -1), candidates, matrices.reshape(requests, width, -1))
        )
        weights = self.second(hidden.view(requests, candidates.shape[1], length, -1)).squeeze(3)
        pooled: Tensor = (weights * present.unsqueeze(1)) @ history
        return pooled
