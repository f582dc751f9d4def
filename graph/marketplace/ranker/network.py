"""The learned ranking model's network: DIN's attention over the click history, PLE heads for clicks and orders."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor, nn

from configs.schema import ExpertsConfig
from graph.marketplace.world.state import Seen
from graph.neural.attention import TargetAttention
from graph.neural.experts import ProgressiveLayeredExtraction

WIDTH = 16
"""Of every embedding."""
ATTENTION_HIDDEN = 16
EXPERTS = ExpertsConfig(levels=1, shared=1, specific=1, hidden=[64, 32], tower=[16], dropout=0.1)
SPREAD = 0.01
"""Standard deviation of the embeddings at the start: what was never seen says nothing."""
CLICK, ORDER = "click", "order"


class Inputs(NamedTuple):
    """Some requests' candidates. -1 pads history and items."""

    user: Int64[Tensor, " requests"]
    query: Int64[Tensor, " requests"]
    history: Int64[Tensor, "requests length"]
    items: Int64[Tensor, "requests candidates"]
    numbers: Float[Tensor, "requests candidates numbers"]
    """Standardised."""


class ItemVectors(NamedTuple):
    """What the network makes of items alone."""

    whole: Float[Tensor, "... width"]
    """Item, brand, shop, leaf and title together."""
    title: Float[Tensor, "... width"]


class RankerNetwork(nn.Module):
    """Logits of a click, if looked at, and of an order after the click.

    Args:
        seen: the tables behind the ids.
        numbers: how many numbers a candidate has.
        positions: longest list.
    """

    def __init__(self, seen: Seen, numbers: int, positions: int) -> None:
        super().__init__()
        catalogue, shelves, users = seen.catalogue, seen.shelves, seen.users
        self._words = len(shelves.vocabulary.words)
        self._keep("item_attributes", np.stack([catalogue.brand, catalogue.shop, catalogue.leaf], axis=1))
        self._keep("title_words", catalogue.title_words)
        self._keep("user_attributes", np.stack([users.age_band, users.region], axis=1))
        self._keep("query_words", seen.queries.words)
        self._keep("query_leaf", seen.queries.predicted_leaf)
        self.words = nn.Embedding(self._words + 1, WIDTH, padding_idx=self._words)
        self.item = nn.Embedding(len(catalogue.item_id), WIDTH)
        self.brand = nn.Embedding(len(shelves.brands), WIDTH)
        self.shop = nn.Embedding(len(shelves.shops), WIDTH)
        self.leaf = nn.Embedding(len(shelves.categories), WIDTH)
        self.user = nn.Embedding(len(users.user_id), WIDTH)
        self.age_band = nn.Embedding(int(users.age_band.max()) + 1, WIDTH)
        self.region = nn.Embedding(int(users.region.max()) + 1, WIDTH)
        self.query = nn.Embedding(len(seen.queries.text), WIDTH)
        for table in self.tables():
            nn.init.normal_(table.weight, std=SPREAD)
        with torch.no_grad():
            self.words.weight[self._words] = 0.0
        self.title = nn.Linear(WIDTH, WIDTH, bias=False)
        self.attention = TargetAttention(WIDTH, ATTENTION_HIDDEN)
        self.heads = ProgressiveLayeredExtraction(numbers + 8 * WIDTH, {CLICK: 1, ORDER: 1}, EXPERTS)
        self.position = nn.Embedding(positions, 1)
        """Added to the click's logit in training, left out when ranking."""
        nn.init.zeros_(self.position.weight)

    def _keep(self, name: str, values: Int[np.ndarray, "*shape"]) -> None:
        self.register_buffer(name, torch.from_numpy(values.astype(np.int64)))

    def tables(self) -> list[nn.Embedding]:
        """The embeddings of ids."""
        of_item = [self.item, self.brand, self.shop, self.leaf]
        return [self.words, *of_item, self.user, self.age_band, self.region, self.query]

    def _text(self, words: Int64[Tensor, "... words"]) -> Float[Tensor, "... width"]:
        text: Tensor = self.words(words.where(words >= 0, self._words)).sum(dim=-2)
        return text

    def item_vectors(self, items: Int64[Tensor, "*shape"]) -> ItemVectors:
        """Those of any items; padding gets some item's."""
        brand, shop, leaf = self.get_buffer("item_attributes")[items].unbind(dim=-1)
        title = self._text(self.get_buffer("title_words")[items])
        ids = self.item(items.clamp(min=0)) + self.brand(brand) + self.shop(shop) + self.leaf(leaf)
        return ItemVectors(ids + self.title(title), title)

    def forward(
        self, inputs: Inputs, present: Bool[Tensor, "requests candidates"], known: ItemVectors | None = None
    ) -> dict[str, Float[Tensor, " pairs"]]:
        """Logits by task of the candidates that are present, request by request.

        Args:
            inputs: the candidates.
            present: which of them to score.
            known: the vectors of the whole catalogue, where they do not change any more.
        """
        if known is None:
            item, history = self.item_vectors(inputs.items), self.item_vectors(inputs.history).whole
        else:
            item, history = ItemVectors(*(table[inputs.items] for table in known)), known.whole[inputs.history]
        interest = self.attention(history, inputs.history >= 0, item.whole)
        text = self._text(self.get_buffer("query_words")[inputs.query]).unsqueeze(1)
        query = (self.query(inputs.query) + self.leaf(self.get_buffer("query_leaf")[inputs.query])).unsqueeze(1)
        age_band, region = self.get_buffer("user_attributes")[inputs.user].unbind(dim=-1)
        user = (self.user(inputs.user) + self.age_band(age_band) + self.region(region)).unsqueeze(1)
        # One is a vector of the candidate, the other of the request: the products say how the two go together.
        matches = [interest, interest * item.whole, user * item.whole, query * item.whole, text * item.title]
        alone = [side.expand(-1, item.whole.shape[1], -1) for side in (user, text)]
        joined = torch.cat([inputs.numbers, item.whole, *matches, *alone], dim=2)
        return {task: logits.squeeze(1) for task, logits in self.heads(joined[present]).items()}
