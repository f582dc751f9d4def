"""The trends report: its content as JSON, the same in words, as Markdown, and as one offline page.

Names of runs, systems and segments are untrusted: Jinja escapes them, the page's script only ever sets text, and
Markdown cells hold no markup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from index.trends.changes import Change, ways_in_words
from index.trends.read import SPLIT, FigureKey, MeasuredRun, Series, order_in_words, value_of
from prerank.evaluation.definitions import define, lower_is_better
from prerank.evaluation.figure import Figure
from prerank.evaluation.significance import LEVEL
from prerank.pages.markdown import bullets, document, heading
from prerank.pages.numbers import UNKNOWN, interval, number, p_value, signed
from prerank.pages.render import render_page, rounded
from prerank.pages.table import Table

DECIMALS = 5
MOST_IN_WORDS = {"system": 8, "audit": 4}
"""Movers that the report's opening names: systems first, then audits."""
MOST_SEGMENTS = 2
"""Segments, besides the leading one, that a sentence names."""
MOST_POINTS = 30_000
"""Points that a page holds at most: about 4 MB."""
_NAMES = ("kind", "system", "section", "name")
MARKED = ("moved", "seeds")
"""States of a change that stands among the movers."""
SIGNS = {"moved": {True: "▲", False: "▼"}, "seeds": {True: "▲?", False: "▼?"}, "hint": {True: "△", False: "▽"}}


def report_content(name: str, runs: Sequence[MeasuredRun], series: Series, changes: Sequence[Change]) -> dict[str, Any]:
    """All that ``trends.json`` holds.

    Args:
        name: of the report's run.
        runs: in order of time.
        series: figure → one point a run.
        changes: from :func:`index.trends.changes.changes_of`.

    Returns:
        ``runs``, ``order``, ``family``, ``verdict`` (sentences), ``movers`` and, under ``figures``, each figure with
        its points, its steps and its change since the first run.
    """
    by_figure: dict[FigureKey, list[Change]] = {}
    for change in changes:
        by_figure.setdefault(change.key, []).append(change)
    groups = _told_together([change for change in changes if change.state in MARKED], len(runs) - 1)
    return {
        "run": name,
        "split": SPLIT,
        "level": LEVEL,
        "order": order_in_words(runs),
        "runs": [
            {name: getattr(run, name) for name in ("name", "day", "written", "data", "seed", "simulated")}
            for run in runs
        ],
        "family": {"tests": sum(change.p is not None for change in changes), "ways": ways_in_words(changes)},
        "verdict": _verdict(runs, series, changes, groups),
        "movers": [{**_key(change.key), **_change(change)} for group in groups for change in group],
        "figures": [
            {
                **_key(key),
                "definition": define(key.name) if key.kind == "system" else None,
                "lower_is_better": lower_is_better(key.name) if key.kind == "system" else None,
                "points": [_point(point) for point in points],
                "steps": [_change(change) for change in by_figure[key] if not _overall(change, by_figure[key])],
                "overall": next((_change(c) for c in by_figure[key] if _overall(c, by_figure[key])), None),
            }
            for key, points in series.items()
        ],
    }  # fmt: skip


def page(content: Mapping[str, Any]) -> str:
    """``trends.html`` as text."""
    return render_page("trends.html", Path(__file__).parent, content=page_content(content), runs=_runs(content))


def page_content(content: Mapping[str, Any]) -> dict[str, Any]:
    """What the page holds: figures as short lists, those that moved first where there are too many for a page."""
    most = max(1, MOST_POINTS // len(content["runs"]))
    moved = [figure for figure in content["figures"] if _has_moved(figure)]
    level = [figure for figure in content["figures"] if not _has_moved(figure)]
    shown = content["figures"] if len(content["figures"]) <= most else (moved + level)[:most]
    groups = list(dict.fromkeys(_group(figure) for figure in shown))
    lead = {name: content["movers"][0][name] for name in _NAMES} if content["movers"] else {}
    return {
        **{key: value for key, value in content.items() if key not in ("figures", "movers")},
        "groups": groups,
        "definitions": {figure["name"]: figure["definition"] for figure in shown if figure["definition"]},
        "left_out": len(content["figures"]) - len(shown),
        "start": next((at for at, each in enumerate(shown) if {name: each[name] for name in _NAMES} == lead), None),
        "figures": [
            {
                "g": groups.index(_group(figure)),
                "section": figure["section"],
                "name": figure["name"],
                "lower": figure["lower_is_better"],
                "points": [_short_point(point) for point in figure["points"]],
                "steps": [_short_change(change) for change in figure["steps"]],
                "overall": None if figure["overall"] is None else _short_change(figure["overall"]),
            }
            for figure in shown
        ],
    }


def as_markdown(content: Mapping[str, Any]) -> str:
    """``trends.md``: the verdict, the runs, what moved, and every figure of whole test splits."""
    figures = [each for each in content["figures"] if each["kind"] == "audit" or each["section"] == "all"]
    names = [run["name"] for run in content["runs"]]
    return document(
        heading(1, f"Trends: {content['run']}"),
        bullets(content["verdict"]),
        f"Runs stand {content['order']}.",
        _runs(content).as_markdown(),
        heading(2, f"What moved ({len(content['movers'])})"),
        _movers(content, names).as_markdown() if content["movers"] else "Nothing.",
        heading(2, "All rows of the test split, and the audits"),
        Table(["figure", *names], [[_named(figure), *_cells(figure)] for figure in figures]).as_markdown(),
        f"Tests: {content['family']['ways']}. {_correction(content['family']['tests'])}",
    )


def _runs(content: Mapping[str, Any]) -> Table:
    rows = [
        (run["name"], run["day"] or "unknown", run["written"], run["data"] + " (simulated)" * run["simulated"])
        for run in content["runs"]
    ]
    return Table(("run", "log ends", "measured (UTC)", "data"), rows, "The runs, oldest first", "runs")


def _movers(content: Mapping[str, Any], names: Sequence[str]) -> Table:
    rows = [
        (
            _named(mover),
            names[mover["since"]],
            names[mover["until"]],
            signed(mover["value"]),
            interval(mover["low"], mover["high"], signed),
            p_value(mover["p_holm"]),
            mover["how"],
            "seeds differ" if mover["state"] == "seeds" else "",
        )
        for mover in content["movers"]
    ]
    return Table(("figure", "from", "to", "change", "interval", "p (Holm)", "test", ""), rows)


def _verdict(
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


def _told_together(movers: Sequence[Change], last: int) -> list[list[Change]]:
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
    sections = {other.key.section: other.value for other in reversed(changes) if other.key != change.key}
    biggest = sorted(sections.items(), key=lambda entry: -abs(entry[1]))
    others = ", ".join(f"{section} {signed(value)}" for section, value in biggest[:MOST_SEGMENTS])
    more = f" and {len(biggest) - MOST_SEGMENTS} other segments" if len(biggest) > MOST_SEGMENTS else ""
    return (
        f"{_named(_key(change.key))} {verb} by {number(abs(change.value))} ({interval(old.value, new.value)}) "
        f"from {runs[change.since].name} to {runs[change.until].name}{judged}; interval "
        f"{interval(change.low, change.high, signed)}, {p_value(change.p_holm)}"
        + (f"; also {others}{more}." if others else ".")
    )


def _has_moved(figure: Mapping[str, Any]) -> bool:
    return any(change["state"] in MARKED for change in (*figure["steps"], figure["overall"]) if change is not None)


def _group(figure: Mapping[str, Any]) -> str:
    return str(figure["system"]) if figure["kind"] == "system" else f"audit of {figure['system']}"


def _short_point(point: Mapping[str, Any] | None) -> list[Any] | str | None:
    """``[value, low, high, n]``, why it is undefined, or None where the run lacks the figure."""
    if point is None:
        return None
    if point["value"] is None:
        return str(point.get("reason", "undefined"))
    return [point[name] for name in ("value", "low", "high", "n")]


def _short_change(change: Mapping[str, Any]) -> list[Any]:
    return [change[name] for name in ("since", "until", "value", "low", "high", "p", "p_holm", "how", "state", "noise")]


def _named(figure: Mapping[str, Any]) -> str:
    if figure["kind"] == "audit":
        return f"audit of {figure['system']}, {figure['section']}: {figure['name']}"
    return f"{figure['system']}, {figure['section']}: {figure['name']}"


def _cells(figure: Mapping[str, Any]) -> list[str]:
    """The points of a figure with the sign of the step that led to each."""
    signs = {step["until"]: SIGNS.get(step["state"], {}).get(step["value"] > 0, "") for step in figure["steps"]}
    return [
        UNKNOWN if point is None else f"{number(point['value'])} {signs.get(place, '')}".strip()
        for place, point in enumerate(figure["points"])
    ]


def _correction(tests: int) -> str:
    return (
        f"Moved (▲▼): p below {LEVEL} after Holm's correction for all {tests:,} tests; ▲?▼?: likewise, but the seeds "
        "differ and training noise is not known; △▽: only before the correction."
    )


def _dated(run: MeasuredRun) -> str:
    return f"{run.name} ({run.day or run.written[:10]})"


def _overall(change: Change, changes: Sequence[Change]) -> bool:
    """Whether this is the last against the first, which stands after three or more points only."""
    return len(changes) > 1 and change is changes[-1]


def _key(key: FigureKey) -> dict[str, str]:
    return {"kind": key.kind, "system": key.system, "section": key.section, "name": key.name}


def _change(change: Change) -> dict[str, Any]:
    noise = None if change.noise is None else [round(change.noise.deviation, DECIMALS), change.noise.degrees]
    facts = {
        "since": change.since,
        "until": change.until,
        **rounded({name: getattr(change, name) for name in ("value", "low", "high")}, DECIMALS),
        **rounded({"p": change.p, "p_holm": change.p_holm}, 6),
        "how": change.how,
        "state": change.state,
        "noise": noise,
    }
    return facts if change.reason is None else {**facts, "reason": change.reason}


def _point(point: Figure | None) -> dict[str, Any] | None:
    if point is None:
        return None
    figure: dict[str, Any] = rounded({name: getattr(point, name) for name in ("value", "low", "high", "n")}, DECIMALS)
    return figure if point.reason is None else {**figure, "reason": point.reason}
