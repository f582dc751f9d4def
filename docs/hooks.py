"""What ``make docs`` adds: formulas as MathML, the reference that is made from the code, a page for each notebook.

A page asks for a generated part by a line ``<!-- generated: NAME -->``, so that it reads as a page on GitHub as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from importlib import import_module
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File

from configs.reference import commands, keys

ROOMS = ("configs", "graph", "pretrain", "prerank", "index")
ROOT = Path(__file__).parents[1]
GENERATED = re.compile(r"^<!-- generated: (.+) -->$", re.MULTILINE)
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
WHOLE_TABLES = "results/tables/"


def on_files(files: Any, config: Any) -> None:
    """A page for each notebook, which itself lies beside the page; without outputs, as it is kept."""
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=_notebook(path)))


def _notebook(path: Path) -> str:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    parts = [text if kind == "markdown" else f"```python\n{text}\n```" for kind, text in texts]
    return "\n\n".join([*parts, f"The notebook: [{path.name}]({path.name})."])


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


def _api() -> str:
    parts = []
    for room in ROOMS:
        names = import_module(room).__all__
        parts += [f"## `{room}`", *(f"::: {room}.{name}" for name in names)]
    return "\n\n".join(parts)


PARTS: dict[str, Callable[[], str]] = {
    "api": _api,
    "commands": commands,
    "keys": keys,
    "how to add a system": lambda: _section("CONTRIBUTING.md", "How to add a system"),
}
