"""What ``features.json`` says: the columns that a model sees, and how its sides are made of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from configs.errors import InputError
from prerank.serving.bundle import is_format
from prerank.serving.features import TYPES, Column, Lengths

FORMAT = 1
SIDES = ("item", "request", "pair")
KINDS = ("id", "number", "text", "list")
HEADS = ("click", "order", "rank")


@dataclass(frozen=True)
class SideSpec:
    """One side of a network.

    Attributes:
        parts: entries that :func:`prerank.serving.lookups.part_of` reads.
        network: file of the layers that the parts go through; None: there are none.
        output: length of the side's vector.
    """

    parts: Sequence[Mapping[str, Any]]
    network: str | None
    output: int


@dataclass(frozen=True)
class Features:
    """The columns and sides of a model.

    Attributes:
        system: its name.
        columns: side → columns.
        lengths: of texts and lists.
        item_type: type of item ids, text or integer.
        sides: of a network; empty for trees and counts.
        history: the entry of the attended history, if the network has one.
        heads: of click, order and rank, those that there are.
        trees: what tree models need besides.
    """

    system: str
    columns: Mapping[str, Sequence[Column]]
    lengths: Lengths
    item_type: str
    sides: Mapping[str, SideSpec]
    history: Mapping[str, Any] | None
    heads: Sequence[str]
    trees: Mapping[str, Any] | None

    @classmethod
    def read(cls, content: bytes) -> Features:
        """Read features.json.

        Raises:
            InputError: if it is damaged or of another version.
        """
        try:
            said = json.loads(content)
            if not is_format(said["format"], FORMAT):
                raise InputError(f"features.json has format {said['format']}, this version reads {FORMAT}: upgrade it")
            columns = {side: [_column(each) for each in said["columns"] if each["side"] == side] for side in SIDES}
            sides = {side: _side(entry) for side, entry in (said.get("sides") or {}).items()}
            if sides and sides.keys() != set(SIDES):
                raise ValueError(f"expected the sides {', '.join(SIDES)}, found {', '.join(sides)}")
            return cls(
                said["system"],
                columns,
                Lengths(said["lengths"]["text"], said["lengths"]["list"]),
                _one_of(said["item_id"]["type"], TYPES),
                sides,
                said.get("history"),
                tuple(_one_of(head, HEADS) for head in said["heads"]),
                said.get("trees"),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"features.json is damaged ({error!r}): export the bundle again") from None


def _column(entry: Mapping[str, Any]) -> Column:
    return Column(entry["name"], _one_of(entry["kind"], KINDS), _one_of(entry["type"], TYPES))


def _one_of(name: str, known: Collection[str]) -> str:
    if name not in known:
        raise ValueError(f"expected one of {', '.join(known)}, found {name!r}")
    return name


def _side(entry: Mapping[str, Any]) -> SideSpec:
    return SideSpec(entry.get("parts") or (), entry.get("network"), entry["output"])
