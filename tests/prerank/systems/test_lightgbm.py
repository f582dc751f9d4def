"""Boosted trees: a validation that cannot tell, and files that were cut off."""

from __future__ import annotations

import numpy as np
import pytest

from configs.command import parse
from configs.errors import InputError
from prerank.systems import Work, lightgbm


@pytest.fixture
def work(small_encoded_log, tmp_path):
    config = parse(
        [f"runs_folder={tmp_path}", "model=lightgbm", "prerank.threads=1", "model.lightgbm.patience=7"]
    ).config
    return Work(config=config, encoded=small_encoded_log, psi=None, folder=tmp_path / "lightgbm")


def test_a_fitted_system_is_read_back(work):
    split = work.encoded.split("test")
    fitted, read = lightgbm.fit(work).predict(split), lightgbm.load(work).predict(split)
    np.testing.assert_allclose(read.click, fitted.click, rtol=1e-6)


def test_a_validation_of_one_class_does_not_stop_at_the_first_tree(work, monkeypatch, capsys):
    original = type(work.encoded).split

    def without_clicks(self, name):
        split = original(self, name)
        if name == "validation":
            split.clicked = np.zeros_like(split.clicked)
        return split

    monkeypatch.setattr(type(work.encoded), "split", without_clicks)
    fitted = lightgbm.fit(work)
    assert fitted.boosters["click"].num_trees() == 7
    assert "validation holds one class only, so training stops at 7 trees" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("kept", [0, 0.5, 0.99])
def test_a_model_that_was_cut_off_is_named(work, kept):
    lightgbm.fit(work)
    path = work.folder / "click.txt"
    whole = path.read_text()
    path.write_text(whole[: int(kept * len(whole))])
    with pytest.raises(InputError, match=r"click\.txt was cut off"):
        lightgbm.load(work)
    path.unlink()
    with pytest.raises(InputError, match=r"click\.txt is missing"):
        lightgbm.load(work)


def test_columns_that_differ_only_in_punctuation_keep_different_names():
    assert list(lightgbm._plain(["a.b", "a_b", "a b"]).values()) == ["a_b", "a_b_1", "a_b_2"]
