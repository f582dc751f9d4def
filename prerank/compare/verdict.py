"""What the figures say, in words: what is shown, what is not, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prerank.compare.statistics import LEAST_SEEDS
from prerank.evaluation.significance import LEVEL
from prerank.pages.numbers import p_value, points

WITHOUT = f"fewer than {LEAST_SEEDS} seeds"
NO_CLAIM = f"no claim: {WITHOUT}"


def verdict(data: Mapping[str, Any]) -> list[str]:
    """Sentences about one data set, each system against the baseline, on the family of tests only.

    Args:
        data: as :func:`prerank.compare.figures.data_figures` makes it.
    """
    family = data["family"]
    baseline, segment = family["baseline"], family["segment"]
    if not data["figures"]:
        return ["Nothing is finished yet."]
    if baseline not in data["figures"]:
        return [f"{baseline}, which the others are compared with, is not finished: no difference can be told."]
    cells = [
        (
            system,
            {metric: differences[segment][metric] for metric in family["metrics"] if metric in differences[segment]},
        )
        for system, differences in data["differences"].items()
    ]
    lines = [_system(system, baseline, differences) for system, differences in cells if differences]
    if not lines:
        return ["No metric of the family is defined for both a system and the baseline."]
    return [_opening(data, [each for _, differences in cells for each in differences.values()]), *lines, _closing(data)]


def shown(difference: Mapping[str, Any]) -> bool:
    """Whether a difference is claimed: enough seeds, and below the level after correction."""
    p = difference.get("p_holm")
    return len(difference["by_seed"]) >= LEAST_SEEDS and p is not None and p < LEVEL


def _opening(data: Mapping[str, Any], differences: Sequence[Mapping[str, Any]]) -> str:
    count, tests = sum(shown(each) for each in differences), data["family"]["tests"]
    simulated = " (simulated)" if data["simulated"] else ""
    fewest = min(len(each["by_seed"]) for each in differences)
    if fewest < LEAST_SEEDS and not count:
        return f"{data['title']}{simulated}: {NO_CLAIM} ({fewest} so far). The figures are shown as they are."
    return (
        f"{data['title']}{simulated}: {count} of {tests} differences to {data['family']['baseline']} are shown at the "
        f"{LEVEL:.0%} level, corrected (Holm) for all {tests} of them together."
    )


def _system(system: str, baseline: str, differences: Mapping[str, Mapping[str, Any]]) -> str:
    parts = []
    for word, wanted in (("above", 1), ("below", -1)):
        claims = [f"{m}, {_words(d)}" for m, d in differences.items() if shown(d) and d["value"] * wanted > 0]
        if claims:
            parts.append(f"shown to be {word} in {'; '.join(claims)}")
    few = [f"{m} {_seeds(d)}" for m, d in differences.items() if d["value"] is not None and _few(d)]
    open_ = [
        f"{m} {_interval(d)}" for m, d in differences.items() if d["value"] is not None and not _few(d) and not shown(d)
    ]
    undefined = [f"{m} ({d['reason']})" for m, d in differences.items() if d["value"] is None]
    if few:
        parts.append(f"measured, in points, without a claim ({WITHOUT}): {'; '.join(few)}")
    if open_:
        parts.append(f"not told apart, in points: {'; '.join(open_)}")
    if undefined:
        parts.append(f"not compared: {'; '.join(undefined)}")
    return f"{system} against {baseline}: {'. '.join(_capital(part) for part in parts)}."


def _words(difference: Mapping[str, Any]) -> str:
    """Points, interval, p, and in how many seeds the sign is the same."""
    return f"{_interval(difference, 'points ')}, {p_value(difference.get('p_holm'))}, {_same(difference)}"


def _interval(difference: Mapping[str, Any], unit: str = "") -> str:
    bounds = [points(difference[end]) for end in ("low", "high") if difference[end] is not None]
    return f"{points(difference['value'])} {unit}({' to '.join(bounds) or 'no interval'})"


def _seeds(difference: Mapping[str, Any]) -> str:
    return f"{points(difference['value'])} ({_same(difference)})"


def _same(difference: Mapping[str, Any]) -> str:
    """In how many seeds the difference has the sign of the mean."""
    gaps = difference["by_seed"].values()
    return f"this sign in {sum(gap * difference['value'] > 0 for gap in gaps)} of {len(gaps)} seeds"


def _few(difference: Mapping[str, Any]) -> bool:
    return len(difference["by_seed"]) < LEAST_SEEDS


def _closing(data: Mapping[str, Any]) -> str:
    about = (
        "The intervals speak of markets of this kind"
        if data["kind"] == "markets"
        else "The intervals speak of other test rows of this log; training on other rows would add about as much again"
    )
    return f"{about}. What is not told apart is not shown to be equal."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
