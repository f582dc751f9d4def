"""Values that no stage could work with are refused when the command is read."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from configs.command import parse
from configs.errors import InputError
from configs.options import options
from configs.ranges import check_ranges, check_section, limits
from configs.schema import Config, key

NUMBERS = ("int", "float", "list[int]", "list[float]")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("seed=-1", "seed must be at least 0, found -1"),
        ("prerank.learning_rate=1e300", "prerank.learning_rate must be at most 1e\\+30"),
        ("graph.memory_limit_gb=1e300", "graph.memory_limit_gb must be at most"),
        ("graph.weight_click=1e9", "graph.weight_click must be at most 1000000"),
        ("prerank.threads=1000000000", "prerank.threads must be at most 1024"),
        ("seed=4294967296", "seed must be at most"),
        ("pretrain.threads=0", "pretrain.threads must be above 0"),
        ("pretrain.text_buckets=0", "above 0"),
        ("pretrain.fan_out=[]", "one number a layer"),
        ("pretrain.fan_out=[5,0]", r"above 0, found \[5, 0\]"),
        ("pretrain.patience=0", "above 0"),
        ("pretrain.negatives=-1", "at least 0"),
        ("pretrain.learning_rate=nan", "finite number, found nan"),
        ("graph.half_life_days=inf", "finite number"),
        ("pretrain.validation_share=1", "above 0 and below 1"),
        ("evaluation.confidence=2", "above 0 and below 1"),
        ("data.rejected_share=-1", "from 0 to 1"),
        ("model.lightgbm.leaves=1", "at least 2"),
        ("model.experts.hidden=[0]", "above 0"),
        ("graph.weight_touch=-1", "graph.weight_touch must be at least 0"),
        ("graph.item_item_window=1", "graph.item_item_window must be at least 2"),
        ("pretrain.cold_share=1.5", "pretrain.cold_share must be from 0 to 1"),
        ("model.contrast.mask_above=1.5", "model.contrast.mask_above must be from -1 to 1"),
        ("evaluation.seed=-1", "evaluation.seed must be at least 0"),
        ("serve.port=65536", "serve.port must be at most 65535"),
        ("prerank.precision=half", "prerank.precision must be 32-true or bf16-mixed or auto, found half"),
        ("data.split.shares=[0.5,0.5,0]", "three shares above 0"),
    ],
)
def test_a_value_out_of_range_is_refused(tmp_path, argument, message):
    with pytest.raises(InputError, match=message):
        parse([f"runs_folder={tmp_path}", argument])


def test_the_defaults_are_in_range():
    check_ranges(Config())


def test_a_graph_needs_an_event_of_some_weight(tmp_path):
    weightless = [f"graph.weight_{event}=0" for event in ("click", "order", "touch")]
    with pytest.raises(InputError, match="no event would make an edge"):
        parse([f"runs_folder={tmp_path}", *weightless])


def test_every_number_states_its_range():
    unbounded = [entry.name for entry in options() if entry.kind in NUMBERS and not entry.limits]
    assert unbounded == ["data.split.shares"], "check_ranges knows that these sum to 1"


def test_no_key_is_bounded_twice_from_one_side():
    for entry in options():
        sides = [word for word in ("above", "at least", "from") if word in entry.limits]
        assert len(sides) <= 1, entry.name


@pytest.mark.parametrize(
    ("bounds", "inside", "outside"),
    [
        ({"above": 0}, [1, [1, 2]], [0, [1, 0]]),
        ({"at_least": 2}, [2], [1]),
        ({"at_most": 2}, [2], [3]),
        ({"between": (0, 1)}, [0, 1], [-0.1, 1.1]),
        ({"share": True}, [0.5], [0, 1]),
        ({"ascending": True}, [[1, 2]], [[], [0, 1], [1, 1], [2, 1]]),
        ({"choices": ("a", "b")}, ["a"], ["c"]),
    ],
)
def test_what_limits_mean(bounds, inside, outside):
    (limit,) = limits(**bounds)
    for value in inside:
        limit.check("k", value)
    for value in outside:
        with pytest.raises(InputError, match=f"k must be {limit.text}, found "):
            limit.check("k", value)


def test_sections_are_checked_within_sections():
    @dataclass
    class Inner:
        depth: int = key(0, "levels", above=0)

    @dataclass
    class Outer:
        inner: Inner = key(Inner, "within")

    with pytest.raises(InputError, match=r"outer\.inner\.depth must be above 0, found 0"):
        check_section(Outer(), "outer.")
