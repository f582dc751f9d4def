"""What commands print: one console for all stages, plain text where the output is not a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

console = Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else 110)


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


def progress() -> Progress:
    """A progress bar; where the output is not a terminal nothing is drawn, so that logs stay readable."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
        disable=not sys.stdout.isatty(),
    )
