"""What the pages name exists: files, modules and their members, commands, keys. And no page is long.

Links between pages are checked by ``mkdocs build --strict``.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from configs.commands import COMMANDS
from configs.layers import CONFIGS, GROUPS, SPELT
from configs.options import names

ROOT = Path(__file__).parents[2]
ROOMS = ("configs", "graph", "pretrain", "prerank", "index")
PAGES = sorted([*ROOT.glob("docs/**/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
WHOLE_TABLES = ROOT / "docs" / "results" / "tables"
WORDS = 1200
NO_KEYS = {"key", "day", "hour", "limit", "impressions"}
"""What stands before ``=`` in code and is no key: ``key=value`` itself, a log's folders, an argument in Python."""

OWN = ("clicks_only", "models/clicks_only.yaml")
"""What a reader writes: the model of docs/guides/add_system.md."""

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"(?<![\w/.<>-])((?:[\w.-]+/)*[\w.-]+\.(?:py|yaml|toml|jinja))\b")
DOTTED = re.compile(rf"(?<![\w./])((?:{'|'.join(ROOMS)})(?:\.[A-Za-z_]\w*)+)")
KEY = re.compile(r"(?<![\w./?&\"'<])([a-z_]+(?:\.[a-z_]+)*)=(?!=)")
IMPORT = re.compile(r"^from ([\w.]+) import ([\w, ]+)$", re.MULTILINE)
COMMAND = re.compile(r"python -m ((?:graph|pretrain|prerank|index)[\w.]*)")


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _code(text: str) -> Iterator[str]:
    """Inline code, and blocks that are not Python: their names are arguments of functions."""
    for language, block in BLOCK.findall(text):
        if language != "python":
            yield block
    yield from INLINE.findall(BLOCK.sub("", text))


def _imported(text: str) -> Iterator[str]:
    """What the page's Python imports."""
    for language, block in BLOCK.findall(text):
        if language == "python":
            for module, names in IMPORT.findall(block):
                yield from (f"{module}.{name.strip()}" for name in names.split(","))


def prose_words(text: str) -> int:
    """Words of sentences, lists and headings; tables, code, comments and the addresses of links are not counted."""
    text = re.sub(r"<!--.*?-->", "", BLOCK.sub("", text), flags=re.DOTALL)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return sum(len(line.split()) for line in text.splitlines() if not line.lstrip().startswith(("|", "![", "[!")))


@cache
def _exists(dotted: str) -> bool:
    """Whether a dotted name is a key, a section of keys, a module, or a member of one."""
    if any(key == dotted or key.startswith(f"{dotted}.") for key in names()):
        return True
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        try:
            if find_spec(name) is None:
                continue
        except ModuleNotFoundError:
            continue
        member = None if length == len(parts) else importlib.import_module(name)
        for part in parts[length:]:
            member = getattr(member, part, None)
            if member is None:
                return False
        return True
    return False


def _placeholder(path: str) -> bool:
    return any(part.split(".")[0].isupper() for part in path.removeprefix("test_").replace("/test_", "/").split("/"))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_files_that_a_page_names_exist(page):
    paths = {path for code in _code(page.read_text(encoding="utf-8")) for path in FILE.findall(code) if "/" in path}
    lacking = [path for path in sorted(paths) if not _placeholder(path) and not path.startswith(("runs/", "../", *OWN))]
    assert [path for path in lacking if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_modules_members_and_commands_that_a_page_names_exist(page):
    text = page.read_text(encoding="utf-8")
    names = {name for code in _code(text) for name in DOTTED.findall(code)} - {"index.html", "graph.json"}
    names |= {name for name in _imported(text) if name.split(".")[0] in ROOMS}
    assert [name for name in sorted(names) if not _exists(name)] == []
    assert {name for code in _code(text) for name in COMMAND.findall(code)} <= set(COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_keys_that_a_page_sets_exist(page):
    short = {key.rsplit(".", 1)[1] for command in COMMANDS.values() for key in command.short}
    allowed = {*names(), *GROUPS, *SPELT, *short, *NO_KEYS}
    keys = {key for code in _code(page.read_text(encoding="utf-8")) for key in KEY.findall(code)}
    assert sorted(keys - allowed) == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_models_data_and_experiments_that_a_page_names_exist(page):
    for code in _code(page.read_text(encoding="utf-8")):
        for group, name in re.findall(rf"(?<![\w.])({'|'.join(GROUPS)})=([a-z_]+)", code):
            assert name in OWN or (CONFIGS / group / f"{name}.yaml").exists(), f"{group}={name}"


@pytest.mark.parametrize("page", [page for page in PAGES if WHOLE_TABLES not in page.parents], ids=_name)
def test_a_page_is_no_longer_than_its_readers_patience(page):
    assert prose_words(page.read_text(encoding="utf-8")) <= (600 if page.name == "README.md" else WORDS)
