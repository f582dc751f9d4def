"""What the audit knows of the items besides their vectors: attributes, titles, how often they were seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from configs.console import say
from prerank.encoding.codes import with_codes

SHOWN = ("title", "brand", "category", "price")
"""Columns that the neighbour browser shows where the log has them."""
NOT_ATTRIBUTES = ("item_id", "title", "price", "listed_at")
LARGEST_SHARE_OF_DISTINCT = 0.5
"""A column with more distinct values than this share of the items is a key or a text, not an attribute."""


@dataclass(frozen=True)
class CatalogueItems:
    """The items of a run, in the order of ``items.parquet``.

    Args:
        table: the items table.
        attributes: column → code of each item's value; -1 where it has none.
        impressions: training impressions of each item.
    """

    table: pa.Table
    attributes: dict[str, Int64[np.ndarray, " items"]]
    impressions: Int64[np.ndarray, " items"]

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def ids(self) -> pa.ChunkedArray:
        return self.table["item_id"]

    def shown(self, rows: Int64[np.ndarray, " rows"]) -> list[dict[str, Any]]:
        """What a person needs to recognise these items: id, title, brand, category, price, impressions."""
        columns = ["item_id", *(name for name in SHOWN if name in self.table.column_names)]
        items: list[dict[str, Any]] = self.table.select(columns).take(pa.array(rows)).to_pylist()
        for item, row in zip(items, rows, strict=True):
            item["impressions"] = int(self.impressions[row])
        return items


def read_catalogue(items: pa.Table, impressions: Int64[np.ndarray, " items"]) -> CatalogueItems:
    """Code the categorical columns of the items table, and say which ones those are.

    Args:
        items: ``items.parquet``.
        impressions: training impressions of its rows.
    """
    attributes: dict[str, Int64[np.ndarray, " items"]] = {}
    left_out = []
    items = with_codes(items)
    for name in items.column_names:
        if name in NOT_ATTRIBUTES:
            continue
        codes = _codes(items[name])
        if codes is None:
            left_out.append(name)
        else:
            attributes[name] = codes
    say(f"attributes of items: {', '.join(attributes) or 'none'}" + _explained(left_out))
    return CatalogueItems(items, attributes, np.asarray(impressions, dtype=np.int64))


def _codes(column: pa.ChunkedArray) -> Int64[np.ndarray, " items"] | None:
    """Codes of a categorical column's values, or None where it is none: a list, a measure, a key, a constant."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not (text or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        return None
    if pa.types.is_dictionary(column.type):
        column = column.cast(kind)
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    distinct = len(encoded.dictionary)
    if distinct < 2 or distinct > LARGEST_SHARE_OF_DISTINCT * len(column):
        return None
    codes: Int64[np.ndarray, " items"] = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    return codes.astype(np.int64)


def _explained(left_out: list[str]) -> str:
    return f" (not categorical, left out: {', '.join(left_out)})" if left_out else ""
