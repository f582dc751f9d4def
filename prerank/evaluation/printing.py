"""What the terminal shows of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from configs.console import say, table, warn
from prerank.evaluation.claims import MINIMUM_N, too_few
from prerank.evaluation.evaluation import Cells, Metrics
from prerank.evaluation.segments import say_left_out


def print_evaluation(metrics: Metrics, protocol: Mapping[str, Any]) -> None:
    """Print the main metrics of each split (by segment on test), and warn about everything that is undefined."""
    for task, reason in protocol["tasks_off"].items():
        warn(f"task {task} is off: {reason}")
    for split, segments in metrics.items():
        facts = protocol["splits"][split]
        recall = [f"recall_at_{k}" for k in (10, *facts["recall_at"]) if k in facts["recall_at"]][:1]
        shown = ["auc_click", "auc_order", "gauc_click", *recall]
        title = (
            f"{split}: {facts['rows']:,} rows, {facts['requests']:,} requests; "
            f"{protocol['confidence']:.0%} intervals, {facts['clusters']:,} {facts['unit']}s resampled"
        )
        wanted = segments if split == "test" else {"all": segments["all"]}
        lines = [[segment, *(_cell(cells, name) for name in shown)] for segment, cells in wanted.items()]
        table(title, ["segment", *shown], lines)
        if any("too few" in cell for line in lines for cell in line[1:]):
            say(f"{split}: too few: n below {MINIMUM_N}, no systems are compared on it")
        for name, figure in segments["all"].items():
            if figure.value is None and "one class" in (figure.reason or ""):
                warn(f"{split}: {name} is undefined: {figure.reason}")
        if facts["recall_left_out"]:
            left = ", ".join(str(k) for k in facts["recall_left_out"])
            say(f"{split}: Recall@k is left out for k = {left}: no list is longer ({facts['longest_list']} items)")
        whole = facts["whole_recalled_sets"]
        say(
            f"{split}: recall_at_k is measured on the ranked lists"
            + (
                f", recall_full_at_k on the whole recalled sets of {whole:,} requests"
                if whole
                else "; the log has no whole recalled set for recall_full_at_k"
            )
        )
    say_left_out(protocol["segments_left_out"])


def _cell(cells: Cells, name: str) -> str:
    """Value, interval, n (and whether that is too few), and the chance level of a metric that has one: two lines."""
    figure = cells.get(name)
    if figure is None or figure.value is None:
        return f"–\nn {0 if figure is None else figure.n:,}"
    interval = "" if figure.low is None else f" ({figure.low:.3f}–{figure.high:.3f})"
    chance = "" if figure.chance is None else f", chance {figure.chance:.3f}"
    few = " (too few)" if too_few(figure) else ""
    return f"{figure.value:.3f}{interval}\nn {figure.n:,}{few}{chance}"
