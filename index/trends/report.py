"""The trends report: its content as JSON, as Markdown, and as one offline page.

Names of runs, systems and segments are untrusted: Jinja escapes them, the page's script only ever sets text, and
Markdown cells hold no markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from graph.figure import Figure
from index.trends.changes import Change, ways_in_words
from index.trends.read import SPLIT, FigureKey, MeasuredRun, Series, order_in_words
from index.trends.verdict import named, told_together, unit_of_change, verdict
from prerank.evaluation.claims import MINIMUM_N
from prerank.evaluation.definitions import define, lower_is_better
from prerank.evaluation.significance import LEVEL
from prerank.pages.markdown import bullets, document, heading
from prerank.pages.numbers import UNKNOWN, difference, interval, number, p_value
from prerank.pages.provenance import Facts, code_version
from prerank.pages.render import render_page, rounded
from prerank.pages.table import Table

DECIMALS = 5
MOST_POINTS = 30_000
"""Points that a page holds at most: about 4 MB."""
MARKED = ("moved", "seeds")
"""States of a change that stands among the movers."""
SIGNS = {"moved": {True: "▲", False: "▼"}, "seeds": {True: "▲?", False: "▼?"}, "hint": {True: "△", False: "▽"}}


@dataclass(frozen=True)
class Trend:
    """One figure over the runs.

    Attributes:
        key: which figure.
        points: one a run; None where the run lacks it.
        steps: from each run that has it to the next.
        overall: the last against the first, where three runs or more have it.
    """

    key: FigureKey
    points: Sequence[Figure | None]
    steps: Sequence[Change]
    overall: Change | None

    @property
    def moved(self) -> bool:
        """Whether one of its changes stands among the movers."""
        return any(change.state in MARKED for change in (*self.steps, self.overall) if change is not None)

    @property
    def group(self) -> str:
        """Whose figures the page shows it among."""
        return self.key.system if self.key.kind == "system" else f"audit of {self.key.system}"

    @property
    def definition(self) -> str | None:
        """In words; None for an audit's."""
        return define(self.key.name) if self.key.kind == "system" else None

    @property
    def lower_is_better(self) -> bool | None:
        """None for an audit's."""
        return lower_is_better(self.key.name) if self.key.kind == "system" else None


@dataclass(frozen=True)
class Report:
    """What the runs' figures came to.

    Attributes:
        name: of the report's run.
        runs: in order of time.
        trends: every figure's.
        movers: the changes that moved, those told together side by side.
        verdict: sentences.
        tests: how many changes were tested.
        ways: how, in words.
    """

    name: str
    runs: Sequence[MeasuredRun]
    trends: Sequence[Trend]
    movers: Sequence[Change]
    verdict: Sequence[str]
    tests: int
    ways: str


def report_of(name: str, runs: Sequence[MeasuredRun], series: Series, changes: Sequence[Change]) -> Report:
    """Put trends, movers and verdict together.

    Args:
        name: of the report's run.
        runs: in order of time.
        series: figure → one point a run.
        changes: from :func:`index.trends.changes.changes_of`.
    """
    by_figure: dict[FigureKey, list[Change]] = {}
    for change in changes:
        by_figure.setdefault(change.key, []).append(change)
    groups = told_together([change for change in changes if change.state in MARKED], len(runs) - 1)
    return Report(
        name,
        runs,
        [_trend(key, points, by_figure[key]) for key, points in series.items()],
        [change for group in groups for change in group],
        verdict(runs, series, changes, groups),
        sum(change.p is not None for change in changes),
        ways_in_words(changes),
    )


def _trend(key: FigureKey, points: Sequence[Figure | None], changes: Sequence[Change]) -> Trend:
    if len(changes) > 1:
        return Trend(key, points, changes[:-1], changes[-1])
    return Trend(key, points, changes, None)


def as_json(report: Report) -> dict[str, Any]:
    """All that ``trends.json`` holds: what the report is about, its verdict, the movers, and each figure's trend."""
    return {
        **_about(report),
        "movers": [{**vars(change.key), **_change(change)} for change in report.movers],
        "figures": [
            {
                **vars(trend.key),
                "definition": trend.definition,
                "lower_is_better": trend.lower_is_better,
                "points": [_point(point) for point in trend.points],
                "steps": [_change(change) for change in trend.steps],
                "overall": trend.overall and _change(trend.overall),
            }
            for trend in report.trends
        ],
    }


def page(report: Report) -> str:
    """``trends.html`` as text."""
    content, runs, origin = page_content(report), _runs(report), _provenance(report)
    return render_page("trends.html", Path(__file__).parent, content=content, runs=runs, provenance=origin)


def _provenance(report: Report) -> Facts:
    """What the header says: data, last days, seeds, when the newest figures were measured, and by which code."""
    runs = report.runs
    days = [run.day for run in runs if run.day is not None]
    data = dict.fromkeys(run.data + ", simulated" * run.simulated for run in runs)
    seeds = dict.fromkeys(str(run.seed) for run in runs if run.seed is not None)
    newest = max(run.written for run in runs)[:16].replace("T", " ")
    facts = [
        ("data", "; ".join(data)),
        ("last days", " to ".join(dict.fromkeys((min(days), max(days)))) if days else ""),
        ("seed", ", ".join(seeds)),
        ("measured", f"{newest} UTC" if newest else ""),
        ("code", code_version()),
    ]
    return [fact for fact in facts if fact[1]]


def page_content(report: Report) -> dict[str, Any]:
    """What the page holds: figures as short lists, those that moved first where there are too many for a page."""
    most = max(1, MOST_POINTS // len(report.runs))
    in_order = sorted(report.trends, key=lambda trend: not trend.moved)
    shown = report.trends if len(report.trends) <= most else in_order[:most]
    groups = list(dict.fromkeys(trend.group for trend in shown))
    lead = report.movers[0].key if report.movers else None
    return {
        **_about(report),
        "groups": groups,
        "definitions": {trend.key.name: trend.definition for trend in shown if trend.definition},
        "left_out": len(report.trends) - len(shown),
        "start": next((place for place, trend in enumerate(shown) if trend.key == lead), None),
        "figures": [
            {
                "g": groups.index(trend.group),
                "section": trend.key.section,
                "name": trend.key.name,
                "lower": trend.lower_is_better,
                "unit": unit_of_change(trend.key),
                "points": [_short_point(point) for point in trend.points],
                "steps": [_short_change(change) for change in trend.steps],
                "overall": trend.overall and _short_change(trend.overall),
            }
            for trend in shown
        ],
    }


def as_markdown(report: Report) -> str:
    """``trends.md``: the verdict, the runs, what moved, and every figure of whole test splits."""
    whole = [trend for trend in report.trends if trend.key.kind == "audit" or trend.key.section == "all"]
    names = [run.name for run in report.runs]
    return document(
        heading(1, f"Trends: {report.name}"),
        bullets(report.verdict),
        f"Runs stand {order_in_words(report.runs)}.",
        _runs(report).as_markdown(),
        heading(2, f"What moved ({len(report.movers)})"),
        _movers(report.movers, names).as_markdown() if report.movers else "Nothing.",
        heading(2, "All rows of the test split, and the audits"),
        Table(["figure", *names], [[named(trend.key), *_cells(trend)] for trend in whole]).as_markdown(),
        f"Tests: {report.ways}. {_correction(report.tests)}",
    )


def _about(report: Report) -> dict[str, Any]:
    """What ``trends.json`` and the page say of the whole."""
    return {
        "run": report.name,
        "split": SPLIT,
        "level": LEVEL,
        "minimum_n": MINIMUM_N,
        "order": order_in_words(report.runs),
        "runs": [
            {name: getattr(run, name) for name in ("name", "day", "written", "data", "seed", "simulated", "origin")}
            for run in report.runs
        ],
        "family": {"tests": report.tests, "ways": report.ways},
        "verdict": list(report.verdict),
    }


def _runs(report: Report) -> Table:
    rows = [
        (run.name, run.day or "unknown", run.written, run.data + " (simulated)" * run.simulated + _of_yesterday(run))
        for run in report.runs
    ]
    return Table(("run", "log ends", "measured (UTC)", "data"), rows, "The runs, oldest first", "runs")


def _of_yesterday(run: MeasuredRun) -> str:
    """Whose systems a run's figures are about, where they are not its own."""
    return f"; {run.origin}'s systems on the rows that were new, before training on them" if run.origin else ""


def _movers(movers: Sequence[Change], names: Sequence[str]) -> Table:
    rows = [
        (
            named(mover.key),
            names[mover.since],
            names[mover.until],
            difference(mover.value, unit_of_change(mover.key)),
            interval(mover.low, mover.high, partial(difference, unit=unit_of_change(mover.key))),
            f"{mover.n:,}",
            p_value(mover.p_holm),
            mover.how,
            "seeds differ" if mover.state == "seeds" else "",
        )
        for mover in movers
    ]
    return Table(("figure", "from", "to", "change", "interval", "n", "p (Holm)", "test", ""), rows)


def _cells(trend: Trend) -> list[str]:
    """The points of a figure with the sign of the step that led to each."""
    signs = {step.until: SIGNS.get(step.state, {}).get(step.value > 0, "") for step in trend.steps}
    return [
        UNKNOWN if point is None else f"{number(point.value)} {signs.get(place, '')}".strip()
        for place, point in enumerate(trend.points)
    ]


def _correction(tests: int) -> str:
    return (
        f"Moved (▲▼): p below {LEVEL} after Holm's correction for all {tests:,} tests; ▲?▼?: likewise, but the seeds "
        "differ and training noise is not known; △▽: only before the correction. A change of fewer than "
        f"{MINIMUM_N} cases in one of its runs has no sign."
    )


def _change(change: Change) -> dict[str, Any]:
    noise = None if change.noise is None else [round(change.noise.deviation, DECIMALS), change.noise.degrees]
    facts = {
        "since": change.since,
        "until": change.until,
        **rounded({"value": change.value, "low": change.low, "high": change.high}, DECIMALS),
        **rounded({"p": change.p, "p_holm": change.p_holm}, 6),
        "how": change.how,
        "state": change.state,
        "noise": noise,
    }
    return facts if change.reason is None else {**facts, "reason": change.reason}


def _short_change(change: Change) -> list[Any]:
    facts = _change(change)
    return [facts[name] for name in ("since", "until", "value", "low", "high", "p", "p_holm", "how", "state", "noise")]


def _point(point: Figure | None) -> dict[str, Any] | None:
    if point is None:
        return None
    values = {"value": point.value, "low": point.low, "high": point.high, "n": point.n}
    figure: dict[str, Any] = rounded(values, DECIMALS)
    return figure if point.reason is None else {**figure, "reason": point.reason}


def _short_point(point: Figure | None) -> list[Any] | str | None:
    """``[value, low, high, n]``, why it is undefined, or None where the run lacks the figure."""
    if point is None:
        return None
    if point.value is None:
        return point.reason or "undefined"
    short: list[Any] = rounded([point.value, point.low, point.high, point.n], DECIMALS)
    return short
