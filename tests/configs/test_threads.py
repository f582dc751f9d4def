"""Threads spin only where nothing else runs: elsewhere they would take the cores from others, and from each other."""

from __future__ import annotations

from pathlib import Path

import pytest

import configs


@pytest.mark.parametrize(
    ("said", "alone"),
    [("0.1 0.2 0.3 1/200 77", True), ("0.1 0.2 0.3 3/200 77", False), ("", False), ("a b c d", False)],
)
def test_other_running_threads_are_seen(said, alone, monkeypatch):
    monkeypatch.setattr(Path, "read_text", lambda _: said)
    assert configs._nobody_computes() is alone


def test_a_system_that_does_not_say_is_not_idle(monkeypatch):
    def missing(_: Path) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert configs._nobody_computes() is False
