"""What commands print: one console for all stages, plain text where the output is not a terminal."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

SECONDS_APART = 5.0
"""Between two lines of progress where the output is not a terminal."""
console = Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else 110)


def print_whatever_the_encoding() -> None:
    """Print ``?`` for what the output's encoding lacks, as cp1252 and Latin-1 lack φ, where Python would raise."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # error output has an escape for it by default
        sys.stdout.reconfigure(errors="replace")


def say(text: str) -> None:
    """Print one line for the user; square brackets are text, never markup."""
    console.print(text, markup=False)


def warn(text: str) -> None:
    """Print one line that the user should not miss."""
    console.print(f"warning: {text}", style="yellow", markup=False)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table; the first column is left-aligned text, the others are right-aligned."""
    grid = Table(title=title, title_justify="left", header_style="bold")
    for index, column in enumerate(columns):
        grid.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        grid.add_row(*(str(cell) for cell in row))
    console.print(grid, markup=False)


class _Noted(Progress):
    """Progress whose tasks may have a note; one without has an empty one."""

    def add_task(self, description: str, *arguments: Any, note: str = "", **fields: Any) -> TaskID:
        return super().add_task(description, *arguments, note=note, **fields)


class _Lines(_Noted):
    """Progress where the output is no terminal: a line every few seconds, so that a file shows how far things are."""

    said = time.monotonic()
    """When the last line was said, by whichever bar: many short ones in a row speak too."""

    def update(self, task_id: TaskID, **fields: Any) -> None:
        super().update(task_id, **fields)
        self._speak(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        super().advance(task_id, advance)
        self._speak(task_id)

    def _speak(self, task_id: TaskID) -> None:
        if time.monotonic() - _Lines.said >= SECONDS_APART:
            _Lines.said = time.monotonic()
            task = next(task for task in self.tasks if task.id == task_id)
            note = f", {task.fields['note']}" if task.fields["note"] else ""
            say(f"{task.description}: {task.completed:,.0f} of {task.total or 0:,.0f}{note}")


def progress() -> Progress:
    """A progress bar; a line every few seconds where the output is not a terminal."""
    if not sys.stdout.isatty():
        return _Lines(console=console, disable=True)
    return _Noted(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
    )
