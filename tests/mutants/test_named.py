"""The list of breaks keeps up with the code: each still says where it is, and leaves Python behind."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location("named", Path(__file__).with_name("named.py"))
assert _spec is not None
assert _spec.loader is not None
named = importlib.util.module_from_spec(_spec)
sys.modules["named"] = named  # dataclasses look their module up
_spec.loader.exec_module(named)


@pytest.mark.parametrize("mutant", named.NAMED, ids=lambda mutant: mutant.name)
def test_break_is_in_place(mutant: named.Mutant) -> None:
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    assert text.count(mutant.old) == 1
    ast.parse(text.replace(mutant.old, mutant.new))
    for tests in mutant.tests:
        assert (ROOT / tests).exists()


def test_names_are_unique() -> None:
    names = [mutant.name for mutant in named.NAMED]
    assert len(set(names)) == len(names)
