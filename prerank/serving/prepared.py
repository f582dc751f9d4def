"""A request checked and encoded: what every kind of model scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from prerank.serving.features import Encoded, encode_ids, encode_side
from prerank.serving.hashing import NULL_HASH, Hashes
from prerank.serving.items import UNSEEN, Catalogue
from prerank.serving.lookups import place_among
from prerank.serving.request import ITEM_ID, Request, RequestError, require_arrays, require_known, require_mapping
from prerank.serving.spec import Features

if TYPE_CHECKING:
    from jaxtyping import Int64

MOST_DIGITS = 20
Described = Mapping[int, tuple[Any, Mapping[str, Any]]]
"""Hash → the request's own key and the attributes of an item that it describes."""


@dataclass(frozen=True)
class NewItems:
    """Distinct items that are scored by their hashes and attributes.

    Attributes:
        item_hash: of each, ascending.
        encoded: the item side's columns.
        candidates: which candidates are such items.
        places: of each of these candidates, the place of its item.
        unknown: those of which nothing but the id is known.
    """

    item_hash: Hashes
    encoded: Encoded
    candidates: Int64[np.ndarray, " candidates"]
    places: Int64[np.ndarray, " candidates"]
    unknown: Int64[np.ndarray, " unknown"]


@dataclass(frozen=True)
class Prepared:
    """A request, encoded.

    Attributes:
        rows: candidates.
        item_hash: of each.
        item: each one's row in the catalogue, ``UNSEEN`` where it is not in it or the request says what it is.
        new: the latter.
        request: the request side's columns, of one row.
        pair: the pair side's columns.
        missing: columns that the request leaves out.
    """

    rows: int
    item_hash: Hashes
    item: Int64[np.ndarray, " rows"]
    new: NewItems
    request: Encoded
    pair: Encoded
    missing: tuple[str, ...]


def prepare(request: Request, features: Features, catalogue: Catalogue) -> Prepared:
    """Check a request and encode it.

    Raises:
        RequestError: naming what cannot be scored.
    """
    require_mapping(request.request, "request")
    require_mapping(request.candidates, "candidates")
    require_mapping(request.items, "items")
    asked, offered = ([column.name for column in features.columns[side]] for side in ("request", "pair"))
    require_known(request.request, asked, request.request, "request")
    require_known(request.candidates, [ITEM_ID, *offered], request.candidates, "candidates")
    rows = require_arrays(request.candidates)
    item_hash = _item_hashes(request, features)
    item = catalogue.find(item_hash)
    described = _described_items(request.items, features, item_hash)
    new = _new_items(item, item_hash, described, features)
    item[new.candidates] = UNSEEN
    missing = [f"request.{name}" for name in asked if name not in request.request]
    missing += [f"candidates.{name}" for name in offered if name not in request.candidates]
    return Prepared(
        rows=rows,
        item_hash=item_hash,
        item=item,
        new=new,
        request=encode_side(
            features.columns["request"],
            {name: [value] for name, value in request.request.items()},
            1,
            features.lengths,
            lambda name, _row: f"request.{name}",
        ),
        pair=encode_side(features.columns["pair"], request.candidates, rows, features.lengths, _in_candidates),
        missing=tuple(dict.fromkeys(missing)),
    )


def _in_candidates(name: str, row: int | None) -> str:
    return f"candidates.{name}" if row is None else f"candidates.{name}[{row}]"


def _item_hashes(request: Request, features: Features) -> Hashes:
    hashes = encode_ids(request.candidates[ITEM_ID], features.item_type, lambda row: _in_candidates(ITEM_ID, row))
    missing = np.flatnonzero(hashes == NULL_HASH)
    if len(missing):
        raise RequestError(_in_candidates(ITEM_ID, int(missing[0])), None, "an item's id")
    return hashes


def _described_items(items: Mapping[Any, Mapping[str, Any]], features: Features, item_hash: Hashes) -> Described:
    """The items that the request describes."""
    if not items:
        return {}
    keys = list(items)
    ids = [_item_id(key, features.item_type) for key in keys]
    hashes = encode_ids(ids, features.item_type, lambda row: "items" if row is None else f"items.{keys[row]}")
    known = [column.name for column in features.columns["item"]]
    for key, is_candidate in zip(keys, np.isin(hashes, item_hash).tolist(), strict=True):
        require_mapping(items[key], f"items.{key}")
        require_known(items[key], known, items[key], f"items.{key}")
        if not is_candidate:
            raise RequestError(f"items.{key}", items[key], "an item that is one of the candidates")
    described: dict[int, tuple[Any, Mapping[str, Any]]] = {}
    for hashed, (key, values) in zip(hashes.tolist(), items.items(), strict=True):
        if hashed in described:  # "7" and "07" are one integer
            raise RequestError(
                f"items.{key}", values, f"one entry for each item, and {described[hashed][0]} is the same"
            )
        described[hashed] = key, values
    return described


def _item_id(key: Any, type_: str) -> Any:
    """The id that a key of a JSON object, which is always text, stands for."""
    digits = key.removeprefix("-") if isinstance(key, str) else ""
    # No 64-bit integer has more digits, and Python is slow to read thousands.
    if type_ == "integer" and digits.isascii() and digits.isdecimal() and len(digits) <= MOST_DIGITS:
        return int(key)
    return key


def _new_items(
    item: Int64[np.ndarray, " rows"], item_hash: Hashes, described: Described, features: Features
) -> NewItems:
    is_new = item == UNSEEN
    if described:
        is_new |= np.isin(item_hash, list(described))
    candidates = np.flatnonzero(is_new)
    if not len(candidates):
        return NewItems(candidates, Encoded(0), candidates, candidates, candidates)
    distinct = np.unique(item_hash[candidates])
    attributes = [described.get(hashed, (None, {})) for hashed in distinct.tolist()]
    encoded = encode_side(
        features.columns["item"],
        {column.name: [values.get(column.name) for _, values in attributes] for column in features.columns["item"]},
        len(distinct),
        features.lengths,
        lambda name, row: f"items.{name}" if row is None else f"items.{attributes[row][0]}.{name}",
    )
    places = place_among(distinct, item_hash[candidates])
    unknown = candidates[~np.isin(distinct, list(described))[places]]
    return NewItems(distinct, encoded, candidates, places, unknown)
