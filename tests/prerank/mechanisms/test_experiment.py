"""The command: from two conditions of a tiny market to the table; again, it does nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from configs.command import main, parse
from configs.errors import InputError
from prerank.experiment import pool, progress
from prerank.experiment.pool import Answer
from prerank.experiment.progress import minutes
from prerank.mechanisms.experiment import mechanisms

PLAN = {
    "modules": {
        "double_hash": {
            "title": "Two hashes",
            "with": {"model": "grace_no_consistency", "model.item.hashing": "double"},
            "without": {"model": "grace_no_consistency"},
        },
    },
    "conditions": {
        "base": {"title": "Base", "world": "tiny", "expect": {"double_hash": {"helps": ["gauc_click all"]}}},
        "crowded": {
            "title": "Crowded",
            "world": "tiny",
            "overrides": {"model.item.hash_vocabulary": 20},
            "expect": {"double_hash": {"helps": ["gauc_click all"]}},
        },
    },
}
QUICK = (
    "prerank.max_epochs=1",
    "prerank.validations_per_epoch=1",
    "pretrain.max_epochs=1",
    "evaluation.draws=10",
    "mechanisms.seeds=1",
    "mechanisms.workers=1",
)


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """The command line of the experiment, in a folder of its own."""
    folder = tmp_path_factory.mktemp("mechanisms")
    (folder / "plan.yaml").write_text(yaml.safe_dump(PLAN))
    common = [f"runs_folder={folder}", "run=m", f"mechanisms.plan={folder / 'plan.yaml'}", *QUICK]
    return lambda *overrides: [*common, *overrides]


@pytest.fixture(scope="module")
def made(ask, tiny_log) -> Path:
    """The experiment's folder, with the fits of its first condition."""
    shutil.copytree(tiny_log, parse(ask()).run.root / "mechanisms" / "base" / "seed-0" / "logs")
    return mechanisms(parse(ask("mechanisms.conditions=[base]")))[0].parent


def test_the_whole_experiment(made):
    found = json.loads((made / "mechanisms.json").read_text())
    assert set(found["conditions"]) == {"base"}
    cell = found["conditions"]["base"]["modules"]["double_hash"]["gauc_click"]["all"]
    runs = [made / "base" / name for name in ("seed-0-double_hash_with", "seed-0")]
    values = [
        json.loads((run / "prerank" / "grace_no_consistency" / "metrics.json").read_text())["test"]["all"]["gauc_click"]
        for run in runs
    ]
    assert cell["by_seed"]["0"] == values[0]["value"] - values[1]["value"] != 0
    assert cell["verdict"] == "too few markets"
    for shared in (
        "logs/log.json",
        "graph/graph.json",
        "pretrain/psi/vectors.safetensors",
        "prerank/encoded/schema.json",
    ):
        assert (runs[0] / shared).samefile(runs[1] / shared)
    assert "Two hashes | Base | helps | gauc_click, all" in (made / "mechanisms.md").read_text()


def test_a_second_time_nothing_is_fitted(made, ask, monkeypatch, capsys):
    before = {file: file.stat().st_mtime_ns for file in made.rglob("*") if file.is_file() and file.parent != made}
    monkeypatch.setattr(pool, "_Process", None)
    assert main("prerank.mechanisms", ask("mechanisms.conditions=[base]")) == 0
    assert "2 finished before, 0 to make" in " ".join(capsys.readouterr().out.split())
    after = {file: file.stat().st_mtime_ns for file in made.rglob("*") if file.is_file() and file.parent != made}
    assert after == before


def test_a_failed_fit_is_named_at_the_end_and_the_command_fails(ask, monkeypatch, capsys):
    """Each process tells of its first fit and dies."""

    def break_down(tasks, _processes, hear):
        for task in tasks:
            hear(Answer(task.subject, {"fit": 0, "error": "no clicks"}))
            hear(Answer(task.subject, error="its process ended with status -9 before it was done"))

    monkeypatch.setattr(progress, "carry_out", break_down)
    assert main("prerank.mechanisms", ask("run=broken")) == 2
    errors = capsys.readouterr().err
    assert "4 fits failed" in errors
    assert "base seed 0 grace_no_consistency (double_hash_with) (no clicks)" in errors
    assert "crowded seed 0 grace_no_consistency (double_hash_with) (its process ended with status -9" in errors


def test_a_plan_that_does_not_exist(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        mechanisms(parse([f"runs_folder={tmp_path}", f"mechanisms.plan={tmp_path / 'none.yaml'}"]))


@pytest.mark.parametrize(("seconds", "shown"), [(5, "5 s"), (300, "5 min"), (7200, "2.0 h")])
def test_durations(seconds, shown):
    assert minutes(seconds) == shown
