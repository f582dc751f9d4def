"""The comparison as Markdown: words first, then tables of each data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prerank.compare.figures import WHOLE, as_shown, shown_systems
from prerank.compare.statistics import LEAST_SEEDS, SEEDS_FOR_AN_INTERVAL, SeedDifference, SeedMean
from prerank.compare.verdict import NO_CLAIM
from prerank.evaluation.claims import MINIMUM_N, too_few, visible_among
from prerank.pages.markdown import bullets, document, heading, plain
from prerank.pages.numbers import UNKNOWN, estimate, interval, number, p_value, points
from prerank.pages.table import Table

FIGURES = (
    "auc_click", "auc_order", "score_auc_click", "score_auc_order", "gauc_click", "gauc_order",
    "hit_rate_order_at_10", "log_loss_click", "log_loss_order",
)  # fmt: skip
CUTS = (3, 10, 20, 50, 100)
BY_SEGMENT = "gauc_click"
PAPER = "paper: {} (another, private data set)"


def as_markdown(content: Mapping[str, Any]) -> str:
    """The whole report."""
    return document(
        heading(1, f"{', '.join(content['systems'])}: compared"),
        "Test split. A cell is the mean over the seeds that are finished (its interval) [lowest … highest seed]. "
        f"Differences are to {plain(content['baseline'])}. Fewer than {LEAST_SEEDS} seeds make no claim. The "
        f"paper's figures stand in columns of their own: {content['paper']['source']}; {content['paper']['auc_note']}.",
        *(f"**Warning: {plain(warning)}**" for warning in content["warnings"]),
        content["tuning_note"] or "",
        *(block for data in content["data"] for block in _data_set(as_shown(data), content)),
    )


def _data_set(data: Mapping[str, Any], content: Mapping[str, Any]) -> Iterator[str]:
    systems, paper = shown_systems(data, content["systems"]), content["paper"]["figures"]
    yield heading(2, f"{data['title']}{' (simulated)' if data['simulated'] else ''}")
    yield bullets(data["verdict"])
    if not systems:
        return
    about = data["about"]
    yield (
        f"{about['rows']:,} test rows, {about['requests']:,} requests, {about['clicks']:,} clicks, "
        f"{about['orders']:,} orders{' (first seed)' if data['kind'] == 'markets' else ''}. "
        f"Interval: {data['interval']}; none of fewer than {SEEDS_FOR_AN_INTERVAL} markets. {data['recall']}."
    )
    aucs = {system: number(value) for system, value in paper["auc_click"].items()}
    recalls = {
        system: " / ".join(number(paper[f"recall_at_{k}"][system]) for k in CUTS)
        for system in paper[f"recall_at_{CUTS[0]}"]
    }
    yield from _figures("AUC, GAUC, hit rate, log loss", data, systems, FIGURES, "AUC", aucs)
    yield from _figures("Recall@k", data, systems, _at_cuts("recall_at"), "R@3/10/20/50/100", recalls)
    yield from _figures("Recall@k over whole recalled sets", data, systems, _at_cuts("recall_full_at"), "", {})
    yield from _by_segment(data, systems)
    yield from _differences(data)
    yield from _cost(data, content)


def _at_cuts(metric: str) -> list[str]:
    return [f"{metric}_{k}" for k in CUTS]


def _figures(
    title: str,
    data: Mapping[str, Any],
    systems: Sequence[str],
    metrics: Sequence[str],
    beside: str,
    paper: Mapping[str, str],
) -> Iterator[str]:
    """Every system's figures, chance and n; what the paper says beside them in a column called ``beside``."""
    metrics = [m for m in metrics if any(m in data["figures"][system].get(WHOLE, {}) for system in systems)]
    if not metrics:
        return
    chance = data["chance"].get(WHOLE, {})
    rows = [
        [system, *(_cell(data["figures"][system].get(WHOLE, {}).get(metric)) for metric in metrics)]
        for system in systems
    ]
    rows.append(["chance level", *(number(chance.get(metric)) for metric in metrics)])
    rows.append(["n", *(_n(data, systems, WHOLE, metric) for metric in metrics)])
    if paper:
        rows = [[*row, paper.get(row[0], UNKNOWN)] for row in rows]
    yield heading(3, title)
    yield Table(["system", *metrics, *([PAPER.format(beside)] if paper else [])], rows).as_markdown()


def _by_segment(data: Mapping[str, Any], systems: Sequence[str]) -> Iterator[str]:
    figures = data["figures"]
    segments = dict.fromkeys(segment for system in systems for segment in figures[system])
    rows = [
        [segment, _n(data, systems, segment, BY_SEGMENT), *(_cell(each) for each in cells)]
        for segment in segments
        if any(cells := [figures[system].get(segment, {}).get(BY_SEGMENT) for system in systems])
    ]
    if rows:
        yield heading(3, f"{BY_SEGMENT} by segment")
        yield Table(["segment", "n", *systems], rows).as_markdown()


def _differences(data: Mapping[str, Any]) -> Iterator[str]:
    family = data["family"]
    if not family["tests"]:
        return
    yield heading(3, f"Differences to {family['baseline']}")
    yield (
        f"In points (hundredths), paired; p corrected (Holm) for the {family['tests']} differences of this table. "
        "Alone: p of the one test. *Visible*: the smallest true difference that is told apart among all of them with "
        "80 % power."
    )
    rows = [
        [system, metric, *_difference_cells(cells[family["segment"]][metric], data)]
        for system, cells in data["differences"].items()
        for metric in family["metrics"]
        if metric in cells.get(family["segment"], {})
    ]
    columns = ("system", "metric", "difference", "interval", "n", "p (Holm)", "alone", "visible", "seeds", "claim")
    yield Table(columns, rows).as_markdown()


def _difference_cells(difference: SeedDifference, data: Mapping[str, Any]) -> list[str]:
    seeds = str(len(difference.by_seed))
    if difference.value is None:
        return [UNKNOWN, difference.reason or UNKNOWN, *[UNKNOWN] * 4, seeds, UNKNOWN]
    visible = visible_difference(difference, data)
    p_values = [p_value(p).removeprefix("p ") for p in (difference.p_holm, difference.p)]
    return [
        points(difference.value),
        interval(difference.low, difference.high, points) or UNKNOWN,
        f"{difference.n:,}",
        *([UNKNOWN] * 2 if too_few(difference) else p_values),
        UNKNOWN if visible is None else number(100 * visible, ".2f"),
        seeds,
        claim(difference),
    ]


def visible_difference(difference: SeedDifference, data: Mapping[str, Any]) -> float | None:
    """The smallest true difference that is told apart among the family of a data set."""
    degrees = len(difference.by_seed) - 1 if data["kind"] == "markets" else None
    return visible_among(difference, data["confidence"], degrees)


def claim(difference: SeedDifference) -> str:
    """What a difference of the family may be called."""
    if difference.few:
        return NO_CLAIM
    if too_few(difference):
        return f"not compared: n below {MINIMUM_N}"
    return "shown" if difference.shown else UNKNOWN if difference.p_holm is None else "not told apart"


def _cost(data: Mapping[str, Any], content: Mapping[str, Any]) -> Iterator[str]:
    measured = [each["latency"] for each in data["cost"].values() if each["latency"]]
    cpus = ", ".join(dict.fromkeys(each["cpu"] for each in measured)) or "not measured yet"
    yield heading(3, "Cost")
    yield (
        "Seconds to fit: one thread, beside other fits, median over seeds. Milliseconds: median for 1,000 candidates, "
        "one thread, the first seed's system read from disk, one system at a time; from encoded features in memory "
        "to logits, with what a system makes of them itself (lightgbm's counts and rates), and of the network alone. "
        f"Processor: {plain(cpus)}. FLOPs: of a candidate, matrix products only."
    )
    rows = []
    for system in content["systems"]:
        cost, latency = data["cost"][system], data["cost"][system]["latency"] or {}
        rows.append(
            [
                system,
                number(cost["parameters"], ",.0f"),
                number(cost["fit_seconds"], ",.1f"),
                number(latency.get("scoring_ms"), ".2f"),
                number(latency.get("network_ms"), ".2f"),
                number(latency.get("flops"), ",.0f"),
                content["tuning"][system]["words"],
                f"{len(data['seeds'].get(system, []))} of {data['seeds_asked']}",
            ]
        )
    columns = ("system", "parameters", "seconds to fit", "ms to score", "ms network", "FLOPs", "tuning", "seeds")
    yield Table(columns, rows).as_markdown()


def _cell(mean: SeedMean | None) -> str:
    """Mean over seeds, its interval, and the lowest and the highest seed."""
    if mean is None:
        return UNKNOWN
    seeds = mean.by_seed.values()
    return f"{estimate(mean)} [{number(min(seeds))} … {number(max(seeds))}]"


def _n(data: Mapping[str, Any], systems: Sequence[str], segment: str, metric: str) -> str:
    counts = [data["figures"][s][segment][metric].n for s in systems if metric in data["figures"][s].get(segment, {})]
    return f"{max(counts):,}" if counts else UNKNOWN
