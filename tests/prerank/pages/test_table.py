"""One table in three places: cells are text in Markdown and on a page, figures stand to the right."""

from __future__ import annotations

from html.parser import HTMLParser

from markupsafe import Markup

from prerank.pages.markdown import bullets, document, heading
from prerank.pages.render import embedded
from prerank.pages.table import Table

HOSTILE = "</td><script>alert(1)</script> | a\nb"


class Cells(HTMLParser):
    """The elements of a table, and the texts of its cells."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.labels: list[str | None] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.labels += [value for name, value in attrs if name == "data-label"]


def test_cells_are_text_in_markdown() -> None:
    lines = Table(["name", HOSTILE], [[HOSTILE, "1"]]).as_markdown().splitlines()
    assert lines[1] == "|---|---:|"
    assert len(lines) == 3
    for line in lines:
        assert line.replace("\\|", "").count("|") == 3
        assert "<" not in line


def test_cells_are_text_on_a_page_and_say_what_column_they_are_of() -> None:
    cells = Cells(Table(["name", HOSTILE], [[HOSTILE, HOSTILE], ["b", "2"]], "t", "n").__html__())
    assert cells.tags.count("td") == cells.tags.count("th") - 2 == 2
    assert cells.labels == [HOSTILE, HOSTILE]
    assert "script" not in cells.tags


def test_markup_in_a_cell_stays_markup() -> None:
    link = Markup('<a href="/run/{}">{}</a>').format("x", HOSTILE)
    cells = Cells(Table(["name", "n"], [[link, "1"]]).__html__())
    assert cells.tags.count("a") == 1
    assert "script" not in cells.tags


def test_a_console_shows_brackets_as_text(capsys: object) -> None:
    Table(["name", "n"], [["[red]", "1"]], "title").show()
    assert "[red]" in capsys.readouterr().out  # type: ignore[attr-defined]


def test_a_document_has_a_blank_line_between_blocks_and_none_for_what_is_empty() -> None:
    text = document(heading(2, "a\n<b>"), "", bullets(["x", "<y>"]))
    assert text == "## a &lt;b>\n\n- x\n- &lt;y>\n"


def test_embedded_json_cannot_end_its_element() -> None:
    text = embedded({"a": HOSTILE, "b": "ψ\u2028&'"})
    assert not set(text) & set("<>&'\u2028")
    assert "ψ" in text
