"""One table for the console, for Markdown and for a page; what its cells hold is text in all three."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from configs import console
from prerank.pages import markdown


@dataclass(frozen=True)
class Table:
    """Rows of text under named columns: the first column says what a row is of, the others hold its figures.

    Attributes:
        columns: their names.
        rows: as many cells each as there are columns; on a page a cell may be markup, everything else is escaped.
        title: what it shows.
        name: what a page's style and script call it.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    name: str = ""

    def show(self) -> None:
        """Print it."""
        console.table(self.title, self.columns, self.rows)

    def as_markdown(self) -> str:
        """Without its title; figures stand to the right."""
        rule = "|---|" + "---:|" * (len(self.columns) - 1)
        return "\n".join([markdown.row(self.columns), rule, *map(markdown.row, self.rows)])

    def __html__(self) -> Markup:
        """As a template shows it: on a phone, where rows are cards, each cell says what column it is of."""
        column = Markup('<th scope="col">{}</th>')
        head, data = Markup('<th scope="row">{}</th>'), Markup('<td data-label="{}">{}</td>')
        rows = [
            head.format(first) + Markup("").join(map(data.format, self.columns[1:], cells))
            for first, *cells in self.rows
        ]
        return Markup(
            '<div class="scroll" tabindex="0" role="region" aria-label="{}"><table id="{}">'
            "<thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>"
        ).format(
            self.title or self.name,
            self.name,
            Markup("").join(map(column.format, self.columns)),
            Markup("\n").join(map(Markup("<tr>{}</tr>").format, rows)),
        )
