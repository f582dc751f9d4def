"""What moved, in words: the clearest first, and what besides the systems may have moved it."""

from __future__ import annotations

from collections.abc import Sequence

from index.trends.changes import Change
from index.trends.read import FigureKey, MeasuredRun, Series, value_of
from prerank.evaluation.claims import MINIMUM_N, unit_of_difference
from prerank.evaluation.definitions import lower_is_better
from prerank.pages.numbers import difference, interval, number, p_value

MOST_IN_WORDS = {"system": 8, "audit": 4}
"""Movers that the report's opening names: systems first, then audits."""
MOST_SEGMENTS = 2
"""Segments, besides the leading one, that a sentence names."""


def verdict(
    runs: Sequence[MeasuredRun], series: Series, changes: Sequence[Change], groups: Sequence[Sequence[Change]]
) -> list[str]:
    """What moved in words, the clearest first; how little is known where nothing did."""
    movers = [change for group in groups for change in group]
    moved = [change for change in movers if change.state == "moved"]
    last = sum(change.until == len(runs) - 1 for change in moved)
    tests = sum(change.p is not None for change in changes)
    sentences = [
        f"{len(runs)} runs from {_dated(runs[0])} to {_dated(runs[-1])}, {len(series):,} figures: "
        f"{len(moved):,} of {tests:,} tested changes moved, {last:,} of them in the last run."
    ]
    if len(movers) > len(moved):
        sentences.append(
            f"{len(movers) - len(moved):,} more (▲?, ▼?) moved between runs of different seeds: training noise is in "
            "them, and no two runs here repeat one log and its settings with other seeds to tell how much."
        )
    if not movers:
        hints = sum(change.state == "hint" for change in changes)
        sentences.append(
            "Nothing moved by more than chance explains once all tests are corrected together"
            + (f"; {hints:,} would have, taken alone." if hints else ".")
        )
    named = [
        group for kind, most in MOST_IN_WORDS.items() for group in [g for g in groups if g[0].key.kind == kind][:most]
    ]
    sentences += [_sentence(group, runs, series) for group in named]
    others = len(movers) - sum(map(len, named))
    if others:
        sentences.append(f"And {others:,} other changes, in the table.")
    return sentences + _cautions(runs, series, changes)


def _cautions(runs: Sequence[MeasuredRun], series: Series, changes: Sequence[Change]) -> list[str]:
    """What besides the systems may have moved the figures, and what is missing."""
    sentences = []
    few = sum(change.state == "few" for change in changes)
    if few:
        sentences.append(
            f"{few:,} of the tested changes are of fewer than {MINIMUM_N} cases in one of the runs: nothing is said of "
            "them."
        )
    missing = sum(value_of(point) is None for points in series.values() for point in points)
    if missing:
        sentences.append(f"{missing:,} figures are missing in one run or another: those are gaps, not zeros.")
    if len({run.data for run in runs}) > 1:
        sentences.append(f"The runs hold different data: {'; '.join(dict.fromkeys(run.data for run in runs))}.")
    if any(change.how == "independent" for change in changes):
        sentences.append("Runs with other test rows differ by their days, too: a change may be the market's.")
    seeds = list(dict.fromkeys(run.seed for run in runs if run.seed is not None))
    if len(seeds) > 1:
        known = any(change.noise is not None for change in changes)
        claim = "hold that where runs repeat each other but for it" if known else "do not hold that"
        sentences.append(
            f"The runs were trained with different seeds ({', '.join(map(str, seeds))}): another seed alone moves "
            f"figures, and the intervals {claim}."
        )
    if any(run.simulated for run in runs):
        sentences.append("Simulated data are among the runs.")
    return sentences


def told_together(movers: Sequence[Change], last: int) -> list[list[Change]]:
    """Changes of one metric of one system into the same run: whole test splits, else the biggest segment, lead.

    Systems come before audits, changes of the last run before earlier ones, each biggest first. The change since the
    first run stands behind the last step.
    """
    groups: dict[tuple[str, ...], list[Change]] = {}
    for change in movers:
        key = change.key
        part = key.section if key.kind == "audit" else ""
        group_key = (key.kind, key.system, part, key.name, str(change.until))
        groups.setdefault(group_key, []).append(change)
    led = [
        sorted(group, key=lambda change: (change.key.section != "all", -change.since, -change.size))
        for group in groups.values()
    ]
    return sorted(led, key=lambda group: (group[0].key.kind == "audit", group[0].until != last, -group[0].size))


def _sentence(changes: Sequence[Change], runs: Sequence[MeasuredRun], series: Series) -> str:
    """The first of the changes with its figures, and where else the metric moved."""
    change = changes[0]
    old, new = series[change.key][change.since], series[change.key][change.until]
    assert old is not None
    assert new is not None
    verb = "rose" if change.value > 0 else "fell"
    judged = ", and the seeds differ" if change.state == "seeds" else ""
    if change.key.kind == "system" and not judged:
        better = (change.value > 0) != lower_is_better(change.key.name)
        judged = ", better" if better else ", worse"
    unit = unit_of_change(change.key)
    sections = {other.key.section: other for other in reversed(changes) if other.key != change.key}
    biggest = sorted(sections.items(), key=lambda entry: -abs(entry[1].value))
    others = ", ".join(
        f"{section} {difference(other.value, unit)} (n {other.n:,})" for section, other in biggest[:MOST_SEGMENTS]
    )
    more = f" and {len(biggest) - MOST_SEGMENTS} other segments" if len(biggest) > MOST_SEGMENTS else ""
    between = interval(change.low, change.high, lambda end: difference(end, unit).removesuffix(unit).strip())
    return (
        f"{named(change.key)} {verb} by {difference(abs(change.value), unit).removeprefix('+')} "
        f"({number(old.value)} to {number(new.value)}, n {old.n:,} and {new.n:,}) from {runs[change.since].name} to "
        f"{runs[change.until].name}{judged}; interval {between}, {p_value(change.p_holm)} corrected"
        + (f"; also {others}{more}." if others else ".")
    )


def unit_of_change(key: FigureKey) -> str:
    """Points or nats of a system's metric; an audit's figures have scales of their own."""
    return unit_of_difference(key.name) if key.kind == "system" else ""


def named(key: FigureKey) -> str:
    """A figure as a reader finds it: whose, where, which."""
    return f"{'audit of ' if key.kind == 'audit' else ''}{key.system}, {key.section}: {key.name}"


def _dated(run: MeasuredRun) -> str:
    return f"{run.name} ({run.day or run.written[:10]})"
