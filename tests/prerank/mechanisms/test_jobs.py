"""What is fitted, in which order, what counts as finished, and which runs share files."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from configs.command import parse
from configs.errors import InputError
from configs.stages import Run, Stage, replacing, write_json
from prerank.evaluation.evaluation import Evaluation
from prerank.experiment.fits import share
from prerank.experiment.jobs import STAGES, seconds_by_source
from prerank.mechanisms.jobs import plan_jobs
from prerank.mechanisms.plan import Condition, Expectation, Measure, MechanismPlan, Module, SystemVariant

GAUC = (Measure("gauc_click", "all"),)
GRACE = SystemVariant("grace", {})
OVERRIDES = {"prerank.max_epochs": 2, "prerank.patience": 3, "data.split.test": [datetime.date(2024, 1, 8)]}
MODULES = {
    "consistency": Module("consistency", "C", GRACE, SystemVariant("grace_no_consistency", {})),
    "double": Module("double", "D", SystemVariant("grace", {"model.item.hashing": "double"}), GRACE),
}


def condition(name, world, overrides, *modules):
    expect = {module: {Expectation.open: GAUC} for module in modules}
    return Condition(name, name, world, expect, overrides)


@pytest.fixture
def plan():
    every = [
        condition("crowded", "tiny", {"model.item.hash_vocabulary": 20}, "double"),
        condition("base", "tiny", {}, "consistency", "double"),
        condition("other", "default", {}, "consistency"),
    ]
    return MechanismPlan(MODULES, {each.name: each for each in every}, overrides=OVERRIDES)


@pytest.fixture
def jobs_for(plan, tmp_path):
    def make(*overrides):
        request = parse([f"runs_folder={tmp_path}", "run=r", "mechanisms.seeds=2", *overrides])
        return plan_jobs(plan, request, tmp_path / "r" / "mechanisms")

    return make


def named(job):
    return [(fit.group, fit.run, fit.system) for fit in job.fits]


def test_a_market_is_a_job_whose_base_comes_first_and_seeds_are_in_order(jobs_for):
    jobs, pairs = jobs_for()
    assert [(job.source, job.seed) for job in jobs] == [("tiny", 0), ("default", 0), ("tiny", 1), ("default", 1)]
    assert named(jobs[0]) == [
        ("base", "seed-0", "grace"),
        ("base", "seed-0", "grace_no_consistency"),
        ("base", "seed-0-double_with", "grace"),
        ("crowded", "seed-0-double_with", "grace"),
        ("crowded", "seed-0", "grace"),
    ]
    roots = [donor.relative_to(donor.parents[1]).as_posix() for donor in jobs[0].donors]
    assert roots == ["base/seed-0", "crowded/seed-0", "base/seed-0-double_with", "crowded/seed-0-double_with"]
    double = pairs["base", "double", 1]
    assert [fit.run for fit in double] == ["seed-1-double_with", "seed-1"]
    assert pairs["base", "consistency", 1][0] == double[1]  # one fit of GRACE serves both comparisons


def test_what_a_fit_is_told(jobs_for):
    jobs, _ = jobs_for("prerank.max_epochs=3", "evaluation.recall_at=[5,10]", "seed=7", "prerank.threads=8")
    fit = next(fit for fit in jobs[0].fits if (fit.group, fit.run) == ("crowded", "seed-7-double_with"))
    request = parse(fit.arguments, remember=False)
    config = request.config
    assert request.run.root == fit.place.root
    assert (config.seed, config.data.world, config.model.name) == (7, "tiny", "grace")
    assert (config.model.item.hash_vocabulary, str(config.model.item.hashing)) == (20, "double")
    assert (config.prerank.max_epochs, config.prerank.patience) == (3, 3)  # the command goes over the plan
    assert config.evaluation.recall_at == [5, 10]
    assert config.data.split.test == ["2024-01-08"]
    assert (config.prerank.threads, config.pretrain.threads, config.evaluation.draws) == (1, 1, 200)
    assert str(config.model.rank.head) == "shared"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("data=contract",), "simulated markets that the plan names"),
        (("data.world=tiny",), "simulated markets that the plan names"),
        (("model=ple",), "the plan names the systems"),
        (("mechanisms.conditions=[bas]",), "did you mean 'base'"),
    ],
)
def test_what_the_plan_decides_is_not_taken_from_the_command(jobs_for, overrides, message):
    with pytest.raises(InputError, match=message):
        jobs_for(*overrides)


def test_a_key_of_the_plan_that_does_not_exist_is_named_before_anything_is_fitted(plan, tmp_path):
    broken = condition("base", "tiny", {"model.item.hash_vocabluary": 20}, "consistency")
    request = parse([f"runs_folder={tmp_path}"])
    with pytest.raises(InputError, match=r"did you mean 'model\.item\.hash_vocabulary'"):
        plan_jobs(replace(plan, conditions={"base": broken}), request, tmp_path)


def test_a_fit_is_finished_while_its_record_tells_of_the_same_configuration_and_the_same_files(jobs_for):
    one = "mechanisms.conditions=[other]"
    fit = jobs_for(one)[0][0].fits[0]
    folder = fit.place.system(fit.system)
    assert not fit.finished
    assert fit.seconds is None
    write_json(folder / "manifest.json", {"identity": "one"})
    write_json(fit.metrics, {})
    fit.remember(5.0)
    assert fit.finished
    jobs, _ = jobs_for(one)
    assert fit not in jobs[0].waiting
    assert seconds_by_source(jobs) == {"default": 5.0}
    assert jobs[0].task.arguments["fits"][0]["arguments"] == jobs[0].fits[1].arguments
    otherwise = jobs_for(one, "prerank.max_epochs=9")[0][0]
    assert otherwise.waiting == otherwise.fits
    fit.remember(0.1)  # found finished again: the time that it took is kept
    assert fit.seconds == 5.0
    made = Evaluation({}, {"made_with": {"draws": 200}}, np.zeros((0, 200), np.float32))
    made.write(folder)
    assert not fit.finished  # measured in another way since
    fit.remember(0.1)
    assert fit.finished
    write_json(folder / "manifest.json", {"identity": "another"})
    assert not fit.finished


@pytest.fixture
def donor(tmp_path):
    """A run with a finished log and graph, and a ψ that was interrupted."""
    run = Run(tmp_path / "base")
    for folder in (run.logs, run.graph, run.pretrain):
        stage = Stage(folder, {"made": folder.name})
        stage.start()
        (folder / "inner").mkdir()
        np.save(folder / "inner" / "values.npy", np.arange(3))
        if folder != run.pretrain:
            stage.finish()
    return run


def test_finished_stages_are_shared_and_keep_their_identity(donor, tmp_path):
    run = Run(tmp_path / "other")
    share(run, [Run(tmp_path / "nowhere"), donor], STAGES)
    assert Stage(run.logs, {"made": "logs"}).finished
    assert (run.logs / "inner" / "values.npy").samefile(donor.logs / "inner" / "values.npy")
    assert not run.pretrain.exists()
    assert not list(run.root.glob(".*"))


def test_what_a_run_changes_is_not_changed_at_its_donor(donor, tmp_path):
    before = {file: file.read_bytes() for file in donor.root.rglob("*") if file.is_file()}
    run = Run(tmp_path / "other")
    share(run, [donor], STAGES)
    write_json(run.logs / "manifest.json", {"identity": "changed"})
    with replacing(run.logs / "inner" / "values.npy") as temporary, temporary.open("wb") as file:
        np.save(file, np.arange(9))
    other = Stage(run.graph, {"made": "otherwise"}, overwrite=True)
    assert not other.finished
    other.start()
    (other.folder / "new").write_text("new")
    other.finish()
    assert {file: file.read_bytes() for file in donor.root.rglob("*") if file.is_file()} == before


def test_a_stage_that_is_there_is_left_alone(donor, tmp_path):
    run = Run(tmp_path / "other")
    Stage(run.logs, {"made": "before"}).start()
    share(run, [donor], STAGES)
    assert (run.logs / "started.json").exists()
    assert not (run.logs / "manifest.json").exists()
    share(donor, [donor], STAGES)
    assert Path(donor.pretrain / "started.json").exists()
