"""The plan: the shipped one is sound, and a slip of the pen is named."""

from __future__ import annotations

import copy

import pytest
import yaml

from configs.command import CONFIGS, parse
from configs.errors import InputError
from configs.worlds import load_world
from prerank.mechanisms.plan import PLAN, Expectation, Measure, SystemVariant, read_plan

SMALL = {
    "overrides": {"prerank.max_epochs": 3},
    "modules": {
        "consistency": {
            "title": "Rank consistency",
            "with": {"model": "grace"},
            "without": {"model": "grace_no_consistency"},
        },
        "double_hash": {
            "title": "Two hashes",
            "with": {"model": "grace", "model.item.hashing": "double"},
            "without": {"model": "grace"},
        },
    },
    "axes": {"quality": {"title": "Quality", "module": "consistency", "measure": "recall_at_10 all"}},
    "conditions": {
        "base": {
            "title": "Base",
            "world": "tiny",
            "doses": {"quality": 1},
            "expect": {
                "consistency": {"helps": ["recall_at_10 all", "gauc_click tail"]},
                "double_hash": {"open": ["gauc_click all"]},
            },
        },
        "crowded": {
            "title": "Crowded",
            "world": "tiny",
            "overrides": {"model.item.hash_vocabulary": 20},
            "expect": {"double_hash": {"helps": ["gauc_click all"]}},
        },
    },
}


@pytest.fixture
def written(tmp_path):
    """Writes a plan, or the small one with a value at a path changed, and reads it."""

    def make(path=(), value=None, text=None):
        content = copy.deepcopy(SMALL)
        place = content
        for name in path[:-1]:
            place = place[name]
        if path:
            place[path[-1]] = value
        file = tmp_path / "plan.yaml"
        file.write_text(yaml.safe_dump(content) if text is None else text)
        return read_plan(file)

    return make


def test_a_plan_is_read(written):
    plan = written()
    assert plan.modules["double_hash"].with_ == SystemVariant("grace", {"model.item.hashing": "double"})
    assert plan.overrides == {"prerank.max_epochs": 3}
    base = plan.conditions["base"]
    assert base.doses == {"quality": 1.0}
    assert base.claims[0].expected is Expectation.helps
    assert base.claims[0].measures == (Measure("recall_at_10", "all"), Measure("gauc_click", "tail"))
    assert [condition.name for condition in plan.chosen([])] == ["base", "crowded"]
    assert [condition.name for condition in plan.chosen(["crowded"])] == ["crowded"]


def test_an_unquoted_null_is_the_expectation(written):
    text = yaml.safe_dump(SMALL).replace("open:", "null:")
    assert written(text=text).conditions["base"].claims[1].expected is Expectation.null


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("modules", "consistency", "wiht"), {}, r"modules\.consistency: 'wiht' is unknown: did you mean 'with'\?"),
        (("modules", "consistency", "with"), {"model": "grace_no_consistency"}, "are the same system"),
        (("modules", "consistency", "with"), {"modle": "grace"}, "expected model, a file of configs/model"),
        (("modules", "consistency", "title"), 3, "title must be text"),
        (("modules", "Consistency"), {}, "names are small letters"),
        (("modules", "../up"), {}, "names are small letters"),
        (("axes", "quality", "module"), "consistncy", "did you mean 'consistency'"),
        (("axes", "quality", "logarithmic"), "yes please", "must be true or false"),
        (("axes", "quality", "measure"), "recall_at_10", "expected a metric and a segment"),
        (("conditions", "base", "wrold"), "tiny", "did you mean 'world'"),
        (("conditions", "base", "doses"), {"qualty": 1}, "did you mean 'quality'"),
        (("conditions", "base", "doses"), {"quality": "high"}, r"doses\.quality must be a finite number, found 'high'"),
        (("conditions", "crowded", "doses"), {"quality": 1}, "does not measure"),
        (("conditions", "base", "expect"), {}, "expect is empty"),
        (("conditions", "base", "expect", "consistency"), {"help": ["gauc_click all"]}, "did you mean 'helps'"),
        (("conditions", "base", "expect", "consistency"), {"helps": []}, "must list the figures"),
        (("conditions", "base", "expect", "consistency"), {"helps": ["gauc_clik all"]}, "is no metric"),
        (("conditions", "base", "expect", "consistency"), {"helps": ["gauc_click tial"]}, "did you mean 'tail'"),
        (("conditions", "base", "expect", "hash_id"), {"helps": ["gauc_click all"]}, "'hash_id' is unknown"),
        (("conditions",), [1], "must hold names and values"),
        (("overrides",), ["prerank.max_epochs=3"], "overrides must hold names and values"),
    ],
)
def test_a_slip_is_named(written, path, value, message):
    with pytest.raises(InputError, match=message):
        written(path, value)


def test_both_helps_and_null_is_refused(written):
    both = {"helps": ["gauc_click all"], "null": ["gauc_click all"]}
    with pytest.raises(InputError, match="expected one of helps, null, open"):
        written(("conditions", "base", "expect", "consistency"), both)


def test_files_that_are_no_plan(written, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_plan(tmp_path / "nowhere.yaml")
    with pytest.raises(InputError, match="is not readable YAML"):
        written(text="modules: [")
    with pytest.raises(InputError, match="conditions is missing"):
        written(text="modules: {}")


def test_a_condition_that_does_not_exist(written):
    with pytest.raises(InputError, match=r"mechanisms\.conditions: 'crowdd' is unknown: did you mean 'crowded'"):
        written().chosen(["crowdd"])


def test_the_shipped_plan_names_worlds_that_exist_and_has_a_null_for_every_module():
    plan = read_plan(PLAN)
    for condition in plan.conditions.values():
        load_world(condition.world)
    claims = [claim for condition in plan.conditions.values() for claim in condition.claims]
    for expected in (Expectation.helps, Expectation.null):
        named = {claim.module for claim in claims if claim.expected is expected}
        assert named >= {"consistency", "generalisation", "double_hash"}


def test_the_plan_of_the_search_beyond_the_paper_can_be_read_and_its_systems_configured():
    plan = read_plan(CONFIGS / "beyond.yaml")
    sides = [side for module in plan.modules.values() for side in (module.with_, module.without)]
    for side in sides:
        keys = [f"{key}={value}" for key, value in side.overrides.items()]
        assert parse([f"model={side.model}", *keys], remember=False).config.model.name == side.model
    assert {module.without.model for module in plan.modules.values()} == {"grace_plus"}
