"""The log's columns as feature groups, one embedding each, of which a network may keep some (COLD)."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from configs.schema import ModelConfig
from prerank.encoding.batches import Batch, SideFeatures
from prerank.encoding.schema import SIDES, EncodedSchema, SideSchema
from prerank.network.hash_id import HashId
from prerank.network.inputs import SharedTable, SideEncoder
from prerank.network.parts import Part

HASH_ID = "item/item_id/hash"
"""The group of the item's hashed id; a column's is ``side/column/kind``, kind id, number or list."""


def group_names(schema: EncodedSchema, config: ModelConfig) -> list[str]:
    """Every feature group of a log; a text is a list, of its n-grams."""
    names = [HASH_ID] if config.item.use_hash_id else []
    return names + [name for side in SIDES for name in _names(side, schema.sides[side])]


def _names(side: str, schema: SideSchema) -> list[str]:
    ids = [f"{side}/{name}/id" for name in schema.ids]
    lists = [f"{side}/{column.name}/list" for column in schema.lists]
    return ids + lists + [f"{side}/{number.name}/number" for number in schema.numbers]


class KeptColumns(nn.Module):
    """The columns of one side that belong to kept groups, embedded.

    Args:
        side, schema: name and columns of the side.
        config: buckets and dimension of the embeddings.
        selection: names of groups.
        shared: tables of other modules, by column name.

    Attributes:
        groups: name of the group of each element of the output.
    """

    def __init__(
        self,
        side: str,
        schema: SideSchema,
        config: ModelConfig,
        selection: Collection[str],
        shared: Mapping[str, SharedTable],
    ) -> None:
        super().__init__()
        self.ids = [place for place, name in enumerate(schema.ids) if f"{side}/{name}/id" in selection]
        self.numbers = [place for place, each in enumerate(schema.numbers) if f"{side}/{each.name}/number" in selection]
        lists = tuple(column for column in schema.lists if f"{side}/{column.name}/list" in selection)
        self.lists = [column.name for column in lists]
        smaller = dataclasses.replace(
            schema,
            ids=tuple(schema.ids[place] for place in self.ids),
            id_tables=tuple(schema.id_tables[place] for place in self.ids),
            numbers=tuple(schema.numbers[place] for place in self.numbers),
            lists=lists,
        )
        self.encoder = SideEncoder(smaller, config.buckets, config.dimension, shared)
        self.groups = _layout(side, smaller, config.dimension, shared)

    def parts(self) -> list[Part]:
        """What is looked up, in the order of the output."""
        return self.encoder.parts()

    def forward(self, features: SideFeatures) -> Float[Tensor, "batch width"]:
        lists = {name: features.lists[name] for name in self.lists}
        encoded: Tensor = self.encoder(
            SideFeatures(features.ids[:, self.ids], features.numbers[:, self.numbers], lists)
        )
        return encoded


def _layout(side: str, schema: SideSchema, dimension: int, shared: Mapping[str, SharedTable]) -> list[str]:
    """The group of each element of a :class:`~prerank.network.inputs.SideEncoder`'s output, in its order."""

    def length(table: str) -> int:
        return shared[table].dimension if table in shared else dimension

    columns = list(zip(schema.ids, schema.id_tables, strict=True))
    columns = [each for each in columns if each[1] not in shared] + [each for each in columns if each[1] in shared]
    groups = [f"{side}/{name}/id" for name, table in columns for _ in range(length(table))]
    groups += [f"{side}/{column.name}/list" for column in schema.lists for _ in range(length(column.table))]
    numbers = [f"{side}/{number.name}/number" for number in schema.numbers]
    return groups + numbers + [name for name in numbers for _ in range(dimension)]


class FeatureGroups(nn.Module):
    """The kept groups of a batch side by side.

    Args:
        schema: the log's columns.
        config: sizes of the embeddings.
        selection: names of the groups; all where None.

    Attributes:
        names: of the groups that are there.
        group_of: which of them each element of the output belongs to, int64 [width].
    """

    group_of: Tensor

    def __init__(self, schema: EncodedSchema, config: ModelConfig, selection: Collection[str] | None = None) -> None:
        super().__init__()
        self.names = [name for name in group_names(schema, config) if selection is None or name in selection]
        self.hash_id = HashId(config.item) if HASH_ID in self.names else None
        shared: dict[str, SharedTable] = {} if self.hash_id is None else {"item_id": self.hash_id}
        # As in the other systems, lists of the request share the item's table, and the item side has its own.
        sides = {
            side: KeptColumns(side, schema.sides[side], config, self.names, {} if side == "item" else shared)
            for side in SIDES
        }
        self.sides = nn.ModuleDict(sides)
        groups = [] if self.hash_id is None else [HASH_ID] * self.hash_id.dimension
        groups += [name for side in sides.values() for name in side.groups]
        place = {name: number for number, name in enumerate(self.names)}
        self.register_buffer("group_of", torch.tensor([place[name] for name in groups]), persistent=False)
        self.width = len(groups)

    def forward(self, batch: Batch) -> Float[Tensor, "batch width"]:
        sides = batch.sides
        own = self.item(batch.item_hash, sides["item"])
        return torch.cat([*own, self.sides["request"](sides["request"]), self.sides["pair"](sides["pair"])], dim=1)

    def item(self, item_hash: Int64[Tensor, batch], features: SideFeatures) -> list[Tensor]:
        """The groups of the item side, which come first: its hashed id and its columns."""
        return [*([] if self.hash_id is None else [self.hash_id(item_hash)]), self.sides["item"](features)]

    def parts(self, side: str) -> tuple[Part, ...]:
        """What a side looks up, in the order of the output."""
        own = [self.hash_id.part(None, False)] if side == "item" and self.hash_id is not None else []
        columns = self.sides[side]
        assert isinstance(columns, KeptColumns)
        return (*own, *columns.parts())


class SqueezeExcitation(nn.Module):
    r"""Weighs feature groups by what all of them say (COLD, Wang et al. 2020).

    .. math:: s = σ(W [e_1 … e_M] + b), \qquad v_i = s_i e_i

    Args:
        group_of: the group of each element of the input, int64 [width], each of 0 to M - 1 at least once.
    """

    group_of: Tensor

    def __init__(self, group_of: Int64[Tensor, " width"]) -> None:
        super().__init__()
        self.register_buffer("group_of", group_of.clone(), persistent=False)
        self.linear = nn.Linear(len(group_of), int(group_of.max()) + 1)
        # Every group starts at ½: after a short training, random starts would still decide which groups are kept.
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def weights(self, inputs: Float[Tensor, "batch width"]) -> Float[Tensor, "batch groups"]:
        """s of each row."""
        return torch.sigmoid(self.linear(inputs))

    def forward(self, inputs: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        return inputs * self.weights(inputs)[:, self.group_of]
