"""Some of the fuzzer's cases, and each kind that once failed; thousands by hand: ``python -m tests.fuzz.run``."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.fuzz.cases import CASES, Case
from tests.fuzz.driving import carry_out

FAILED_ONCE = [
    Case("contract", "build", place="*", runs="a?b"),
    Case("ubi", runs="a?b"),
    Case("contract", runs="a\\b"),
    Case("contract", "build", runs="day=2024-03-01"),
    Case("contract", steps=(("file", "hour_folder"),)),
    Case("contract", steps=(("file", "hour_beside"),)),
    Case("contract", steps=(("add", "impressions", "raw", "list_null"),)),
    Case("contract", steps=(("add", "impressions", "reason", "struct_empty"),)),
    Case("table", steps=(("written", "json"), ("add", "items", "empty", "int64"))),
    Case("contract", "build", keys=("graph.weight_click=1e308 graph.weight_order=1e308",)),
    Case("contract", "check", steps=(("value", "users", "segment", 0, "bad_utf8"),)),
    Case("frames", steps=(("value", "users", "segment", 0, "bad_utf8"),)),
]
"""The least case of each fault that the fuzzer has shown."""


@pytest.mark.parametrize("case", FAILED_ONCE, ids=str)
def test_what_failed_once_ends_in_a_result_or_a_readable_error(case, tmp_path):
    outcome = carry_out(case, tmp_path)
    assert outcome.fine, f"{outcome.kind} {outcome.where}\n{outcome.detail}"


@settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(CASES.filter(lambda case: case.command != "pretrain"))
def test_a_case_ends_in_a_result_or_a_readable_error(tmp_path_factory, case):
    outcome = carry_out(case, tmp_path_factory.mktemp("fuzz"))
    assert outcome.fine, f"{outcome.kind} {outcome.where}\n{outcome.detail}"
