"""Worlds: every parameter explained, wrong files refused."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import pytest

from configs.errors import InputError
from configs.worlds import WORLDS, RankerKind, WorldConfig, load_world, make_world


@pytest.mark.parametrize("name", sorted(path.stem for path in WORLDS.glob("*.yaml")))
def test_every_world_loads(name):
    assert load_world(name).days >= 3


def test_every_parameter_is_explained_and_frozen():
    for entry in fields(WorldConfig):
        assert len(entry.metadata["help"]) > 10, entry.name
    with pytest.raises(FrozenInstanceError):
        load_world("tiny").days = 3


def test_default_world_is_the_schema_s():
    assert load_world("default") == WorldConfig()


def test_unknown_world_names_the_nearest():
    with pytest.raises(InputError, match=r"'tinny' is unknown: did you mean 'tiny'\? There are default, .*tiny"):
        load_world("tinny")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ranker_qualty": 0.5}, "world.yaml: 'ranker_qualty' is unknown: did you mean 'ranker_quality'"),
        ({"days": "many"}, "days must be a whole number, found 'many'"),
        ({"days": 0}, "world.yaml: days must be at least 1, found 0"),
        ({"ranker_quality": 1.2}, "world.yaml: ranker_quality must be from 0 to 1, found 1.2"),
        ({"passed": 500}, "recalled >= passed >= ranked"),
        ({"click_rate": 0.0}, "click_rate must be above 0"),
        ({"browsing_depth": 3.0}, "at least one page"),
        ({"users": 100}, "need more than 100 users"),
        ({"items": 10, "new_items_per_day": 0}, "smaller than recalled"),
        ({"first_day": "yesterday"}, "first_day must be a date"),
        (["days"], "must hold names and values"),
    ],
)
def test_wrong_worlds_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        make_world(given, "world.yaml")


def test_a_world_may_be_another_one_with_a_difference(tmp_path, monkeypatch):
    monkeypatch.setattr("configs.worlds.WORLDS", tmp_path)
    (tmp_path / "small.yaml").write_text("days: 5\nusers: 700\n")
    (tmp_path / "smaller.yaml").write_text("base: small\nusers: 650\n")
    (tmp_path / "other.yaml").write_text("base: smaller\nranker: noisy\n")
    world = load_world("other")
    assert (world.days, world.users, world.ranker) == (5, 650, RankerKind.noisy)
    (tmp_path / "small.yaml").write_text("base: other\n")
    with pytest.raises(InputError, match="goes round in a circle: other -> smaller -> small -> other"):
        load_world("other")
    (tmp_path / "small.yaml").write_text("base: nothing\n")
    with pytest.raises(InputError, match=r"data\.world: 'nothing' is unknown"):
        load_world("other")


def test_a_learned_ranking_model_needs_days_to_learn_from():
    with pytest.raises(InputError, match="warm_up_days must be at least 1 for ranker=learned"):
        make_world({"warm_up_days": 0}, "world.yaml")
    assert make_world({"warm_up_days": 0, "ranker": "noisy"}, "world.yaml").warm_up_days == 0
