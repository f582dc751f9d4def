"""Trends: known answers, naive references, gaps, order, and a page in which nothing that runs are called can run."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.command import parse
from configs.errors import InputError
from configs.schema import TrendsConfig
from configs.stages import write_json
from graph.figure import Difference, Figure
from index.trends.changes import changes_of
from index.trends.command import trends
from index.trends.read import MeasuredRun, audit_figures, measured_runs, series_of
from index.trends.report import Report, as_json, as_markdown, page, report_of
from prerank.evaluation.evaluation import Evaluation
from prerank.evaluation.significance import holm

DRAWS = 400
HOSTILE = "\"><img src=x onerror=window.ran=1></script><script>window.ran=2</script>javascript:${7*7}{{7*7}}'`"


def evaluation(
    value: float,
    noise: int = 0,
    pairing: str = "same",
    segment: str = "all",
    metrics: tuple[str, ...] = ("gauc_click",),
) -> Evaluation:
    """Figures whose draws share the noise of the rows and have a little of their own."""
    rows = np.random.default_rng([7, len(pairing)]).normal(scale=0.02, size=DRAWS)
    own = np.random.default_rng([1, noise]).normal(scale=0.002, size=DRAWS) if noise else np.zeros(DRAWS)
    cell, undefined = Figure(value, value - 0.04, value + 0.04, 500), Figure.undefined("one class only")
    cells = {**dict.fromkeys(metrics, cell), "auc_order": undefined, "recall_at_10_chance": cell}
    index = [["test", segment, name] for name in cells]
    protocol = {
        "draws": DRAWS,
        "confidence": 0.95,
        "splits": {"test": {"pairing": pairing}},
        "bootstrap": index,
    }
    draws = np.stack([value + rows + own if cells[name] is cell else np.full(DRAWS, np.nan) for name in cells])
    return Evaluation({"test": {segment: cells}}, protocol, draws.astype(np.float32))


def audit_of(value: float, reach: float = 0.01, confidence: float = 0.95) -> dict[str, Any]:
    exact = {"value": 0.04, "low": None, "high": None, "n": 10}
    return {
        "run": "x",
        "system": "grace",
        "confidence": confidence,
        "overlap": {
            "overlap@10": {"value": value, "low": value - reach, "high": value + reach, "n": 300},
            "overlap@10_chance": exact,
        },
        "geometry": {"phi": {"exact": {**exact, "value": value}}},
        "popularity": [{"items": 3, "overlap": exact}],
    }


Make = Callable[..., None]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes a run's figures, one hour after the run before."""
    written: list[Path] = []

    def run(name: str, day: str | None = None, audit: dict[str, Any] | None = None, **systems: Evaluation) -> None:
        root = tmp_path / name
        if day is not None:
            splits = {"train": {"last": "2024-01-01 10:00:00.000"}, "test": {"last": f"{day} 23:00:00.000"}}
            write_json(root / "logs" / "log.json", {"splits": splits, "simulated": True})
        if audit is not None:
            write_json(root / "index" / "audit.json", audit)
            written.append(root / "index" / "audit.json")
        for system, made in systems.items():
            made.write(root / "prerank" / system)
            written.append(root / "prerank" / system / "metrics.json")
        for hour, path in enumerate(written):
            os.utime(path, (1_700_000_000 + 3600 * hour,) * 2)

    return run


def found(tmp_path: Path, *more: str) -> dict[str, Any]:
    return trends(parse([f"runs_folder={tmp_path}", "run=report", *more])).content


def reported(tmp_path: Path) -> Report:
    settings = parse([f"runs_folder={tmp_path}", "run=report"]).config.trends
    runs = measured_runs(tmp_path, settings)
    series = series_of(runs, settings)
    return report_of("report", runs, series, changes_of(series, runs))


def of(content: dict[str, Any], name: str) -> dict[str, Any]:
    return next(figure for figure in content["figures"] if figure["name"] == name)


def test_the_same_run_twice_has_not_moved(make: Make, tmp_path: Path) -> None:
    make("a", audit=audit_of(0.4), grace=evaluation(0.7))
    content = found(tmp_path, "trends.runs=[a,a]")
    assert content["movers"] == []
    assert "0 of 2 tested changes moved" in content["verdict"][0]
    (step,) = of(content, "gauc_click")["steps"]
    assert (step["value"], step["p"], step["state"], step["how"]) == (0.0, 1.0, "level", "paired")


def test_a_shifted_run_has_moved_and_the_pairing_shows_it(make: Make, tmp_path: Path) -> None:
    make("a", grace=evaluation(0.70))
    make("b", grace=evaluation(0.712, noise=1))
    content = found(tmp_path)
    (step,) = of(content, "gauc_click")["steps"]
    assert (step["state"], step["how"]) == ("moved", "paired")
    assert 0.006 < step["low"] < 0.012 < step["high"] < 0.018
    said = "gauc_click rose by 1.20 points (0.7000 to 0.7120, n 500 and 500) from a to b, better"
    assert said in content["verdict"][1]


def test_other_rows_are_not_paired_so_the_same_shift_is_level(make: Make, tmp_path: Path) -> None:
    make("a", grace=evaluation(0.70))
    make("b", grace=evaluation(0.712, noise=1, pairing="others"))
    (step,) = of(found(tmp_path), "gauc_click")["steps"]
    assert (step["state"], step["how"]) == ("level", "independent")
    old, new = (np.load(tmp_path / name / "prerank" / "grace" / "bootstrap.npy")[0] for name in "ab")
    spread = np.sqrt(old.std() ** 2 + new.std() ** 2)
    assert (step["high"] - step["low"]) / (2 * 1.96) == pytest.approx(spread, rel=0.15)


def test_runs_of_alike_draws_but_other_rows_are_not_paired_by_accident(make: Make, tmp_path: Path) -> None:
    same, other = evaluation(0.70), evaluation(0.712)
    other.protocol["splits"]["test"]["pairing"] = "other rows, the same multiplicities"
    make("a", grace=same)
    make("b", grace=other)
    (step,) = of(found(tmp_path), "gauc_click")["steps"]
    assert step["state"] == "level"
    assert step["high"] - step["low"] > 0.05


def test_audits_are_compared_by_their_intervals(make: Make, tmp_path: Path) -> None:
    make("a", audit=audit_of(0.40, reach=0.01))
    make("b", audit=audit_of(0.43, reach=0.02, confidence=0.9))
    content = found(tmp_path)
    figure = of(content, "overlap@10")
    errors = 0.01 / NormalDist().inv_cdf(0.975), 0.02 / NormalDist().inv_cdf(0.95)
    error = (errors[0] ** 2 + errors[1] ** 2) ** 0.5
    (step,) = figure["steps"]
    assert step["p"] == pytest.approx(2 * NormalDist().cdf(-0.03 / error), abs=1e-5)
    assert step["how"] == "intervals"
    exact = of(content, "exact")["steps"][0]
    assert (exact["state"], exact["p"]) == ("untested", None)
    assert [figure["name"] for figure in content["figures"]] == ["overlap@10", "exact"]


def test_an_audits_figures_are_found_wherever_they_stand() -> None:
    named = [(section, name) for section, name, _ in audit_figures({"a": {"b": audit_of(0.4)}})]
    assert named == [("a/b/overlap", "overlap@10"), ("a/b/geometry/phi", "exact")]


def test_holm_is_over_every_tested_change_of_the_report(make: Make, tmp_path: Path) -> None:
    metrics = ("gauc_click", "auc_click", "recall_at_10")
    for number, name in enumerate("abcd"):
        make(name, grace=evaluation(0.7 + 0.001 * number, noise=number, metrics=metrics), audit=audit_of(0.4))
    content = found(tmp_path)
    changes = [c for f in content["figures"] for c in (*f["steps"], f["overall"]) if c["p"] is not None]
    assert len(changes) == content["family"]["tests"] == 4 * 4
    family = {place: Difference(0.0, 0.0, 0.0, 1, p=change["p"]) for place, change in enumerate(changes)}
    expected = [corrected.p_holm for corrected in holm(family).values()]
    assert [change["p_holm"] for change in changes] == pytest.approx(expected, abs=2e-5)


def test_runs_stand_by_their_logs_last_day_then_by_when_they_were_measured(make: Make, tmp_path: Path) -> None:
    make("late", day="2024-03-02", grace=evaluation(0.7))
    make("early", day="2024-03-01", grace=evaluation(0.7))
    make("again", day="2024-03-02", grace=evaluation(0.7))
    content = found(tmp_path)
    assert [run["name"] for run in content["runs"]] == ["early", "late", "again"]
    assert "last day" in content["order"]
    (tmp_path / "early" / "logs" / "log.json").unlink()
    content = found(tmp_path)
    assert [run["name"] for run in content["runs"]] == ["late", "early", "again"]
    assert "because a run's log is gone" in content["order"]


def test_a_run_without_the_figure_is_a_gap_and_the_step_goes_past_it(make: Make, tmp_path: Path) -> None:
    make("a", grace=evaluation(0.7), ple=evaluation(0.6))
    make("b", ple=evaluation(0.6))
    make("c", grace=evaluation(0.71, noise=2), ple=evaluation(0.6))
    content = found(tmp_path, "trends.systems=[grace,ple]")
    grace = next(figure for figure in content["figures"] if figure["system"] == "grace")
    assert grace["points"][1] is None
    assert [(step["since"], step["until"]) for step in grace["steps"]] == [(0, 2)]
    assert grace["overall"] is None
    ple = next(figure for figure in content["figures"] if figure["system"] == "ple")
    assert [(step["since"], step["until"]) for step in ple["steps"]] == [(0, 1), (1, 2)]
    assert (ple["overall"]["since"], ple["overall"]["until"]) == (0, 2)
    assert any("gaps, not zeros" in sentence for sentence in content["verdict"])
    assert "auc_order" not in {figure["name"] for figure in content["figures"]}
    assert not any(figure["name"].endswith("_chance") for figure in content["figures"])


def test_a_lower_log_loss_is_better(make: Make, tmp_path: Path) -> None:
    make("a", grace=evaluation(0.30, metrics=("log_loss_click",)))
    make("b", grace=evaluation(0.25, noise=1, metrics=("log_loss_click",)))
    assert "log_loss_click fell by 0.0500" in found(tmp_path)["verdict"][1]
    assert "from a to b, better" in found(tmp_path)["verdict"][1]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("trends.runs=[a,nowhere]", "names 'nowhere'"),
        ("trends.runs=[a,empty]", "holds no figures"),
        ("trends.runs=[a]", "a trend needs two"),
        ("trends.systems=[dssm]", "a trend needs two"),
        ("trends.metrics=[gauc]", "trends.metrics: no run has gauc"),
        ("trends.segments=[tial]", "trends.segments: no run has tial"),
    ],
)
def test_what_is_not_there_is_said(make: Make, tmp_path: Path, asked: str, message: str) -> None:
    make("a", grace=evaluation(0.7))
    make("b", grace=evaluation(0.7))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=message):
        found(tmp_path, asked)


def hostile_runs(make: Make, tmp_path: Path) -> Path:
    """Two runs in which every name and reason that can be hostile is."""
    bad = HOSTILE.replace("/", "∕")
    for number, name in enumerate((f"{bad}1", f"{bad}2")):
        made = evaluation(0.7 + 0.1 * number, noise=number, segment=HOSTILE, metrics=(HOSTILE, "gauc_click"))
        audit = {**audit_of(0.4 + 0.1 * number), "system": HOSTILE, HOSTILE: audit_of(0.4)["overlap"]}
        make(name, day="2024-01-01", audit=audit, **{bad: made})
    third = evaluation(0.7, segment=HOSTILE, metrics=(HOSTILE, "gauc_click"))
    cells = {**third.metrics["test"][HOSTILE], "gauc_click": Figure.undefined(HOSTILE)}
    third = replace(third, metrics={"test": {HOSTILE: cells}})
    make(f"{bad}3", day=HOSTILE, **{bad: third})
    return trends(parse([f"runs_folder={tmp_path}", "run=report"])).files[0]


def test_nothing_that_runs_are_called_can_run(make: Make, tmp_path: Path, open_page: Callable[..., Any]) -> None:
    path = hostile_runs(make, tmp_path)
    opened = open_page(path)
    for group in range(opened.locator("#group option").count()):
        opened.select_option("#group", str(group))
        for button in opened.locator("#table button").all():
            button.click()
    assert opened.evaluate("window.ran") is None
    assert opened.locator("img").count() == 0
    assert opened.locator("script").count() == 2
    assert HOSTILE in opened.inner_text("#table")
    assert "<img" not in path.read_text()
    assert "<img" not in path.with_suffix(".md").read_text()


def test_every_control_works_from_the_keyboard(make: Make, tmp_path: Path, open_page: Callable[..., Any]) -> None:
    for number, name in enumerate("abc"):
        metrics = ("gauc_click", "auc_click") if number < 2 else ("gauc_click",)
        grace = evaluation(0.7 + 0.05 * (number == 2), noise=number, metrics=metrics)
        make(name, day=f"2024-01-0{number + 1}", grace=grace, ple=evaluation(0.6), audit=audit_of(0.4))
    path = trends(parse([f"runs_folder={tmp_path}", "run=report"])).files[0]
    opened = open_page(path)
    assert opened.inner_text("#one-title") == "grace, all: gauc_click"
    assert "+5.00 points ▲ better" in opened.inner_text("#points")
    assert opened.locator("#table tbody tr").count() == 2
    assert opened.locator("#table .gap").count() == 1
    opened.focus("#moved")
    opened.keyboard.press("Space")
    assert opened.locator("#table tbody tr").count() == 1
    opened.keyboard.press("Space")
    opened.keyboard.press("Tab")
    opened.keyboard.press("Tab")
    opened.keyboard.press("Enter")
    assert opened.inner_text("#one-title") == "grace, all: auc_click"
    assert "not in this run" in opened.inner_text("#points")
    opened.select_option("#group", label="audit of grace")
    opened.select_option("#section", "overlap")
    assert opened.locator("#table tbody tr").count() == 1
    phone = open_page(path, width=400, dark=True)
    assert phone.evaluate("document.documentElement.scrollWidth") <= 400


def test_paper_is_light_and_as_wide_as_it_is(make: Make, tmp_path: Path, open_page: Callable[..., Any]) -> None:
    for number, name in enumerate("abc"):
        make(name, day=f"2024-01-0{number + 1}", grace=evaluation(0.7 + 0.05 * number, noise=number))
    opened = open_page(trends(parse([f"runs_folder={tmp_path}", "run=report"])).files[0], width=703, dark=True)
    opened.emulate_media(media="print")
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened.evaluate("getComputedStyle(document.body).color") == "rgb(27, 31, 36)"
    assert opened.evaluate("document.documentElement.scrollWidth") <= 703
    assert opened.locator("#controls").is_hidden()
    assert opened.locator("#controls + .note").inner_text() == "Shown: Whose figures: grace · Segment or part: all"


def test_the_page_stays_small_and_says_what_it_leaves_out(make: Make, tmp_path: Path) -> None:
    make("a", grace=evaluation(0.7))
    make("b", grace=evaluation(0.8, noise=1))
    report = reported(tmp_path)
    one = report.trends[0]
    level = replace(one.steps[0], p=1.0, p_holm=1.0)
    keys = [replace(one.key, section=f"segment {number}") for number in range(30_000)]
    text = page(replace(report, trends=[*(replace(one, key=key, steps=[level]) for key in keys), one]))
    assert len(text.encode()) < 5_000_000
    assert "15,001 figures that did not move" in text
    held = json.loads(text.split('id="content">')[1].split("</script>")[0])
    assert held["figures"][held["start"]]["name"] == one.key.name


def test_a_figure_is_rounded_once(make: Make, tmp_path: Path) -> None:
    """0.12344996 is 0.1234; by way of 0.12345 it was 0.1235, other than in every other report."""
    make("a", grace=evaluation(0.12344996))
    make("b", grace=evaluation(0.12344996, noise=1))
    assert "| grace, all: gauc_click | 0.1234 | 0.1234 |" in as_markdown(reported(tmp_path))


def test_content_is_strict_json(make: Make, tmp_path: Path) -> None:
    make("a", grace=evaluation(0.7), audit=audit_of(0.4))
    make("b", grace=evaluation(0.8, noise=1), audit=audit_of(0.4))
    made = trends(parse([f"runs_folder={tmp_path}", "run=report"]))
    assert json.loads(made.files[1].read_text()) == made.content
    assert "| grace, all: gauc_click | 0.7000 | 0.8000 ▲ |" in made.files[2].read_text()


@given(
    values=st.tuples(st.floats(0.1, 0.9), st.floats(0.1, 0.9)),
    counts=st.tuples(*[st.sampled_from((4, 5, 99, 100, 2500))] * 2),
    spread=st.sampled_from((0.001, 0.05)),
    metric=st.sampled_from(("gauc_click", "log_loss_click")),
)
def test_every_sentence_says_what_its_change_says(
    values: tuple[float, float], counts: tuple[int, int], spread: float, metric: str
) -> None:
    noise = np.random.default_rng(0).normal(scale=spread, size=(2, DRAWS))
    runs = []
    for place, (value, n) in enumerate(zip(values, counts, strict=True)):
        figures = {"test": {"all": {metric: Figure(value, value - 0.1, value + 0.1, n)}}}
        protocol = {"confidence": 0.95, "splits": {"test": {}}, "bootstrap": [["test", "all", metric]]}
        grace = Evaluation(figures, protocol, (value + noise[place : place + 1]).astype(np.float32))
        runs.append(MeasuredRun("ab"[place], "2024-01-01", "", "", None, False, {"grace": grace}, None, {}))
    series = series_of(runs, TrendsConfig())
    content = as_json(report_of("report", runs, series, changes_of(series, runs)))
    (change,) = content["figures"][0]["steps"]
    words = [words for words in content["verdict"] if words.startswith("grace, all")]
    moved = min(counts) >= 100 and change["p_holm"] < 0.05
    assert len(words) == len(content["movers"]) == moved
    assert (change["state"] == "few") == (min(counts) < 100)
    if moved:
        gap, points = values[1] - values[0], metric == "gauc_click"
        assert (" rose by " in words[0]) == (gap > 0)
        assert (", better;" in words[0]) == ((gap > 0) == points)
        said = re.search(r" by (\S+) (\w+) \(", words[0])
        assert said
        assert said[2] == ("points" if points else "nats")
        assert float(said[1]) == pytest.approx(abs(gap) * (100 if points else 1), abs=0.006)
        assert f"n {counts[0]:,} and {counts[1]:,})" in words[0]
