"""Self-contained pages from templates: everything is escaped, and what a page lacks is an error.

Every template extends ``base.html``, which brings the theme (``page.css``), the rules for paper (``print.css``) and
what the scripts share (``page.js``). A page's own template, style and script lie in ``templates`` of its package.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from prerank.pages.numbers import figure, interval, number, percent
from prerank.pages.plot import SHAPES

TEMPLATES = Path(__file__).parent / "templates"
"""What all pages share."""


def render_page(template: str, folder: Path, **content: Any) -> str:
    """A page as text.

    Args:
        template: its name.
        folder: of the page's package; its ``templates`` are looked through before :data:`TEMPLATES`.
        content: what the template may name; ``content`` is embedded for the page's script.
    """
    return _environment(folder / "templates").get_template(template).render(content)


@cache
def _environment(folder: Path) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"SHAPES": SHAPES, "percent": percent}
    environment.filters |= {
        "address": lambda path: "/".join(quote(part, safe="") for part in path.split("/")),
        "count": "{:,}".format,
        "embedded": embedded,
        "figure": figure,
        "number": number,
        "interval": interval,
        "percent": percent,
    }
    return environment


def embedded(content: Any) -> Markup:
    """Strict JSON for a script element: no character in it can end the element or open another one.

    Letters stay themselves, so that a title in any script takes its own bytes, not six for each letter.
    """
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&'\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def shortened(text: str, longest: int) -> str:
    """A text without its middle: beginnings alone would make one of names that end differently (``page.js``, too)."""
    end = (longest - 1) // 2
    return text if len(text) <= longest else f"{text[: longest - 1 - end]}…{text[len(text) - end :]}"


def rounded(value: Any, decimals: int) -> Any:
    """A figure, or all floats in a list or mapping of figures, rounded: digits that nobody sees fill a page."""
    if isinstance(value, float):
        return round(value, decimals)
    if isinstance(value, Mapping):
        return {key: rounded(each, decimals) for key, each in value.items()}
    return [rounded(each, decimals) for each in value] if isinstance(value, list) else value
