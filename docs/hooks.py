"""What ``make docs`` adds to the pages: formulas as MathML, and the reference that is made from the code.

A page asks for a generated part by a line ``<!-- generated: NAME -->``, so that it reads as a page on GitHub as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape, unescape
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert

ROOT = Path(__file__).parents[1]
GENERATED = re.compile(r"^<!-- generated: (.+) -->$", re.MULTILINE)
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
WHOLE_TABLES = "results/tables/"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in the generated parts; whole tables are read and not searched."""
    if page.file.src_uri.startswith(WHOLE_TABLES):
        page.meta["search"] = {"exclude": True}
        page.meta["hide"] = ["navigation"]
    return GENERATED.sub(lambda line: PARTS[line[1]](), markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Formulas as MathML, which browsers draw by themselves: no script and no fonts."""
    return FORMULA.sub(_as_mathml, html)


def _as_mathml(formula: re.Match[str]) -> str:
    return convert(unescape(formula[3]).strip(), display="block" if formula[2] == "[" else "inline")


def _section(file: str, heading: str) -> str:
    text = (ROOT / file).read_text(encoding="utf-8")
    return text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0].strip()


def _commands() -> str:
    from configs.commands import COMMANDS

    rows = [f"| `python -m {command.name}` | {command.purpose} |" for command in COMMANDS.values()]
    return "\n".join(["| command | what it does |", "|---|---|", *rows])


def _keys() -> str:
    from configs.command import _keys
    from configs.schema import Config

    sections: dict[str, list[str]] = {}
    for name, kind, default, meaning in _keys(Config, ""):
        section = name.rsplit(".", 1)[0] if "." in name else "of every command"
        row = f"| `{name}` | {_cell(kind)} | `{_cell(str(default))}` | {_cell(meaning)} |"
        sections.setdefault(section, ["| key | type | default | meaning |", "|---|---|---|---|"]).append(row)
    return "\n\n".join("\n".join([f"## {section}", "", *rows]) for section, rows in sections.items())


def _cell(text: str) -> str:
    return escape(text, quote=False).replace("|", "&#124;")


PARTS: dict[str, Callable[[], str]] = {
    "commands": _commands,
    "keys": _keys,
    "how to add a system": lambda: _section("CONTRIBUTING.md", "How to add a system"),
}
