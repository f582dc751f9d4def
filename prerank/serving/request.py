"""A request as it comes in, and the error that says what is wrong with one."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.errors import InputError
from prerank.serving.hashing import Texts

Values = Sequence[Any] | npt.NDArray[Any] | Texts
"""Raw values of a column, None where missing; numbers may be an array, texts their bytes."""
ITEM_ID = "item_id"
MOST_CHARACTERS = 200
"""Of a name that is repeated in an error or compared with others: names come from whoever asks."""


def short(value: object) -> str:
    """A value as an error repeats it."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python writes out no integers of thousands of digits
        return f"a value of type {type(value).__name__} that is too large to show"


class RequestError(InputError):
    """A request that cannot be scored.

    Attributes:
        field: where, such as ``candidates.price[3]``.
        value: what stands there.
        rule: what was expected.
    """

    def __init__(self, field: str, value: object, rule: str) -> None:
        field = field[:MOST_CHARACTERS]
        super().__init__(f"{field}: expected {rule}, found {short(value)}")
        self.field = field
        self.value = value
        self.rule = rule


@dataclass(frozen=True)
class Request:
    """One request and its candidates.

    Attributes:
        request: the request side's columns by name; one that is left out is missing.
        candidates: ``item_id`` and the pair side's columns, as arrays of one length.
        items: item id → attributes, of candidates that the catalogue lacks or has otherwise: they stand in the place of
            the catalogue's as a whole.

    Examples:
        >>> from prerank import Request
        >>> Request({"query": "red shoes"}, {"item_id": [7, 8], "price": [9.5, None]}).candidates["item_id"]
        [7, 8]
    """

    request: Mapping[str, Any]
    candidates: Mapping[str, Values]
    items: Mapping[Any, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Request:
        """A request from its JSON.

        Raises:
            RequestError: if it is no object with ``candidates`` and, at will, ``request`` and ``items``.
        """
        require_mapping(body, "body")
        require_known(body, ("request", "candidates", "items"), body, "body")
        if "candidates" not in body:
            raise RequestError("body", sorted(body), "candidates")
        return cls(body.get("request", {}), body["candidates"], body.get("items", {}))


def require_mapping(values: object, place: str) -> None:
    """Raise RequestError for what is not names with values."""
    if not isinstance(values, Mapping):
        raise RequestError(place, values, "an object of names and values")


def require_known(names: Iterable[object], known: Sequence[str], values: Mapping[Any, Any], place: str) -> None:
    """Raise RequestError for a name that is none of the known ones, saying which one may be meant."""
    for name in names:
        if name in known:
            continue
        near = difflib.get_close_matches(str(name)[:MOST_CHARACTERS], known, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        rule = f"one of the names {', '.join(sorted(set(known)))}{hint}" if known else "no name: it has no columns"
        raise RequestError(f"{place}.{name}", values[name], rule)


def require_arrays(candidates: Mapping[str, Values]) -> int:
    """How many candidates there are, checked to be as many in each array.

    Raises:
        RequestError: if there is none, if a column is no array, or if the arrays differ in length.
    """
    for name, values in candidates.items():
        listed = isinstance(values, Sequence | Texts) and not isinstance(values, str | bytes)
        if not listed and not (isinstance(values, np.ndarray) and values.ndim == 1):
            raise RequestError(f"candidates.{name}", values, "an array of values, one for each candidate")
    if ITEM_ID not in candidates:
        raise RequestError("candidates", list(candidates), f"an array {ITEM_ID} among its names")
    rows = len(candidates[ITEM_ID])
    if not rows:
        raise RequestError(f"candidates.{ITEM_ID}", [], "at least one candidate")
    for name, values in candidates.items():
        if len(values) != rows:
            rule = f"as many values as candidates.{ITEM_ID} has, {rows}"
            raise RequestError(f"candidates.{name}", f"{len(values)} values", rule)
    return rows
