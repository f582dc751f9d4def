"""φ, the item network: a hashed id and the item's attributes to one vector (GRACE, section 2.4 and figure 1).

No table is as large as the catalogue, so an item that was never seen has a φ too: from its hash bucket, which it may
share, and from its attributes, which tell bucket-mates apart.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from configs.schema import Hashing, ItemNetworkConfig
from prerank.encoding.batches import SideFeatures
from prerank.encoding.schema import SideSchema
from prerank.network.inputs import HashedTable, SideEncoder

SECOND_HASH = 0x9E3779B97F4A7C15 - (1 << 64)
"""Odd multiplier (2⁶⁴ divided by the golden ratio) that makes a second hash of the first."""


class HashId(nn.Module):
    """The hashed item id: one bucket, the sum of two, or quotient and remainder of one hash.

    With n items in V buckets, one hash leaves an item alone with probability e^(−n/V). Two hashes make a full collision
    as rare as with V² buckets, and so do quotient and remainder, at the same memory: each takes half of the rows.

    Args:
        config: vocabulary, dimension and kind of hashing.
    """

    def __init__(self, config: ItemNetworkConfig) -> None:
        super().__init__()
        self.hashing = config.hashing
        self.dimension = config.hash_dimension
        if config.hashing is Hashing.single:
            rows = {"item_id": config.hash_vocabulary}
        else:
            half = max(config.hash_vocabulary // 2, 1)
            rows = {"item_id": half, "second": half}
        self.table = HashedTable(rows, config.hash_dimension)
        if config.hashing is Hashing.quotient_remainder:
            # The product of two parts starts as the first part alone.
            with torch.no_grad():
                self.table.weight[self.table.offsets["second"] :] = 1.0

    def forward(self, item_hash: Int64[Tensor, batch]) -> Float[Tensor, "batch dimension"]:
        first = self._part("item_id", item_hash)
        if self.hashing is Hashing.single:
            return first
        if self.hashing is Hashing.double:
            return first + self._part("second", self._second(item_hash))
        return first * self._part("second", torch.div(item_hash, self.table.rows["item_id"], rounding_mode="floor"))

    def pool(self, _column: str, hashes: Int64[Tensor, "batch length"]) -> Float[Tensor, "batch dimension"]:
        """The mean hash-id embedding of a list of items, such as a user's history; 0 is padding."""
        present = hashes != 0
        counts = present.sum(dim=1)
        embedded = self.forward(hashes[present])
        owner = torch.repeat_interleave(torch.arange(hashes.shape[0], device=hashes.device), counts)
        summed = embedded.new_zeros(hashes.shape[0], self.dimension).index_add(0, owner, embedded)
        return summed / counts.clamp(min=1).unsqueeze(1)

    def _part(self, column: str, hashes: Tensor) -> Tensor:
        return F.embedding(self.table.buckets(column, hashes), self.table.weight, sparse=True)

    @staticmethod
    def _second(item_hash: Tensor) -> Tensor:
        mixed = (item_hash ^ (item_hash >> 31)) * SECOND_HASH
        return mixed ^ (mixed >> 29)


class ItemNetwork(nn.Module):
    """φ: hash-id embedding and attribute embeddings, concatenated, through a small network to ψ's dimension.

    Args:
        schema: the item side's columns.
        config: hash table and hidden layers.
        buckets, embedding: rows and length of the attributes' embeddings.
        dimension: length of φ, which is ψ's.
    """

    def __init__(
        self, schema: SideSchema, config: ItemNetworkConfig, buckets: int, embedding: int, dimension: int
    ) -> None:
        super().__init__()
        self.hash_id = HashId(config) if config.use_hash_id else None
        self.attributes = SideEncoder(schema, buckets, embedding)
        width = self.attributes.width + (config.hash_dimension if config.use_hash_id else 0)
        if width == 0:
            raise ValueError("φ needs the hash id or at least one item attribute")
        layers: list[nn.Module] = []
        for hidden in config.hidden:
            layers += [nn.Linear(width, hidden), nn.ReLU()]
            width = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(width, dimension))
        self.dimension = dimension

    def forward(self, item_hash: Int64[Tensor, batch], features: SideFeatures) -> Float[Tensor, "batch dimension"]:
        parts = [self.attributes(features)]
        if self.hash_id is not None:
            parts.append(self.hash_id(item_hash))
        phi: Tensor = self.layers(torch.cat(parts, dim=1))
        return phi

    def without_id(self, features: SideFeatures) -> Float[Tensor, "batch dimension"]:
        """φ of items of which the attributes are all that is known: the id's embedding is 0."""
        attributes = self.attributes(features)
        width = 0 if self.hash_id is None else self.hash_id.dimension
        phi: Tensor = self.layers(torch.cat([attributes, attributes.new_zeros(len(attributes), width)], dim=1))
        return phi
