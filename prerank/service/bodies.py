"""Bodies of requests and answers: JSON, or a stream of Apache Arrow's where candidates are many.

An Arrow body is an IPC stream whose columns are ``candidates``, and whose schema's metadata hold what JSON has beside
them, each as JSON: ``request``, ``items``, ``n``, ``logits``. It is read without a copy.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

import numpy as np
import orjson
import pyarrow as pa
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from prerank.service.models import Asked, CandidatesRequest
from prerank.serving.hashing import Texts
from prerank.serving.request import Request, RequestError, Values
from prerank.web.errors import AnswerError

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"
MESSAGES = {1: "schema", 3: "record batch"}
"""Arrow's types of messages that are read; a dictionary is none of them."""
DAMAGED = (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowSerializationError, OSError, struct.error, IndexError)

RULES = {
    "missing": "a value under this name",
    "extra_forbidden": "no such name",
    "model_type": "an object of the names {names}",
    "dict_type": "an object of names and values",
    "list_type": "an array of values",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "greater_than_equal": "a number of at least {ge}",
    "less_than_equal": "a number of at most {le}",
    "too_short": "at least {min_length} of them",
}
"""pydantic's type of an error → what was expected, in the words of the other errors."""

Body = TypeVar("Body", bound=Asked)


def read_json(body: bytes, model: type[Body]) -> Body:
    """A body that was sent as JSON.

    Raises:
        AnswerError: if it is no JSON.
        RequestError: naming what is not as it should be.
    """
    try:
        return checked(orjson.loads(body), model)
    except orjson.JSONDecodeError as error:
        raise AnswerError(HTTPStatus.BAD_REQUEST, f"The body is no JSON: {error}.") from None


def read_arrow(body: bytes, model: type[Body]) -> Body:
    """A body that was sent as a stream of Arrow's.

    Raises:
        AnswerError: if it is none, or one that is not read here.
        RequestError: naming what is not as it should be.
    """
    try:
        _require_plain(body)
        with pa.ipc.open_stream(body) as reader:
            beside = {
                name.decode(): orjson.loads(value)
                for name, value in (reader.schema.metadata or {}).items()
                if name.decode() in model.model_fields
            }
            table = reader.read_all().combine_chunks()
        table.validate(full=True)
    except DAMAGED as error:
        raise AnswerError(HTTPStatus.BAD_REQUEST, f"The body is no stream of Arrow's: {error}.") from None
    except ValueError as error:
        raise AnswerError(HTTPStatus.BAD_REQUEST, f"The metadata of the body's schema: {error}.") from None
    if "candidates" in beside:
        raise RequestError("candidates", "metadata", "columns of the stream")
    read = checked({**beside, "candidates": {}}, model)
    assert isinstance(read, CandidatesRequest)
    names = table.column_names
    for name in names:
        if names.count(name) > 1:
            raise RequestError(f"candidates.{name}", f"{names.count(name)} columns", "one column of this name")
    columns: dict[str, Any] = {name: _values(table[name], f"candidates.{name}") for name in names}
    read.candidates = columns
    return read


def checked(content: Any, model: type[Body]) -> Body:
    """A body's content, of the model's names and types.

    Raises:
        RequestError: naming the first thing that is not.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        raise RequestError(field.removeprefix(".") or "body", first["input"], _rule(first, model)) from None


def _rule(error: ErrorDetails, model: type[Asked]) -> str:
    """What was expected, of what pydantic says was wrong."""
    words = RULES.get(error["type"], error["msg"])
    return words.format(**error.get("ctx", {}), names=", ".join(model.model_fields))


def request_of(body: CandidatesRequest, most: int) -> Request:
    """What is scored.

    Args:
        body: as read.
        most: candidates.

    Raises:
        RequestError: if there are more.
    """
    for name, values in body.candidates.items():
        if len(values) > most:
            raise RequestError(f"candidates.{name}", f"{len(values)} values", f"at most {most} candidates")
    return Request(body.request, body.candidates, body.items)


def write_json(content: Any) -> bytes:
    """An answer as JSON; arrays of NumPy are lists."""
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def write_arrow(columns: Mapping[str, Any], beside: Mapping[str, Any]) -> bytes:
    """An answer as a stream of Arrow's with one record batch; what stands beside the columns is metadata, as JSON."""
    arrays = {
        name: pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
        if isinstance(values, np.ndarray) and values.ndim == 2
        else pa.array(values)
        for name, values in columns.items()
    }
    batch = pa.record_batch(arrays).replace_schema_metadata({name: write_json(fact) for name, fact in beside.items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def _values(column: pa.ChunkedArray, place: str) -> Values:
    """A column's values, in place where Arrow has them as they are needed."""
    kind = column.type
    if not len(column):
        return []
    array = column.chunk(0)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        if array.null_count:
            return _listed(array)
        _, offsets, content = array.buffers()
        width: type[np.signedinteger[Any]] = np.int64 if pa.types.is_large_string(kind) else np.int32
        ends = np.frombuffer(offsets, width)[array.offset : array.offset + len(array) + 1].astype(np.int64)
        return Texts(np.frombuffer(content or b"", np.uint8), ends[:-1], np.diff(ends))
    if pa.types.is_floating(kind):
        return np.asarray(array.to_numpy(zero_copy_only=False))
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return _listed(array) if array.null_count else np.asarray(array.to_numpy(zero_copy_only=False))
    if pa.types.is_null(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _listed(array)
    raise RequestError(place, str(kind), "text, integers, floats, booleans or lists of them")


def _listed(array: pa.Array) -> Sequence[Any]:
    values: list[Any] = array.to_pylist()
    return values


def _require_plain(body: bytes) -> None:
    """Refuse a stream with compressed buffers or dictionaries: a few bytes of these could fill the memory.

    Arrow tells neither before it has unpacked them, so the messages' own tables are looked at (Message.fbs: a message
    is version, type, header; a record batch is length, nodes, buffers, compression).

    Raises:
        AnswerError: naming what is not read.
        struct.error, IndexError: if this is no stream.
    """
    place = 0
    while place + 8 <= len(body):
        mark, size = struct.unpack_from("<Ii", body, place)
        if mark != 0xFFFFFFFF or size < 0:
            raise struct.error("a message begins with a continuation mark and its length")
        if not size:
            return
        head = body[place + 8 : place + 8 + size]
        message = struct.unpack_from("<I", head, 0)[0]
        type_, header, length = (_field(head, message, number) for number in (1, 2, 3))
        if type_ is None or header is None or head[type_] not in MESSAGES:
            raise AnswerError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Arrow streams with dictionaries are not read: send plain columns."
            )
        table = header + struct.unpack_from("<I", head, header)[0]
        if MESSAGES[head[type_]] == "record batch" and _field(head, table, 3) is not None:
            raise AnswerError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                "Arrow streams with compressed buffers are not read.",
            )
        content = 0 if length is None else struct.unpack_from("<q", head, length)[0]
        if content < 0:
            raise struct.error("a message's body has no length below 0")
        place += 8 + size + content


def _field(head: bytes, table: int, number: int) -> int | None:
    """Where a FlatBuffers table has a field; None where it leaves it out."""
    names = table - struct.unpack_from("<i", head, table)[0]
    if names < 0 or table < 0:
        raise struct.error("a table's names lie within its message")
    if 4 + 2 * number >= struct.unpack_from("<H", head, names)[0]:
        return None
    offset = struct.unpack_from("<H", head, names + 4 + 2 * number)[0]
    return table + offset if offset else None
