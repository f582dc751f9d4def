"""Commands and keys as Markdown: ``python -m configs.reference [FILE]``; the site's reference is made of the parts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from itertools import groupby
from pathlib import Path

from configs.commands import COMMANDS, Command
from configs.console import print_whatever_the_encoding
from configs.options import Option, options
from configs.schema import Config


def reference() -> str:
    """All of it as one page."""
    return f"# Commands\n\n{commands()}\n# Keys\n\n{keys()}"


def commands() -> str:
    """A table of the commands: what each is for, which keys it reads, and which it takes from its run."""
    rows = [
        (
            f"`python -m {command.name}`",
            f"`grace {command.word}`",
            command.purpose,
            _reads(command),
            _names(command.inherits),
        )
        for command in COMMANDS.values()
    ]
    return _table(
        ("command", "or", "what it does", "keys that it reads", "what else it takes from its run or system"), rows
    )


def keys() -> str:
    """A table of keys for each section of the configuration."""
    about = {entry.name: entry.metadata["help"] for entry in fields(Config) if is_dataclass(entry.default_factory)}
    parts = []
    for section, entries in groupby(options(), lambda option: option.name.rpartition(".")[0].split(".")[0]):
        heading = f"## `{section}`: {about[section]}" if section else "## Keys without a section"
        parts.append(f"{heading}\n\n{_table(('key', 'type', 'default', 'range', 'meaning'), [*map(_row, entries)])}")
    return "\n".join(parts)


def _reads(command: Command) -> str:
    return _names(command.reads) + (f", but not {_names(command.but)}" if command.but else "")


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _row(option: Option) -> tuple[str, ...]:
    kind = option.kind.replace(" | ", "|").replace("|", " or ")
    default = "none" if option.default is None else f"`{option.default}`"
    return f"`{option.name}`", kind, default, option.limits, option.meaning.replace("<", "&lt;")


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *([cell.replace("|", "&#124;") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


if __name__ == "__main__":
    print_whatever_the_encoding()
    if sys.argv[1:]:
        Path(sys.argv[1]).write_text(reference(), encoding="utf-8")
    else:
        sys.stdout.write(reference())
