"""What may be said of a difference: the one rule, against a naive one, and what its family of tests can see."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from graph.figure import Difference, Figure
from prerank.evaluation.claims import Claim, claim_of, judged, too_few, unit_of_difference, visible_among
from prerank.evaluation.printing import print_evaluation
from prerank.evaluation.significance import estimate, holm, smallest_visible_difference

gaps = st.floats(-1, 1)
levels = st.one_of(st.none(), st.floats(0, 1), st.just(0.05))
counts = st.one_of(st.integers(0, 10_000), st.sampled_from((99, 100)))


@given(gaps, levels, counts, st.booleans())
def test_a_difference_is_claimed_with_enough_cases_below_the_level_in_its_direction(value, p, n, lower_is_better):
    claim = claim_of(Difference(value, -1.0, 1.0, n, p=p, p_holm=p))
    claimed = p is not None and n >= 100 and p < 0.05 and value != 0
    assert (claim in (Claim.ABOVE, Claim.BELOW)) == claimed
    if claimed:
        assert (claim is Claim.ABOVE) == (value > 0)
        assert judged(claim, lower_is_better) == ("worse" if (value > 0) == lower_is_better else "better")
    else:
        assert judged(claim, lower_is_better) == ""
    assert (claim is Claim.FEW) == (p is not None and n < 100)


def test_what_is_undefined_is_not_tested():
    assert claim_of(Difference.undefined("why", 500)) is Claim.UNTESTED
    assert too_few(Figure.undefined("why"))
    assert [unit_of_difference(name) for name in ("gauc_click", "log_loss_order")] == ["points", "nats"]


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_power_is_told_at_the_level_at_which_holm_tells_differences_apart(confidence):
    error, tests = 0.01, 27
    alone = Difference(0.0, -1.0, 1.0, 500, p=0.5, visible=smallest_visible_difference(error, 1 - confidence))
    family = holm(dict.fromkeys(range(tests), alone))
    among = visible_among(family[0], confidence)
    assert family[0].tests == tests
    assert among == pytest.approx((stats.norm.ppf(1 - 0.05 / 27 / 2) + stats.norm.ppf(0.8)) * error)
    assert visible_among(alone, confidence) == alone.visible
    # Four in five true differences of that size pass the first step of the correction.
    drawn = among + error * np.random.default_rng(0).normal(size=20_000)
    assert np.mean(2 * stats.norm.sf(np.abs(drawn) / error) * tests < 0.05) == pytest.approx(0.8, abs=0.01)


def test_power_over_markets_is_students():
    values = [0.01, 0.03, 0.02, 0.05]
    family = holm({place: estimate(values) for place in range(3)})
    error = np.std(values, ddof=1) / math.sqrt(len(values))
    expected = (stats.t.ppf(1 - 0.05 / 3 / 2, 3) + stats.t.ppf(0.8, 3)) * error
    assert visible_among(family[0], 0.95, len(values) - 1) == pytest.approx(expected)


def test_the_terminal_says_what_is_too_few(capsys):
    cells = {"gauc_click": Figure(0.7, 0.6, 0.8, 43), "auc_click": Figure(0.7, 0.6, 0.8, 100)}
    facts = {
        "rows": 9, "requests": 9, "clusters": 9, "unit": "session", "recall_at": [], "recall_left_out": [],
        "whole_recalled_sets": 0,
    }  # fmt: skip
    protocol = {"tasks_off": {}, "splits": {"test": facts}, "confidence": 0.95, "segments_left_out": {}}
    print_evaluation({"test": {"all": cells}}, protocol)
    said = capsys.readouterr().out
    assert "n 43 (too few)" in said
    assert "n 100 (" not in said
    assert "n below 100" in said
