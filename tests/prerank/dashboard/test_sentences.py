"""Every sentence of the long-tail page against the figures that it is about: direction, n, significance and unit."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from graph.figure import Figure
from prerank.dashboard.page import dashboard_content, render
from prerank.evaluation.evaluation import Evaluation

METRICS = ("gauc_click", "log_loss_click")
SEGMENTS = ("all", "head", "tail", "cold")
DRAWS = 60
COUNTS = (5, 43, 99, 100, 4321)

SAID = """([metric, baseline]) => {
  Object.assign(chosen, {metric, baseline});
  show();
  return [...document.querySelectorAll("#verdict li")].map(each => each.textContent);
}"""
"""What the page says once a metric and a baseline are chosen."""


def number(text: str) -> float:
    return float(text.replace("−", "-").replace(",", ""))


@st.composite
def evaluations(draw: st.DrawFn) -> dict[str, Evaluation]:
    """Three systems whose figures differ by nothing to much, on few or many cases."""
    seed = draw(st.integers(0, 2**31))
    counts = {segment: draw(st.sampled_from(COUNTS)) for segment in SEGMENTS}
    common = np.random.default_rng(seed).normal(scale=0.05, size=(len(SEGMENTS) * len(METRICS), DRAWS))
    systems = {}
    for system in ("ple", "grace", "dssm"):
        own = np.random.default_rng([seed, len(system)])
        cells, draws = {}, []
        for segment in SEGMENTS:
            cells[segment] = {}
            for metric in METRICS:
                value = 0.6 + draw(st.sampled_from((-0.2, -0.05, 0.0, 0.03, 0.2)))
                noise = common[len(draws)] + own.normal(scale=draw(st.sampled_from((0.001, 0.05))), size=DRAWS)
                # One side may have fewer cases than the other.
                n = draw(st.sampled_from((counts[segment], counts[segment], COUNTS[0])))
                cells[segment][metric] = Figure(value, value - 0.1, value + 0.1, n)
                draws.append(value + noise - noise.mean())
        facts = {"pairing": "one", "segments": {}, "rows": 9, "requests": 9, "clusters": 9, "unit": "session"}
        protocol = {
            "draws": DRAWS, "confidence": 0.95, "interval": "percentile bootstrap", "seed": 0, "ties": "half",
            "tasks_off": {}, "segments_left_out": {}, "splits": {"test": facts},
            "bootstrap": [["test", segment, metric] for segment in SEGMENTS for metric in METRICS],
        }  # fmt: skip
        systems[system] = Evaluation({"test": cells}, protocol, np.array(draws, dtype=np.float32))
    return systems


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(systems=evaluations())
def test_every_sentence_says_what_its_figures_say(browser: Any, systems: dict[str, Evaluation]) -> None:
    content = dashboard_content("demo", systems)
    page = browser.new_page()
    try:
        page.set_content(render(content))
        for metric in METRICS:
            for baseline in systems:
                sentences = page.evaluate(SAID, [metric, baseline])
                others = [system for system in content["systems"] if system != baseline]
                assert len(sentences) == len(others)
                for system, sentence in zip(others, sentences, strict=True):
                    check(sentence, content, systems, (system, baseline), metric)
                table = page.locator("#table td").all_inner_texts()
                assert not [text for text in table if re.search(r"\bn \d\d?\n", text) and re.search(r"\bp [\d<]", text)]
    finally:
        page.close()


DRAWN = """() => {
  const end = node => Number(node.getAttribute("x"));
  const box = path => Number(path.getAttribute("transform").match(/translate\\((\\S+) /)[1]);
  return {
    ticks: [...document.querySelectorAll("#plot .tick")].map(each => [end(each), each.textContent]),
    cells: [...document.querySelectorAll("#plot g")].map(group => ({
      title: group.querySelector("title").textContent,
      marks: [...group.querySelectorAll("path.fill:not(.beyond)")].map(box),
      line: [...group.querySelectorAll("line.interval")].flatMap(
        each => ["x1", "x2"].map(name => Number(each.getAttribute(name)))),
      arrows: [...group.querySelectorAll("text.beyond")].map(each => each.textContent),
    })),
  };
}"""
"""Where the plot puts its ticks; of each cell what it says, its mark, its interval's ends, and its arrows' words."""


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(systems=evaluations())
def test_what_is_drawn_stands_at_its_value_or_is_an_arrow_with_its_number(
    browser: Any, systems: dict[str, Evaluation]
) -> None:
    page = browser.new_page()
    try:
        page.set_content(render(dashboard_content("demo", systems)))
        drawn = page.evaluate(DRAWN)
        inks = page.evaluate("[...document.querySelectorAll('#plot .few')].map(each => getComputedStyle(each).opacity)")
        assert set(inks) <= {"1"}, "few cases are drawn hollow and dashed, not faint"
    finally:
        page.close()
    (x0, first), (x1, last) = drawn["ticks"][0], drawn["ticks"][-1]
    pixels = (x1 - x0) / (number(last) - number(first))
    assert len(drawn["cells"]) == len(systems) * len(SEGMENTS)
    for cell in drawn["cells"]:
        value, low, high = map(number, re.search(r": (\S+) \((\S+) to (\S+)\)", cell["title"]).groups())  # type: ignore[union-attr]
        at = [x0 + pixels * (each - number(first)) for each in (value, low, high)]
        arrows = [number(words) for words in cell["arrows"]]
        if cell["marks"]:
            assert cell["marks"] == [pytest.approx(at[0], abs=1)]
        else:
            assert value in arrows
        for there, expected, end in zip(cell["line"], at[1:], (low, high), strict=True):
            assert there == pytest.approx(expected, abs=1) or end in arrows or value in arrows


def check(sentence: str, content: Any, systems: dict[str, Evaluation], pair: tuple[str, str], metric: str) -> None:
    """Recompute all that a sentence says from the figures of both systems."""
    system, baseline = pair
    figures, compared = content["figures"], content["differences"][baseline]
    unit, scale = ("nats", 1) if metric.startswith("log_loss") else ("points", 100)

    def n_of(segment: str) -> int:
        return min(figures[each]["test"][segment][metric]["n"] for each in pair)

    def gap(segment: str) -> float:
        ours, theirs = (figures[each]["test"][segment][metric]["value"] for each in pair)
        return float(scale * (ours - theirs))

    def side(segment: str) -> str:
        if n_of(segment) < 100 or compared[system]["test"][segment][metric]["p_holm"] >= 0.05 or not gap(segment):
            return ""
        return "better" if (gap(segment) > 0) == (metric != "log_loss_click") else "worse"

    whole, parts = compared[system]["test"]["all"][metric], SEGMENTS[1:]
    opening = re.match(rf"{system} against {baseline}, all rows, n ([\d,]+): (.*)", sentence)
    assert opening, sentence
    assert number(opening[1]) == n_of("all")
    told = opening[2]
    tests = sum(each["test"][segment][metric]["p"] is not None for each in compared.values() for segment in SEGMENTS)
    if n_of("all") < 100:
        assert told.startswith("fewer than 100, too few to compare on."), sentence
        assert not re.search(r"\bp [<\d]", sentence)
    elif side("all"):
        said = re.match(rf"(better|worse) by ([\d.]+) {unit} \(.*?\), p (\S+|< 0.001) corrected over (\d+) tests", told)
        assert said, sentence
        assert said[1] == side("all")
        assert float(said[2]) == pytest.approx(abs(gap("all")), abs=0.006)
        assert int(said[4]) == tests
    else:
        start = rf"not told apart: (\S+) {unit} \(.*?\); one of (\d+) tests: "
        said = re.match(start + r"p (\S+) corrected, p (\S+|< 0.001) alone", told)
        assert said, sentence
        assert number(said[1]) == pytest.approx(gap("all"), abs=0.006)
        assert int(said[2]) == tests
        assert float(said[3]) == pytest.approx(whole["p_holm"], abs=0.0006)
        seen = re.search(rf"a true difference of ([\d.]+) {unit} would be told apart", told)
        ours, theirs = (systems[each].draws_of("test", "all", metric) for each in pair)
        spread = float(np.std(ours.astype(float) - theirs, ddof=1))
        expected = scale * spread * (stats.norm.ppf(1 - 0.05 / 2 / tests) + stats.norm.ppf(0.8))
        assert (float(seen[1]) if seen else 0.0) == pytest.approx(expected, abs=0.006)
    for word in ("better", "worse"):
        listed = re.search(rf"[{word[0]}{word[0].upper()}]{word[1:]} in (.*?)(?:;|\. |\.$)", told)
        named = dict(re.findall(r"(\w+) \((\S+ \w+, n [\d,]+)\)", listed[1])) if listed else {}
        assert list(named) == [segment for segment in parts if side(segment) == word], sentence
        for segment, words in named.items():
            value, of, n = re.fullmatch(r"(\S+) (\w+), n ([\d,]+)", words).groups()  # type: ignore[union-attr]
            assert (of, number(n)) == (unit, n_of(segment))
            assert number(value) == pytest.approx(gap(segment), abs=0.006)
    small = re.search(r"Not compared, n below 100: (.*)\.$", told)
    expected_small = [(segment, n_of(segment)) for segment in parts if n_of(segment) < 100]
    assert [(name, int(n)) for name, n in re.findall(r"(\w+) \(n (\d+)\)", small[1] if small else "")] == expected_small
