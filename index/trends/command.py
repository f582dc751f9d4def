"""``python -m index.trends``: the figures of several runs or dates in order of time, and which of them moved.

metrics.json of every system and audit.json of every run → series → changes with intervals, corrected together →
``reports/trends.html``, ``trends.json`` and ``trends.md`` of ``run``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.command import Request, main
from configs.console import say
from configs.stages import replacing, write_json
from index.trends_changes import changes_of
from index.trends_read import measured_runs, series_of
from index.trends_report import as_markdown, page, report_content

PURPOSE = "Show how the figures of several runs moved (run=REPORT trends.runs=[a,b,c])."


@dataclass(frozen=True)
class Trends:
    """A finished report.

    Args:
        content: all that ``trends.json`` holds.
        files: the page, the JSON and the Markdown.
    """

    content: dict[str, Any]
    files: list[Path]


def trends(request: Request) -> Trends:
    """Compare the runs of ``trends.runs``, or all of ``runs_folder`` that hold the newest run's data.

    Returns:
        What was found, and the files written into the reports folder of ``run``.

    Raises:
        InputError: if fewer than two runs hold figures, or a run, system, metric or segment is not there.
    """
    settings = request.config.trends
    runs = measured_runs(Path(request.config.runs_folder), settings)
    series = series_of(runs, settings)
    content = report_content(request.run.root.name, runs, series, changes_of(series, runs))
    for sentence in content["verdict"]:
        say(sentence)
    folder = request.run.reports
    files = [folder / "trends.html", folder / "trends.json", folder / "trends.md"]
    write_json(files[1], content)
    for path, text in ((files[2], as_markdown(content)), (files[0], page(content))):
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    say(f"trends report: {files[0]}")
    return Trends(content, files)


def _body(request: Request) -> None:
    trends(request)


if __name__ == "__main__":
    sys.exit(main(_body, PURPOSE))
