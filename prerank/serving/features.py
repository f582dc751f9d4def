"""Raw values to hashes and numbers, equal to those that :mod:`prerank.encoding` makes of a log's columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from prerank.serving.hashing import NULL_HASH, Hashes, Texts, hash_floats, hash_integers, hash_ngrams, hash_texts
from prerank.serving.request import RequestError, Values

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64

LARGEST_NUMBER = 1e18
"""Numbers beyond are cut to this, as :data:`prerank.encoding.encode.LARGEST_NUMBER` says."""


@dataclass(frozen=True)
class Type:
    """What the values of a column may be.

    Attributes:
        rule: in words.
        python: types of single values; a boolean counts as no integer.
        numpy: kinds of arrays.
    """

    rule: str
    python: tuple[type, ...]
    numpy: str


FLOAT = Type("a number or null", (int, float, np.integer, np.floating), "fiu")
TYPES = {
    "text": Type("text or null", (str,), "U"),
    "integer": Type("an integer or null", (int, np.integer), "iu"),
    "float": FLOAT,
    "float32": FLOAT,
    "float16": FLOAT,
    "decimal": FLOAT,
    "boolean": Type("true, false or null", (bool, np.bool_), "b"),
    "null": Type("null: the column never had a value", (), ""),
}
NUMBER = {
    **dict.fromkeys(("integer", "float", "float32", "float16", "decimal"), FLOAT),
    "boolean": Type("a number, true, false or null", (*FLOAT.python, bool, np.bool_), "fiub"),
    "null": TYPES["null"],
}
"""A number column takes any number, whatever its own type: a price of integers may be 9.5 elsewhere."""
WIDTHS: Mapping[str, npt.DTypeLike] = {"float32": np.float32, "float16": np.float16}


@dataclass(frozen=True)
class Column:
    """A column that the model sees: its name, its kind (id, number, text or list) and the type of its values."""

    name: str
    kind: str
    type: str


@dataclass(frozen=True)
class Lengths:
    """Hashes of a text, and values of a list, that are there for each row."""

    text: int
    list: int


@dataclass
class Encoded:
    """One side's columns of some rows, by name.

    Shapes: ``ids`` int64 [rows], ``numbers`` float32 [rows] (NaN = missing), ``lists`` int64 [rows, length] (0 =
    padding).
    """

    rows: int
    ids: dict[str, Int64[np.ndarray, " rows"]] = field(default_factory=dict)
    numbers: dict[str, Float32[np.ndarray, " rows"]] = field(default_factory=dict)
    lists: dict[str, Int64[np.ndarray, "rows length"]] = field(default_factory=dict)


def encode_side(
    columns: Sequence[Column],
    values: Mapping[str, Values],
    rows: int,
    lengths: Lengths,
    place: Callable[[str, int | None], str],
) -> Encoded:
    """Encode the columns of one side.

    Args:
        columns: of the side.
        values: each column's, by name; one that is left out is missing in every row.
        rows: how many there are.
        lengths: of texts and lists.
        place: where a column's value stands in the request, of its name and row (None: of the whole column).

    Raises:
        RequestError: for a value of another type than the column's.
    """
    encoded = Encoded(rows)
    for column in columns:
        of_column = values.get(column.name)
        if of_column is None:
            of_column = [None] * rows

        def where(row: int | None, name: str = column.name) -> str:
            return place(name, row)

        if column.kind == "id":
            encoded.ids[column.name] = encode_ids(of_column, column.type, where)
        elif column.kind == "number":
            encoded.numbers[column.name] = encode_numbers(of_column, column.type, where)
        elif column.kind == "text":
            encoded.lists[column.name] = encode_texts(of_column, column.type, lengths.text, where)
        else:
            encoded.lists[column.name] = encode_lists(of_column, column.type, lengths.list, where)
    return encoded


Where = Callable[[int | None], str]
"""Where a column's value of a row stands in the request, or the whole column."""
Item = TypeVar("Item")


def encode_ids(values: Values, type_: str, where: Where) -> Hashes:
    """Hash each value; a missing one has a hash of its own."""
    if isinstance(values, Texts):
        if type_ != "text":
            raise RequestError(where(None), "texts", TYPES[type_].rule)
        return hash_texts(values)
    flat, has_nulls = _checked(values, TYPES[type_], where)
    if not has_nulls:
        return _hash(flat, type_, where)
    missing = np.fromiter((value is None for value in flat), np.bool_, len(flat))
    filler: Any = {"text": "", "boolean": False}.get(type_, 0)
    hashed = _hash([filler if value is None else value for value in flat], type_, where)
    hashed[missing] = NULL_HASH
    return hashed


def encode_numbers(values: Values, type_: str, where: Where) -> Float32[np.ndarray, " rows"]:
    """float32; NaN where missing, NaN or infinite, and at most ``LARGEST_NUMBER`` in size."""
    if isinstance(values, Texts):
        raise RequestError(where(None), "texts", NUMBER[type_].rule)
    flat, _ = _checked(values, NUMBER[type_], where)
    try:
        numbers = np.asarray(flat, np.float64)
    except OverflowError:
        row = next(row for row, value in enumerate(flat) if isinstance(value, int) and abs(value) > LARGEST_NUMBER)
        raise RequestError(where(row), flat[row], "a number that double precision can hold") from None
    numbers = np.where(np.isinf(numbers), np.nan, np.clip(numbers, -LARGEST_NUMBER, LARGEST_NUMBER))
    return numbers.astype(np.float32)


def encode_texts(values: Values, type_: str, length: int, where: Where) -> Int64[np.ndarray, "rows length"]:
    """Hashed words and character 3-grams of each text; 0 is padding, a missing text is all padding."""
    if isinstance(values, Texts):
        content = values.content.tobytes()
        ends = values.starts + values.lengths
        values = [content[start:end].decode() for start, end in zip(values.starts, ends, strict=True)]
    flat, _ = _checked(values, TYPES[type_], where)
    # Each distinct text once: candidates share theirs.
    codes = {value: code for code, value in enumerate(dict.fromkeys(flat))}
    hashed = _unicode(lambda texts: hash_ngrams(texts, length), [value or "" for value in codes], where)
    return hashed[np.fromiter((codes[value] for value in flat), np.int64, len(flat))]


def encode_lists(values: Values, type_: str, length: int, where: Where) -> Int64[np.ndarray, "rows length"]:
    """Hashes of each list's first values, which are the most recent; 0 is padding and where a value is null."""
    if isinstance(values, Texts):
        raise RequestError(where(None), "texts", "lists")
    for row, value in enumerate(values):
        if value is not None and not isinstance(value, list | tuple | np.ndarray):
            raise RequestError(where(row), value, "a list or null")
    rows = [() if value is None else value[:length] for value in values]
    sizes = np.fromiter(map(len, rows), np.int64, len(rows))
    owner = np.repeat(np.arange(len(rows)), sizes)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    flat = list(chain.from_iterable(rows))
    hashed = encode_ids(flat, type_, lambda at: where(None if at is None else int(owner[at])))
    padded = np.zeros((len(rows), length), np.int64)
    padded[owner, place] = np.where([value is None for value in flat], 0, hashed)
    return padded


def _checked(values: Sequence[Any] | npt.NDArray[Any], type_: Type, where: Where) -> tuple[Any, bool]:
    """The values, each of a right type, and whether some are missing."""
    if isinstance(values, np.ndarray):
        if values.dtype.kind in type_.numpy:
            return (values.tolist() if values.dtype.kind == "U" else values), False
        if values.dtype.kind != "O":
            raise RequestError(where(None), f"an array of {values.dtype}", type_.rule)
        values = values.tolist()
    kinds = set(map(type, values))
    refused = {kind for kind in kinds if kind is not type(None) and not _accepts(type_, kind)}
    if refused:
        row = next(row for row, value in enumerate(values) if type(value) in refused)
        raise RequestError(where(row), values[row], type_.rule)
    return values, type(None) in kinds


def _accepts(type_: Type, kind: type) -> bool:
    return issubclass(kind, type_.python) and (bool in type_.python or not issubclass(kind, bool))


def _hash(values: Any, type_: str, where: Where) -> Hashes:
    """Hash values of which none is missing."""
    if type_ == "text":
        return _unicode(lambda texts: hash_texts(Texts.of(texts)), values, where)
    if type_ == "integer":
        return hash_integers(_integers(values, where))
    if type_ == "boolean":
        return hash_integers(np.asarray(values, np.bool_))
    if type_ == "null":
        return np.full(len(values), NULL_HASH, np.int64)
    with np.errstate(over="ignore"):
        return hash_floats(np.asarray(values, np.float64).astype(WIDTHS.get(type_, np.float64)))


def _integers(values: Any, where: Where) -> Int64[np.ndarray, " rows"]:
    if isinstance(values, np.ndarray):
        return values.astype(np.int64)
    try:
        return np.array(values, np.int64)
    except OverflowError:
        for row, value in enumerate(values):
            if not -(2**63) <= value < 2**64:
                raise RequestError(where(row), value, "an integer of 64 bits") from None
        return np.array([value % 2**64 for value in values], np.uint64).view(np.int64)


def _unicode(function: Callable[[list[str]], Item], texts: list[str], where: Where) -> Item:
    try:
        return function(texts)
    except UnicodeEncodeError as error:
        raise RequestError(where(None), error.object, "text that is valid Unicode") from None
