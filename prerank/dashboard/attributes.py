"""The attributes by which the dashboard slices a split: item columns, price bands, how often a query was asked.

All of them are fixed by the catalogue and the training days, as the segments are: which values are shown is decided by
training impressions, never by what a system did on the rows that it is measured on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
from jaxtyping import Float64, Int64

from prerank.encoding.codes import with_codes
from prerank.evaluation.segments import times_asked
from prerank.pages.render import shortened

MOST_VALUES = 12
"""Values of an attribute with a row of their own; the rest share the row "other"."""
MOST_ATTRIBUTES = 8
NOT_ATTRIBUTES = ("item_id", "title", "price", "listed_at")
LARGEST_SHARE_OF_DISTINCT = 0.5
"""A column with more distinct values than this share of the items is a key or a text, not an attribute."""
PRICE_BANDS = 5
QUERY_BANDS = (0, 1, 2, 5, 10, 50, 100, 1000)
"""Smallest training count of each band of queries."""
LONGEST_NAME = 80

RowCodes = Callable[[pa.Table], Int64[np.ndarray, " rows"]]


@dataclass(frozen=True)
class Attribute:
    """A way to slice the rows of a split.

    Attributes:
        name: of the column, or what the bands are of.
        definition: in words.
        values: the names of the slices, in the order in which they are shown.
        codes: from predictions (columns ``item``, ``query``) to the place of each row's slice in ``values``.
    """

    name: str
    definition: str
    values: tuple[str, ...]
    codes: RowCodes


def attributes_of(
    items: pa.Table,
    training_impressions: Int64[np.ndarray, " items"],
    training_queries: pa.Array | pa.ChunkedArray,
) -> tuple[list[Attribute], dict[str, str]]:
    """Every attribute that the log has, item columns first.

    Args:
        items: ``items.parquet``.
        training_impressions: of its rows.
        training_queries: the query of each training request.

    Returns:
        The attributes, and column → why it is none.
    """
    attributes: list[Attribute] = []
    left_out: dict[str, str] = {}
    items = with_codes(items)
    for name in items.column_names:
        if name in NOT_ATTRIBUTES:
            continue
        attribute = _of_column(name, items[name], training_impressions)
        if isinstance(attribute, str):
            left_out[name] = attribute
        elif len(attributes) == MOST_ATTRIBUTES:
            left_out[name] = f"{MOST_ATTRIBUTES} attributes are shown at most, in the order of the items' columns"
        else:
            attributes.append(attribute)
    prices = _of_prices(items)
    if isinstance(prices, str):
        left_out["price"] = prices
    else:
        attributes.append(prices)
    return [*attributes, _of_queries(training_queries)], left_out


def _of_column(name: str, column: pa.ChunkedArray, weight: Int64[np.ndarray, " items"]) -> Attribute | str:
    """The most frequent values of a categorical column, or why it is not one."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not (text or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        return f"{column.type} is not categorical"
    encoded = pa.chunked_array(column.cast(kind).chunks, type=kind).combine_chunks().dictionary_encode()
    distinct = len(encoded.dictionary)
    if distinct < 2:
        return "all items have the same value"
    if distinct > LARGEST_SHARE_OF_DISTINCT * len(column):
        return f"{distinct:,} different values of {len(column):,} items: a key or a text"
    codes = encoded.indices.fill_null(distinct).to_numpy(zero_copy_only=False).astype(np.int64)
    impressions = np.bincount(codes, weights=weight, minlength=distinct + 1)[:distinct]
    shown = np.argsort(-impressions, kind="stable")[:MOST_VALUES]
    values = [_name(value) for value in encoded.dictionary.take(pa.array(shown)).to_pylist()]
    place = np.full(distinct + 1, len(values))
    place[shown] = np.arange(len(values))
    if distinct > len(values):
        values.append(f"other ({distinct - len(shown):,} values)")
    place[distinct] = len(values)
    if column.null_count:
        values.append("no value")
    definition = f"the items' {name}: " + (
        f"the {len(shown)} of {distinct:,} values with most training impressions"
        if distinct > len(shown)
        else f"all {distinct} values, most training impressions first"
    )
    return Attribute(name, definition, tuple(values), _item_codes(place[codes]))


def _of_prices(items: pa.Table) -> Attribute | str:
    """Fifths of the catalogue by price; equal prices stay together."""
    if "price" not in items.column_names:
        return "items have no price"
    prices: Float64[np.ndarray, " items"] = (
        items["price"].cast(pa.float64()).fill_null(np.nan).to_numpy().astype(np.float64)
    )
    known = np.isfinite(prices)
    if len(np.unique(prices[known])) < 2:
        return "fewer than two different prices"
    edges = np.unique(np.quantile(prices[known], np.arange(1, PRICE_BANDS) / PRICE_BANDS))
    codes = np.searchsorted(edges, prices, side="right")
    values = [f"below {edges[0]:,.4g}"]
    values += [f"{low:,.4g} to {high:,.4g}" for low, high in pairwise(edges)]
    values.append(f"{edges[-1]:,.4g} or more")
    codes[~known] = len(values)
    if not known.all():
        values.append("no price")
    definition = "fifths of the catalogue's items by price (a band holds its lower end, not its upper one)"
    return Attribute("price (fifths)", definition, tuple(values), _item_codes(codes.astype(np.int64)))


def _of_queries(training: pa.Array | pa.ChunkedArray) -> Attribute:
    """Bands of queries by how many training requests asked them."""

    def codes(predictions: pa.Table) -> Int64[np.ndarray, " rows"]:
        times = times_asked(predictions["query"], training)
        return np.searchsorted(QUERY_BANDS, times, side="right").astype(np.int64) - 1

    ends = [*(most - 1 for most in QUERY_BANDS[1:]), None]
    values = ["never asked"]
    for least, most in zip(QUERY_BANDS[1:], ends[1:], strict=True):
        values.append(
            f"{least:,} or more" if most is None else f"{least:,}" if least == most else f"{least:,}–{most:,}"
        )
    return Attribute("query frequency", "how many training requests had the same query", tuple(values), codes)


def _item_codes(of_item: Int64[np.ndarray, " items"]) -> RowCodes:
    def codes(predictions: pa.Table) -> Int64[np.ndarray, " rows"]:
        of_row: Int64[np.ndarray, " rows"] = of_item[predictions["item"].to_numpy()]
        return of_row

    return codes


def _name(value: object) -> str:
    return shortened(str(value), LONGEST_NAME)


def describe(attributes: Sequence[Attribute]) -> list[dict[str, object]]:
    """Names, definitions and values, JSON-like."""
    return [{"name": each.name, "definition": each.definition, "values": list(each.values)} for each in attributes]
