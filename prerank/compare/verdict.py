"""What the figures say, in words: what is shown, what is not, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prerank.compare.figures import as_shown
from prerank.compare.statistics import LEAST_SEEDS, SeedDifference
from prerank.evaluation.claims import MINIMUM_N, too_few
from prerank.evaluation.significance import LEVEL
from prerank.pages.numbers import interval, p_value, points

WITHOUT = f"fewer than {LEAST_SEEDS} seeds"
NO_CLAIM = f"no claim: {WITHOUT}"


def verdict(data: Mapping[str, Any]) -> list[str]:
    """Sentences about one data set, each system against the baseline, on the family of tests only.

    Args:
        data: as :func:`prerank.compare.figures.data_figures` makes it.
    """
    data = as_shown(data)
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


def _opening(data: Mapping[str, Any], differences: Sequence[SeedDifference]) -> str:
    count, tests = sum(each.shown for each in differences), data["family"]["tests"]
    simulated = " (simulated)" if data["simulated"] else ""
    fewest = min(len(each.by_seed) for each in differences)
    if fewest < LEAST_SEEDS and not count:
        return f"{data['title']}{simulated}: {NO_CLAIM} ({fewest} so far). The figures are shown as they are."
    return (
        f"{data['title']}{simulated}: {count} of {tests} differences to {data['family']['baseline']} are shown at the "
        f"{LEVEL:.0%} level, corrected (Holm) for all {tests} of them together."
    )


def _system(system: str, baseline: str, differences: Mapping[str, SeedDifference]) -> str:
    parts = []
    defined = {m: (d, d.value) for m, d in differences.items() if d.value is not None}
    for word, wanted in (("above", 1), ("below", -1)):
        claims = [f"{m}, {_words(d)}" for m, (d, value) in defined.items() if d.shown and value * wanted > 0]
        if claims:
            parts.append(f"shown to be {word} in {'; '.join(claims)}")
    enough = {m: (d, value) for m, (d, value) in defined.items() if not too_few(d)}
    few = [f"{m} {points(value)} ({_same(d)}, n {d.n:,})" for m, (d, value) in enough.items() if d.few]
    open_ = [
        f"{m} {_interval(d)}, {p_value(d.p_holm)} corrected, {p_value(d.p)} alone"
        for m, (d, _) in enough.items()
        if not d.few and not d.shown
    ]
    undefined = [f"{m} ({d.reason})" for m, d in differences.items() if d.value is None]
    undefined += [f"{m} (n {d.n:,}, below {MINIMUM_N})" for m, (d, _) in defined.items() if m not in enough]
    if few:
        parts.append(f"measured, in points, without a claim ({WITHOUT}): {'; '.join(few)}")
    if open_:
        parts.append(f"not told apart, in points: {'; '.join(open_)}")
    if undefined:
        parts.append(f"not compared: {'; '.join(undefined)}")
    return f"{system} against {baseline}: {'. '.join(_capital(part) for part in parts)}."


def _words(difference: SeedDifference) -> str:
    """Points, interval, n, p, and in how many seeds the sign is the same."""
    return f"{_interval(difference, 'points ')}, {p_value(difference.p_holm)}, {_same(difference)}"


def _interval(difference: SeedDifference, unit: str = "") -> str:
    between = interval(difference.low, difference.high, points) or f"no interval: {_seeds(difference)}"
    return f"{points(difference.value)} {unit}({between}), n {difference.n:,}"


def _seeds(difference: SeedDifference) -> str:
    count = len(difference.by_seed)
    return f"{count} seed{'s' if count != 1 else ''}"


def _same(difference: SeedDifference) -> str:
    return f"this sign in {difference.seeds_alike} of {len(difference.by_seed)} seeds"


def _closing(data: Mapping[str, Any]) -> str:
    about = (
        "The intervals speak of markets of this kind"
        if data["kind"] == "markets"
        else "The intervals speak of other test rows of this log; training on other rows would add about as much again"
    )
    return f"{about}. What is not told apart is not shown to be equal."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
