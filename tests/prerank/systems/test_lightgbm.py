"""Boosted trees: a validation that cannot tell, and files that were cut off."""

from __future__ import annotations

import dataclasses
from itertools import permutations

import numpy as np
import pytest

from configs.command import parse
from configs.errors import InputError
from prerank.evaluation.metrics import gauc
from prerank.systems import lightgbm
from prerank.systems.lightgbm import BoostedTrees
from prerank.training.contracts import Work


@pytest.fixture
def work(small_encoded_log, tmp_path):
    config = parse(
        [f"runs_folder={tmp_path}", "model=lightgbm", "prerank.threads=1", "model.lightgbm.patience=7"]
    ).config
    return Work(config=config, encoded=small_encoded_log, psi=None, folder=tmp_path / "lightgbm")


def test_a_fitted_system_is_read_back(work):
    split = work.encoded.split("test")
    fitted, read = BoostedTrees.fit(work).predict(split), BoostedTrees.load(work).predict(split)
    np.testing.assert_allclose(read.click, fitted.click, rtol=1e-6)


def test_a_validation_of_one_class_does_not_stop_at_the_first_tree(work, monkeypatch, capsys):
    original = type(work.encoded).split

    def without_clicks(self, name):
        split = original(self, name)
        if name == "validation":
            split.clicked = np.zeros_like(split.clicked)
        return split

    monkeypatch.setattr(type(work.encoded), "split", without_clicks)
    fitted = BoostedTrees.fit(work)
    assert fitted.boosters["click"].num_trees() == 7
    assert "validation holds one class only, so training stops at 7 trees" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("kept", [0, 0.5, 0.99])
def test_a_model_that_was_cut_off_is_named(work, kept):
    BoostedTrees.fit(work)
    path = work.folder / "click.txt"
    whole = path.read_text()
    path.write_text(whole[: int(kept * len(whole))])
    with pytest.raises(InputError, match=r"click\.txt was cut off"):
        BoostedTrees.load(work)
    path.unlink()
    with pytest.raises(InputError, match=r"click\.txt is missing"):
        BoostedTrees.load(work)


def test_columns_that_differ_only_in_punctuation_keep_different_names():
    assert list(lightgbm._plain(["a.b", "a_b", "a b"]).values()) == ["a_b", "a_b_1", "a_b_2"]


def test_lists_are_runs_of_one_request():
    assert lightgbm._list_sizes(np.array([4, 4, 4, 1, 9, 9])).tolist() == [3, 1, 2]
    assert lightgbm._list_sizes(np.array([4])).tolist() == [1]


@pytest.fixture
def ranking_work(small_encoded_log, tmp_path):
    keys = ["model.lightgbm.patience=7", "model.lightgbm.min_rows=2", "model.lightgbm.trees=40", "prerank.threads=1"]
    config = parse([f"runs_folder={tmp_path}", "model=lightgbm_lambdarank", *keys]).config
    return Work(config=config, encoded=small_encoded_log, psi=None, folder=tmp_path / "lightgbm_lambdarank")


def test_pairs_within_lists_are_learnt_and_the_score_becomes_a_probability(ranking_work):
    fitted = BoostedTrees.fit(ranking_work)
    train, validation = (ranking_work.encoded.split(name) for name in ("train", "validation"))
    rows = train.feedback_rows()
    assert gauc(train.clicked[rows], fitted.predict(train).click[rows], train.request[rows]) > 0.9
    held = validation.feedback_rows()
    probability = 1 / (1 + np.exp(-fitted.predict(validation).click[held]))
    assert probability.mean() == pytest.approx(validation.clicked[held].mean(), abs=0.02)
    read = BoostedTrees.load(ranking_work)
    np.testing.assert_allclose(read.predict(validation).order, fitted.predict(validation).order, rtol=1e-6)


def test_a_validation_without_a_telling_list_does_not_stop_at_the_first_tree(ranking_work, monkeypatch, capsys):
    original = type(ranking_work.encoded).split

    def one_class_a_list(self, name):
        split = original(self, name)
        if name == "validation":
            split.clicked = (split.request % 2).astype(split.clicked.dtype)
        return split

    monkeypatch.setattr(type(ranking_work.encoded), "split", one_class_a_list)
    fitted = BoostedTrees.fit(ranking_work)
    assert fitted.boosters["click"].num_trees() == 7
    assert "holds no list with both classes" in " ".join(capsys.readouterr().out.split())


def ndcg_of_one_order(labels: list[int], cut: int) -> float:
    gain = sum(label / np.log2(place + 2) for place, label in enumerate(labels[:cut]))
    return gain / sum(1 / np.log2(place + 2) for place in range(min(sum(labels), cut)))


def ndcg_over_every_order(labels: list[int], scores: list[int], cut: int) -> float:
    orders = [
        rows for rows in permutations(range(len(labels))) if [-scores[row] for row in rows] == sorted(-np.array(scores))
    ]
    return float(np.mean([ndcg_of_one_order([labels[row] for row in rows], cut) for rows in orders]))


@pytest.mark.parametrize("cut", [1, 3, 10])
@pytest.mark.parametrize("length", [1, 2, 6])
def test_ndcg_is_the_mean_over_every_order_of_tied_rows(length, cut):
    draw = np.random.default_rng(length)
    labels, scores = draw.integers(0, 2, (12, length)), draw.integers(0, 3, (12, length))
    request = np.repeat(np.arange(12) * 2, length)
    known = [
        ndcg_over_every_order(label.tolist(), score.tolist(), cut)
        for label, score in zip(labels, scores, strict=True)
        if label.any()
    ]
    found = lightgbm.expected_ndcg(labels.ravel(), scores.ravel().astype(float), request, cut)
    assert found == pytest.approx(np.mean(known))


def with_clicks(split, first: bool):
    """The split with the clicked rows of each list at its head or its tail: what a list shown best first tends to."""
    order = np.lexsort((split.clicked == 0 if first else split.clicked, split.request))
    rows = {field.name: getattr(split, field.name) for field in dataclasses.fields(split)}
    moved = {
        name: rows[name][order] for name in ("item", "clicked", "ordered", "position", "stage", "price", "rank_score")
    }
    pair = split.pair_features
    lists = {name: values[order] for name, values in pair.lists.items()}
    pair = dataclasses.replace(pair, ids=pair.ids[order], numbers=pair.numbers[order], lists=lists)
    return dataclasses.replace(split, **moved, pair_features=pair)


def test_the_order_in_which_lists_were_shown_does_not_decide_when_training_stops(ranking_work, monkeypatch):
    original, trees = type(ranking_work.encoded).split, []
    for first in (False, True):

        def sorted_by_click(self, name, first=first):
            split = original(self, name)
            return with_clicks(split, first) if name == "validation" else split

        monkeypatch.setattr(type(ranking_work.encoded), "split", sorted_by_click)
        trees.append(BoostedTrees.fit(ranking_work).boosters["click"].num_trees())
    assert trees[0] == trees[1] > 1
