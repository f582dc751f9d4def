"""Cold ids: items whose hashed id was seen too seldom to say much, and item networks that put something in its place.

Both systems that do so (Meta-Embedding, MWUF) start from a fitted PLE, freeze it, and train only what makes the
embedding of a cold id. Items are found by the hash of their id, so that another log's catalogue is served as well.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from configs.errors import InputError
from configs.schema import Hashing
from prerank.encoding.batches import Batch, EncodedLog, EncodedSplit, Rows, SideFeatures
from prerank.network.hash_id import HashId
from prerank.network.inputs import HashedTable, SideEncoder
from prerank.network.item_network import ItemNetwork
from prerank.network.parts import HashedId, IsKnown, KnownRows, Part
from prerank.systems.ple import PLE
from prerank.training.contracts import Work
from prerank.training.network_system import SCORING_ROWS, NetworkSystem, fit_network, load_network

GENERATED_LIMIT = 5.0
"""Meta-Embedding divides tanh by this, so that a generated embedding is about as small as a trained one."""

USERS_HIDDEN = 16
"""Width of the hidden layer of MWUF's two networks."""


class ItemPlaces(nn.Module):
    """Finds items by the hash of their id.

    Args:
        item_hash: the items that can be found; of equal hashes the first one.
    """

    known: Tensor

    def __init__(self, item_hash: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("known", torch.from_numpy(np.unique(item_hash)), persistent=False)

    def forward(self, item_hash: Int64[Tensor, batch]) -> Int64[Tensor, batch]:
        """Place of each hash among the known ones in ascending order; their number where it is none of them."""
        if not len(self.known):
            return torch.zeros_like(item_hash)
        place = torch.searchsorted(self.known, item_hash).clamp(max=len(self.known) - 1)
        return torch.where(self.known[place] == item_hash, place, len(self.known))


class ColdIdNetwork(ItemNetwork):
    """An item network that can be given another embedding than that of the hashed id.

    Args:
        base: whose modules it takes over.
        encoded: the log, whose training days say which ids are cold.
        impressions: below which an id is cold.

    Raises:
        InputError: if the base has no hashed id, or the log no item attributes to make another embedding of.
    """

    hash_id: HashId

    def __init__(self, base: ItemNetwork, encoded: EncodedLog, impressions: int) -> None:
        nn.Module.__init__(self)
        if base.hash_id is None or base.attributes.width == 0:
            reason = "model.item.use_hash_id=False" if base.hash_id is None else "no item attribute in the log"
            raise InputError(f"cold ids need the hashed id and item attributes, found {reason}: take model=ple")
        self.hash_id, self.attributes = base.hash_id, base.attributes
        self.layers, self.dimension = base.layers, base.dimension
        warm = encoded.training_counts.impressions >= impressions
        self.warm = ItemPlaces(encoded.items.item_hash[warm])

    def is_cold(self, item_hash: Int64[Tensor, batch]) -> Bool[Tensor, batch]:
        """Whether each item had too few training impressions; items of which nothing is known had none."""
        cold: Tensor = self.warm(item_hash) == len(self.warm.known)
        return cold

    def parts(self) -> list[Part]:
        """What is looked up: attributes, the id, and whether it is warm; a subclass puts more before the last."""
        return [*super().parts(), IsKnown(self.warm.known)]

    def join(
        self, attributes: Float[Tensor, "batch attributes"], identity: Float[Tensor, "batch embedding"]
    ) -> Float[Tensor, "batch dimension"]:
        """φ from attributes' embeddings and that of the id."""
        return super().dense(torch.cat([attributes, identity], dim=1))

    def _is_warm(self, item_hash: Int64[Tensor, batch]) -> Float[Tensor, "batch 1"]:
        return (~self.is_cold(item_hash)).float().unsqueeze(1)


class GeneratedIds(ColdIdNetwork):
    """Meta-Embedding's generator, φ0 = tanh(W·attributes) / 5, for cold ids; it has no say in the attributes."""

    def __init__(self, base: ItemNetwork, encoded: EncodedLog, impressions: int) -> None:
        super().__init__(base, encoded, impressions)
        self.generator = nn.Linear(self.attributes.width, self.hash_id.dimension, bias=False)

    def generate(self, attributes: Float[Tensor, "batch attributes"]) -> Float[Tensor, "batch embedding"]:
        """φ0 of each item."""
        generated: Tensor = torch.tanh(self.generator(attributes.detach())) / GENERATED_LIMIT
        return generated

    def forward(self, item_hash: Int64[Tensor, batch], features: SideFeatures) -> Float[Tensor, "batch dimension"]:
        looked_up = [self.attributes(features), self.hash_id(item_hash), self._is_warm(item_hash)]
        return self.dense(torch.cat(looked_up, dim=1))

    def dense(self, looked_up: Float[Tensor, "batch width"]) -> Float[Tensor, "batch dimension"]:
        widths = [self.attributes.width, self.hash_id.dimension, 1]
        attributes, identity, warm = torch.split(looked_up, widths, dim=1)
        return self.join(attributes, torch.where(warm > 0, identity, self.generate(attributes)))


class WarmedIds(ColdIdNetwork):
    """MWUF's warm-up: ``warm = cold ⊙ scale(attributes) + shift(mean vector of the item's users)`` for cold ids.

    A cold id has a table of its own, which starts at the mean id embedding and learns beside the two networks.

    Args:
        base, encoded, impressions: as above.
        users: the request side's encoder; a user is what it says of the request.
    """

    user_sum: Tensor
    user_count: Tensor

    def __init__(self, base: ItemNetwork, encoded: EncodedLog, impressions: int, users: SideEncoder) -> None:
        super().__init__(base, encoded, impressions)
        width = self.hash_id.dimension
        rows = self.hash_id.table.rows["item_id"]
        self.cold = HashedTable({"item_id": rows}, width)
        self.scale = _two_layers(self.attributes.width, width)
        self.shift = _two_layers(users.width, width)
        nn.init.ones_(self.scale[-1].bias)  # type: ignore[arg-type]  # training starts where warm equals cold
        counts = encoded.training_counts
        self.visited = ItemPlaces(encoded.items.item_hash[counts.clicks + counts.orders > 0])
        items, self.users_width = len(self.visited.known) + 1, users.width
        self.register_buffer("user_sum", torch.zeros(items, users.width), persistent=False)
        self.register_buffer("user_count", torch.zeros(items), persistent=False)

    @torch.no_grad()
    def start_cold(self) -> None:
        """Let every cold id be the mean embedding of the warm ones."""
        if len(self.warm.known):
            self.cold.weight.copy_(self.hash_id(self.warm.known).mean(dim=0).expand_as(self.cold.weight))

    @torch.no_grad()
    def remember_users(self, users: SideEncoder, split: EncodedSplit) -> None:
        """Add up the request vectors of each item's training clicks and orders."""
        self.user_sum.zero_()
        self.user_count.zero_()
        rows = np.flatnonzero((np.asarray(split.clicked) > 0) | (np.asarray(split.ordered) > 0))
        for start in range(0, len(rows), SCORING_ROWS):
            batch = split.batch(rows[start : start + SCORING_ROWS]).to(self.user_sum.device)
            place = self.visited(batch.item_hash)
            self.user_sum.index_add_(0, place, users(batch.sides["request"]))
            self.user_count.index_add_(0, place, torch.ones_like(batch.clicked))

    def users_of(self, item_hash: Int64[Tensor, batch]) -> tuple[Float[Tensor, "batch users"], Float[Tensor, batch]]:
        """Sum of the vectors of each item's users, and their number; zeros for an item without any."""
        place = self.visited(item_hash)
        return self.user_sum[place], self.user_count[place]

    def embed_cold(self, item_hash: Int64[Tensor, batch]) -> Float[Tensor, "batch embedding"]:
        return self.cold.lookup(["item_id"], item_hash.unsqueeze(1))

    def warmed(
        self,
        cold: Float[Tensor, "batch embedding"],
        attributes: Float[Tensor, "batch attributes"],
        users: Float[Tensor, "batch users"],
    ) -> Float[Tensor, "batch embedding"]:
        """The warmed embedding; ``users`` is the mean vector of the item's users, zeros where it has none."""
        warm: Tensor = cold * self.scale(attributes) + self.shift(users)
        return warm

    def forward(self, item_hash: Int64[Tensor, batch], features: SideFeatures) -> Float[Tensor, "batch dimension"]:
        total, count = self.users_of(item_hash)
        users = total / count.clamp(min=1).unsqueeze(1)
        own = [self.attributes(features), self.hash_id(item_hash), self.embed_cold(item_hash)]
        return self.dense(torch.cat([*own, users, self._is_warm(item_hash)], dim=1))

    def parts(self) -> list[Part]:
        *own, warm = super().parts()
        cold = HashedId(self.cold.weight, None, False, Hashing.single, tuple(self.cold.rows.values()), (0,))
        users = self.user_sum / self.user_count.clamp(min=1).unsqueeze(1)
        return [*own, cold, KnownRows(users, self.visited.known), warm]

    def dense(self, looked_up: Float[Tensor, "batch width"]) -> Float[Tensor, "batch dimension"]:
        widths = [self.attributes.width, self.hash_id.dimension, self.cold.dimension, self.users_width, 1]
        attributes, identity, cold, users, warm = torch.split(looked_up, widths, dim=1)
        return self.join(attributes, torch.where(warm > 0, identity, self.warmed(cold, attributes, users)))


def _two_layers(inputs: int, outputs: int) -> nn.Sequential:
    last = nn.Linear(USERS_HIDDEN, outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(inputs, USERS_HIDDEN), nn.ReLU(), last)


class RowsOfItems:
    """For a training row, another one of the same item whose feedback is known.

    Args:
        split: the rows.
    """

    def __init__(self, split: EncodedSplit) -> None:
        rows = split.feedback_rows()
        self.rows = rows[np.argsort(np.asarray(split.item)[rows], kind="stable")]
        items = np.asarray(split.item)[self.rows]
        self.count = np.bincount(items, minlength=len(split.items))
        self.first = np.cumsum(self.count) - self.count
        self.place = np.full(split.rows, -1)
        self.place[self.rows] = np.arange(len(self.rows))

    def another(self, row: Rows, item: Rows, random: np.random.Generator) -> Rows:
        """One of the item's other rows, drawn evenly; -1 where it has none, or the row's own feedback is unknown."""
        count, first, place = self.count[item], self.first[item], self.place[row]
        tells = (place >= 0) & (count > 1)
        step = random.integers(1, np.maximum(count, 2))
        drawn = first + (place - first + step) % np.maximum(count, 1)
        others = np.full(len(row), -1)
        others[tells] = self.rows[drawn[tells]]
        return others


def fitted_base(work: Work) -> NetworkSystem:
    """The PLE of the first phase, in the system's folder; fitted, unless the second phase has begun already."""
    phase = replace(work, folder=work.folder / "base")
    begun = (work.folder / "checkpoints" / "last.ckpt").exists()
    return (load_network if begun else fit_network)(PLE(phase), phase).module


def start_from(module: NetworkSystem, base: NetworkSystem, trained: tuple[nn.Module, ...]) -> None:
    """Take over the base's weights and freeze all of them, so that only some modules train.

    Args:
        module: whose network has the base's parameters and more.
        base: the fitted first phase.
        trained: the modules that the second phase trains.
    """
    module.network.load_state_dict(base.network.state_dict(), strict=False)
    module.network.requires_grad_(False)
    for part in trained:
        part.requires_grad_(True)


def leave_out(
    total: Float[Tensor, "batch users"], count: Float[Tensor, batch], own: Float[Tensor, "batch users"], batch: Batch
) -> Float[Tensor, "batch users"]:
    """The mean of an item's users without the row's own one, who would tell that the row was clicked or ordered.

    Args:
        total, count: from :meth:`WarmedIds.users_of`.
        own: the row's own user.
        batch: the training rows.
    """
    counted = ((batch.clicked > 0) | (batch.ordered > 0)).to(count.dtype)
    rest = (count - counted).clamp(min=0).unsqueeze(1)
    mean: Tensor = torch.where(rest > 0, (total - counted.unsqueeze(1) * own) / rest.clamp(min=1), 0.0)
    return mean
