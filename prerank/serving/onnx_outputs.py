"""An ONNX model with some of its outputs, and only the nodes that they need.

A session computes every node of its model, whatever outputs are asked for. Leaving some out needs no more of the format
than a few field numbers (onnx.proto), so that the runtime goes without the library.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

GRAPH = 7
NODE, OUTPUT = 1, 12
NODE_INPUT, NODE_OUTPUT = 1, 2
OUTPUT_NAME = 1
VARINT, EIGHT_BYTES, DELIMITED, FOUR_BYTES = 0, 1, 2, 5
"""Wire types of Protocol Buffers: how a field's value is written."""


def with_outputs(model: bytes, names: Collection[str]) -> bytes:
    """The model with those of its outputs alone.

    Args:
        model: in Protocol Buffers' format, without subgraphs.
        names: of outputs.

    Raises:
        ValueError: if it is no message of that format.
    """
    return b"".join(
        _delimited(GRAPH, _graph(value, {name.encode() for name in names})) if number == GRAPH else field
        for number, value, field in _fields(model)
    )


def _graph(graph: bytes, names: set[bytes]) -> bytes:
    needed, used = set(names), []
    # Nodes are in order of use: going backwards, whatever needs a node's output has been seen before it.
    for number, value, field in reversed(list(_fields(graph))):
        if number == OUTPUT and not _values(value, OUTPUT_NAME) <= names:
            continue
        if number == NODE:
            if not _values(value, NODE_OUTPUT) & needed:
                continue
            needed |= _values(value, NODE_INPUT)
        used.append(field)
    return b"".join(reversed(used))


def _values(message: bytes, number: int) -> set[bytes]:
    """The values of a field that may be repeated."""
    return {value for each, value, _ in _fields(message) if each == number}


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Each field's number, its value where that is delimited, and its bytes as a whole."""
    place = 0
    while place < len(message):
        start = place
        key, place = _varint(message, place)
        kind, value = key & 7, b""
        if kind == VARINT:
            _, place = _varint(message, place)
        elif kind == DELIMITED:
            size, place = _varint(message, place)
            value = message[place : place + size]
            place += size
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            place += 8 if kind == EIGHT_BYTES else 4
        else:
            raise ValueError(f"wire type {kind} at byte {start}")
        if place > len(message):
            raise ValueError(f"a field at byte {start} that ends at {place} of {len(message)}")
        yield key >> 3, value, message[start:place]


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, and the place behind it."""
    value = shift = 0
    while place < len(message):
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
    raise ValueError("a number that does not end")


def _delimited(number: int, value: bytes) -> bytes:
    return _written(number << 3 | DELIMITED) + _written(len(value)) + value


def _written(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])
