"""What a run holds is settled: other data or keys are refused before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from configs.command import Invocation, config_from, parse
from configs.errors import InputError
from graph.building import settling, stages_of
from pretrain import pipeline
from pretrain.psi import psi_stage


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., Invocation]:
    """Parses a command on a run whose log, graph and ψ are finished, as far as their manifests say."""
    for day in ("today", "tomorrow"):
        (tmp_path / day).mkdir()

    def parsed(*overrides: str) -> Invocation:
        return parse([f"runs_folder={tmp_path / 'runs'}", "run=shop", *overrides])

    first = parsed("data=contract", f"data.path={tmp_path / 'today'}")
    stages = stages_of(first.config, first.run)
    stages.append(psi_stage(first.run.pretrain, stages[1].identity, stages[0].identity, first.config))
    for stage in stages:
        stage.start()
        stage.finish()
    first.save(first.run.config)
    return parsed


@pytest.mark.parametrize(
    ("override", "stage"),
    [
        ("data.path={}/tomorrow", "logs"),
        ("data.split.by=session", "logs"),
        ("graph.degree_cap=3", "graph"),
        ("pretrain.dimension=8", "pretrain"),
        ("seed=1", "pretrain"),
    ],
)
def test_other_data_or_keys_are_refused_and_change_nothing(ask, tmp_path: Path, override: str, stage: str) -> None:
    run = ask().run
    before = {path: path.read_bytes() for path in run.root.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=rf"{stage} was made with \S+=.*, asked for .*run=NAME .*overwrite=true"):
        pipeline.make_psi(ask(override.format(tmp_path)))
    assert {path: path.read_bytes() for path in run.root.rglob("*") if path.is_file()} == before


def test_log_graph_and_psi_are_locked_while_they_are_made(ask) -> None:
    """A second command waits from before it looks whether they are finished."""
    request, root = ask(), ask().run.root
    with settling(request, stages_of(request.config, request.run)):
        assert {path.name for path in root.glob(".*")} == {".logs.lock", ".graph.lock"}
    assert not list(root.glob(".*"))


def test_data_that_have_changed_under_their_name_are_refused(ask, tmp_path: Path) -> None:
    (tmp_path / "today" / "items.parquet").touch()
    with pytest.raises(
        InputError, match=r"logs was made from data that have changed since, or are gone \(source \w+, now \w+\)"
    ):
        pipeline.make_psi(ask())


def test_new_data_that_cannot_be_read_leave_the_run_as_it_was(ask, tmp_path: Path) -> None:
    run = ask().run
    with pytest.raises(InputError):
        pipeline.make_psi(ask(f"data.path={tmp_path / 'tomorrow'}", "overwrite=true"))  # an empty folder is no log
    assert config_from(run.config).data.path == str(tmp_path / "today")
    for stage in stages_of(ask().config, run):
        assert stage.finished
