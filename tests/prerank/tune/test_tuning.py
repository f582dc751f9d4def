"""The command: trials on a small log, interrupted and resumed, with the test split gone; and what it leaves behind."""

from __future__ import annotations

import json
import math
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from configs.command import Invocation, main, parse, save
from configs.errors import InputError
from configs.stages import Stage
from prerank.encoding.batches import EncodedLog
from prerank.experiment.jobs import read_by
from prerank.experiment.pool import Answer
from prerank.fitting import fit_system
from prerank.systems.ple import PLE
from prerank.systems.popularity import Popularity
from prerank.training.contracts import Predictions
from prerank.tune import progress, trial
from prerank.tune.search import Outcome
from prerank.tune.tuning import tune_system
from pretrain.embeddings import EmbeddingTable

Ask = Callable[..., Invocation]
QUICK = (
    "model.item.hash_vocabulary=64",
    "model.buckets=64",
    "model.dimension=4",
    "model.experts.hidden=[8]",
    "model.experts.tower=[4]",
    "prerank.batch_size=64",
    "prerank.threads=1",
    "prerank.max_epochs=1",
    "evaluation.draws=10",
    "evaluation.recall_at=[3,10]",
)
UNUSED = {"model.dssm.gamma": {"low": 1.0, "high": 100.0, "log": True}}
"""A key that popularity does not read: its trials are real ones and take no time."""


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory, encoded_log: Callable[..., EncodedLog]) -> Path:
    """A run with a log of 60 lists of 15 ranked items, its encoding and a random ψ; its folder."""
    encoded = encoded_log(n_items=40, n_requests=60, rows_per_request=20)
    root = tmp_path_factory.mktemp("tune") / "small"
    shutil.copytree(encoded.folder.parents[1], root)
    shutil.copytree(encoded.folder.parents[2] / "logs", root / "logs")
    request = parse([f"runs_folder={root.parent}", "run=small", "data=contract", "data.cutoffs=[3,5]"])
    save(request.config, request.run.config)
    stage = Stage(request.run.pretrain, {})
    stage.start()
    vectors = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    EmbeddingTable(encoded.item_ids[:20], vectors, encoded.schema.catalogue, "psi").save(request.run.psi)
    stage.finish()
    return root


@pytest.fixture
def ask(small_run: Path, tmp_path: Path) -> Ask:
    """Makes a request on a copy of the run; another ``run`` is another copy."""

    def make(*overrides: str, run: str = "small") -> Invocation:
        if not (tmp_path / run).exists():
            shutil.copytree(small_run, tmp_path / run)
        return parse([f"runs_folder={tmp_path}", f"run={run}", *QUICK, *overrides])

    return make


@pytest.fixture
def idle_space(tmp_path: Path) -> str:
    """A space in which popularity has one key, which changes nothing."""
    path = tmp_path / "spaces.yaml"
    path.write_text(yaml.safe_dump({"systems": {"popularity": UNUSED}}))
    return f"tune.space={path}"


@pytest.fixture
def valley(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Trials without fitting: the learning rate 0.01 is best; returns the rates that were tried."""
    tried: list[float] = []

    def judged(config, _run, _encoded, _folder, objective):
        tried.append(config.prerank.learning_rate)
        value = 0.9 - abs(math.log10(config.prerank.learning_rate) + 2) / 10 - config.model.experts.dropout / 10
        return Outcome(1.0, dict.fromkeys(objective, value), None, 1)

    monkeypatch.setattr(progress, "measure", judged)
    return tried


def results(folder: Path) -> list[tuple]:
    found = json.loads((folder / "tune.json").read_text())
    return [(trial["number"], trial["values"], trial["parts"], trial["fusion"]) for trial in found["trials"]]


def test_real_trials_resumed_as_if_never_interrupted_with_the_test_split_gone(ask, monkeypatch):
    """An interrupted trial's checkpoint would be read, or refused, if it were taken for this trial's own."""
    command_line = ("model=grace", "tune.trials=3")
    whole = tune_system(ask(*command_line, run="whole"))
    assert [trial.number for trial in whole.trials] == [0, 1, 2]
    assert whole.trials[0].values["prerank.learning_rate"] == 0.02
    assert len({trial.objective for trial in whole.trials}) == 3

    request = ask(*command_line, run="cut")
    shutil.rmtree(request.run.encoded / "test")
    shutil.rmtree(request.run.logs / "impressions")
    original = progress.measure
    monkeypatch.setattr(progress, "measure", interrupting(original, at=2))
    with pytest.raises(KeyboardInterrupt):
        tune_system(request)
    folder = request.run.root / "tune" / "grace"
    assert len(results(folder)) == 2  # an interrupted search has a report too
    left = folder / "work" / "002" / "checkpoints" / "last.ckpt"
    left.parent.mkdir(parents=True)
    left.write_text("half a checkpoint")
    monkeypatch.setattr(progress, "measure", original)
    resumed = tune_system(request)
    assert results(resumed.folder) == results(whole.folder)
    assert not left.exists()
    assert not list(folder.rglob("*.ckpt"))
    assert resumed.best == max(resumed.trials, key=lambda trial: trial.objective)


def interrupting(measure, at: int):
    calls = []

    def made(*arguments):
        calls.append(arguments)
        if len(calls) > at:
            raise KeyboardInterrupt
        return measure(*arguments)

    return made


def test_a_long_search_in_parts_is_the_same(ask, valley):
    """Past the random trials, where every finished one counts."""
    whole = tune_system(ask("model=ple", "tune.trials=11", run="whole"))
    for count in (1, 9, 11):
        parts = tune_system(ask("model=ple", f"tune.trials={count}", run="parts"))
    assert results(parts.folder) == results(whole.folder)
    assert len(valley) == 22  # finished trials are not repeated
    assert whole.best.objective > whole.trials[0].objective
    assert tune_system(ask("model=ple", "tune.trials=11", run="whole")).trials == whole.trials
    assert len(valley) == 22
    shorter = tune_system(ask("model=ple", "tune.trials=5", run="whole"))
    assert shorter.trials == whole.trials[:5]  # the same budget for all, even where more was made


def test_another_seed_searches_elsewhere(ask, valley):
    tune_system(ask("model=ple", "tune.trials=3", "seed=1"))
    tune_system(ask("model=ple", "tune.trials=3", "seed=2", run="other"))
    assert valley[0] == valley[3]
    assert len(set(valley)) == 5  # nor is a trial's draw that of the one before


def test_records_of_another_search_are_not_read(ask, valley, capsys):
    tune_system(ask("model=ple", "tune.trials=1"))
    assert "other searches" not in capsys.readouterr().out
    for made, other in enumerate(("model.dimension=8", "seed=1", "tune.objective=[gauc_click]"), start=1):
        assert len(tune_system(ask("model=ple", "tune.trials=1", other)).trials) == 1
        assert f"model=ple: {made} trials of other searches are not read" in capsys.readouterr().out
        assert len(valley) == 1 + made
    tune_system(ask("model=ple", "tune.trials=1", "prerank.threads=2", "evaluation.draws=20"))  # nothing that matters
    assert len(valley) == 4


def test_another_psi_is_another_search_for_systems_that_need_it(ask, valley):
    for system, repeated in (("grace", 2), ("ple", 1)):
        request = ask(f"model={system}", "tune.trials=1", run=system)
        tune_system(request)
        stage = Stage(request.run.pretrain, {"made": "again"}, overwrite=True)
        kept = shutil.copytree(request.run.psi, request.run.root / "kept")
        stage.start()
        shutil.move(kept, stage.folder / "psi")
        stage.finish()
        valley.clear()
        tune_system(request)
        assert len(valley) == repeated - 1


def test_a_damaged_record_is_named(ask, valley):
    tuned = tune_system(ask("model=ple", "tune.trials=2"))
    record = next(tuned.folder.glob("trials/*/001.json"))
    record.write_text('{"number": 1}')
    with pytest.raises(InputError, match=r"001.json is no record of a trial: delete it"):
        tune_system(ask("model=ple", "tune.trials=2"))
    record.unlink()
    assert len(tune_system(ask("model=ple", "tune.trials=2")).trials) == 2
    assert len(valley) == 3


def test_the_best_file_is_what_fit_takes(ask, capsys):
    request = ask("model=ple", "tune.trials=3", "tune.objective=[gauc_click,recall_at_3,score_auc_click]")
    tuned = tune_system(request)
    best = tuned.best
    assert yaml.safe_load(tuned.best_file.read_text()) == {
        "prerank": {"learning_rate": best.values["prerank.learning_rate"]},
        "model": {"experts": {"dropout": best.values["model.experts.dropout"]}},
    }
    words = shlex.split(capsys.readouterr().out.split("next: ")[1])
    assert words[:6] == ["python", "-m", "prerank.fit", "run=small", "model=ple", "name=ple_tuned"]
    asked = parse(words[3:])
    assert asked.config.prerank.learning_rate == best.values["prerank.learning_rate"]
    assert asked.config.model.experts.hidden == [8]
    figures = json.loads((fit_system(asked) / "metrics.json").read_text())["validation"]["all"]
    assert {name: figures[name]["value"] for name in best.outcome.parts} == best.outcome.parts


def test_nothing_to_tune(ask, capsys):
    tuned = tune_system(ask("model=popularity"))
    assert "nothing to tune" in capsys.readouterr().out
    assert [(trial.number, trial.values) for trial in tuned.trials] == [(0, {})]
    assert tuned.best is tuned.trials[0]
    assert yaml.safe_load(tuned.best_file.read_text()) == {}
    assert parse(["model=popularity", "--config", str(tuned.best_file)]).config.model.name == "popularity"


def test_a_failed_trial_is_told_and_the_search_goes_on(ask, monkeypatch, capsys):
    original = PLE.fit

    class Diverged:
        parameters = 0

        def predict(self, split):
            return Predictions(np.full(split.rows, np.nan, np.float32), None, None)

    outcomes = iter([None, InputError("too steep"), ZeroDivisionError("oh"), Diverged(), None])

    def failing(work):
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome or original(work)

    monkeypatch.setattr(PLE, "fit", failing)
    tuned = tune_system(ask("model=ple", "tune.trials=5"))
    assert [trial.failed for trial in tuned.trials] == [False, True, True, True, False]
    reasons = [trial.outcome.reason for trial in tuned.trials]
    assert reasons[1:3] == ["too steep", "ZeroDivisionError: oh"]
    assert "the fit has diverged" in reasons[3]
    printed = capsys.readouterr().out
    assert "trial 1 (2/5)  failed: too steep" in printed
    assert "3 of 5 trials failed" in printed
    assert "failed: ZeroDivisionError: oh" in (tuned.folder / "tune.md").read_text()
    assert "ZeroDivisionError" in (tuned.folder / "output.log").read_text()
    assert json.loads((tuned.folder / "tune.json").read_text())["failed"] == 3
    assert not list((tuned.folder / "work").iterdir())
    assert tune_system(ask("model=ple", "tune.trials=5")).trials == tuned.trials  # failed ones are not repeated


def test_a_search_whose_trials_all_failed(ask, idle_space, monkeypatch):
    def failing(_work):
        raise InputError("no such luck")

    monkeypatch.setattr(Popularity, "fit", failing)
    request = ask("model=popularity", "tune.trials=2", idle_space)
    with pytest.raises(InputError, match=r"all 2 trials failed, the first with: no such luck; .*output.log; delete"):
        tune_system(request)
    folder = request.run.root / "tune" / "popularity"
    assert json.loads((folder / "tune.json").read_text())["best"] is None
    assert "No trial has succeeded" in (folder / "tune.md").read_text()
    assert not (folder / "best.yaml").exists()


def test_a_full_disk_is_no_failed_trial(ask, idle_space, monkeypatch):
    def full(_work):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Popularity, "fit", full)
    request = ask("model=popularity", "tune.trials=2", idle_space)
    with pytest.raises(OSError, match="No space"):
        tune_system(request)
    assert not list((request.run.root / "tune").rglob("trials/*/*.json"))


def test_several_at_a_time_measure_the_same(ask, idle_space):
    alone = tune_system(ask("model=popularity", "tune.trials=2", idle_space, run="alone"))
    together = tune_system(ask("model=popularity", "tune.trials=2", "tune.workers=2", idle_space))
    for one, other in zip(alone.trials, together.trials, strict=True):
        assert (one.values, one.outcome.parts) == (other.values, other.outcome.parts)


def test_a_process_that_dies_is_a_failed_trial(ask, idle_space, monkeypatch):
    def carry_out(tasks, processes, hear):
        assert processes == 2
        for task in tasks:
            if task.subject.number == 1:
                hear(Answer(task.subject, error="its process ended with status -9 before it was done"))
            else:
                hear(Answer(task.subject, {"seconds": 1.0, "parts": dict.fromkeys(task.arguments["objective"], 0.5)}))

    monkeypatch.setattr(progress, "carry_out", carry_out)
    tuned = tune_system(ask("model=popularity", "tune.trials=3", "tune.workers=2", idle_space))
    assert [trial.objective for trial in tuned.trials] == [0.5, None, 0.5]
    reason = tuned.trials[1].outcome.reason
    assert reason.startswith("its process ended with status -9 before it was done; what it printed is in ")
    assert tuned.trials[1].outcome.seconds >= 0


def test_a_fault_of_the_machine_in_a_process_is_no_failed_trial(ask, idle_space, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    def carry_out(tasks, _processes, hear):
        for task in tasks:
            for content in trial.measure_alone(**task.arguments):
                hear(Answer(task.subject, content))

    monkeypatch.setattr(progress, "carry_out", carry_out)
    monkeypatch.setattr(trial, "measure", full)
    request = ask("model=popularity", "tune.trials=3", "tune.workers=2", idle_space)
    with pytest.raises(InputError, match="the disk is full"):
        tune_system(request)
    assert not list((request.run.root / "tune").rglob("trials/*/*.json"))


@pytest.mark.usefixtures("valley")
def test_values_at_the_edge_are_warned_of_where_more_is_allowed(ask, tmp_path, capsys):
    space = {"common": {"prerank.learning_rate": {"low": 0.0105, "high": 0.1, "log": True}}}
    space["common"]["model.experts.dropout"] = {"low": 0.0, "high": 0.3}
    (tmp_path / "edge.yaml").write_text(yaml.safe_dump(space))
    line = ("model=ple", f"tune.space={tmp_path / 'edge.yaml'}", "prerank.learning_rate=0.0105", "tune.trials=1")
    tuned = tune_system(ask(*line))
    # Dropout is 0, at its edge too, but there is none below 0.
    assert json.loads((tuned.folder / "tune.json").read_text())["at_the_edge"] == ["prerank.learning_rate"]
    assert "prerank.learning_rate=0.0105 lies at the edge of 0.0105 to 0.1" in capsys.readouterr().out


def test_the_command(ask, capsys):
    request = ask("model=ple")
    place = [f"runs_folder={request.config.runs_folder}", "run=small"]
    assert main("prerank.tune", [*place, "model=ple", "tune.objective=[auc_click]"]) == 2
    assert "auc_click is a figure of one head" in capsys.readouterr().err
    assert main("prerank.tune", [*place, "model=ple", "tune.trials=0"]) == 2
    assert "tune.trials must be above 0" in capsys.readouterr().err
    assert main("prerank.tune", [*place, "model=popularity", *QUICK]) == 2
    assert "model.buckets is not read by model=popularity, but by" in capsys.readouterr().err
    assert main("prerank.tune", [*place, "model=popularity", *read_by("popularity", QUICK)]) == 0
    assert "trial 0 (1/1)" in capsys.readouterr().out
