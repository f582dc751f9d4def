"""Values that no stage could work with are refused when the command is read."""

from __future__ import annotations

import pytest

from configs.command import parse
from configs.errors import InputError
from configs.ranges import ABOVE_ZERO, ASCENDING, AT_LEAST_ZERO, PARTS, SHARES, check_ranges
from configs.schema import Config


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("seed=-1", "seed must be at least 0, found -1"),
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
    ],
)
def test_a_value_out_of_range_is_refused(tmp_path, argument, message):
    with pytest.raises(InputError, match=message):
        parse([f"runs_folder={tmp_path}", argument])


def test_the_defaults_are_in_range():
    check_ranges(Config())


def test_no_key_has_two_ranges():
    every = [*ABOVE_ZERO, *AT_LEAST_ZERO, *SHARES, *PARTS, *ASCENDING]
    assert len(set(every)) == len(every)
