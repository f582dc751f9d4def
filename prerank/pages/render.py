"""Self-contained pages from templates: everything is escaped, and what a page lacks is an error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

TEMPLATES = Path(__file__).parent / "templates"
"""The pages' templates, and what they share: ``page.js``, functions for their scripts, and ``print.css``."""


def render_page(template: str, content: Mapping[str, Any], *folders: Path) -> str:
    """A page as text.

    Args:
        template: its name.
        content: what the template calls ``content``; its JSON is strict and without spaces.
        folders: of templates, looked through before :data:`TEMPLATES`.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return environment.get_template(template).render(content=content)


def rounded(value: Any, decimals: int) -> Any:
    """A figure, or all floats in a list or mapping of figures, rounded: digits that nobody sees fill a page."""
    if isinstance(value, float):
        return round(value, decimals)
    if isinstance(value, Mapping):
        return {key: rounded(each, decimals) for key, each in value.items()}
    return [rounded(each, decimals) for each in value] if isinstance(value, list) else value
