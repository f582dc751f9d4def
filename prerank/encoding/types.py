"""Values of one type: 5, 5.0 and "5" are one value of a column of ids, however a file happens to store it.

Hashes tell integers, floats and texts apart. So a column is hashed in the type that the training log had
(:attr:`~prerank.encoding.schema.Column.type`): a later log, in which one null has turned integers into floats, or whose
writer has made text of all, is converted first, and refused where it cannot be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.console import warn
from configs.errors import InputError
from graph.logs.contract import family_of
from prerank.encoding.schema import Column

NAMES = {"string": "text", "date": "date", "timestamp": "timestamp"}
"""Of families of Arrow types, where they are called otherwise here."""
ARROW = {
    "integer": pa.int64(),
    "text": pa.string(),
    "float": pa.float64(),
    "float32": pa.float32(),
    "float16": pa.float16(),
    "boolean": pa.bool_(),
}
"""The types that values can be converted to."""
NO_VALUE = ("", "nan", "none", "null", "<na>")
"""What writers make of a missing value in a column of text that were numbers."""
LARGEST_WHOLE = 2.0**63
LARGEST_DIGITS = "9223372036854775807"
WHOLE = r"^[+-]?[0-9]+(\.0*)?$"


def type_name(kind: pa.DataType) -> str:
    """Text, integer, boolean, decimal, null, or float (float32, float16) by its width; of a list, its values'."""
    if pa.types.is_dictionary(kind) or is_list(kind):
        return type_name(kind.value_type)
    if pa.types.is_float32(kind) or pa.types.is_float16(kind):
        return f"float{kind.bit_width}"
    family = family_of(kind)
    return NAMES.get(family, family)


def is_list(kind: pa.DataType) -> bool:
    """Whether a column of this type holds a list in each row."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


@dataclass(frozen=True)
class TrainedTypes:
    """The types in which columns are hashed.

    Attributes:
        types: (table, column) → name of a type; other columns are left as they are.
    """

    types: Mapping[tuple[str, str], str]

    @classmethod
    def of(cls, columns: Iterable[Column], keys: Mapping[str, pa.DataType] | None = None) -> TrainedTypes:
        """Those of the features that are hashed; and of the keys item_id, user_id, query, in every table.

        Args:
            columns: the features; one without a type is left as it is.
            keys: key → its type; none: the log's own.
        """
        types = {(c.source, c.name): c.type for c in columns if c.kind in ("id", "list") and c.type}
        tables = ("impressions", "items", "users", "queries")
        types |= {(table, key): type_name(kind) for key, kind in (keys or {}).items() for table in tables}
        return cls(types)

    def convert(self, table: pa.Table, source: str) -> pa.Table:
        """A table's columns in these types.

        Raises:
            InputError: for values that the type does not have.
        """
        for place, field in enumerate(table.schema):
            wanted = self.types.get((source, field.name))
            if wanted is None or wanted == type_name(field.type) or "null" in (wanted, type_name(field.type)):
                continue
            chunks = [as_type(chunk, wanted, f"{source}: column {field.name}") for chunk in table[field.name].chunks]
            values = pa.chunked_array(chunks, chunks[0].type if chunks else field.type)
            table = table.set_column(place, field.name, values)
        return table

    def tell(self, schemas: Mapping[str, pa.Schema]) -> None:
        """Say which columns of another log are converted."""
        for (source, name), wanted in self.types.items():
            schema = schemas.get(source)
            if schema is not None and name in schema.names:
                found = schema.field(name).type
                if type_name(found) not in (wanted, "null") and wanted != "null":
                    warn(f"{source}: column {name} has type {found}, in training it was {wanted}: read as {wanted}")


def as_type(values: pa.Array, wanted: str, where: str) -> pa.Array:
    """Values, or lists of values, as another type has them.

    Whole floats are integers and texts of digits are numbers; a whole number is the text of its digits.

    Raises:
        InputError: for a value that the type does not have; ``where`` says which column it is of.
    """
    if is_list(values.type):
        lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False)
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
        return pa.ListArray.from_arrays(offsets, as_type(pc.list_flatten(values), wanted, where), mask=values.is_null())
    plain = values.dictionary_decode() if pa.types.is_dictionary(values.type) else values
    if wanted not in ARROW:
        raise InputError(
            f"{where} has type {values.type}, in training it was {wanted}: write it as in the training log"
        )
    converted = _as_text(plain) if wanted == "text" else _as_number(plain, wanted)
    lost = pc.and_(converted.is_null(), _is_value(plain))
    count = pc.sum(lost).as_py() or 0
    if count:
        example = plain.filter(lost)[0]
        raise InputError(
            f"{where} has type {values.type}, in training it was {wanted}, and {count:,} of {len(plain):,} values are "
            f"none, e.g. {str(example)!r}: the model would know none of them; write the column as in the training log"
        )
    return converted


def _is_value(values: pa.Array) -> pa.Array:
    if pa.types.is_floating(values.type):
        return pc.fill_null(pc.invert(pc.is_nan(values)), False)
    if family_of(values.type) == "string":
        known = pc.is_in(pc.utf8_lower(pc.utf8_trim_whitespace(values)), value_set=pa.array(NO_VALUE, values.type))
        return pc.and_(values.is_valid(), pc.invert(known))
    return values.is_valid()


def _as_text(values: pa.Array) -> pa.Array:
    """Numbers as their digits: 5 and 5.0 as "5", 7.5 as "7.5"."""
    if not pa.types.is_floating(values.type):
        return values.cast(pa.string())
    whole = _as_number(values, "integer").cast(pa.string())
    present = pc.if_else(pc.is_nan(values), None, values)
    return pc.coalesce(whole, present.cast(pa.string()))


def _as_number(values: pa.Array, wanted: str) -> pa.Array:
    """Numbers of another type; null where there is none."""
    if family_of(values.type) == "string":
        return _parsed(values, wanted)
    if wanted == "boolean":
        is_flag = pc.is_in(values, value_set=pa.array([0, 1]).cast(values.type))
        return pc.if_else(is_flag, values, None).cast(pa.bool_())
    if wanted == "integer" and pa.types.is_floating(values.type):
        numbers = values.cast(pa.float64())
        is_whole = pc.and_(pc.equal(pc.floor(numbers), numbers), pc.less(pc.abs(numbers), LARGEST_WHOLE))
        return pc.if_else(is_whole, numbers, None).cast(pa.int64())
    return values.cast(ARROW[wanted], safe=False)


def _parsed(texts: pa.Array, wanted: str) -> pa.Array:
    trimmed = pc.utf8_lower(pc.utf8_trim_whitespace(texts.cast(pa.string())))
    if wanted == "boolean":
        flags = pc.index_in(trimmed, value_set=pa.array(["false", "true", "0", "1", "0.0", "1.0"]))
        return pc.equal(pc.bit_wise_and(flags, 1), 1)
    if wanted == "integer":
        digits = pc.replace_substring_regex(pc.utf8_ltrim(trimmed, "+"), r"\.0*$", "")
        size = pc.utf8_lpad(pc.utf8_ltrim(digits, "-0"), len(LARGEST_DIGITS), "0")
        fits = pc.and_(pc.equal(pc.utf8_length(size), len(LARGEST_DIGITS)), pc.less_equal(size, LARGEST_DIGITS))
        return pc.if_else(pc.and_(pc.match_substring_regex(trimmed, WHOLE), fits), digits, None).cast(pa.int64())
    number = pc.match_substring_regex(trimmed, r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?$")
    return pc.if_else(number, pc.utf8_ltrim(trimmed, "+"), None).cast(pa.float64()).cast(ARROW[wanted])
