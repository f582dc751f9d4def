"""The comparison as Markdown: words first, then tables of each data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prerank.compare.figures import WHOLE, shown_systems
from prerank.compare.statistics import LEAST_SEEDS
from prerank.compare.verdict import NO_CLAIM, p_words, points
from prerank.evaluation.significance import LEVEL
from prerank.pages.markdown import head, plain, row

FIGURES = (
    "auc_click", "auc_order", "score_auc_click", "score_auc_order", "gauc_click", "gauc_order",
    "hit_rate_order_at_10", "log_loss_click", "log_loss_order",
)  # fmt: skip
CUTS = (3, 10, 20, 50, 100)
BY_SEGMENT = "gauc_click"
PAPER = "paper: {} (another, private data set)"


def as_markdown(content: Mapping[str, Any]) -> str:
    """The whole report."""
    lines = [
        f"# {plain(', '.join(content['systems']))}: compared",
        "",
        "Test split. A cell is the mean over the seeds that are finished (its interval) [lowest … highest seed]. "
        f"Differences are to {plain(content['baseline'])}. Fewer than {LEAST_SEEDS} seeds make no claim. The "
        f"paper's figures stand in columns of their own: {content['paper']['source']}; {content['paper']['auc_note']}.",
        "",
        *(f"**Warning: {plain(warning)}**\n" for warning in content["warnings"]),
        *([content["tuning_note"]] if content["tuning_note"] else []),
    ]
    for data in content["data"]:
        lines += ["", *_data_set(data, content)]
    return "\n".join(lines) + "\n"


def _data_set(data: Mapping[str, Any], content: Mapping[str, Any]) -> list[str]:
    systems = shown_systems(data, content["systems"])
    paper = content["paper"]["figures"]
    lines = [f"## {plain(data['title'])}{' (simulated)' if data['simulated'] else ''}", ""]
    lines += [f"- {plain(sentence)}" for sentence in data["verdict"]]
    if not systems:
        return lines
    about = data["about"]
    lines += [
        "",
        f"{about['rows']:,} test rows, {about['requests']:,} requests, {about['clicks']:,} clicks, "
        f"{about['orders']:,} orders{' (first seed)' if data['kind'] == 'markets' else ''}. "
        f"Interval: {data['interval']}. {data['recall']}.",
    ]
    tables = {
        "AUC, GAUC, hit rate, log loss": (FIGURES, "auc_click", "AUC"),
        "Recall@k": ([f"recall_at_{k}" for k in CUTS], "recall_at", "R@3/10/20/50/100"),
        "Recall@k over whole recalled sets": ([f"recall_full_at_{k}" for k in CUTS], None, ""),
    }
    for title, (metrics, beside, called) in tables.items():
        lines += _figures_table(title, data, systems, metrics, _paper_column(beside, paper), PAPER.format(called))
    lines += _segments_table(data, systems)
    lines += _differences_table(data)
    lines += _cost_table(data, content)
    return lines


def _figures_table(
    title: str,
    data: Mapping[str, Any],
    systems: Sequence[str],
    metrics: Sequence[str],
    paper: Mapping[str, str],
    called: str,
) -> list[str]:
    there = [m for m in metrics if any(m in data["figures"][system].get(WHOLE, {}) for system in systems)]
    if not there:
        return []
    last = [called] if paper else []
    lines = ["", f"### {title}", "", *head(["system", *there, *last])]
    for system in systems:
        cells = [_cell(data["figures"][system].get(WHOLE, {}).get(metric)) for metric in there]
        lines.append(row([system, *cells, *([paper.get(system, "–")] if paper else [])]))
    chance = data["chance"].get(WHOLE, {})
    levels = [f"{chance[metric]:.4f}" if metric in chance else "–" for metric in there]
    lines.append(row(["chance level", *levels, *(["–"] if paper else [])]))
    counts = [_n(data, systems, WHOLE, metric) for metric in there]
    lines.append(row(["n", *counts, *(["–"] if paper else [])]))
    return lines


def _segments_table(data: Mapping[str, Any], systems: Sequence[str]) -> list[str]:
    segments = list(dict.fromkeys(segment for system in systems for segment in data["figures"][system]))
    there = [s for s in segments if any(BY_SEGMENT in data["figures"][system].get(s, {}) for system in systems)]
    if not there:
        return []
    lines = ["", f"### {BY_SEGMENT} by segment", "", *head(["segment", "n", *systems])]
    for segment in there:
        cells = [_cell(data["figures"][system].get(segment, {}).get(BY_SEGMENT)) for system in systems]
        lines.append(row([segment, _n(data, systems, segment, BY_SEGMENT), *cells]))
    return lines


def _differences_table(data: Mapping[str, Any]) -> list[str]:
    family = data["family"]
    if not family["tests"]:
        return []
    lines = [
        "",
        f"### Differences to {plain(family['baseline'])}",
        "",
        f"In points (hundredths), paired; p corrected (Holm) for the {family['tests']} differences of this table. "
        "*Visible*: the smallest true difference that such data show with 80 % power.",
        "",
        *head(["system", "metric", "difference", "interval", "p (Holm)", "visible", "seeds", "claim"]),
    ]
    for system, cells in data["differences"].items():
        for metric in family["metrics"]:
            if metric in cells.get(family["segment"], {}):
                lines.append(row([system, metric, *_difference_cells(cells[family["segment"]][metric])]))
    return lines


def _difference_cells(difference: Mapping[str, Any]) -> list[str]:
    if difference["value"] is None:
        return ["–", difference["reason"], "–", "–", str(len(difference["by_seed"])), "–"]
    bounded = difference["low"] is not None
    return [
        points(difference["value"]),
        f"{points(difference['low'])} … {points(difference['high'])}" if bounded else "–",
        p_words(difference.get("p_holm")).removeprefix("p "),
        "–" if difference["visible"] is None else f"{100 * difference['visible']:.2f}",
        str(len(difference["by_seed"])),
        claim(difference),
    ]


def claim(difference: Mapping[str, Any]) -> str:
    """What a difference of the family may be called."""
    if len(difference["by_seed"]) < LEAST_SEEDS:
        return NO_CLAIM
    p = difference.get("p_holm")
    return "–" if p is None else "shown" if p < LEVEL else "not told apart"


def _cost_table(data: Mapping[str, Any], content: Mapping[str, Any]) -> list[str]:
    found = [each["latency"] for each in data["cost"].values() if each["latency"]]
    cpus = ", ".join(dict.fromkeys(each["cpu"] for each in found)) or "not measured yet"
    lines = [
        "",
        "### Cost",
        "",
        "Seconds to fit: one thread, beside other fits, median over seeds. Milliseconds: median for 1,000 candidates, "
        "one thread, the first seed's system read from disk, one system at a time; from encoded features in memory "
        "to logits, with what a system makes of them itself (lightgbm's counts and rates), and of the network alone. "
        f"Processor: {plain(cpus)}. FLOPs: of a candidate, matrix products only.",
        "",
        *head(["system", "parameters", "seconds to fit", "ms to score", "ms network", "FLOPs", "tuning", "seeds"]),
    ]
    for system in content["systems"]:
        cost, latency = data["cost"][system], data["cost"][system]["latency"] or {}
        cells = [
            _number(cost["parameters"], ",.0f"),
            _number(cost["fit_seconds"], ",.1f"),
            _number(latency.get("scoring_ms"), ".2f"),
            _number(latency.get("network_ms"), ".2f"),
            _number(latency.get("flops"), ",.0f"),
            content["tuning"][system]["words"],
            f"{len(data['seeds'].get(system, []))} of {data['seeds_asked']}",
        ]
        lines.append(row([system, *cells]))
    return lines


def _paper_column(metric: str | None, paper: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    """System → the paper's figure, or all its Recall@k."""
    if metric is None:
        return {}
    if metric != "recall_at":
        return {system: f"{value:.4f}" for system, value in paper[metric].items()}
    systems = paper[f"recall_at_{CUTS[0]}"]
    return {system: " / ".join(f"{paper[f'recall_at_{k}'][system]:.4f}" for k in CUTS) for system in systems}


def _cell(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return "–"
    between = "" if figure["low"] is None else f" ({figure['low']:.4f}–{figure['high']:.4f})"
    values = figure["by_seed"].values()
    return f"{figure['value']:.4f}{between} [{min(values):.4f} … {max(values):.4f}]"


def _n(data: Mapping[str, Any], systems: Sequence[str], segment: str, metric: str) -> str:
    counts = [
        data["figures"][s][segment][metric]["n"] for s in systems if metric in data["figures"][s].get(segment, {})
    ]
    return f"{max(counts):,}" if counts else "–"


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
