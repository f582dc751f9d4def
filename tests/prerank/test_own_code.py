"""The recipe of docs/guides/add_system.md, word for word, by a new user: in a folder outside of the repository."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from configs import layers
from configs.command import parse, save
from configs.errors import InputError
from configs.layers import group_names
from configs.schema import ModelConfig
from configs.stages import read_json
from prerank import systems
from prerank.systems.ple import PLE
from tests.prerank.conftest import random_log

ROOT = Path(__file__).parents[2]
MOST_LINES = 20
FEATURE = """\
data:
  add_features:
  - column: price_gap
    kind: number
    side: pair
    sql: price - avg(price) OVER (PARTITION BY request_id)
"""
LOSS = '''\
import torch
from prerank.systems.ple import PLE


class Focal(PLE):
    """PLE whose click loss is the focal one (Lin et al. 2017): rows that are easy already count less."""

    def losses(self, batch, outputs):
        terms = super().losses(batch, outputs)
        chance = torch.sigmoid(outputs.click)
        miss = torch.where(batch.clicked > 0, 1 - chance, chance)[batch.has_feedback]
        terms["click"] = -(miss**2 * torch.log1p(-miss)).mean()
        return terms


SYSTEM = Focal
'''
LOSS_KEYS = "rank: {head: none}\n"
SYSTEM = '''\
import numpy as np
from prerank.training.contracts import Predictions


class Cheapest:
    """The cheaper, the better."""

    NEEDS_PSI, KEYS, parameters = False, (), 0

    @classmethod
    def fit(cls, work):
        return cls()

    load = fit

    def predict(self, split):
        return Predictions(click=-np.nan_to_num(split.price), order=None, rank=None)

    def item_vectors(self, encoded):
        return None


SYSTEM = Cheapest
'''


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A folder of a user's own with a run of a small log, and what the recipe tells her to write."""
    folder = tmp_path_factory.mktemp("shop")
    invocation = parse([f"runs_folder={folder / 'runs'}", "run=one", "data=contract", f"data.path={folder}"])
    save(invocation.config, invocation.run.config)
    random_log(invocation.run.logs, n_items=50, n_requests=40, rows_per_request=12)
    (folder / "models").mkdir()
    written = {
        "gap.yaml": FEATURE,
        "models/focal.py": LOSS,
        "models/focal.yaml": LOSS_KEYS,
        "models/cheapest.py": SYSTEM,
    }
    for name, text in written.items():
        (folder / name).write_text(text)
    return folder


def run(folder, command, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", command, "run=one", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


@pytest.mark.parametrize("text", [FEATURE, LOSS, LOSS_KEYS, SYSTEM])
def test_the_guide_says_it_as_it_is_tried_here(text):
    assert f'"\n{text}```' in (ROOT / "docs" / "guides" / "add_system.md").read_text()


def test_each_is_written_in_under_twenty_lines():
    for text in (FEATURE, LOSS + LOSS_KEYS, SYSTEM):
        assert len([line for line in text.splitlines() if line.strip()]) < MOST_LINES


def test_an_own_feature_an_own_loss_and_an_own_system(shop):
    quick = ["evaluation.draws=10", "prerank.max_epochs=1", "model.experts.hidden=[8]", "model.experts.tower=[4]"]
    done = run(shop, "prerank.fit", "model=focal", "name=both", "--config", "gap.yaml", *quick)
    assert done.returncode == 0, done.stderr
    assert "price_gap" in done.stdout
    done = run(shop, "prerank.fit", "model=cheapest", "evaluation.draws=10")
    assert done.returncode == 0, done.stderr
    done = run(shop, "prerank.evaluate", "model=focal", "name=both", "evaluation.draws=20")
    assert done.returncode == 0, done.stderr
    prerank = shop / "runs" / "one" / "prerank"
    scores = pq.read_table(prerank / "cheapest" / "predictions.parquet", columns=["price", "score"]).to_pandas()
    assert (scores.sort_values("price")["score"].diff().dropna() <= 0).all()
    assert read_json(prerank / "both" / "metrics.json")["test"]["all"]["auc_click"]["value"] is not None


def test_another_text_of_an_own_system_is_another_system(shop):
    quick = ("model=cheapest", "name=edited", "evaluation.draws=10")
    assert run(shop, "prerank.fit", *quick).returncode == 0
    path = shop / "models" / "cheapest.py"
    path.write_text(SYSTEM.replace("click=-np", "click=np"))
    try:
        done = run(shop, "prerank.fit", *quick)
        assert done.returncode == 2
        assert "edited was made from another module" in done.stderr
        assert "overwrite=true" in done.stderr
        assert run(shop, "prerank.fit", *quick, "overwrite=true").returncode == 0
    finally:
        path.write_text(SYSTEM)


def test_own_models_are_found_by_folder_and_by_entry_point(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "alone.py").write_text("from prerank.systems.ple import PLE as SYSTEM\n")
    (tmp_path / "models" / "_helper.py").write_text("")
    (tmp_path / "models" / "empty.py").write_text("")
    monkeypatch.setattr(layers, "packaged_models", lambda: {"packed": "prerank.systems.ple", "gone": "no.such.module"})
    assert {"alone", "packed", "ple"} <= set(group_names("model"))
    assert "_helper" not in group_names("model")
    for name in ("alone", "packed"):
        model = parse([f"model={name}"], remember=False).config.model
        assert model.name == name
        assert systems.find(model) is PLE
    assert systems.own_source(parse(["model=ple"], remember=False).config.model) == {}
    assert list(systems.own_source(parse(["model=alone"], remember=False).config.model)) == ["module"]
    with pytest.raises(InputError, match=r"module models\.empty has no SYSTEM"):
        systems.find(ModelConfig(name="empty"))
    with pytest.raises(InputError, match=r"neither prerank/systems/no\.such\.module\.py, nor models"):
        systems.find(parse(["model=gone"], remember=False).config.model)
    with pytest.raises(InputError, match=r"model=alonee is unknown; .*did you mean 'alone'"):
        parse(["model=alonee"], remember=False)
    (tmp_path / "models" / "ple.py").write_text("")
    with pytest.raises(InputError, match=r"ple\.py: there is a model=ple already"):
        parse(["model=grace"], remember=False)
