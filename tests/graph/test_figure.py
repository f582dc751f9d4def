"""Figures and differences go to files and come back as they were."""

from __future__ import annotations

import json

import pytest

from graph.figure import Difference, Figure


@pytest.mark.parametrize(
    "figure",
    [
        Figure(0.5, 0.4, 0.6, 9),
        Figure(0.5, 0.4, 0.6, 9, unit="nats", chance=0.0),
        Figure(0.5, None, None, 1, reason="no interval: there is one unit to draw from"),
        Figure.undefined("no rows", 3),
        Figure.exact(0.1, 4),
    ],
)
def test_what_was_written_is_read_back(figure):
    assert Figure.read(json.loads(json.dumps(figure.as_json(), allow_nan=False))) == figure


def test_a_file_holds_what_there_is_and_no_more():
    assert Figure(0.5, 0.4, 0.6, 9).as_json() == {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9}
    untested = {"value": 0.5, "low": None, "high": None, "n": 9, "p": None, "visible": None}
    assert Difference(0.5, None, None, 9).as_json() == untested
    corrected = Difference(0.5, 0.4, 0.6, 9, p=0.01, p_holm=0.02, visible=0.1).as_json()
    assert (corrected["p"], corrected["p_holm"], corrected["visible"]) == (0.01, 0.02, 0.1)


def test_an_undefined_difference_is_a_difference():
    assert isinstance(Difference.undefined("no rows"), Difference)


def test_a_cell_without_its_interval_is_no_figure():
    with pytest.raises(KeyError):
        Figure.read({"value": 0.5, "n": 3})
