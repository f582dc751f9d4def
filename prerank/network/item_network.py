"""φ, the item network: a hashed id and the item's attributes to one vector (GRACE, section 2.4 and figure 1).

No table is as large as the catalogue, so an item that was never seen has a φ too: from its hash bucket, which it may
share, and from its attributes, which tell bucket-mates apart.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from configs.schema import ItemNetworkConfig
from prerank.encoding.batches import SideFeatures
from prerank.encoding.schema import SideSchema
from prerank.network.hash_id import HashId
from prerank.network.inputs import SideEncoder
from prerank.network.parts import Part


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
        return self.dense(torch.cat(parts, dim=1))

    def parts(self) -> list[Part]:
        """What is looked up, in the order in which :meth:`dense` takes it."""
        return [*self.attributes.parts(), *([] if self.hash_id is None else [self.hash_id.part(None, False)])]

    def dense(self, looked_up: Float[Tensor, "batch width"]) -> Float[Tensor, "batch dimension"]:
        """φ from the attributes' embeddings and that of the id, side by side."""
        phi: Tensor = self.layers(looked_up)
        return phi

    def without_id(self, features: SideFeatures) -> Float[Tensor, "batch dimension"]:
        """φ of items of which the attributes are all that is known: the id's embedding is 0."""
        attributes = self.attributes(features)
        width = 0 if self.hash_id is None else self.hash_id.dimension
        return self.dense(torch.cat([attributes, attributes.new_zeros(len(attributes), width)], dim=1))
