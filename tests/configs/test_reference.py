"""The reference holds every key and every command."""

from __future__ import annotations

import subprocess
import sys

from configs.commands import COMMANDS
from configs.layers import CONFIGS
from configs.options import options
from configs.reference import commands, keys, reference


def rows(table: str) -> dict[str, list[str]]:
    """First cell of every row → all cells, without the heads."""
    lines = [line for line in table.splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return {row[0].strip("`"): row for row in cells}


def test_every_key_has_one_row_of_five_cells():
    table = rows(keys())
    assert list(table) == [option.name for option in options()]
    assert {len(row) for row in table.values()} == {5}
    expected = ["`graph.half_life_days`", "float", "`14.0`", "above 0", "days after which an event's weight halves"]
    assert table["graph.half_life_days"] == expected
    assert table["data.path"][1:3] == ["str or None", "none"]
    assert table["data.split.by"][1:3] == ["auto or day or session", "`auto`"]
    assert table["name"][4].count("&lt;name>") == 1, "a browser would take it for a tag"


def test_keys_stand_under_their_section():
    page = keys()
    assert page.startswith("## Keys without a section\n")
    assert "`model.item.hidden`" in page.split("## `model`")[1].split("## ")[0]


def test_every_command_says_what_it_reads():
    table = rows(commands())
    assert list(table) == [f"python -m {name}" for name in COMMANDS]
    for command in COMMANDS.values():
        _, word, purpose, reads, inherits = table[f"python -m {command.name}"]
        assert word == f"`grace {command.word}`"
        assert purpose == command.purpose
        assert all(f"`{key}`" in reads for key in (*command.reads, *command.but))
        assert all(f"`{key}`" in inherits for key in command.inherits)


def test_the_program_writes_the_page(tmp_path):
    file = tmp_path / "keys.md"
    program = [sys.executable, "-m", "configs.reference"]
    subprocess.run([*program, str(file)], check=True, cwd=CONFIGS.parent)
    printed = subprocess.run(program, check=True, cwd=CONFIGS.parent, capture_output=True, text=True)
    assert file.read_text() == printed.stdout == reference()
