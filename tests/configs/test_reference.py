"""The reference page holds every key and every command."""

from __future__ import annotations

import re
import subprocess
import sys

from configs.commands import COMMANDS
from configs.layers import CONFIGS, GROUPS, group_names
from configs.options import options
from configs.reference import reference


def rows(page: str) -> list[list[str]]:
    """The cells of every row of a table but the heads."""
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    return [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]


def test_every_key_has_one_row_of_five_cells():
    cells = rows(reference())
    assert {len(row) for row in cells} == {5}
    assert [row[0].strip(" `") for row in cells] == [option.name for option in options()]
    by_name = {row[0].strip(" `"): [cell.strip() for cell in row] for row in cells}
    expected = ["`graph.half_life_days`", "float", "`14.0`", "above 0", "days after which an event's weight halves"]
    assert by_name["graph.half_life_days"] == expected
    assert by_name["data.path"][1:3] == ["str or None", "none"]


def test_every_command_says_what_it_reads():
    page = reference()
    for command in COMMANDS.values():
        about = page.split(f"### `python -m {command.name}`")[1].split("###")[0]
        assert command.purpose in about
        assert all(f"`{key}`" in about for key in (*command.reads, *command.but, *command.inherits))


def test_every_file_to_choose_from_is_named():
    page = reference()
    for group in GROUPS:
        line = next(line for line in page.splitlines() if line.startswith(f"- `{group}=`"))
        assert re.findall(r"`(\w+)`", line) == group_names(group)


def test_the_command_writes_the_page(tmp_path):
    file = tmp_path / "keys.md"
    command = [sys.executable, "-m", "configs.reference"]
    subprocess.run([*command, str(file)], check=True, cwd=CONFIGS.parent)
    printed = subprocess.run(command, check=True, cwd=CONFIGS.parent, capture_output=True, text=True)
    assert file.read_text() == printed.stdout == reference()
