"""The table and the picture: every row is there, nothing in a title becomes markup, unknown figures are said."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from prerank.evaluation.significance import estimate
from prerank.mechanisms.gains import Gain
from prerank.mechanisms.plan import Axis, Condition, Expectation, Measure, MechanismPlan, Module, SystemVariant
from prerank.mechanisms.report import write_report
from prerank.pages.numbers import points
from prerank.pages.plot import CIRCLE, DIAMOND, SHAPES, SQUARE

GAUC, TAIL = Measure("gauc_click", "all"), Measure("gauc_click", "tail")
WICKED = "</text><script>alert(1)</script> & | a \"title\" 'x'"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def plan():
    modules = {
        name: Module(name, f"Module {name}", SystemVariant("grace", {}), SystemVariant("ple", {}))
        for name in ("m", "k")
    }
    axes = {"dose": Axis("dose", WICKED, "m", GAUC, True)}
    expect = {name: {Expectation.helps: (GAUC, TAIL)} for name in modules}
    conditions = {
        name: Condition(name, f"{name} {WICKED}", "tiny", expect, {}, {"dose": 10.0**place})
        for place, name in enumerate("abc")
    }
    return MechanismPlan(modules, conditions, axes)


def gains_on(plan, values):
    return [
        Gain(
            condition,
            claim.module,
            measure,
            expected,
            measure == GAUC,
            dict(enumerate(values)),
            estimate(values),
            0.6,
            9,
        )
        for (condition, has), expected in zip(plan.conditions.items(), Expectation, strict=True)
        for claim in has.claims
        for measure in claim.measures
    ]


@pytest.mark.parametrize("values", [[], [0.01], [0.01, 0.012], [0.0, 0.0, 0.0], [0.02, -0.01, 0.05, 0.01, 0.0]])
def test_every_row_is_in_the_picture_and_the_table(plan, tmp_path, values):
    files = write_report(plan, gains_on(plan, values), 5, tmp_path)
    assert [file.name for file in files] == ["mechanisms.json", "mechanisms.md", "mechanisms.svg"]
    root = ElementTree.fromstring(files[2].read_text(encoding="utf-8"))
    assert not list(root.iter(f"{SVG}script"))
    shown = " ".join(text.text or "" for text in root.iter(f"{SVG}text"))
    tooltips = [title.text or "" for title in root.iter(f"{SVG}title")]
    if values:
        for name in plan.conditions:
            assert shown.count(f"{name} </text>") == 2  # one row in each module
            assert sum(title.startswith(name) for title in tooltips) == 3  # these, and the curve's point
        assert points(sum(values) / len(values)) in shown
    else:
        assert "no market yet" in shown
    markdown = files[1].read_text(encoding="utf-8")
    lines = [line for line in markdown.splitlines() if line.startswith("| Module")]
    assert len(lines) == 6 + 6 + 4 * 6  # primary, other claims, and four metrics by segment
    assert "<script" not in markdown
    assert {line.replace("\\|", "").count("|") for line in lines[:6]} == {12}
    assert "imulated" in markdown
    assert "Simulated" in shown


def test_shapes_and_colours_tell_what_was_expected(plan, tmp_path):
    text = write_report(plan, gains_on(plan, [0.01, 0.02]), 2, tmp_path)[2].read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    shapes = {
        style: [
            mark.get("d")
            for mark in root.iter(f"{SVG}path")
            if mark.get("class") == f"fill {style}" and mark.get("transform")  # an arrow is put down where it is
        ]
        for style in ("helps", "null", "open")
    }
    assert [len(drawn) for drawn in shapes.values()] == [4, 4, 4]  # legend, two rows, one point each
    circle, square, diamond = (set(drawn) for drawn in shapes.values())
    assert (circle, square, diamond) == ({SHAPES[CIRCLE]}, {SHAPES[SQUARE]}, {SHAPES[DIAMOND]})


def test_the_json_is_strict_and_says_that_it_is_simulated(plan, tmp_path):
    gains = gains_on(plan, [0.01])
    gains = [replace(gain, difference=replace(gain.difference, p_holm=0.5)) for gain in gains]
    text = write_report(plan, gains, 5, tmp_path)[0].read_text()
    read = json.loads(text, parse_constant=lambda found: pytest.fail(f"{found} is not strict JSON"))
    assert read["simulated"] is True
    cell = read["conditions"]["a"]["modules"]["m"]["gauc_click"]["tail"]
    assert (cell["mean"], cell["low"], cell["verdict"], cell["markets"]) == (0.01, None, "too few markets", 1)
    assert [point["dose"] for point in read["axes"]["dose"]["points"]] == [1.0, 10.0, 100.0]


def test_an_interval_beyond_the_axis_ends_in_an_arrow(plan, tmp_path):
    def arrows(values):
        text = write_report(plan, gains_on(plan, values), 2, tmp_path)[2].read_text(encoding="utf-8")
        return text.count('Z"/>')

    assert arrows([0.001, 0.03]) > 0  # two markets: an interval of 12.7 standard errors on either side
    assert arrows([0.02, 0.021, 0.022, 0.02]) == 0
