"""What a column may be, by its name alone: snake_case, camelCase, spaced, abbreviated, in several languages."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from graph.understanding.words import ABBREVIATIONS, EVENTS, FILES, ID_WORDS, MEASURES, NOISE, NOUNS, OUTCOMES, PHRASES

CERTAIN, LIKELY, POSSIBLE = 1.0, 0.7, 0.5
"""A name that means one thing; one that mostly does; one that holds a word of it among others."""
ROLES = tuple(PHRASES)
SHORTEST_WORD = 4
"""Letters of a word that tells something within a longer name: ``pos`` is in ``purpose``'s neighbourhood too often."""


def words(name: str) -> tuple[str, ...]:
    """The words of a name: ``searchQueryUid``, ``search_query uid`` and ``SEARCH-QUERY-UID`` have the same three."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    plain = apart.lower().translate({ord("ä"): "ae", ord("ö"): "oe", ord("ü"): "ue", ord("ß"): "ss"})
    plain = "".join(c for c in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(c))
    return tuple(ABBREVIATIONS.get(word, word) for word in re.findall(r"[^\W_]+", plain))


@cache
def name_score(name: str, role: str) -> float:
    """How surely a column of this name has a role of `ROLES`, from 0 to 1; one extra word takes 0.05 off."""
    whole = words(name)
    core = _core(whole)
    if "".join(whole) in _phrases(role) or _names_id(whole, role):
        return CERTAIN
    if "".join(core) in _phrases(role) or _names_id(core, role):
        return CERTAIN - 0.1
    if role in NOUNS and "".join(core) in _nouns(role):
        return LIKELY
    return max(POSSIBLE - 0.05 * (len(whole) - _within(whole, role)), 0.0) if _within(whole, role) else 0.0


def event_of(value: str) -> str | None:
    """The event that a value such as ``add_to_cart``, or the name of a file such as ``orders``, names; None if none."""
    joined = "".join(words(value))
    exact = next((event for event, names in EVENTS.items() if joined in _set(names)), None)
    if exact is not None:
        return exact
    parts = words(value)
    # The last word of several counts most: "search click" is a click, "cart view" a view.
    return next((event for part in reversed(parts) for event, names in EVENTS.items() if part in _set(names)), None)


def table_of(stem: str) -> str | None:
    """The table that a file's name names: items, users, queries or impressions; None if none."""
    parts = [word for word in words(stem) if not word.isdigit()]
    joined = "".join(parts)
    exact = next((table for table, names in FILES.items() if joined in _set(names)), None)
    return exact or next((t for part in reversed(parts) for t, names in FILES.items() if part in _set(names)), None)


def is_outcome(name: str) -> bool:
    """Whether a column is named as something that is known only after an impression was shown."""
    parts = list(words(name))
    while len(parts) > 1 and parts[-1] in _set(MEASURES):
        parts.pop()
    if parts[-1:] == ["order"] and len(parts) > 1:
        return False  # sort_order, list_order
    ends = {"".join(parts[start:]) for start in range(len(parts))}
    return bool(ends & _set(OUTCOMES))


def _core(parts: tuple[str, ...]) -> tuple[str, ...]:
    """A name without the words at its ends that say nothing."""
    noise = _set(NOISE)
    while len(parts) > 1 and parts[0] in noise:
        parts = parts[1:]
    while len(parts) > 1 and parts[-1] in noise:
        parts = parts[:-1]
    return parts


def _names_id(parts: tuple[str, ...], role: str) -> bool:
    """Whether the words are a noun of the role with an id word behind, in one word or in two."""
    joined = "".join(parts)
    for word in _set(ID_WORDS):
        stem = joined.removesuffix(word)
        if role in NOUNS and stem != joined and stem and (stem in _nouns(role) or stem.rstrip("s") in _nouns(role)):
            return True
    return False


def _within(parts: tuple[str, ...], role: str) -> int:
    """The number of adjacent words, among others, that name the role; 0 where none do."""
    for length in range(len(parts) - 1, 0, -1):
        for start in range(len(parts) - length + 1):
            run = parts[start : start + length]
            if _names_id(run, role) and length > 1:
                return length
            if "".join(run) in _phrases(role) and len("".join(run)) >= SHORTEST_WORD:
                return length
    return 0


def _phrases(role: str) -> frozenset[str]:
    return _set(PHRASES.get(role, ""))


def _nouns(role: str) -> frozenset[str]:
    return _set(NOUNS.get(role, ""))


@cache
def _set(listed: str) -> frozenset[str]:
    """Words that stand in one text."""
    return frozenset(listed.split())
