"""The hashes of :mod:`graph.hashing`, to the bit, in NumPy alone: what serves does not compile.

There a compiled loop goes over each value's bytes. Here the loop goes over byte positions, and each step takes that
byte of all values at once; the few values that are longer than all others are finished as Python integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from jaxtyping import Float64, Int64, UInt8

Hashes = npt.NDArray[np.int64]
States = npt.NDArray[np.uint64]

FNV_OFFSET = 0xCBF29CE484222325
FNV_PRIME = 0x100000001B3
POSITIVE = np.uint64(0x7FFFFFFFFFFFFFFF)
INTEGER_SALT = np.uint64(0x9E3779B97F4A7C15)
FLOAT_SALT = np.uint64(0xD1B54A32D192ED03)
TEXT_SALT = 0x8CB92BA72F3D8DD7
WORD_SALT = 0xAEF17502108EF2D9
TRIGRAM_SALT = 0x589965CC75374CC3
NULL_HASH = 0x6E756C6C
WORD_START, WORD_END = np.uint64(0x02), np.uint64(0x03)
FEW = 32
"""Values that cost less one byte at a time than NumPy's calls for each byte position."""

WORD_BYTES = np.array([48 <= byte <= 57 or 97 <= byte <= 122 or 65 <= byte <= 90 or byte >= 128 for byte in range(256)])
LOWER_BEYOND_PYTHON = (
    (0x130, 0x130, 1, -199),
    (0x1C89, 0x1C89, 1, 1),
    (0xA7CB, 0xA7CB, 1, -42343),
    (0xA7CC, 0xA7CE, 2, 1),
    (0xA7D2, 0xA7D4, 2, 1),
    (0xA7DA, 0xA7DA, 1, 1),
    (0xA7DC, 0xA7DC, 1, -42561),
    (0xA7DD, 0xA7DD, 1, -42342),
    (0xA7E2, 0xA7E2, 1, -42342),
    (0xAB6C, 0xAB6D, 1, -33),
    (0x10D50, 0x10D65, 1, 32),
    (0x16EA0, 0x16EB8, 1, 27),
    (0x1DF40, 0x1DF40, 1, 1),
    (0x1DF48, 0x1DF4A, 2, 1),
    (0x1DF4D, 0x1DF51, 4, 1),
    (0x1DF68, 0x1DF6E, 2, 1),
    (0x1DF72, 0x1DF7E, 2, 1),
)
"""Code points (first, last, step) whose lower case Arrow knows and a Python may not, and how far away it lies.

Arrow maps each character to one: İ to i, where Python has i and a dot above it. The others came with Unicode 16 and 17.
"""


@dataclass(frozen=True)
class Texts:
    """Texts in UTF-8: ``content[starts[i] : starts[i] + lengths[i]]`` is text i. Shapes: [bytes], [texts], [texts]."""

    content: UInt8[np.ndarray, " bytes"]
    starts: Int64[np.ndarray, " texts"]
    lengths: Int64[np.ndarray, " texts"]

    @classmethod
    def of(cls, values: Sequence[str]) -> Texts:
        """The bytes of some texts.

        Raises:
            UnicodeEncodeError: for a text that has no UTF-8, because it holds half a surrogate pair.
        """
        joined = "".join(values)
        if joined.isascii():
            content, sized = joined.encode(), map(len, values)
        else:
            encoded = [value.encode() for value in values]
            content, sized = b"".join(encoded), map(len, encoded)
        lengths = np.fromiter(sized, np.int64, len(values))
        return cls(np.frombuffer(content, np.uint8), np.cumsum(lengths) - lengths, lengths)

    def __len__(self) -> int:
        return len(self.starts)


def hash_texts(texts: Texts) -> Hashes:
    """One hash for each text."""
    return _finish(_fnv(_states(len(texts), TEXT_SALT), texts.content, texts.starts, texts.lengths))


def hash_integers(values: Int64[np.ndarray, " values"]) -> Hashes:
    """Hash integers, booleans as 0 and 1, dates and times as their integers; unsigned ones beyond int64 wrapped."""
    return _finish(values.astype(np.int64).view(np.uint64) + INTEGER_SALT)


def hash_floats(values: Float64[np.ndarray, " values"]) -> Hashes:
    """Hash numbers by their value in double precision: -0 as 0, NaN as null."""
    numbers = values.astype(np.float64) + 0.0
    hashed = _finish(numbers.view(np.uint64) + FLOAT_SALT)
    hashed[np.isnan(numbers)] = NULL_HASH
    return hashed


def hash_ngrams(values: Sequence[str], length: int) -> Int64[np.ndarray, "texts length"]:
    """Hash the words and character 3-grams of each text, lower-cased, as :func:`graph.hashing.hash_ngrams` does.

    Args:
        values: the texts; an empty one stands for a null too.
        length: hashes that are there for each text.

    Returns:
        Each text's words, then its 3-grams, each once, padded with 0 on the right.
    """
    texts = Texts.of([lower(value) for value in values])
    content = texts.content
    owner = np.repeat(np.arange(len(values)), texts.lengths)
    is_word = WORD_BYTES[content]
    begins = np.zeros(len(content) + 1, np.bool_)
    begins[texts.starts] = True
    after = np.append(is_word[1:], False) & ~begins[1:]
    before = _shifted(is_word) & ~begins[:-1]
    start, stop = np.flatnonzero(is_word & ~before), np.flatnonzero(is_word & ~after) + 1
    words = _finish(_fnv(_states(len(start), WORD_SALT), content, start, stop - start))
    character = np.flatnonzero(is_word & ((content & 0xC0) != 0x80))
    trigrams = _trigrams(content, start, stop, character)
    return _padded(
        np.concatenate([owner[start], owner[character]]), np.concatenate([words, trigrams]), len(values), length
    )


def lower(text: str) -> str:
    """The text in lower case, character by character, as Arrow's ``utf8_lower`` has it."""
    return text.lower() if text.isascii() else text.translate(_LOWER)


class _Lower(dict[int, int]):
    """Code point → that of its lower case, filled as characters come up."""

    def __missing__(self, code: int) -> int:
        self[code] = ord(chr(code).lower())
        return self[code]


_LOWER = _Lower(
    {
        code: code + distance
        for first, last, step, distance in LOWER_BEYOND_PYTHON
        for code in range(first, last + 1, step)
    }
)


def _trigrams(
    content: UInt8[np.ndarray, " bytes"],
    start: Int64[np.ndarray, " words"],
    stop: Int64[np.ndarray, " words"],
    character: Int64[np.ndarray, " characters"],
) -> Hashes:
    """The 3-gram around each character of a word, whose two ends count as characters."""
    word = np.searchsorted(start, character, side="right") - 1
    next_but_one = np.zeros_like(character)
    next_but_one[:-2] = character[2:]
    is_first = character == start[word]
    is_last = np.ones(len(character), np.bool_)
    is_last[:-1] = is_first[1:]
    last_but_one = np.zeros(len(character), np.bool_)
    last_but_one[:-1] = is_last[1:] & ~is_last[:-1]
    begin = np.where(is_first, character, _shifted(character))
    end = np.where(is_last | last_but_one, stop[word], next_but_one)
    state = _states(len(character), TRIGRAM_SALT)
    state[is_first] = _step(state[is_first], WORD_START)
    state = _fnv(state, content, begin, end - begin)
    state[is_last] = _step(state[is_last], WORD_END)
    return _finish(state)


def _shifted(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Each value's predecessor, and zero for the first one."""
    shifted = np.zeros_like(values)
    shifted[1:] = values[:-1]
    return shifted


def _padded(
    owner: Int64[np.ndarray, " hashes"], hashes: Hashes, texts: int, length: int
) -> Int64[np.ndarray, "texts length"]:
    """Each text's first ``length`` distinct hashes, in their order."""
    order = np.lexsort((hashes, owner))
    again = np.zeros(len(order), np.bool_)
    again[1:] = (np.diff(hashes[order]) == 0) & (np.diff(owner[order]) == 0)
    first = np.sort(order[~again])
    first = first[np.argsort(owner[first], kind="stable")]
    count = np.bincount(owner[first], minlength=texts)
    place = np.arange(len(first)) - np.repeat(np.cumsum(count) - count, count)
    fits = place < length
    padded = np.zeros((texts, length), np.int64)
    padded[owner[first[fits]], place[fits]] = hashes[first[fits]]
    return padded


def _states(count: int, salt: int) -> States:
    return np.full(count, FNV_OFFSET ^ salt, np.uint64)


def _step(state: States, byte: np.uint64) -> States:
    return (state ^ byte) * np.uint64(FNV_PRIME)


def _fnv(
    state: States,
    content: UInt8[np.ndarray, " bytes"],
    starts: Int64[np.ndarray, " texts"],
    lengths: Int64[np.ndarray, " texts"],
) -> States:
    """FNV-1a over the bytes of each text."""
    if len(lengths) <= FEW:
        ends = (starts + lengths).tolist()
        return np.array(
            [
                _fnv_of_one(value, content[start:end].tobytes())
                for value, start, end in zip(state.tolist(), starts.tolist(), ends, strict=True)
            ],
            np.uint64,
        )
    order = np.argsort(-lengths)
    start, length, ordered = starts[order], lengths[order], state[order]
    together = int(length[FEW])
    longer = len(length) - np.searchsorted(length[::-1], np.arange(together), side="right")
    for place, count in enumerate(longer.tolist()):
        head = ordered[:count]
        head ^= content[start[:count] + place]
        head *= np.uint64(FNV_PRIME)
    ordered[:FEW] = _fnv(ordered[:FEW], content, start[:FEW] + together, (length[:FEW] - together).clip(min=0))
    hashed = np.empty_like(ordered)
    hashed[order] = ordered
    return hashed


def _fnv_of_one(value: int, content: bytes) -> int:
    for byte in content:
        value = ((value ^ byte) * FNV_PRIME) & 0xFFFFFFFFFFFFFFFF
    return value


def _finish(state: States) -> Hashes:
    """splitmix64's finaliser, folded into [1, 2**63 - 1]."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    folded = ((state ^ (state >> np.uint64(31))) & POSITIVE).view(np.int64)
    return np.where(folded == 0, np.int64(1), folded)
