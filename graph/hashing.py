"""Stable 63-bit hashes of ids, attribute values and text, the same in every process and on every machine.

Python's own ``hash`` of a string changes with each process, so it can name no row of a table that is saved. Here text
is hashed by FNV-1a over its UTF-8 bytes, an integer by itself; both pass through the splitmix64 finaliser, without
which the low bits, which ``hash % buckets`` uses, would be badly mixed.

Hashes lie in ``[1, 2**63 - 1]``: 0 is free for padding, and ``%`` means the same in every language.
"""

from __future__ import annotations

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64, UInt8

from configs.errors import InputError

Hashes = Int64[np.ndarray, " values"]

FNV_OFFSET = np.uint64(0xCBF29CE484222325)
FNV_PRIME = np.uint64(0x100000001B3)
POSITIVE = np.uint64(0x7FFFFFFFFFFFFFFF)
# Kinds of value are salted apart: the word "red" and the value "red" are two features, and so are 3 and "3".
INTEGER_SALT = np.uint64(0x9E3779B97F4A7C15)
FLOAT_SALT = np.uint64(0xD1B54A32D192ED03)
TEXT_SALT = np.uint64(0x8CB92BA72F3D8DD7)
WORD_SALT = np.uint64(0xAEF17502108EF2D9)
TRIGRAM_SALT = np.uint64(0x589965CC75374CC3)
NULL_HASH = 0x6E756C6C
"""The hash of a null: a value of its own, not padding."""
WORD_START, WORD_END = np.uint8(0x02), np.uint8(0x03)


def hash_values(values: pa.Array | pa.ChunkedArray) -> Hashes:
    """Hash each value of a column.

    Integers of any width hash alike, and so do ``string``, ``large_string`` and dictionaries of them; dates and times
    hash as their integers, floats by their value (-0 as 0, NaN as null).

    Args:
        values: integers, floats, booleans, text, bytes, dates, times, or a dictionary of those.

    Returns:
        One hash per value in ``[1, 2**63 - 1]``; ``NULL_HASH`` for a null.

    Raises:
        InputError: for a column of another type (lists are flattened by the caller).
    """
    flat = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if isinstance(flat, pa.ChunkedArray):
        flat = flat.chunk(0) if flat.num_chunks else pa.array([], flat.type)
    if pa.types.is_dictionary(flat.type):
        flat = flat.dictionary_decode()
    hashed = _hash_flat(flat)
    if flat.null_count:
        hashed[pc.is_null(flat).to_numpy(zero_copy_only=False)] = NULL_HASH
    return hashed


def hash_ngrams(texts: pa.Array | pa.ChunkedArray, length: int) -> Int64[np.ndarray, "texts length"]:
    """Hash the words and character 3-grams of each text, lower-cased.

    A word is a run of letters and digits (any character beyond ASCII counts as a letter); a 3-gram lies within one
    word, whose two ends count as characters. Words come first, then 3-grams, in the text's order and each once, so
    that a text too long for ``length`` loses 3-grams before words.

    Args:
        texts: text, or anything that casts to text (an opaque integer key is one word).
        length: hashes kept per text, at least 1.

    Returns:
        Hashes, padded with 0 on the right; a null or an empty text is all padding.
    """
    if length < 1:
        raise ValueError(f"length must be at least 1, got {length}")
    flat = pa.chunked_array([texts]) if isinstance(texts, pa.Array) else texts
    if pa.types.is_dictionary(flat.type):
        flat = flat.cast(flat.type.value_type)
    lowered = pc.fill_null(pc.utf8_lower(flat.cast(pa.large_string())), "")
    offsets, content = _text_buffers(
        pa.concat_arrays(lowered.chunks) if lowered.num_chunks else pa.array([], pa.large_string())
    )
    return _ngrams(offsets, content, length)


def _hash_flat(flat: pa.Array) -> Hashes:
    kind = flat.type
    if _is_bytes(kind):
        return _hash_texts(*_text_buffers(flat))
    if pa.types.is_floating(kind):
        numbers = pc.fill_null(flat.cast(pa.float64()), float("nan")).to_numpy(zero_copy_only=False) + 0.0
        hashed = _hash_integers(numbers.view(np.int64), FLOAT_SALT)
        hashed[np.isnan(numbers)] = NULL_HASH
        return hashed
    if pa.types.is_null(kind):
        return np.full(len(flat), NULL_HASH, dtype=np.int64)
    if pa.types.is_uint64(kind):
        return _hash_integers(pc.fill_null(flat, 0).to_numpy(zero_copy_only=False).view(np.int64), INTEGER_SALT)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_temporal(kind):
        narrow = pa.types.is_date32(kind) or pa.types.is_time32(kind)
        numbers = (flat.cast(pa.int32()) if narrow else flat).cast(pa.int64())
        return _hash_integers(pc.fill_null(numbers, 0).to_numpy(zero_copy_only=False), INTEGER_SALT)
    raise InputError(f"a column of type {kind} cannot be hashed: expected numbers, text, dates or times")


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_string_view(kind)
    )


def _text_buffers(texts: pa.Array) -> tuple[Int64[np.ndarray, " texts_plus_1"], UInt8[np.ndarray, " bytes"]]:
    """Arrow's own offsets and bytes of a text array, without a copy of either."""
    binary = texts.cast(pa.large_binary())
    if len(binary) == 0:
        return np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.uint8)
    _, offsets, content = binary.buffers()
    first = binary.offset
    return (
        np.frombuffer(offsets, dtype=np.int64)[first : first + len(binary) + 1],
        np.zeros(0, dtype=np.uint8) if content is None else np.frombuffer(content, dtype=np.uint8),
    )


@numba.njit(nogil=True, cache=True)
def splitmix(state: np.uint64) -> np.uint64:
    """The finaliser of splitmix64 (Steele et al. 2014): every input bit reaches every output bit. For compiled code."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.uint64(state ^ (state >> np.uint64(31)))


@numba.njit(nogil=True, cache=True)
def _finish(state: np.uint64) -> np.int64:
    """The mixed state folded into [1, 2**63 - 1]."""
    folded = np.int64(splitmix(state) & POSITIVE)
    return folded if folded != 0 else np.int64(1)


@numba.njit(nogil=True, cache=True)
def _fnv(state: np.uint64, content: np.ndarray, start: int, stop: int) -> np.uint64:
    for at in range(start, stop):
        state = (state ^ np.uint64(content[at])) * FNV_PRIME
    return state


@numba.njit(nogil=True, cache=True)
def _hash_integers(values: np.ndarray, salt: np.uint64) -> np.ndarray:
    hashed = np.empty(len(values), dtype=np.int64)
    for row in range(len(values)):
        hashed[row] = _finish(np.uint64(values[row]) + salt)
    return hashed


@numba.njit(nogil=True, cache=True)
def _hash_texts(offsets: np.ndarray, content: np.ndarray) -> np.ndarray:
    hashed = np.empty(len(offsets) - 1, dtype=np.int64)
    for row in range(len(hashed)):
        hashed[row] = _finish(_fnv(FNV_OFFSET ^ TEXT_SALT, content, offsets[row], offsets[row + 1]))
    return hashed


@numba.njit(nogil=True, cache=True)
def _is_word_byte(byte: np.uint8) -> bool:
    digit = 48 <= byte <= 57
    letter = 97 <= byte <= 122 or 65 <= byte <= 90
    return bool(digit or letter or byte >= 128)


@numba.njit(nogil=True, cache=True)
def _add(hashes: np.ndarray, count: int, value: np.int64) -> int:
    """Append a hash unless it is there already or there is no room; return the new count."""
    if count == len(hashes):
        return count
    for earlier in range(count):
        if hashes[earlier] == value:
            return count
    hashes[count] = value
    return count + 1


@numba.njit(nogil=True, cache=True)
def _add_trigrams(hashes: np.ndarray, count: int, content: np.ndarray, start: int, stop: int) -> int:
    """Append the 3-grams of the word at ``content[start:stop]``: three characters, not three bytes."""
    starts = np.empty(stop - start + 1, dtype=np.int64)
    characters = 0
    for at in range(start, stop):
        if content[at] & 0xC0 != 0x80:
            starts[characters] = at
            characters += 1
    starts[characters] = stop
    for first in range(-1, characters - 1):
        state = FNV_OFFSET ^ TRIGRAM_SALT
        if first < 0:
            state = (state ^ np.uint64(WORD_START)) * FNV_PRIME
        state = _fnv(state, content, starts[max(first, 0)], starts[min(first + 3, characters)])
        if first + 3 > characters:
            state = (state ^ np.uint64(WORD_END)) * FNV_PRIME
        count = _add(hashes, count, _finish(state))
    return count


@numba.njit(nogil=True, cache=True)
def _ngrams(offsets: np.ndarray, content: np.ndarray, length: int) -> np.ndarray:
    hashes = np.zeros((len(offsets) - 1, length), dtype=np.int64)
    for row in range(len(hashes)):
        count = 0
        for trigrams in (False, True):
            at = offsets[row]
            while at < offsets[row + 1]:
                start = at
                while at < offsets[row + 1] and _is_word_byte(content[at]):
                    at += 1
                if at > start and trigrams:
                    count = _add_trigrams(hashes[row], count, content, start, at)
                elif at > start:
                    state = _fnv(FNV_OFFSET ^ WORD_SALT, content, start, at)
                    count = _add(hashes[row], count, _finish(state))
                if at < offsets[row + 1] and at == start:
                    at += 1
    return hashes
