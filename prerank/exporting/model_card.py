"""The model card: what a bundle was made from, how good it is, and where that ends, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graph.figure import Figure
from prerank.evaluation.definitions import define
from prerank.evaluation.evaluation import Metrics, read_metrics
from prerank.exporting.golden import TOLERANCE
from prerank.exporting.sources import Source
from prerank.fitting import system_keys
from prerank.pages.markdown import bullets, document, heading, row

SHOWN = ("auc_click", "gauc_click", "auc_order", "gauc_order", "recall_at_10", "hit_rate_order_at_10", "log_loss_click")
"""Metrics of the test split as a whole; of each segment, those of :data:`OF_SEGMENTS`."""
OF_SEGMENTS = ("gauc_click", "recall_at_10")


def model_card(source: Source, kind: str, loss: Mapping[str, Any], golden: int) -> str:
    """The card of a bundle.

    Args:
        source: what it is made from.
        kind: of the bundle.
        loss: what rounding its tables costs; empty where nothing is rounded.
        golden: number of its golden requests.
    """
    config, metrics = source.config, read_metrics(source.home / "metrics.json")
    simulated = source.log.facts.get("simulated", False)
    return document(
        heading(1, f"{source.name}, fitted on run {config.run}"),
        f"A pre-ranking system ({config.model.name}, a bundle of kind {kind}) that scores the candidates of one search "
        "request. Written by `python -m prerank.export`.",
        "**The log is simulated: its figures say nothing of real users.**" if simulated else "",
        heading(2, "Data"),
        bullets(_data(source)),
        heading(2, "Figures on the test split"),
        _figures(metrics),
        _definitions(),
        heading(2, "Segments"),
        _segments(metrics),
        heading(2, "What it sees"),
        bullets(_features(source)),
        heading(2, "Tables"),
        _tables(source, loss),
        heading(2, "Limits"),
        bullets(_limits(source, simulated)),
        heading(2, "How it was trained"),
        _training(source),
        heading(2, "How to load it"),
        _loading(golden),
    )


def _data(source: Source) -> list[str]:
    facts = source.log.facts
    size = f"{facts['items']:,} items, {facts['rows']:,} rows"
    said = [f"log: data={source.config.data.name}, {size}, split by {facts['split_by']}"]
    for name, split in facts["splits"].items():
        if not split["rows"]:
            continue
        days = f", {split['first']} to {split['last']}" if "first" in split else ""
        counts = ", ".join(
            f"{split[what]:,} {what}" for what in ("requests", "rows", "clicks", "orders") if what in split
        )
        said.append(f"{name}: {counts}{days}")
    said += [f"no {name} head: {task['reason']}" for name, task in facts["tasks"].items() if not task["available"]]
    return said


def _figures(metrics: Metrics) -> str:
    cells = metrics["test"]["all"] if "test" in metrics else {}
    lines = [_row(name, cells[name]) for name in SHOWN if name in cells]
    return "\n".join([row(("metric", "value", "95 % interval", "n")), row(("---",) * 4), *lines])


def _row(name: str, figure: Figure) -> str:
    if figure.value is None:
        return row((name, "not defined", figure.reason or "", f"{figure.n:,}"))
    return row((name, f"{figure.value:.4f}", _interval(figure), f"{figure.n:,}"))


def _interval(figure: Figure) -> str:
    return "none" if figure.low is None or figure.high is None else f"{figure.low:.4f} to {figure.high:.4f}"


def _definitions() -> str:
    return bullets(f"{name}: {define(name)}" for name in SHOWN)


def _segments(metrics: Metrics) -> str:
    segments = {name: cells for name, cells in metrics.get("test", {}).items() if name != "all"}
    lines = [row((name, *(_short(cells.get(metric)) for metric in OF_SEGMENTS))) for name, cells in segments.items()]
    return "\n".join([row(("segment", *OF_SEGMENTS)), row(("---",) * (1 + len(OF_SEGMENTS))), *lines])


def _short(figure: Figure | None) -> str:
    if figure is None or figure.value is None:
        return "not defined"
    return f"{figure.value:.4f} ({_interval(figure)}, n = {figure.n:,})"


def _features(source: Source) -> list[str]:
    columns = source.encoded.schema.columns
    by_side = {
        side: [f"{each.name} ({each.kind})" for each in columns if each.side == side]
        for side in ("item", "request", "pair")
    }
    return [f"{side}: {', '.join(names) or 'nothing'}" for side, names in by_side.items()]


def _tables(source: Source, loss: Mapping[str, Any]) -> str:
    said = f"Embedding tables and item vectors are stored as {source.precision.value}."
    if not loss:
        return said
    lines = [
        row((name, f"{each['fp32']:.5f}", f"{each['stored']:.5f}", f"{each['loss']:+.5f}", f"{each['n']:,}"))
        for name, each in loss.items()
    ]
    header = [row(("metric", "fp32", "stored", "loss", "n")), row(("---",) * 5)]
    return "\n\n".join([f"{said} On the test split that costs:", "\n".join([*header, *lines])])


def _limits(source: Source, simulated: bool) -> list[str]:
    last = source.log.facts["splits"].get("train", {}).get("last")
    said = [
        "It orders candidates; its probabilities are those of this log, whose own ranking model chose what was shown.",
        "Items that it was not trained on are scored by their attributes and a hashed id that others may share.",
        "Of a text its first words and 3-grams count, of a list its first values (`lengths` in features.json).",
    ]
    if last:
        said.append(f"It has seen nothing after {last}: measure it again as prices, items and users move on.")
    if simulated:
        said.append("It was fitted on a simulated marketplace and is a demonstration, not a product.")
    return said


def _training(source: Source) -> str:
    values = system_keys(source.config.model).settings(source.config)
    return bullets(f"`{key}={_plain(value)}`" for key, value in values.items())


def _plain(value: object) -> str:
    return (
        f"[{','.join(map(str, value))}]" if isinstance(value, Sequence) and not isinstance(value, str) else str(value)
    )


def _loading(golden: int) -> str:
    return (
        "`pip install 'grace-prerank[serve]'` is enough; nothing that trains is needed.\n\n"
        "```python\n"
        "import json\n"
        "from pathlib import Path\n\n"
        "from prerank import Request, Scorer\n\n"
        'folder = Path(".")  # this one\n'
        'line = (folder / "golden.jsonl").open(encoding="utf-8").readline()\n'
        'Scorer.load(folder).top(Request.of(json.loads(line)["body"]), 10)\n'
        "```\n\n"
        "Or behind HTTP: `python -m prerank.serve bundle=FOLDER`. Loading checks the SHA-256 of every file and scores "
        f"the {golden} requests of golden.jsonl, to {TOLERANCE:g}."
    )
