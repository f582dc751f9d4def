"""GRACE with ψ in the place of φ: the paper's ablation "pre-trained item id" (section 3.3.1).

No hashed id and no generalisation loss; an item that ψ does not hold gets the mean row. The paper's table is
30,000,000 × 32 and its AUC .7775 where GRACE has .7788, on JD's private data. It says neither whether the table is
trained on (``model.pretrained.train``) nor whether the attributes, which are a part of φ, go with it
(``model.pretrained.attributes``).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from prerank.encoding.batches import SideFeatures
from prerank.network.experts import ProgressiveLayeredExtraction
from prerank.network.heads import Outputs, task_heads, to_outputs
from prerank.network.inputs import HashedTable, SideEncoder
from prerank.network.parts import KnownRows, SideParts
from prerank.network.pre_ranking import ServingNetwork
from prerank.systems.grace import GRACE
from prerank.training.contracts import Work


class PretrainedTable(torch.nn.Module):
    """ψ as a lookup table by the hash of an item's id, so that it serves other catalogues too.

    The rows are centred over P, as for eq. 10, which makes the mean row, the last one, zero.

    Args:
        hashes: of the items of P, distinct.
        vectors: ψ of each.
        train: whether the rows are trained.
    """

    hashes: Tensor

    def __init__(
        self, hashes: Int64[np.ndarray, " items"], vectors: Float[np.ndarray, "items dimension"], train: bool
    ) -> None:
        super().__init__()
        order = np.argsort(hashes)
        self.register_buffer("hashes", torch.from_numpy(hashes[order]), persistent=False)
        self.dimension = vectors.shape[1]
        self.table = HashedTable({"item_id": len(hashes) + 1}, self.dimension)
        self.table.weight.requires_grad_(train)
        with torch.no_grad():
            self.table.weight.zero_()
            if len(hashes):
                self.table.weight[:-1] = torch.from_numpy((vectors - vectors.mean(axis=0))[order])

    def rows(self, hashes: Int64[Tensor, "*shape"]) -> Int64[Tensor, "*shape"]:
        """The table's row of each item; the last one for an item outside P."""
        unknown = len(self.hashes)
        if not unknown:
            return torch.zeros_like(hashes)
        place = torch.searchsorted(self.hashes, hashes).clamp(max=unknown - 1)
        return torch.where(self.hashes[place] == hashes, place, unknown)

    def forward(self, hashes: Int64[Tensor, batch]) -> Float[Tensor, "batch dimension"]:
        return F.embedding(self.rows(hashes), self.table.weight, sparse=True)

    def pool(self, _column: str, hashes: Int64[Tensor, "batch length"]) -> Float[Tensor, "batch dimension"]:
        """The mean row of a list of items, such as a user's history; 0 is padding, an empty list gives zeros."""
        present = hashes != 0
        counts = present.sum(dim=1)
        starts = counts.cumsum(dim=0) - counts
        return F.embedding_bag(self.rows(hashes[present]), self.table.weight, starts, mode="mean", sparse=True)

    def part(self, column: str | None, pooled: bool) -> KnownRows:
        """What is looked up: of the item's own id where the column is None."""
        return KnownRows(self.table.weight, self.hashes, column, pooled)


class PretrainedItem(torch.nn.Module):
    """What stands in φ's place: the item's row of the table, whatever its attributes."""

    def __init__(self, table: PretrainedTable) -> None:
        super().__init__()
        self.table = table

    def forward(self, item_hash: Int64[Tensor, batch], _features: SideFeatures) -> Float[Tensor, "batch dimension"]:
        vectors: Tensor = self.table(item_hash)
        return vectors


class PretrainedNetwork(ServingNetwork):
    """ψ's row, the item's attributes, request and pair through PLE.

    Args:
        work: with ψ.
    """

    item_network: PretrainedItem

    def __init__(self, work: Work) -> None:
        super().__init__()
        schema, config = work.encoded.schema, work.config.model
        assert work.psi is not None
        in_catalogue = work.psi.rows_of(work.encoded.item_ids)
        in_p = in_catalogue >= 0
        vectors = np.asarray(work.psi.vectors)[in_catalogue[in_p]]
        table = PretrainedTable(work.encoded.items.item_hash[in_p], vectors, config.pretrained.train)
        self.item_network = PretrainedItem(table)
        shared = {"item_id": table}
        self.attributes = (
            SideEncoder(schema.sides["item"], config.buckets, config.dimension)
            if config.pretrained.attributes
            else None
        )
        self.request = SideEncoder(schema.sides["request"], config.buckets, config.dimension, shared)
        self.pair = SideEncoder(schema.sides["pair"], config.buckets, config.dimension, shared)
        heads, self.rank_heads = task_heads(schema, config)
        self.tasks = list(heads)
        width = table.dimension + self.request.width + self.pair.width
        width += 0 if self.attributes is None else self.attributes.width
        self.body = ProgressiveLayeredExtraction(width, heads, config.experts)

    def item_side(self, item_hash: Int64[Tensor, batch], features: SideFeatures) -> list[Tensor]:
        attributes = [] if self.attributes is None else [self.attributes(features)]
        return [self.item_network(item_hash, features), *attributes]

    def request_side(self, features: SideFeatures) -> list[Tensor]:
        return [self.request(features)]

    def pair_side(self, features: SideFeatures) -> list[Tensor]:
        return [self.pair(features)]

    def score(self, item: list[Tensor], request: list[Tensor], pair: list[Tensor]) -> Outputs:
        psi, *attributes = item
        logits = self.body(torch.cat([psi, *request, *pair, *attributes], dim=1))
        return to_outputs(psi, logits, self.rank_heads)

    def sides(self) -> dict[str, SideParts]:
        attributes = [] if self.attributes is None else self.attributes.parts()
        return {
            "item": SideParts((self.item_network.table.part(None, False), *attributes)),
            "request": SideParts(tuple(self.request.parts())),
            "pair": SideParts(tuple(self.pair.parts())),
        }


class PretrainedItemId(GRACE):
    """Feedback and rank-consistency losses; nothing is pulled towards ψ, since it is ψ."""

    KEYS = (*GRACE.KEYS, "model.pretrained")
    CONTINUES = False  # its table has a row for each item of P, which grows

    def make_network(self, work: Work, _dimension: int) -> PretrainedNetwork:
        return PretrainedNetwork(work)


SYSTEM = PretrainedItemId
