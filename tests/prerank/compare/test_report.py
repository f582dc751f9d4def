"""The report: figures and differences of whole evaluations, the verdict, and a page no string can break out of."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.stages import write_json
from graph.figure import Figure
from prerank.compare.figures import figures_of
from prerank.compare.markdown import as_markdown, claim
from prerank.compare.page import page
from prerank.compare.paper import AUC, AUC_NOTE, RECALL, SOURCE, paper_figures
from prerank.compare.report import _cost
from prerank.compare.statistics import SeedDifference
from prerank.compare.tuned import TunedKeys, tuning_words
from prerank.compare.verdict import NO_CLAIM, verdict
from prerank.evaluation.definitions import define, lower_is_better
from prerank.evaluation.evaluation import Evaluation, annotated
from prerank.experiment.jobs import Fit
from prerank.pages.numbers import p_value, points
from tests.prerank.pages.elements import ATTACKS, PageElements

CHANCE = "recall_at_10_chance"
COST = {"scoring_ms": 1.5, "network_ms": None, "flops": None, "cpu": "a processor"}


def evaluation(gauc, key, segment="all", clusters=300, unit="session"):
    """One seed's figures, with the draws that its rows' resampling would give."""
    cells = annotated(
        {
            "gauc_click": Figure(gauc, gauc - 0.02, gauc + 0.02, 500),
            "log_loss_click": Figure(1 - gauc, 0.1, 0.9, 500),
            "recall_at_10": Figure(gauc / 2, 0.1, 0.9, 200),
            CHANCE: Figure(0.25, 0.2, 0.3, 200),
            "auc_order": Figure.undefined("no orders"),
        }
    )
    common = np.random.default_rng(0).normal(scale=0.02, size=500)
    own = np.random.default_rng([1, key]).normal(scale=0.004, size=(3, 500))
    draws = np.vstack([common + own[:1] + gauc, common + own[1:] + gauc, np.full((2, 500), np.nan)])
    facts = {
        "rows": 9000, "requests": 500, "clicks": 500, "orders": 0, "unit": unit, "clusters": clusters,
        "longest_list": 25, "whole_recalled_sets": 0, "pairing": "one", "segments": {segment: {"definition": segment}},
    }  # fmt: skip
    protocol = {
        "draws": 500, "confidence": 0.95, "tasks_off": {"order": "no orders"}, "segments_left_out": {},
        "splits": {"test": facts}, "bootstrap": [["test", segment, metric] for metric in cells],
    }  # fmt: skip
    return Evaluation({"test": {segment: cells}}, protocol, draws.astype(np.float32))


def seeds(gauc, key, count=5, **rest):
    return {seed: evaluation(gauc + 0.001 * seed, 10 * key + seed, **rest) for seed in range(count)}


def content_of(evaluations, market=False, title="A log", baseline="ple", name="log", warnings=()):
    data = {
        "name": name, "title": title, "simulated": market, "kind": "markets" if market else "rows",
        "arguments": ["data=contract"], "seeds_asked": 5, "left_out": [], "failed": [],
        "seeds": {system: sorted(by_seed) for system, by_seed in evaluations.items()},
        **figures_of(evaluations, market, baseline, 0.95),
    }  # fmt: skip
    data["verdict"] = verdict(data)
    data["cost"] = {system: {"parameters": 7, "fit_seconds": 1.25, "latency": COST} for system in evaluations}
    metrics = dict.fromkeys(m for cells in data["figures"].values() for made in cells.values() for m in made)
    return {
        "run": title, "systems": list(evaluations), "baseline": baseline, "seeds_asked": 5, "data": [data],
        "tuning": {s: {"words": tuning_words(TunedKeys()), "tuned": False, "trials": None} for s in evaluations},
        "tuning_note": "No system was tuned.", "warnings": list(warnings),
        "paper": {"source": SOURCE, "auc_note": AUC_NOTE, "figures": paper_figures()},
        "metrics": [{"name": m, "definition": define(m), "lower_is_better": lower_is_better(m)} for m in metrics],
    }  # fmt: skip


def test_the_family_is_every_other_system_times_the_primary_metrics():
    content = content_of({"ple": seeds(0.70, 1), "grace": seeds(0.72, 2), "dssm": seeds(0.7005, 3)})
    data = content["data"][0]
    assert data["family"]["systems"] == ["grace", "dssm"]
    assert data["family"]["metrics"] == ["gauc_click", "recall_at_10"]
    assert data["family"]["tests"] == 4
    grace = data["differences"]["grace"]["all"]
    assert grace["gauc_click"].p_holm < 0.001
    assert "p_holm" not in grace["log_loss_click"].as_json()
    assert data["chance"]["all"] == {"gauc_click": 0.5, "recall_at_10": 0.25}
    assert data["figures"]["ple"]["all"]["gauc_click"].value == pytest.approx(0.702)
    assert "auc_order" not in data["figures"]["ple"]["all"]
    assert data["undefined"]["ple"] == {"auc_order": "no orders"}
    assert "by session" in data["interval"]


@pytest.mark.parametrize("market", [True, False])
def test_a_system_under_another_name_is_null(market):
    same = seeds(0.70, 1)
    content = content_of({"ple": same, "twin": dict(same)}, market)
    differences = content["data"][0]["differences"]["twin"]["all"]
    assert all((d.value, d.p) == (0, 1) for d in differences.values())
    words = " ".join(content["data"][0]["verdict"])
    assert "0 of 2 differences" in words
    assert "shown to be above" not in words.lower()


def test_the_verdict_says_what_is_shown_and_what_is_not():
    words = content_of({"ple": seeds(0.70, 1), "grace": seeds(0.72, 2), "dssm": seeds(0.7003, 3)})["data"][0]["verdict"]
    assert "of 4 differences to ple are shown" in words[0]
    assert re.search(r"grace against ple: Shown to be above in gauc_click, \+2\.00 points \(\+1\.\d\d to", words[1])
    assert "this sign in 5 of 5 seeds" in words[1]
    assert "Not told apart" in words[2]
    assert "not shown to be equal" in words[-1]


PLOT = """() => ({
  note: document.getElementById("plot-note").textContent,
  ticks: [...document.querySelectorAll("#plot .tick")].map(each => [Number(each.getAttribute("x")), each.textContent]),
  lines: document.querySelectorAll("#plot line.interval").length,
  seeds: [...document.querySelectorAll("#plot .seed")].map(each => Number(each.getAttribute("cx"))),
  arrows: [...document.querySelectorAll("#plot text.beyond")].map(each => each.textContent),
})"""


@pytest.mark.parametrize(
    ("count", "market", "drawn", "words"),
    [(1, True, False, "one seed"), (2, True, False, "2 seeds"), (3, True, True, ""), (1, False, True, "")],
)
def test_no_interval_is_drawn_of_fewer_than_three_markets(count, market, drawn, words, open_page, tmp_path):
    content = content_of({"ple": seeds(0.70, 1, count), "grace": seeds(0.7005, 2, count)}, market)
    (tmp_path / "page.html").write_text(page(content))
    plot = open_page(tmp_path / "page.html").evaluate(PLOT)
    assert bool(plot["lines"]) == ("Line: " in plot["note"]) == drawn
    assert (f"No interval: {words}" in plot["note"]) == (not drawn)
    assert (" to 0." in as_markdown(content)) == drawn
    # Half a point is not blown up to the whole width.
    (x0, first), (x1, last) = plot["ticks"][0], plot["ticks"][-1]
    points = (max(plot["seeds"]) - min(plot["seeds"])) / (x1 - x0) * (float(last) - float(first))
    assert points == pytest.approx(0.0005 + 0.001 * (count - 1), abs=2e-4)
    assert max(plot["seeds"]) - min(plot["seeds"]) < 0.4 * (x1 - x0)


def test_an_interval_beyond_the_metric_is_an_arrow_with_its_number(open_page, tmp_path):
    wild = {seed: evaluation(value, seed) for seed, value in enumerate((0.1, 0.5, 0.95))}
    content = content_of({"ple": wild, "grace": wild}, market=True)
    figure = content["data"][0]["figures"]["grace"]["all"]["gauc_click"]
    (tmp_path / "page.html").write_text(page(content))
    plot = open_page(tmp_path / "page.html").evaluate(PLOT)
    assert [float(words.replace("−", "-")) for words in plot["arrows"]] == [
        pytest.approx(end, abs=0.006) for end in (figure.low, figure.high) * 2
    ]


def test_fewer_than_five_seeds_make_no_claim():
    content = content_of({"ple": seeds(0.70, 1, 4), "grace": seeds(0.79, 2, 4)})
    words = " ".join(content["data"][0]["verdict"])
    assert NO_CLAIM in words
    assert "shown to be" not in words.lower().replace("not shown to be equal", "")
    assert NO_CLAIM in as_markdown(content)
    assert NO_CLAIM in page(content)


@given(
    value=st.sampled_from((-0.03, -0.002, 0.0, 0.002, 0.03)),
    p=st.floats(0, 1),
    tests=st.integers(1, 30),
    n=st.sampled_from((5, 99, 100, 2500)),
    count=st.integers(1, 7),
    market=st.booleans(),
)
def test_every_sentence_says_what_its_difference_says(value, p, tests, n, count, market):
    by_seed = {seed: value + 0.001 * (seed - (count - 1) / 2) for seed in range(count)}
    each = SeedDifference(value, value - 0.01, value + 0.01, n, p=p, visible=0.01, by_seed=by_seed)
    each = replace(each, p_holm=min(1.0, tests * p), tests=tests)
    data = {
        "title": "A log", "simulated": market, "kind": "markets" if market else "rows", "confidence": 0.95,
        "figures": {"ple": {}, "grace": {}}, "differences": {"grace": {"all": {"gauc_click": each}}},
        "family": {"baseline": "ple", "segment": "all", "metrics": ["gauc_click"], "tests": tests},
    }  # fmt: skip
    sentence = next(words for words in verdict(data) if words.startswith("grace against ple"))
    shown = n >= 100 and count >= 5 and tests * p < 0.05 and value != 0
    assert ("Shown to be" in sentence) == shown
    assert re.search(rf"\bn {n:,}\b", sentence)
    if shown:
        assert f"to be {'above' if value > 0 else 'below'} in gauc_click, {points(value)} points" in sentence
    elif n < 100:
        assert not re.search(r"\bp [<\d]", sentence + claim(each))
        assert "below 100" in sentence
        assert "not told apart" not in sentence.lower()
    elif count >= 5:
        assert f"Not told apart, in points: gauc_click {points(value)}" in sentence
        assert f"{p_value(each.p_holm)} corrected, {p_value(p)} alone" in sentence
    assert (claim(each) == "shown") == shown


def test_without_the_baseline_or_anything_at_all_there_is_no_difference():
    assert "ple, which" in content_of({"ple": {}, "grace": seeds(0.7, 1)})["data"][0]["verdict"][0]
    empty = content_of({"ple": {}, "grace": {}})
    assert empty["data"][0]["verdict"] == ["Nothing is finished yet."]
    assert "Nothing is finished" in as_markdown(empty)
    assert "Nothing is finished" in page(empty)


def test_the_papers_figures_stand_apart():
    assert (AUC["ple"], AUC["grace"], AUC["grace_no_consistency"]) == (0.7713, 0.7788, 0.7753)
    assert RECALL["grace"][3] - RECALL["ple"][3] == pytest.approx(0.0233)
    text = as_markdown(content_of({"ple": seeds(0.70, 1), "popularity": seeds(0.5, 2)}))
    assert "| paper: R@3/10/20/50/100 (another, private data set) |" in text
    assert "| 0.5316 / 0.4995 / 0.4908 / 0.5067 / 0.5422 |" in text
    assert re.search(r"^\| popularity .*\| – \|$", text, re.MULTILINE)


def test_what_is_simulated_is_called_so_everywhere():
    content = content_of({"ple": seeds(0.70, 1), "grace": seeds(0.72, 2)}, market=True)
    assert "## A log (simulated)" in as_markdown(content)
    assert "A log (simulated)" in content["data"][0]["verdict"][0]
    assert '<span class="tag">simulated</span>' in page(content)
    assert "another market" in content["data"][0]["interval"]


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_string_becomes_markup(attack):
    evaluations = {"ple": seeds(0.7, 1), attack: seeds(0.72, 2, segment=attack)}
    content = content_of(evaluations, title=attack, name=attack, warnings=[attack])
    text = page(content)
    elements = PageElements(text)
    assert elements.tags.count("script") == 2
    assert "img" not in elements.tags
    assert not [name for name in elements.attributes if name.startswith("on")]
    embedded = json.loads(elements.data)
    assert embedded["data"][0]["title"] == attack
    assert attack in embedded["systems"]
    assert "<img" not in text
    assert "innerHTML" not in text
    assert "<script>" not in as_markdown(content)
    assert "<img" not in as_markdown(content)


def test_the_page_asks_the_network_for_nothing():
    text = page(content_of({"ple": seeds(0.7, 1), "grace": seeds(0.72, 2)}))
    assert not re.search(r"""(src|href)\s*=|@import|url\(|fetch\(|XMLHttpRequest""", text)
    assert "default-src 'none'" in text
    assert set(re.findall(r"https?://[^\"'\s]+", text)) == {"http://www.w3.org/2000/svg"}


def test_twenty_systems_on_three_data_sets_stay_under_five_megabytes():
    content = content_of({"ple": seeds(0.7, 1), "grace": seeds(0.72, 2)})
    data = content["data"][0]
    metrics = [f"recall_at_{k}" for k in range(30)]
    for kind in ("figures", "differences"):
        cell = next(iter(data[kind].values()))["all"]["gauc_click"]
        segments = {f"segment_{s}": dict.fromkeys(metrics, cell) for s in range(9)}
        data[kind] = {f"system_{s}": segments for s in range(20)}
    content["data"] = [data] * 3
    assert len(page(content).encode()) < 5 * 1024 * 1024


def test_one_fit_on_a_sleeping_machine_does_not_make_a_system_slow(tmp_path):
    fits = [Fit(tmp_path, "data", f"seed-{seed}", "ple", seed, (), "") for seed in range(3)]
    for fit, seconds in zip(fits, (30.0, 1600.0, 40.0), strict=True):
        write_json(fit.metrics.parent / "manifest.json", {"identity": "x", "parameters": 7, "fit_seconds": seconds})
    assert _cost(fits) == {"parameters": 7, "fit_seconds": 40.0, "latency": None}
