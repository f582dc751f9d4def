"""``python -m index.trends``: the figures of several runs or dates in order of time, and which of them moved.

metrics.json of every system and audit.json of every run → series → changes with intervals, corrected together →
``reports/trends.html``, ``trends.json`` and ``trends.md`` of ``run``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.command import Invocation
from configs.console import say
from configs.locks import alone
from configs.stages import replacing, write_json
from index.trends.changes import changes_of
from index.trends.read import measured_runs, series_of
from index.trends.report import as_json, as_markdown, page, report_of


@dataclass(frozen=True)
class Trends:
    """A finished report.

    Args:
        content: all that ``trends.json`` holds.
        files: the page, the JSON and the Markdown.
    """

    content: dict[str, Any]
    files: list[Path]


def trends(invocation: Invocation) -> Trends:
    """Compare the runs of ``trends.runs``, or all of ``runs_folder`` that hold the newest run's data.

    Returns:
        What was found, and the files written into the reports folder of ``run``.

    Raises:
        InputError: if fewer than two runs hold figures, or a run, system, metric or segment is not there.
    """
    settings = invocation.config.trends
    runs = measured_runs(Path(invocation.config.runs_folder), settings)
    series = series_of(runs, settings)
    report = report_of(invocation.run.root.name, runs, series, changes_of(series, runs))
    for sentence in report.verdict:
        say(sentence)
    folder = invocation.run.reports
    files = [folder / "trends.html", folder / "trends.json", folder / "trends.md"]
    content = as_json(report)
    with alone(folder):  # so that the three are of one report
        write_json(files[1], content)
        for path, text in ((files[2], as_markdown(report)), (files[0], page(report))):
            with replacing(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
    say(f"trends report: {files[0]}")
    return Trends(content, files)
