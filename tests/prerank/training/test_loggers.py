"""Curves go where ``prerank.logger`` says, and change nothing of what is trained."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from configs.command import parse
from configs.errors import InputError
from configs.schema import TrainingLogger
from prerank import systems
from prerank.encoding.batches import EncodedLog
from prerank.fitting import system_keys
from prerank.training.contracts import Work
from prerank.training.loggers import make_loggers

SMALL = ("model=ple", "model.item.hash_vocabulary=64", "model.buckets=64", "model.dimension=4", "prerank.threads=1")


@pytest.fixture(scope="module")
def encoded(encoded_log) -> EncodedLog:
    return encoded_log(n_items=20, n_requests=40, rows_per_request=6)


def work_with(logger: str, encoded: EncodedLog, folder: Path) -> Work:
    settings = [
        *SMALL,
        "prerank.max_epochs=2",
        "prerank.batch_size=64",
        "data.cutoffs=[3,5]",
        f"prerank.logger={logger}",
    ]
    config = parse([f"runs_folder={folder}", *settings]).config
    view = system_keys(config.model).view(config)
    return Work(config=view, encoded=encoded, psi=None, folder=folder / "one" / "prerank" / ".ple.next")


def fitted_weights(work: Work) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    weights: dict[str, torch.Tensor] = systems.find(work.config.model).fit(work).module.state_dict()
    return weights


@pytest.fixture(scope="module")
def plain(encoded, tmp_path_factory) -> dict[str, torch.Tensor]:
    """What is trained without any of them."""
    work = work_with("csv", encoded, tmp_path_factory.mktemp("csv"))
    weights = fitted_weights(work)
    assert [path.name for path in (work.folder / "log").iterdir()] == ["curve"]
    return weights


@pytest.mark.parametrize(
    ("logger", "traces"),
    [
        ("tensorboard", ["tensorboard/events.out.*"]),
        ("mlflow", ["mlflow/*/*/metrics/validation/objective", "mlflow/*/*/params/prerank.learning_rate"]),
        ("wandb", ["wandb/offline-run-*/run-*.wandb"]),
    ],
)
def test_curves_go_there_and_the_weights_stay_the_same(logger, traces, encoded, plain, tmp_path, monkeypatch):
    if logger in ("mlflow", "wandb"):
        pytest.importorskip(logger, reason="the extra [tracking] is not installed")
    for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    work = work_with(logger, encoded, tmp_path)
    trained = fitted_weights(work)
    for trace in ("curve/*/metrics.csv", *traces):
        assert [*(work.folder / "log").glob(trace)], trace
    assert trained.keys() == plain.keys()
    assert all(torch.equal(trained[name], plain[name]) for name in plain)


@pytest.mark.parametrize("package", ["mlflow", "wandb"])
def test_a_missing_package_is_one_line_with_the_extra(package, encoded, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"prerank.logger={package} needs the package {package}.*\[tracking\]"):
        make_loggers(work_with(package, encoded, tmp_path))


def test_it_is_no_part_of_what_a_system_is(tmp_path):
    configs = [
        parse([f"runs_folder={tmp_path}", *SMALL, f"prerank.logger={each.value}"]).config for each in TrainingLogger
    ]
    settings = [system_keys(config.model).settings(config) for config in configs]
    assert all(each == settings[0] for each in settings)
    assert "prerank.logger" not in settings[0]
