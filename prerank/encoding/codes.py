"""Integers that one missing value has turned into floats: pandas has no missing integers, so it makes 5.0 of 5.

A column of category codes must not become a number feature, nor leave the audit, because one item lacks its category.
But a quantity may look the same: a price in whole dollars, a count. So a column counts as codes only where nothing
speaks for a number: it is float64 (what pandas makes), lacks a value (without a gap it would have stayed integers), all
values are whole and not negative, each occurs twice or more on average, and it is not called as quantities are.
"""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

from prerank.encoding.types import as_type

QUANTITY = re.compile(
    "price|prices|preis|prix|precio|cost|costs|amount|value|sum|total|margin|revenue|sales|sold|tax|fee|discount|budget|"
    "count|counts|number|num|n|nr|qty|quantity|stock|inventory|views|clicks|orders|likes|reviews|votes|impressions|"
    "size|weight|height|width|length|depth|volume|area|distance|capacity|power|speed|temperature|rating|ratings|score|"
    "scores|stars|rank|position|level|age|duration|percent|percentage|pct|share|rate|ratio|days?|hours?|minutes?|"
    "seconds?|weeks?|months?|years?|time|timestamp|date|.*(?:price|cost|amount|count|quantity|weight|rating|score)"
)
"""Words of a column's name that say how much, not which."""
LARGEST_CODE = 2.0**53


def is_code(name: str, values: pa.ChunkedArray) -> bool:
    """Whether a column of floats holds codes, as the module says."""
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    if not pa.types.is_float64(values.type) or any(map(QUANTITY.fullmatch, words)):
        return False
    present = pc.drop_null(pc.if_else(pc.is_nan(values), None, values))
    if not 0 < len(present) < len(values):
        return False
    whole = pc.and_(pc.equal(pc.floor(present), present), pc.less(present, LARGEST_CODE))
    low = pc.min(present).as_py()
    return bool(low >= 0 and pc.all(whole).as_py() and 2 * pc.count_distinct(present).as_py() <= len(present))


def with_codes(table: pa.Table) -> pa.Table:
    """A table whose columns of codes are integers again."""
    for place, field in enumerate(table.schema):
        if pa.types.is_floating(field.type) and is_code(field.name, table[field.name]):
            chunks = [as_type(chunk, "integer", field.name) for chunk in table[field.name].chunks]
            table = table.set_column(place, field.name, pa.chunked_array(chunks, pa.int64()))
    return table
