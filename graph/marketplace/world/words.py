"""Made-up words: the vocabularies of categories and topics, brand names, titles and mistyped queries."""

from __future__ import annotations

import numpy as np

ONSETS = ("b", "br", "d", "f", "g", "gl", "k", "l", "m", "n", "p", "pr", "r", "s", "st", "t", "tr", "v", "z")
VOWELS = ("a", "e", "i", "o", "u", "ai", "ea", "ou")
ENDS = ("", "n", "r", "l", "s", "x", "m", "th")
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def new_words(count: int, syllables: int, used: set[str], random: np.random.Generator) -> list[str]:
    """Draw distinct pronounceable words that are not in ``used``, and add them to it."""
    words: list[str] = []
    while len(words) < count:
        parts = random.random((syllables, 2))
        word = "".join(ONSETS[int(a * len(ONSETS))] + VOWELS[int(b * len(VOWELS))] for a, b in parts)
        word += ENDS[int(random.integers(len(ENDS)))]
        if word not in used:
            used.add(word)
            words.append(word)
    return words


def mistyped(word: str, random: np.random.Generator) -> str:
    """One typing error: a letter lost, doubled, swapped with its neighbour or replaced."""
    at = int(random.integers(len(word) - 1))
    kind = int(random.integers(4))
    if kind == 0:
        return word[:at] + word[at + 1 :]
    if kind == 1:
        return word[:at] + word[at] + word[at:]
    if kind == 2:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return word[:at] + LETTERS[int(random.integers(26))] + word[at + 1 :]
