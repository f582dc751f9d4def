"""A small run comes to the figures of benchmarks/expected.yaml, and a figure that leaves its tolerance is told."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "expected.py"


@pytest.fixture(scope="module")
def script() -> dict[str, object]:
    return runpy.run_path(str(SCRIPT))


@pytest.mark.timeout(900)
def test_the_figures_are_as_expected(script, tmp_path, tiny_log):
    shutil.copytree(tiny_log, tmp_path / "expected" / "logs")
    figures = script["figures_of"](script["make"](tmp_path))
    assert script["departures"](figures, script["read_expected"]()) == []


def test_a_departure_is_told(script):
    expected = {"a": {"value": 3, "within": 0}, "b": {"value": 0.5, "within": 0.02}, "c": {"value": 1, "within": 9}}
    assert script["departures"]({"a": 3, "b": 0.519, "c": 2}, expected) == []
    assert script["departures"]({"a": 4, "b": 0.53, "d": float("nan")}, expected) == [
        "a is 4, expected 3 within 0",
        "b is 0.53, expected 0.5 within 0.02",
        "c is missing",
        "d is not expected",
    ]
    assert script["departures"]({"a": float("nan")}, {"a": expected["a"]}) == ["a is nan, expected 3 within 0"]
