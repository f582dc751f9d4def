"""``reports/embeddings.html``: one file that works from a disk, offline, and shows what ``audit.json`` holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from configs.stages import replacing, write_json
from index.report import charts
from index.report.browser import embedded
from index.report.charts import Bar, Place, Series, count, interval, percent
from index.report.verdict import WORDS, findings, read_figure
from prerank.evaluation.figure import Figure
from prerank.pages.render import TEMPLATES

PLAIN_UNITS = ("k_occurrence_skew", "effective_rank", "uniformity", "mean_cosine", "alignment", "linear_cka", "cosine")
"""Measures that are no shares and are shown as numbers."""
OWN_TEMPLATES = Path(__file__).parents[1] / "templates"
CURVE = "Recall of approximate search against its time"


@dataclass(frozen=True)
class Line:
    """One row of the table of all figures."""

    section: str
    name: str
    figure: Figure
    chance: Figure | None

    @property
    def is_share(self) -> bool:
        return not any(unit in self.name for unit in PLAIN_UNITS)


def write_report(folder: Path, audit: dict[str, Any], browser: dict[str, Any]) -> Path:
    """Write ``embeddings.html`` and, beside it, ``embeddings.json`` with all that the page shows.

    Args:
        folder: ``runs/<run>/reports``.
        audit: as in ``audit.json``.
        browser: from :func:`index.report.browser.browser_content`.

    Returns:
        The page's path.
    """
    write_json(folder / "embeddings.json", {"audit": audit, "browser": browser})
    page = folder / "embeddings.html"
    with replacing(page) as temporary:
        temporary.write_text(render(audit, browser), encoding="utf-8")
    return page


def render(audit: dict[str, Any], browser: dict[str, Any]) -> str:
    """The page. Titles and names are untrusted: autoescape is on, and data are embedded as escaped JSON."""
    environment = Environment(
        loader=FileSystemLoader([OWN_TEMPLATES, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, interval=interval, shown=_shown, span=_span)
    curve = _curve(audit)
    places = [Place(point["index"], point["setting"], point["milliseconds"], point["recall"]) for point in curve]
    names = dict.fromkeys(place.name for place in places)
    return environment.get_template("embeddings.html.jinja").render(
        audit=audit,
        browser={"shown": [], "map": None, "groups": []} | browser,
        findings=findings(audit),
        pictures=_pictures(audit) | ({"curve": charts.recall_by_time(CURVE, places)} if places else {}),
        curve=curve,
        curve_indexes=[
            dict(zip(("name", "style", "shape"), (name, *charts.shape_of(name, places)), strict=True)) for name in names
        ],
        lines=list(_lines(audit)),
        embedded=embedded(browser),
    )


def _pictures(audit: dict[str, Any]) -> dict[str, Markup]:
    rows = audit["popularity"]
    pictures = {"hubness": _hubness(audit["occurrence"])}
    if len(rows) > 1:
        pictures |= _by_popularity(audit, rows)
    if audit.get("cold_start"):
        pictures["cold_start"] = charts.bars("Overlap on held-out items", _cold_start_bars(audit["cold_start"]))
    if audit.get("collisions") and audit["collisions"]["rows"]:
        pictures["collisions"] = _collisions(audit["collisions"])
    return pictures


def _by_popularity(audit: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Markup]:
    """Overlap and purity over groups of items; of a single group there is nothing to draw."""
    k = audit["neighbours"][0]
    groups = [f"≥{count(row['fewest_impressions'])}" for row in rows]
    axis = "fewest training impressions in the group"
    chance = read_figure(audit["overlap"][f"overlap@{k}_chance"])
    pictures = {
        "overlap": charts.trend(
            f"Overlap of φ with ψ at {k} by popularity",
            axis,
            groups,
            [Series("overlap", "phi", _column(rows, "overlap")), Series("chance", "chance", [chance] * len(rows))],
        )
    }
    if audit["main_attribute"] is not None:
        series = [
            Series(name, style, _column(rows, f"purity_{style}"))
            for name, style in (("ψ", "psi"), ("φ", "phi"), ("random", "chance"))
        ]
        pictures["purity"] = charts.trend(f"Purity by {audit['main_attribute']} by popularity", axis, groups, series)
    return pictures


def _collisions(collisions: dict[str, Any]) -> Markup:
    rows = collisions["rows"]
    name = next((name for name in rows[0] if name.startswith("overlap@")), "overlap")
    labels = [str(row["mates"]) for row in rows]
    series = Series(name, "phi", _column(rows, name))
    return charts.trend(f"{name} by items in the same hash bucket", "other items in its hash bucket", labels, [series])


def _curve(audit: dict[str, Any]) -> list[dict[str, Any]]:
    """The points of recall against time, those without a time or a recall left out."""
    points = []
    for row in audit.get("curve") or []:
        recall = next((value for name, value in row.items() if name.startswith("recall@")), None)
        recall = recall["value"] if isinstance(recall, dict) else recall
        if recall is not None and row["ms_per_query"]:
            names = {"index": str(row["index"]), "setting": str(row["setting"]), "recall": recall}
            points.append(names | {"milliseconds": row["ms_per_query"], "bytes_per_item": row.get("bytes_per_item")})
    return points


def _cold_start_bars(cold_start: dict[str, Any]) -> list[Bar]:
    k, found = cold_start["neighbours"][0], cold_start["figures"]
    chance = found[f"overlap@{k}_chance"]["value"]
    bars = []
    for name, words in WORDS.items():
        if f"{name}/overlap@{k}" in found:
            style = "phi" if name == "student_infonce" else "psi" if name == "retrained_psi" else "other"
            bars.append(Bar(words, style, read_figure(found[f"{name}/overlap@{k}"]), chance))
    return bars


def _hubness(rows: list[dict[str, Any]]) -> Markup:
    labels = []
    for row in rows:
        first, last = row["from"], row["to"]
        labels.append(f"{first}+" if last is None else str(first) if first == last else f"{first}–{last}")
    series = [
        Series(name, style, [Figure.exact(row[style], 0) for row in rows])
        for name, style in (("ψ", "psi"), ("φ", "phi"), ("random", "chance"))
    ]
    return charts.columns("Items by how many lists they are in", "lists that hold the item", labels, series)


def _column(rows: list[dict[str, Any]], name: str) -> list[Figure]:
    return [read_figure(row.get(name)) for row in rows]


def _lines(audit: dict[str, Any]) -> Iterator[Line]:
    """Every figure of the audit, each with its chance level beside it rather than below it."""
    sections = [("φ and ψ", audit["overlap"])]
    sections += [(f"purity, {name}", figures) for name, figures in audit["purity"].items()]
    sections += [(f"geometry, {name}", figures) for name, figures in audit["geometry"].items()]
    sections += [(f"approximate search, {name}", figures) for name, figures in audit["approximate"].items()]
    sections += [("cold start", audit["cold_start"]["figures"])] if audit.get("cold_start") else []
    for section, figures in sections:
        for name, found in figures.items():
            if not name.endswith("_chance"):
                yield Line(section, name, read_figure(found), _chance_of(name, figures))


def _chance_of(name: str, figures: dict[str, Any]) -> Figure | None:
    """The chance level that a figure is read against; a difference has none, its interval is read against 0."""
    if "_less_" in name or "_minus_" in name:
        return None
    stem = name.removesuffix("_matched").removesuffix("_centred").removesuffix("_attributes")
    for candidate in (f"{stem}_chance", f"{stem.rsplit('/', maxsplit=1)[-1]}_chance"):
        if candidate in figures:
            return read_figure(figures[candidate])
    return None


def _shown(figure: Figure | None, is_share: bool) -> str:
    if figure is None:
        return ""
    if figure.value is None:
        return f"undefined: {figure.reason}"
    return percent(figure.value) if is_share else f"{figure.value:.3g}"


def _span(figure: Figure, is_share: bool) -> str:
    if figure.low is None or figure.high is None:
        return "exact" if figure.value is not None else ""
    return interval(figure) if is_share else f"{figure.low:.3g} to {figure.high:.3g}"
