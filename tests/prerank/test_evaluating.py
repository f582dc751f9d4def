"""What may be evaluated: the run's own log or a new one, with the configuration that the system was fitted with."""

from __future__ import annotations

import pytest

from configs.command import config_from, parse, save
from configs.errors import InputError
from configs.stages import Run, Stage
from graph.logs.prepare import log_stage
from prerank.encoding.features import ENCODED_KEYS
from prerank.evaluating import _fitted_config, _is_own_log
from prerank.evaluation.evaluation import read_evaluation
from prerank.fitting import fit_system, system_keys
from tests.prerank.conftest import fit_market


@pytest.fixture
def asked(tmp_path):
    """A fitted run on ``tmp_path/log``; parses another command on it."""
    (tmp_path / "log").mkdir()
    common = [f"runs_folder={tmp_path / 'runs'}", "run=one"]
    own = ["data=contract", f"data.path={tmp_path / 'log'}", "data.cutoffs=[2,4]"]
    first = parse([*common, *own, "model=ple", "model.dimension=8", "model.buckets=100"])
    save(first.config, first.run.config)
    system = Stage(first.run.system("ple"), system_keys(first.config.model).settings(first.config))
    encoded = Stage(first.run.encoded, ENCODED_KEYS.settings(first.config))
    for stage in (log_stage(first.config, first.run), encoded, system):
        stage.start()
        stage.finish()
    save(first.config, first.run.system("ple") / "config.yaml")
    return lambda *overrides: parse([*common, "model=ple", *overrides])


@pytest.mark.parametrize("overrides", [(), ("model.dimension=8",), ("evaluation.draws=9", "seed=4")])
def test_the_fitted_model_is_taken(asked, overrides):
    assert _fitted_config(asked(*overrides)).model.buckets == 100


@pytest.mark.parametrize("override", ["model.dimension=9", "experiment=paper", "prerank.learning_rate=1"])
def test_another_model_is_refused(asked, override):
    with pytest.raises(InputError, match=r"ple was made with (model|prerank)\.\S+=.*, asked for .*: leave model"):
        _fitted_config(asked(override))


def test_keys_of_another_system_do_not_matter(asked):
    assert _fitted_config(asked("model.dssm.gamma=3")).model.buckets == 100


def test_a_config_file_with_another_model_is_refused(asked, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("model: {dimension: 9}\n")
    with pytest.raises(InputError, match=r"model\.dimension"):
        _fitted_config(asked("--config", str(file)))


def test_the_runs_own_log_is_known_by_its_place_however_it_is_named(asked, tmp_path):
    for overrides in (
        [],
        ["data=contract", f"data.path={tmp_path / 'log'}"],
        [f"data.path={tmp_path / 'log' / '..' / 'log'}"],
        ["data.cutoffs=[2,4]"],
    ):
        request = asked(*overrides)
        assert _is_own_log(request)


def test_another_log_is_new(asked, tmp_path):
    for overrides in (["data=contract", f"data.path={tmp_path / 'new'}"], ["data=marketplace"]):
        request = asked(*overrides)
        assert not _is_own_log(request)


@pytest.mark.parametrize("override", ["data.cutoffs=[3]", "data.split.by=session", "data.features=[{column: brand}]"])
def test_the_own_log_is_not_taken_for_a_new_one_that_would_hold_training_rows(asked, override):
    request = asked(override)
    with pytest.raises(InputError, match=r"was made with data\..*=.*, asked for .*: leave data keys out"):
        _is_own_log(request)


def test_other_evaluation_settings_measure_again_and_do_not_train(tmp_path, tiny_log, monkeypatch):
    fit_market(tiny_log, [f"runs_folder={tmp_path}", "run=market", "evaluation.draws=10"], ["popularity"])
    market = Run(tmp_path / "market")
    folder = market.system("popularity")
    command = [f"runs_folder={tmp_path}", "run=market", "model=popularity", "prerank.max_epochs=1"]
    command += ["model.lightgbm.trees=5"]
    monkeypatch.setattr("prerank.fitting.train", lambda _: pytest.fail("trained again"))
    fit_system(parse([*command, "evaluation.draws=20"]))
    assert (read_evaluation(folder).draws.shape[1], config_from(folder / "config.yaml").evaluation.draws) == (20, 20)
    with monkeypatch.context() as patch:  # a measurement that is killed while it resamples
        patch.setattr("prerank.fitting.evaluate_predictions", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            fit_system(parse([*command, "evaluation.draws=30"]))
    assert read_evaluation(folder).draws.shape[1] == 20  # nothing is removed before what replaces it is complete
    assert config_from(folder / "config.yaml").evaluation.draws == 20
    assert not list(folder.glob(".*"))
    (market.reports / "segments.html").unlink()
    fit_system(parse([*command, "evaluation.draws=30"]))
    assert (market.reports / "segments.html").exists()
    assert read_evaluation(folder).draws.shape[1] == 30
    written = (folder / "metrics.json").stat().st_mtime_ns
    fit_system(parse([*command, "evaluation.draws=30"]))
    assert (folder / "metrics.json").stat().st_mtime_ns == written
