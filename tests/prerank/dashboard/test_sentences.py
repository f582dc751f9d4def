"""Every sentence of the long-tail page against the figures that it is about: direction, n, significance and unit."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scipy import stats

from graph.figure import Figure
from prerank.dashboard.page import dashboard_content, render
from prerank.evaluation.evaluation import Evaluation
from tests.prerank.dashboard.test_page import evaluation

METRICS = ("gauc_click", "log_loss_click")
SEGMENTS = ("all", "head", "tail", "cold")
DRAWS = 60
COUNTS = (5, 43, 99, 100, 4321)

SAID = """([metric, baseline]) => {
  Object.assign(chosen, {metric, baseline});
  show();
  const texts = selector => [...document.querySelectorAll(selector)].map(each => each.textContent.trim());
  return [texts("#verdict li"), texts("#opening span"), document.querySelector("#below").textContent];
}"""
"""What the page says once a metric and a baseline are chosen: of each system, and before all."""


SETTINGS = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
"""A browser takes too long to look for the smallest example."""


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


@settings(SETTINGS, max_examples=15)
@given(systems=evaluations())
def test_every_sentence_says_what_its_figures_say(browser: Any, systems: dict[str, Evaluation]) -> None:
    content = dashboard_content("demo", systems)
    page = browser.new_page()
    try:
        page.set_content(render(content))
        for metric in METRICS:
            for baseline in systems:
                sentences, opening, low = page.evaluate(SAID, [metric, baseline])
                others = [system for system in content["systems"] if system != baseline]
                assert len(sentences) == len(others)
                for system, sentence in zip(others, sentences, strict=True):
                    check(sentence, content, systems, (system, baseline), metric)
                check_opening(opening, content, baseline, metric)
                check_below(low, content["figures"], metric)
                table = page.locator("#table td").all_inner_texts()
                assert not [text for text in table if re.search(r"\bn \d\d?\n", text) and re.search(r"\bp [\d<]", text)]
    finally:
        page.close()


def check_opening(opening: list[str], content: Any, baseline: str, metric: str) -> None:
    """The page's first words, on the tail and on the head, and on what lies below chance."""
    figures, compared = content["figures"], content["differences"][baseline]
    unit, scale = ("nats", 1) if metric.startswith("log_loss") else ("points", 100)
    for segment, sentence in zip(("tail", "head"), opening, strict=False):
        counts = {
            system: min(figures[each]["test"][segment][metric]["n"] for each in (system, baseline))
            for system in compared
        }
        assert sentence.startswith(f"{segment.capitalize()}, n {min(counts.values()):,}: ")
        said = dict(re.findall(rf"(\w+) \((\S+) {unit}\)", sentence))
        expected = {}
        for system, each in compared.items():
            gap = each["test"][segment][metric]
            if counts[system] >= 100 and gap["p_holm"] < 0.05 and gap["value"]:
                expected[system] = gap["value"] * scale
                better = (gap["value"] > 0) == (unit == "points")
                assert re.search(rf"{'better' if better else 'worse'} than {baseline}: [^;]*{system}", sentence)
        assert {system: number(value) for system, value in said.items()} == pytest.approx(expected, abs=0.006)
        assert ("too few to compare on" in sentence) == all(n < 100 for n in counts.values())


def check_below(sentence: str, figures: Any, metric: str) -> None:
    """What lies wholly below the chance level, on enough cases."""
    below = {
        (segment, system)
        for system, splits in figures.items()
        for segment, cells in splits["test"].items()
        if metric == "gauc_click" and cells[metric]["n"] >= 100 and cells[metric]["high"] < 0.5
    }
    said = set()
    for segment, words in re.findall(r"(\w+) \(0\.500\): ((?:\w+ [\d.]+, n [\d,]+(?:; )?)+)", sentence):
        for system, value, n in re.findall(r"(\w+) ([\d.]+), n (\d+(?:,\d{3})*)", words):
            cell = figures[system]["test"][segment][metric]
            assert (float(value), number(n)) == (pytest.approx(cell["value"], abs=6e-4), cell["n"])
            said.add((segment, system))
    assert said == below


DRAWN = """id => {
  const end = node => Number(node.getAttribute("x"));
  const box = path => Number(path.getAttribute("transform").match(/translate\\((\\S+) /)[1]);
  return {
    ticks: [...document.querySelectorAll(`#${id} .tick`)].map(each => [end(each), each.textContent]),
    cells: [...document.querySelectorAll(`#${id} g`)].map(group => ({
      title: group.querySelector("title").textContent,
      marks: [...group.querySelectorAll("path.fill:not(.beyond)")].map(box),
      line: [...group.querySelectorAll("line.interval")].flatMap(
        each => ["x1", "x2"].map(name => Number(each.getAttribute(name)))),
      arrows: [...group.querySelectorAll("text.beyond")].map(each => each.textContent),
    })),
  };
}"""
"""Where the plot puts its ticks; of each cell what it says, its mark, its interval's ends, and its arrows' words."""


@settings(SETTINGS, max_examples=10)
@given(systems=evaluations())
def test_what_is_drawn_stands_at_its_value_or_is_an_arrow_with_its_number(
    browser: Any, systems: dict[str, Evaluation]
) -> None:
    page = browser.new_page()
    try:
        page.set_content(render(dashboard_content("demo", systems)))
        plots = {id: page.evaluate(DRAWN, id) for id in ("plot", "gaps")}
        inks = page.evaluate("[...document.querySelectorAll('#plot .few')].map(each => getComputedStyle(each).opacity)")
        assert set(inks) <= {"1"}, "few cases are drawn hollow and dashed, not faint"
    finally:
        page.close()
    assert len(plots["plot"]["cells"]) == len(systems) * len(SEGMENTS)
    assert len(plots["gaps"]["cells"]) == (len(systems) - 1) * len(SEGMENTS)
    for drawn in plots.values():
        stands_where_it_says(drawn)


def stands_where_it_says(drawn: dict[str, Any]) -> None:
    """Each cell of a plot, against what its tooltip says."""
    (x0, first), (x1, last) = drawn["ticks"][0], drawn["ticks"][-1]
    pixels = (x1 - x0) / (number(last) - number(first))
    for cell in drawn["cells"]:
        said = re.search(r": (\S+)(?: points)? \((\S+) to (\S+)\)", cell["title"])
        assert said
        value, low, high = map(number, said.groups())
        near = 1 + pixels * 0.6 * 10 ** -len(said[1].partition(".")[2])  # the tooltip's numbers are rounded
        at = [x0 + pixels * (each - number(first)) for each in (value, low, high)]
        arrows = [number(words) for words in cell["arrows"]]

        def has_arrow(end: float, arrows: list[float] = arrows) -> bool:
            return any(abs(each - end) <= 0.06 for each in arrows)

        if cell["marks"]:
            assert cell["marks"] == [pytest.approx(at[0], abs=near)]
        else:
            assert has_arrow(value)
        for there, expected, end in zip(cell["line"], at[1:], (low, high), strict=True):
            assert there == pytest.approx(expected, abs=near) or has_arrow(end) or has_arrow(value)


def test_one_system_is_told_how_to_have_a_second_and_what_is_undefined_stands_last(open_page, tmp_path):
    def page_of(*names: str) -> Any:
        (tmp_path / "page.html").write_text(render(dashboard_content("demo", {name: evaluation() for name in names})))
        return open_page(tmp_path / "page.html")

    page = page_of("ple")
    assert "prerank.fit run=demo model=popularity" in page.inner_text("#opening")
    assert "no second system" in page.inner_text("#gaps")
    assert page.locator("#metric option").all_inner_texts() == ["gauc_click", "auc_order (undefined)"]
    assert "model=popularity" not in page_of("ple", "grace").inner_text("#opening")


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


def test_a_system_has_one_colour_whatever_others_are_beside_it(open_page, tmp_path):
    names = [*("popularity", "lightgbm", "ple", "grace", "dssm"), "grace_no_hash_id"]

    def places(*chosen: str) -> dict[str, int]:
        (tmp_path / "page.html").write_text(render(dashboard_content("demo", {name: evaluation() for name in chosen})))
        found: dict[str, int] = open_page(tmp_path / "page.html").evaluate("Object.fromEntries(places)")
        return found

    everyone = places(*names)
    assert len(set(everyone.values())) == len(names)
    for name in names[:-1]:
        assert places(name, "copr")[name] == everyone[name]
    # More than there are shapes: some share one, and none goes without.
    assert set(places(*(f"system_{place}" for place in range(20))).values()) == set(range(8))
