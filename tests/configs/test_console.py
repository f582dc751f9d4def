"""What is said of progress, on a terminal and into a file."""

from __future__ import annotations

import sys

import pytest

from configs import console as module
from configs.console import console, progress


@pytest.mark.parametrize("terminal", [False, True])
def test_what_is_tracked_without_a_note_is_shown(terminal, monkeypatch, capsys):
    monkeypatch.setattr(module, "SECONDS_APART", 0)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    with progress() as bar:
        assert list(bar.track([1, 2, 3], description="reading")) == [1, 2, 3]
        if terminal:
            console.print(bar.get_renderable())
    assert "reading" in capsys.readouterr().out


def test_a_note_is_said_with_the_count(monkeypatch, capsys):
    monkeypatch.setattr(module, "SECONDS_APART", 0)
    with progress() as bar:
        task = bar.add_task("learning", total=2)
        bar.update(task, advance=1, note="9 pairs/s")
    assert "learning: 1 of 2, 9 pairs/s" in capsys.readouterr().out
