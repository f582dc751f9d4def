"""``python -m configs.reference [FILE]``: every key and command as a page of Markdown, to FILE or to the console."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from itertools import groupby
from pathlib import Path

from configs.commands import COMMANDS, Command
from configs.layers import GROUPS, group_names
from configs.options import Option, options
from configs.schema import Config

OPENING = """# Keys

Every command takes `key=value` and `--config FILE`, and refuses a key that it does not read. `python -m COMMAND --help`
prints the keys of one command. This page is made from `configs/schema.py` and `configs/commands.py`.
"""


def reference() -> str:
    """The page: the commands with what they read, then a table of keys for each section."""
    choices = [f"- `{group}=`: {', '.join(f'`{name}`' for name in group_names(group))}" for group in GROUPS]
    parts = [OPENING, "## Commands\n", *_commands(), "## Files to choose from\n", "\n".join(choices) + "\n"]
    about = {entry.name: entry.metadata["help"] for entry in fields(Config) if is_dataclass(entry.default_factory)}
    for section, keys in groupby(options(), lambda option: option.name.split(".")[0] if "." in option.name else ""):
        heading = f"## `{section}`: {about[section]}\n" if section else "## Keys without a section\n"
        parts += [heading, _table(("key", "type", "default", "range", "meaning"), [_row(key) for key in keys])]
    return "\n".join(parts)


def _commands() -> Iterator[str]:
    for command in COMMANDS.values():
        yield f"### `python -m {command.name}`\n\n{command.purpose}\n"
        yield f"- reads {_names(command.reads)}{_exceptions(command)}"
        if command.inherits:
            yield f"- takes from its run or fitted system what it is not told: {_names(command.inherits)}"
        yield ""


def _exceptions(command: Command) -> str:
    return f", but not {_names(command.but)}" if command.but else ""


def _names(keys: Sequence[str]) -> str:
    return ", ".join(f"`{key}`" for key in keys)


def _row(option: Option) -> tuple[str, ...]:
    default = "none" if option.default is None else f"`{option.default}`"
    return f"`{option.name}`", option.kind.replace("|", "or"), default, option.limits, option.meaning


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


if __name__ == "__main__":
    if sys.argv[1:]:
        Path(sys.argv[1]).write_text(reference(), encoding="utf-8")
    else:
        sys.stdout.write(reference())
