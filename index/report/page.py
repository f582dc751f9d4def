"""``reports/embeddings.html``: one file that works from a disk, offline, and shows what ``audit.json`` holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from configs.console import say
from configs.errors import InputError
from configs.stages import read_json, replacing, write_json
from graph.figure import Figure
from index.report.figures import NOT_MEASURED, typed
from index.report.verdict import WORDS, findings
from prerank.evaluation.claims import POINTS
from prerank.pages import plot
from prerank.pages.numbers import difference, interval, number, percent, short_count
from prerank.pages.plot import CIRCLE, SHAPES, SQUARE, Bar, Box, Line, PlotAxis, Point
from prerank.pages.provenance import Facts
from prerank.pages.render import render_page
from prerank.pages.table import Table

PLAIN_UNITS = ("k_occurrence_skew", "effective_rank", "uniformity", "mean_cosine", "alignment", "linear_cka", "cosine")
"""Measures that are no shares and are shown as numbers."""
DASH = 7
"""The shape that marks chance."""


def write_report(folder: Path, audit: dict[str, Any], browser: dict[str, Any], facts: Facts = ()) -> Path:
    """Write ``embeddings.html`` and, beside it, ``embeddings.json`` with all that the page shows.

    Those of another system that lie there stay, under its name: ``embeddings-SYSTEM.html``.

    Args:
        folder: ``runs/<run>/reports``.
        audit: as in ``audit.json``.
        browser: from :func:`index.report.neighbour_browser.browser_content`.
        facts: what the header says of where the figures come from.

    Returns:
        The page's path.
    """
    _set_aside(folder, str(audit["system"]))
    write_json(folder / "embeddings.json", {"audit": audit, "browser": browser})
    page = folder / "embeddings.html"
    with replacing(page) as temporary:
        temporary.write_text(render(audit, browser, facts), encoding="utf-8")
    return page


def _set_aside(folder: Path, system: str) -> None:
    """Give another system's report a name of its own; what was set aside of this system before is replaced."""
    try:
        other = str(read_json(folder / "embeddings.json")["audit"]["system"])
    except (InputError, KeyError, TypeError):
        return
    if other == system or Path(other).name != other:
        return
    for kind in ("html", "json"):
        if (folder / f"embeddings.{kind}").exists():
            (folder / f"embeddings.{kind}").replace(folder / f"embeddings-{other}.{kind}")
        (folder / f"embeddings-{system}.{kind}").unlink(missing_ok=True)
    say(f"the audit of {other} stays: {folder / f'embeddings-{other}.html'}")


def render(audit: dict[str, Any], browser: dict[str, Any], facts: Facts = ()) -> str:
    """The page. Titles and names are untrusted: autoescape is on, and data are embedded as escaped JSON."""
    audit = typed(audit)
    curve = _curve(audit)
    return render_page(
        "embeddings.html",
        Path(__file__).parent,
        audit=audit,
        content=browser,
        provenance=facts,
        browser={"shown": [], "map": None, "groups": []} | browser,
        findings=findings(audit),
        plots=_plots(audit, curve),
        curve=_curve_table(curve),
        curve_indexes=[*dict.fromkeys(point["index"] for point in curve)],
        figures=Table(("figure", "value", "chance", "interval", "n"), [*_rows(audit)], "All figures", "figures"),
    )


def _plots(audit: dict[str, Any], curve: list[dict[str, Any]]) -> dict[str, Markup]:
    rows = audit["popularity"]
    plots = {"hubness": _hubness(audit["occurrence"])}
    if len(rows) > 1:
        plots |= _by_popularity(audit, rows)
    if audit.get("cold_start"):
        plots["cold_start"] = plot.bars("Overlap on held-out items", _cold_start_bars(audit["cold_start"]))
    if audit.get("collisions") and audit["collisions"]["rows"]:
        plots["collisions"] = _collisions(audit["collisions"]["rows"])
    if curve:
        plots["curve"] = _recall_by_time(curve)
    return plots


def _by_popularity(audit: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Markup]:
    """Overlap and purity over groups of items; of a single group there is nothing to draw."""
    k, attribute = audit["neighbours"][0], audit["main_attribute"]
    groups = [f"≥{short_count(row['fewest_impressions'])}" for row in rows]
    axis = "fewest training impressions in the group"
    chance = audit["overlap"][f"overlap@{k}_chance"]
    overlap = ("overlap", "phi", CIRCLE, _column(rows, "overlap"))
    series = [overlap, ("chance", "chance", DASH, [chance] * len(rows))]
    plots = {"overlap": plot.lines_by_group(f"Overlap of φ with ψ at {k} by popularity", axis, groups, series)}
    if attribute is not None:
        series = [
            (name, style, shape, _column(rows, f"purity_{style}"))
            for name, style, shape in (("ψ", "psi", SQUARE), ("φ", "phi", CIRCLE), ("random", "chance", DASH))
        ]
        plots["purity"] = plot.lines_by_group(f"Purity by {attribute} by popularity", axis, groups, series)
    return plots


def _collisions(rows: list[dict[str, Any]]) -> Markup:
    name = next((name for name in rows[0] if name.startswith("overlap@")), "overlap")
    series = [(name, "phi", CIRCLE, _column(rows, name))]
    mates = [str(row["mates"]) for row in rows]
    return plot.lines_by_group(
        f"{name} by items in the same hash bucket", "other items in its hash bucket", mates, series
    )


def _hubness(rows: list[dict[str, Any]]) -> Markup:
    labels = []
    for row in rows:
        first, last = row["from"], row["to"]
        labels.append(f"{first}+" if last is None else str(first) if first == last else f"{first}–{last}")
    series = [
        (name, style, [row[style] for row in rows])
        for name, style in (("ψ", "psi"), ("φ", "phi"), ("random", "chance"))
    ]
    return plot.columns("Items by how many lists they are in", "lists that hold the item", labels, series)


def _cold_start_bars(cold_start: dict[str, Any]) -> list[Bar]:
    k, figures = cold_start["neighbours"][0], cold_start["figures"]
    chance = figures[f"overlap@{k}_chance"].value
    styles = {"student_infonce": "phi", "retrained_psi": "psi"}
    return [
        Bar(words, styles.get(name, "other"), replace(figures[f"{name}/overlap@{k}"], chance=chance))
        for name, words in WORDS.items()
        if f"{name}/overlap@{k}" in figures
    ]


def _curve(audit: dict[str, Any]) -> list[dict[str, Any]]:
    """The points of recall against time, those without a time or a recall left out."""
    points = []
    for row in audit.get("curve") or []:
        recall = next((value for name, value in row.items() if name.startswith("recall@")), None)
        if recall is not None and row["ms_per_query"]:
            names = {"index": str(row["index"]), "setting": str(row["setting"]), "recall": recall}
            points.append(names | {"milliseconds": row["ms_per_query"], "bytes_per_item": row.get("bytes_per_item")})
    return points


def _recall_by_time(curve: list[dict[str, Any]]) -> Markup:
    """A line for each index, its settings from quick to slow; time by powers of ten, recall from a round number up."""
    times, least = [point["milliseconds"] for point in curve], min(point["recall"] for point in curve)
    powers = plot.decades(min(times), max(times))
    x = PlotAxis(powers[0], powers[-1], [(power, f"{power:g}") for power in powers], "milliseconds a query", True)
    y = PlotAxis.shares([1.0], next(level for level in (0.9, 0.8, 0.6, 0.2, 0.0) if level <= least or level == 0.0))
    lines = []
    for place, name in enumerate(dict.fromkeys(point["index"] for point in curve)):
        points = [
            Point(
                point["milliseconds"],
                point["recall"],
                title=f"{name}, {point['setting']}: {percent(point['recall'])} in {point['milliseconds']:.3g} ms",
            )
            for point in sorted(curve, key=lambda point: point["milliseconds"])
            if point["index"] == name
        ]
        lines.append(Line(name, f"series-{place % len(SHAPES)}", points, place % len(SHAPES)))
    box = Box()
    title = "Recall of approximate search against its time"
    return plot.svg(title, plot.WIDTH, box.bottom + 48, [plot.lines(x, y, lines, box)])


def _curve_table(curve: list[dict[str, Any]]) -> Table:
    rows = [
        (
            point["index"],
            point["setting"],
            percent(point["recall"]),
            f"{point['milliseconds']:.3g}",
            "" if point["bytes_per_item"] is None else number(point["bytes_per_item"], ",.0f"),
        )
        for point in curve
    ]
    columns = ("index", "setting", "recall", "ms a query", "bytes an item")
    return Table(columns, rows, "Recall and time of the indexes", "curve")


def _column(rows: list[dict[str, Any]], name: str) -> list[Figure]:
    return [row.get(name, NOT_MEASURED) for row in rows]


def _rows(audit: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Every figure of the audit, each with its chance level beside it rather than below it."""
    sections = [("φ and ψ", audit["overlap"])]
    sections += [(f"purity, {name}", figures) for name, figures in audit["purity"].items()]
    sections += [(f"geometry, {name}", figures) for name, figures in audit["geometry"].items()]
    sections += [(f"approximate search, {name}", figures) for name, figures in audit["approximate"].items()]
    sections += [("cold start", audit["cold_start"]["figures"])] if audit.get("cold_start") else []
    label = Markup('<span class="facts">{}</span> {}')
    for section, figures in sections:
        for name, figure in figures.items():
            if not name.endswith("_chance"):
                yield label.format(section, name), *_cells(name, figure, _chance_of(name, figures))


def _cells(name: str, figure: Figure, chance: Figure | None) -> tuple[str, str, str, str]:
    """Value, chance level, interval and n."""

    def say(value: float) -> str:
        if any(unit in name for unit in PLAIN_UNITS):
            return number(value, ".3g")
        return difference(value, POINTS) if _is_difference(name) else percent(value)

    level = "" if chance is None or chance.value is None else say(chance.value)
    if figure.value is None:
        return f"undefined: {figure.reason}", level, "", f"{figure.n:,}"
    return say(figure.value), level, interval(figure.low, figure.high, say) or "exact", f"{figure.n:,}"


def _is_difference(name: str) -> bool:
    """Whether it is one share less another: points, for per cent would be read as relative."""
    return "_less_" in name or "_minus_" in name


def _chance_of(name: str, figures: Mapping[str, Figure]) -> Figure | None:
    """The chance level that a figure is read against; a difference has none, its interval is read against 0."""
    if _is_difference(name):
        return None
    stem = name.removesuffix("_matched").removesuffix("_centred").removesuffix("_attributes")
    for candidate in (f"{stem}_chance", f"{stem.rsplit('/', maxsplit=1)[-1]}_chance"):
        if candidate in figures:
            return figures[candidate]
    return None
