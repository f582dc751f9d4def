"""The command: from a tiny market to the report; again, it does nothing; a fit that breaks stops no other."""

from __future__ import annotations

import json
import shutil

import pytest

from configs.command import parse
from configs.errors import InputError
from prerank.compare import cost
from prerank.compare.comparison import compare_systems
from prerank.compare.cost import cpu_model
from prerank.experiment import fits, progress
from prerank.experiment.pool import Answer
from tests.prerank.conftest import carry_out_here

QUICK = (
    "data.world=tiny",
    "compare.baseline=popularity",
    "compare.seeds=1",
    "compare.workers=1",
    "prerank.max_epochs=1",
    "prerank.validations_per_epoch=1",
    "pretrain.max_epochs=1",
    "model.lightgbm.trees=3",
    "model.experts.hidden=[8]",
    "evaluation.draws=10",
)


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    common = [f"runs_folder={tmp_path_factory.mktemp('compare')}", "run=c", *QUICK]
    return lambda *overrides: parse([*common, *overrides])


@pytest.fixture(scope="module")
def made(ask, tiny_log):
    asked = ask("compare.systems=[popularity,lightgbm]")
    shutil.copytree(tiny_log, asked.run.root / "compare" / "marketplace_tiny" / "seed-0" / "logs")
    with pytest.MonkeyPatch.context() as patch:
        for module in (progress, cost):
            patch.setattr(module, "carry_out", carry_out_here)
        return compare_systems(asked)


def test_the_whole_comparison(made):
    found = json.loads(made.files[0].read_text())
    assert found == json.loads(json.dumps(made.content))
    (data,) = found["data"]
    assert (data["name"], data["simulated"], data["kind"]) == ("marketplace_tiny", True, "markets")
    folder = made.files[0].parent / "marketplace_tiny" / "seed-0" / "prerank"
    metrics = {s: json.loads((folder / s / "metrics.json").read_text())["test"] for s in ("popularity", "lightgbm")}
    for segment, cells in metrics["lightgbm"].items():
        for metric, cell in cells.items():
            if cell["value"] is not None and not metric.endswith("_chance"):
                assert data["figures"]["lightgbm"][segment][metric]["by_seed"] == {"0": cell["value"]}
    gap = data["differences"]["lightgbm"]["all"]["gauc_click"]["value"]
    assert (
        gap == metrics["lightgbm"]["all"]["gauc_click"]["value"] - metrics["popularity"]["all"]["gauc_click"]["value"]
    )
    assert data["chance"]["all"]["recall_at_10"] == metrics["lightgbm"]["all"]["recall_at_10_chance"]["value"]
    assert "recall_full_at_k is the cut of whole recalled sets" in data["recall"]
    assert not data["claims"]
    assert "no claim" in data["verdict"][0]
    for system in ("popularity", "lightgbm"):
        latency = data["cost"][system]["latency"]
        assert latency["scoring_ms"] > 0
        assert latency["cpu"] == cpu_model()
        assert latency["network_ms"] is None
    assert "marketplace, world tiny (simulated)" in made.files[1].read_text()
    assert made.files[2] == made.files[0].parents[1] / "reports" / "comparison.html"
    assert made.files[2].stat().st_size < 1_000_000


def test_a_second_time_nothing_is_fitted_and_nothing_is_measured(made, ask, monkeypatch, capsys):
    before = {file: file.stat().st_mtime_ns for file in made.files[0].parent.rglob("*") if "_" in file.name}
    monkeypatch.setattr("prerank.experiment.pool._Process", None)
    again = compare_systems(ask("compare.systems=[popularity,lightgbm]"))
    printed = capsys.readouterr().out
    assert "2 finished before, 0 to make" in " ".join(printed.split())
    rows = [line.strip("│ ").split() for line in printed.splitlines()]
    assert all([system, "│", "1/1"] in rows for system in ("popularity", "lightgbm"))  # a line each, however many
    assert again.content == made.content
    assert {file: file.stat().st_mtime_ns for file in before} == before


def test_a_fit_that_breaks_is_told_and_the_others_go_on(made, ask, monkeypatch):
    fit = fits.fit_system

    def breaking(request):
        if request.config.model.name == "mmoe":
            raise InputError("it broke")
        return fit(request)

    monkeypatch.setattr(fits, "fit_system", breaking)
    monkeypatch.setattr(progress, "carry_out", carry_out_here)
    with pytest.raises(InputError, match=r"1 fits failed; .*marketplace_tiny seed 0 mmoe \(it broke\)"):
        compare_systems(ask("compare.systems=[popularity,mmoe,ple]"))
    found = json.loads(made.files[0].read_text())
    (data,) = found["data"]
    assert data["failed"] == [{"system": "mmoe", "seed": 0, "reason": "it broke"}]
    assert list(data["figures"]) == ["popularity", "ple"]
    assert data["seeds"]["mmoe"] == []
    assert "mmoe with seed 0 failed: it broke" in found["warnings"][0]
    assert "mmoe with seed 0 failed" in made.files[1].read_text()
    network = data["cost"]["ple"]["latency"]
    assert network["network_ms"] > 0
    assert network["flops"] > 0


def test_a_fit_that_is_made_again_is_measured_again(made, monkeypatch, capsys):
    folder = made.files[0].parent
    path = folder / "_cost" / "marketplace_tiny-lightgbm.json"
    kept = path.read_text()
    path.write_text(kept.replace(json.loads(kept)["identity"], "of another fit"))
    tasks = []

    def unable(asked, _processes, hear):
        tasks.extend(asked)
        hear(Answer(None, {"error": "no time"}))

    monkeypatch.setattr(cost, "carry_out", unable)
    request = parse([f"runs_folder={folder.parents[1]}", "run=c", *QUICK, "compare.systems=[popularity,lightgbm]"])
    assert compare_systems(request).content["data"][0]["cost"]["lightgbm"]["latency"] is None
    assert "lightgbm: the scoring latency was not measured: no time" in capsys.readouterr().out
    assert [fit["system"] for fit in tasks[0].arguments["fits"]] == ["lightgbm"]
    (measured,) = cost.measure_all(**tasks[0].arguments)
    assert measured["scoring_ms"] > 0
    assert measured["candidates"] == 1000


def test_another_key_makes_the_fits_anew_that_read_it_and_keeps_what_they_share(made, ask, monkeypatch):
    run = made.files[0].parent / "marketplace_tiny" / "seed-0"
    stages = {stage: (run / stage / "manifest.json").stat().st_mtime_ns for stage in ("logs", "graph", "pretrain")}
    identity = json.loads((run / "prerank" / "lightgbm" / "manifest.json").read_text())["identity"]
    monkeypatch.setattr(progress, "carry_out", carry_out_here)
    monkeypatch.setattr(cost, "carry_out", lambda *_: None)
    again = compare_systems(ask("compare.systems=[popularity,lightgbm]", "model.lightgbm.trees=2"))
    assert again.content["data"][0]["seeds"] == {"popularity": [0], "lightgbm": [0]}
    assert json.loads((run / "prerank" / "lightgbm" / "manifest.json").read_text())["identity"] != identity
    assert {stage: (run / stage / "manifest.json").stat().st_mtime_ns for stage in stages} == stages
