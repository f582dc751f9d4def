"""Fitting in a run that holds fitted systems: nothing is destroyed without a word, and variants lie side by side."""

from __future__ import annotations

import pkgutil
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from configs.command import Invocation, config_from, parse
from configs.errors import InputError
from configs.stages import Stage, read_json, write_json
from prerank.evaluating import evaluate_system
from prerank.evaluation.evaluation import read_evaluation
from prerank.fitting import fit_system
from prerank.loading import load_system
from tests.prerank.conftest import random_log

NETWORK = (
    *("model.item.hash_vocabulary=64", "model.buckets=64", "model.dimension=4", "model.experts.hidden=[8]"),
    *("model.experts.tower=[4]", "pretrain.dimension=8"),
)
SMALL = (
    *("prerank.batch_size=64", "prerank.threads=1", "prerank.max_epochs=1"),
    *("data.cutoffs=[3,5]", "evaluation.draws=10"),
)
Ask = Callable[..., Invocation]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Parses a command on a run that holds a log."""
    random_log(tmp_path / "runs" / "shop" / "logs", 50, 40, 12)
    common = ["data=contract", f"data.path={tmp_path}", f"runs_folder={tmp_path / 'runs'}", "run=shop", *SMALL]
    first = parse(common)
    first.save(first.run.config)
    return lambda *overrides: parse([*common, *(NETWORK if "model=ple" in overrides else ()), *overrides])


def identity(folder: Path) -> Any:
    return read_json(folder / "manifest.json")["identity"]


def test_a_system_with_other_keys_is_refused_or_kept_beside_the_first(ask: Ask) -> None:
    first = fit_system(ask("model=ple"))
    before = identity(first)
    with pytest.raises(InputError) as refused:
        fit_system(ask("model=ple", "prerank.learning_rate=0.05"))
    assert "prerank.learning_rate=0.02, asked for 0.05" in str(refused.value)
    assert "give name=ple_b to keep both, or overwrite=true" in str(refused.value)
    assert (identity(first), read_evaluation(first).draws.shape[1]) == (before, 10)
    second = fit_system(ask("model=ple", "prerank.learning_rate=0.05", "name=ple_b"))
    assert (second.name, identity(first)) == ("ple_b", before)
    assert identity(second) != before
    shown = read_json(first.parents[1] / "reports" / "segments.json")
    assert shown["systems"] == ["ple", "ple_b"]
    with pytest.raises(InputError, match=r"model.name=ple, asked for popularity"):
        fit_system(ask("model=popularity", "name=ple_b"))


def test_a_variant_is_evaluated_by_its_name(ask: Ask) -> None:
    fit_system(ask("model=popularity"))
    folder = fit_system(ask("model=ple", "name=variant"))
    assert evaluate_system(ask("name=variant", "model=ple", "evaluation.draws=20")) == folder / "metrics.json"
    assert read_evaluation(folder).draws.shape[1] == 20
    saved = config_from(folder / "config.yaml")
    assert (saved.name, saved.model.name, saved.evaluation.draws) == ("variant", "ple", 20)


@pytest.mark.parametrize(
    ("step", "lock"),
    [
        ("prerank.encoding.features._encode", "prerank/.encoded.lock"),
        ("prerank.fitting.train", "prerank/.popularity.lock"),
        ("prerank.dashboard.page._write_page", ".reports.lock"),
    ],
)
def test_what_is_written_is_locked_meanwhile(ask: Ask, monkeypatch: pytest.MonkeyPatch, step: str, lock: str) -> None:
    request, locked = ask("model=popularity"), []
    carried_out = pkgutil.resolve_name(step)

    def watched(*arguments: Any) -> Any:
        locked.append((request.run.root / lock).exists())
        return carried_out(*arguments)

    monkeypatch.setattr(step, watched)
    fit_system(request)
    assert locked == [True]
    assert not (request.run.root / lock).exists()


def test_the_length_of_phi_belongs_to_a_system_without_psi(ask: Ask) -> None:
    fit_system(ask("model=ple"))
    with pytest.raises(InputError, match=r"pretrain.dimension=8, asked for 16"):
        fit_system(ask("model=ple", "pretrain.dimension=16"))


@pytest.mark.parametrize("key", ["prerank.learning_rate=1", "prerank.threads=2"])
def test_what_a_system_does_not_read_leaves_it_as_it_is(ask: Ask, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    fit_system(ask("model=popularity"))
    monkeypatch.setattr("prerank.fitting.train", lambda _: pytest.fail("trained again"))
    fit_system(ask("model=popularity", key))


def test_a_killed_replacement_leaves_the_finished_system_and_is_resumed(ask: Ask, monkeypatch) -> None:
    folder = fit_system(ask("model=ple"))
    before, figures = identity(folder), (folder / "metrics.json").read_bytes()
    asked = ask("model=ple", "prerank.learning_rate=0.05", "overwrite=true")
    with monkeypatch.context() as patch:  # killed after training, while it measures
        patch.setattr("prerank.fitting.evaluate_predictions", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            fit_system(asked)
    assert (identity(folder), (folder / "metrics.json").read_bytes()) == (before, figures)
    fit_system(ask("model=ple"))  # which is finished still
    successor = folder.with_name(".ple.next")
    trained = (successor / "checkpoints" / "best.ckpt").stat().st_mtime_ns
    fit_system(asked)
    assert not successor.exists()
    assert identity(folder) != before
    assert (folder / "checkpoints" / "best.ckpt").stat().st_mtime_ns == trained  # resumed: nothing was left to train
    assert config_from(folder / "config.yaml").overwrite is False


def test_an_interrupted_first_fit_resumes_and_is_seen_by_nobody(ask: Ask, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("prerank.fitting.evaluate_predictions", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            fit_system(ask("model=ple"))
    with pytest.raises(InputError, match="is unfinished"):
        evaluate_system(ask("model=ple"))
    assert fit_system(ask("model=ple")).name == "ple"


def test_another_encoding_lies_beside_the_first_and_nothing_goes_stale(ask: Ask) -> None:
    fit_system(ask("model=popularity"))
    other = "data.cutoffs=[4]"
    fit_system(ask("model=ple", other, "prerank.max_epochs=1"))
    evaluate_system(ask("model=popularity"))
    with pytest.raises(InputError, match=r"encoded was made with data.cutoffs=\[3, 5\], asked for \[4\]"):
        evaluate_system(ask("model=popularity", other))
    with pytest.raises(InputError, match=r"popularity was made from another encoded stage .*name=.*overwrite=true"):
        fit_system(ask("model=popularity", other))
    fit_system(ask("model=popularity", other, "overwrite=true"))
    evaluate_system(ask("model=popularity", other))
    evaluate_system(ask("model=ple", other))


def test_what_was_made_from_an_encoding_that_is_gone_is_refused_until_it_is_made_again(ask: Ask) -> None:
    fit_system(ask("model=popularity"))
    fit_system(ask("model=popularity", "name=other", "data.cutoffs=[4]"))
    (beside,) = ask().run.encoded.parent.glob("encoded-*")
    shutil.rmtree(beside)
    with pytest.raises(InputError, match=r"other was made from another encoded stage .*overwrite=true"):
        evaluate_system(ask("model=popularity", "name=other"))
    fit_system(ask("model=popularity", "name=other", "data.cutoffs=[4]"))  # which encodes again, and finds it fitted
    evaluate_system(ask("model=popularity", "name=other", "data.cutoffs=[4]"))


def test_a_psi_of_another_log_is_refused(ask: Ask) -> None:
    """Its training days may be test days now."""
    run = ask().run
    psi = Stage(run.pretrain, {}, {"log": identity(run.logs)})
    psi.start()
    psi.finish()
    with pytest.raises(
        InputError, match="psi does not exist"
    ):  # the stage is of this log; its vectors were not made here
        fit_system(ask("model=grace", *NETWORK))
    write_json(run.pretrain / "manifest.json", {"identity": "old", "inputs": {"log": "of yesterday"}})
    with pytest.raises(InputError, match=r"pretrain was made from another log stage .*pretrain.run .*overwrite=true"):
        fit_system(ask("model=grace", *NETWORK))


def test_columns_of_another_log_are_not_evaluated(ask: Ask) -> None:
    fit_system(ask("model=popularity"))
    content = read_json(ask().run.logs / "manifest.json")
    write_json(ask().run.logs / "manifest.json", {**content, "identity": "made again"})
    with pytest.raises(InputError, match=r"encoded was made from another log stage .*prerank.fit .*overwrite=true"):
        evaluate_system(ask("model=popularity"))
    with pytest.raises(InputError, match=r"encoded was made from another log stage"):
        load_system(ask("model=popularity"))


def test_a_system_is_loaded_by_its_name(ask: Ask) -> None:
    fit_system(ask("model=popularity"))
    fit_system(ask("model=ple", "name=variant"))
    assert load_system(ask("model=ple", "name=variant")).item_vectors() is not None
    with pytest.raises(InputError, match="model=ple name=other"):
        load_system(ask("model=ple", "name=other"))


def test_figures_are_measured_again_where_psi_was_made_since(ask: Ask) -> None:
    folder = fit_system(ask("model=popularity"))
    written = (folder / "metrics.json").stat().st_mtime_ns
    fit_system(ask("model=popularity"))
    assert (folder / "metrics.json").stat().st_mtime_ns == written
    psi = Stage(ask().run.pretrain, {})
    psi.start()
    psi.finish()
    fit_system(ask("model=popularity"))
    assert (folder / "metrics.json").stat().st_mtime_ns > written


@pytest.mark.parametrize("name", ["encoded", "../elsewhere", ".hidden", "a/b", "two words"])
def test_a_name_is_that_of_a_folder_of_the_run(ask: Ask, name: str) -> None:
    with pytest.raises(InputError, match="expected letters"):
        fit_system(ask("model=popularity", f"name={name}"))
