"""The page: what it shows, paired differences, and that no string of the data can become markup or script."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from configs.errors import InputError
from configs.stages import Run, write_json
from graph.figure import Figure
from prerank.dashboard.page import dashboard_content, render, write_dashboard
from prerank.evaluation.evaluation import Evaluation
from tests.prerank.pages.elements import ATTACKS, PageElements


def evaluation(value=0.7, seed=0, segment="all", reason="why", metric="gauc_click", n=500, pairing="same"):
    cells = {
        metric: Figure(value, value - 0.02, value + 0.02, n),
        "auc_order": Figure.undefined(reason),
    }
    common = np.random.default_rng(0).normal(scale=0.02, size=400)
    draws = np.stack(
        [value + common + np.random.default_rng([1, seed]).normal(scale=0.004, size=400), np.full(400, np.nan)]
    )
    facts = {
        "rows": 9000, "requests": 500, "clicks": 500, "orders": 0, "unit": "session", "clusters": 300,
        "whole_recalled_sets": 0, "recall_left_out": [100], "pairing": pairing,
        "segments": {segment: {"definition": reason, "rows": 9000}},
    }  # fmt: skip
    protocol = {
        "draws": 400, "confidence": 0.95, "interval": "percentile bootstrap", "seed": 0, "ties": "half a pair",
        "tasks_off": {"order": reason}, "segments_left_out": {"outside_p": reason}, "splits": {"test": facts},
        "bootstrap": [["test", segment, metric], ["test", segment, "auc_order"]],
    }  # fmt: skip
    return Evaluation({"test": {segment: cells}}, protocol, draws.astype(np.float32))


def test_differences_are_paired_and_corrected_over_systems_and_segments():
    found = dashboard_content(
        "demo", {"ple": evaluation(0.70), "grace": evaluation(0.72, seed=1), "dssm": evaluation(0.701, seed=2)}
    )
    assert found["systems"] == ["ple", "grace", "dssm"]
    against = found["differences"]["ple"]
    assert "ple" not in against
    grace, dssm = (against[name]["test"]["all"]["gauc_click"] for name in ("grace", "dssm"))
    assert grace["value"] == pytest.approx(0.02)
    assert 0.005 < grace["low"] < grace["high"] < 0.035  # the common noise of 0.02 has gone
    assert grace["p_holm"] < 0.001
    assert dssm["p_holm"] >= dssm["p"] > 0.05
    assert "auc_order" not in against["grace"]["test"]["all"]


def test_systems_evaluated_on_other_rows_are_not_subtracted():
    found = dashboard_content("demo", {"ple": evaluation(), "grace": evaluation(0.8, pairing="other")})
    assert found["differences"]["ple"]["grace"] == {}
    assert found["figures"]["grace"]["test"]["all"]["gauc_click"]["value"] == 0.8


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_string_of_the_data_becomes_markup(attack):
    evaluations = {attack: evaluation(segment=attack, reason=attack, metric=attack), "ple": evaluation()}
    plain = PageElements(
        render(
            dashboard_content(
                "demo",
                {
                    "x": evaluation(),
                    "ple": evaluation(),
                },
            )
        )
    )
    page = render(dashboard_content(attack, evaluations))
    seen = PageElements(page)
    assert seen.tags.count("script") == plain.tags.count("script") == 2
    assert "img" not in seen.tags
    assert not [name for name in seen.attributes if name.startswith("on")]
    content = json.loads(seen.data)
    assert content["run"] == attack
    assert attack in content["systems"]
    assert content["figures"][attack]["test"][attack]["auc_order"]["reason"] == attack
    assert "<img" not in page
    assert "innerHTML" not in page


def test_the_page_asks_the_network_for_nothing():
    page = render(dashboard_content("demo", {"ple": evaluation()}))
    assert not re.search(r"""(src|href)\s*=|@import|url\(|fetch\(|XMLHttpRequest""", page)
    assert "default-src 'none'" in page
    assert set(re.findall(r"https?://[^\"'\s]+", page)) == {"http://www.w3.org/2000/svg"}


def test_every_evaluated_system_of_a_run_is_on_the_page(tmp_path, capsys):
    run = Run(tmp_path / "demo")
    with pytest.raises(InputError, match="no evaluated system"):
        write_dashboard(run)
    for name, value in (("ple", 0.7), ("grace", 0.72)):
        evaluation(value).write(run.system(name))
    (run.system("cut")).mkdir()
    (run.system("cut") / "metrics.json").write_text("{")
    path = write_dashboard(run)
    assert path == run.reports / "segments.html"
    beside = json.loads((run.reports / "segments.json").read_text())
    assert beside["systems"] == ["ple", "grace"]
    assert json.loads(PageElements(path.read_text()).data) == beside
    assert "leaves out cut" in capsys.readouterr().out
    assert path.stat().st_size < 200_000


@pytest.mark.parametrize("simulated", [True, False])
def test_the_header_says_where_the_figures_come_from_and_whether_they_are_simulated(tmp_path, simulated):
    run = Run(tmp_path / "demo")
    write_json(run.logs / "log.json", {"simulated": simulated, "splits": {"test": {"last": "2024-01-12 22:45:03"}}})
    evaluation().write(run.system("ple"))
    write_json(run.system("ple") / "manifest.json", {"settings": {"seed": 5, "prerank.max_epochs": 2}})
    page = write_dashboard(run).read_text()
    assert ('<span class="tag">simulated</span>' in page) == simulated
    header = page[page.index("<header>") : page.index("</header>")]
    for fact in ("test 2024-01-12", "seed <bdi>5</bdi>", "systems 2", "measured <bdi>"):
        assert fact in header
    assert "measured" not in json.loads((run.reports / "segments.json").read_text()), "the same figures, the same bytes"


def test_twenty_systems_stay_under_five_megabytes():
    metrics = [f"recall_at_{k}" for k in range(25)]
    big = evaluation()
    cell = Figure(0.123456789, 0.112345678, 0.134567891, 123456)
    segments = [f"segment_{number}" for number in range(9)]
    figures = {split: {s: dict.fromkeys(metrics, cell) for s in segments} for split in ("test", "validation")}
    index = [[split, s, m] for split in figures for s in segments for m in metrics]
    facts = big.protocol["splits"]["test"]
    protocol = {**big.protocol, "bootstrap": index, "splits": {"test": facts, "validation": facts}}
    draws = np.random.default_rng(0).random((len(index), 20), dtype=np.float32)
    page = render(dashboard_content("big", {f"system_{n}": Evaluation(figures, protocol, draws) for n in range(20)}))
    assert len(page.encode()) < 5 * 1024 * 1024
