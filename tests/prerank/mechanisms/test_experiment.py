"""The command: from two conditions of a tiny market to the table; again, it does nothing; nothing outlives it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from configs.command import main, parse
from configs.errors import InputError
from prerank.experiment import pool as experiment_pool
from prerank.experiment.jobs import Fit, Job
from prerank.experiment.pool import Worker, carry_out
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
def made(ask) -> Path:
    """The experiment's folder, with the fits of its first condition."""
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
    monkeypatch.setattr(Worker, "start", None)
    assert main("prerank.mechanisms", ask("mechanisms.conditions=[base]")) == 0
    assert "2 finished before, 0 to make" in " ".join(capsys.readouterr().out.split())
    after = {file: file.stat().st_mtime_ns for file in made.rglob("*") if file.is_file() and file.parent != made}
    assert after == before


def job_of(folder, *systems):
    fits = tuple(Fit(folder, "base", "seed-0", system, 0, (), "") for system in systems)
    return Job("tiny", 0, fits, ())


@pytest.fixture
def worker_runs(monkeypatch):
    """Lets a script stand in for the process that fits."""

    def use(script):
        original = subprocess.Popen
        monkeypatch.setattr(
            experiment_pool.subprocess,
            "Popen",
            lambda _command, **rest: original([sys.executable, "-c", script], **rest),
        )

    return use


def test_a_process_that_dies_fails_its_fits_and_no_other(tmp_path, worker_runs):
    worker_runs(
        "import json, os, sys; job = json.loads(sys.stdin.readline())\n"
        "print(json.dumps({'fit': 0, 'seconds': 1.0}), flush=True)\n"
        "if len(job['fits']) > 1: os.kill(os.getpid(), 9)"
    )
    told = []
    jobs = [job_of(tmp_path, "a", "b", "c"), job_of(tmp_path, "d")]
    carry_out(jobs, 1, lambda fit, answer: told.append((fit.system, *answer)))
    assert told == [("a", "fit", "seconds"), ("b", "error"), ("c", "error"), ("d", "fit", "seconds")]


def test_one_thread_each_and_as_many_processes_as_asked_for(tmp_path, worker_runs):
    worker_runs(
        "import json, os, sys, time; sys.stdin.readline(); start = time.time(); time.sleep(0.3)\n"
        "print(json.dumps({'fit': 0, 'seconds': os.environ['OMP_NUM_THREADS'], 'at': [start, time.time()]}))"
    )
    told = []
    carry_out([job_of(tmp_path, name) for name in "abcd"], 2, lambda _, answer: told.append(answer))
    assert [answer["seconds"] for answer in told] == ["1"] * 4
    spans = [answer["at"] for answer in told]
    overlapping = [sum(a < stop and b > start for a, b in spans) for start, stop in spans]
    assert max(overlapping) <= 3  # itself, the one beside it, and the one that took its place


def test_a_failed_fit_is_named_at_the_end_and_the_command_fails(ask, worker_runs, capsys):
    worker_runs(
        "import json, sys; job = json.loads(sys.stdin.readline())\n"
        "for n in range(len(job['fits'])): print(json.dumps({'fit': n, 'error': 'it broke'}))"
    )
    assert main("prerank.mechanisms", ask("run=broken")) == 2
    errors = capsys.readouterr().err
    assert "4 fits failed" in errors
    assert "crowded seed 0 grace_no_consistency (double_hash_with) (it broke)" in errors


def test_an_error_while_fits_run_ends_their_processes(tmp_path, worker_runs):
    worker_runs(
        "import json, os, sys, time; sys.stdin.readline()\n"
        "print(json.dumps({'fit': 0, 'seconds': os.getpid()}), flush=True); time.sleep(600)"
    )
    pids = []

    def told(_fit, answer):
        pids.append(answer["seconds"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry_out([job_of(tmp_path, "a")], 1, told)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_a_worker_ends_when_the_command_is_killed():
    """The command's end of the pipe closes however it ends; the worker's own watch is what sees it."""
    script = (
        "import os, time\nfrom prerank.experiment.pool import end_with_parent\n"
        "end_with_parent()\nprint(os.getpid(), flush=True)\ntime.sleep(600)"
    )
    parent = (
        "import subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', {script!r}], stdin=subprocess.PIPE)\ntime.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        worker = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + 10
        while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
            if Path(f"/proc/{worker}/stat").read_text().split(")")[1].split()[0] == "Z":
                break  # ended; nobody has asked for its status
            time.sleep(0.05)
        else:
            assert time.monotonic() < deadline, "the worker is still there"


def test_a_plan_that_does_not_exist(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        mechanisms(parse([f"runs_folder={tmp_path}", f"mechanisms.plan={tmp_path / 'none.yaml'}"]))


@pytest.mark.parametrize(("seconds", "shown"), [(5, "5 s"), (300, "5 min"), (7200, "2.0 h")])
def test_durations(seconds, shown):
    assert minutes(seconds) == shown
