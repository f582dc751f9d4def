"""Gains over markets: known answers for the t-interval, the verdicts, and the pairing."""

from __future__ import annotations

import json

import pytest

from configs.errors import InputError
from graph.figure import Figure
from prerank.evaluation.significance import estimate
from prerank.mechanisms.gains import Gain, Verdict, along, gains_of
from prerank.mechanisms.jobs import Fit
from prerank.mechanisms.plan import Axis, Claim, Condition, Expectation, Measure, MechanismPlan, Module, SystemVariant

GAUC, LOSS = Measure("gauc_click", "all"), Measure("log_loss_click", "all")


def figures(gauc, loss=0.5, n=100, **others):
    values = {"gauc_click": gauc, "log_loss_click": loss, "gauc_click_chance": 0.5}
    cells = {name: Figure(value, None, None, n).as_json() for name, value in values.items()}
    return {"all": {**cells, **others}}


def plan_of(*claims: tuple[str, Claim]) -> MechanismPlan:
    modules = {"m": Module("m", "M", SystemVariant("grace", {}), SystemVariant("ple", {}))}
    axes = {"dose": Axis("dose", "Dose", "m", GAUC, False)}
    conditions = {
        name: Condition(
            name,
            name,
            "tiny",
            {claim.module: {claim.expected: claim.measures}},
            {},
            {"dose": 1.0 * len(claims) - place},
        )
        for place, (name, claim) in enumerate(claims)
    }
    return MechanismPlan(modules, conditions, axes)


@pytest.fixture
def pairs(tmp_path):
    """Writes the metrics of pairs of fits: condition → the two sides' figures in each market."""

    def make(content):
        made = {}
        for condition, markets in content.items():
            for seed, sides in enumerate(markets):
                fits = []
                for system, found in zip(("grace", "ple"), sides, strict=True):
                    fit = Fit(tmp_path, condition, f"seed-{seed}", system, seed, (), "")
                    fit.metrics.parent.mkdir(parents=True)
                    fit.metrics.write_text(json.dumps({"test": found}))
                    fits.append(fit)
                made[condition, "m", seed] = (fits[0], fits[1])
        return made, {fit for pair in made.values() for fit in pair}

    return make


@pytest.mark.parametrize(
    ("expected", "values", "verdict"),
    [
        (Expectation.helps, [0.1, 0.11, 0.12], Verdict.as_helps),
        (Expectation.helps, [0.1, -0.1, 0.05], Verdict.not_shown),
        (Expectation.helps, [-0.1, -0.11, -0.12], Verdict.hurts),
        (Expectation.null, [0.1, 0.11, 0.12], Verdict.wrongly_helps),
        (Expectation.null, [0.1, -0.1, 0.05], Verdict.as_null),
        (Expectation.null, [0.0, 0.0, 0.0], Verdict.as_null),
        (Expectation.null, [-0.1, -0.11, -0.12], Verdict.hurts),
        (Expectation.open, [0.1, 0.11, 0.12], Verdict.helps),
        (Expectation.open, [0.1, -0.1, 0.05], Verdict.not_shown),
        (None, [0.1, 0.11, 0.12], Verdict.helps),
        (Expectation.helps, [0.1], Verdict.too_few),
    ],
)
def test_verdicts(expected, values, verdict):
    gain = Gain("c", "m", GAUC, expected, True, dict(enumerate(values)), estimate(values), 0.5, 9)
    assert gain.verdict is verdict


def test_gains_are_with_less_without_market_by_market_and_a_loss_counts_downwards(pairs):
    claim = Claim("m", Expectation.helps, (GAUC,))
    made, finished = pairs({"c": [(figures(0.7, 0.4), figures(0.6, 0.5)), (figures(0.75, 0.3), figures(0.6, 0.5))]})
    gains = {gain.measure: gain for gain in gains_of(plan_of(("c", claim)), made, finished)}
    assert set(gains) == {GAUC, LOSS}  # a chance level is no gain
    assert gains[GAUC].by_seed == pytest.approx({0: 0.1, 1: 0.15})
    assert gains[LOSS].by_seed == pytest.approx({0: 0.1, 1: 0.2})
    assert (gains[GAUC].without, gains[GAUC].n, gains[GAUC].primary) == (pytest.approx(0.6), 100, True)
    assert (gains[LOSS].expected, gains[LOSS].primary, gains[LOSS].difference.p_holm) == (None, False, None)


def test_markets_that_lack_a_side_or_a_figure_do_not_count(pairs):
    claim = Claim("m", Expectation.helps, (GAUC, Measure("gauc_click", "cold")))
    made, finished = pairs(
        {"c": [(figures(0.7), figures(0.6)), (figures(None), figures(0.6)), (figures(1.0), figures(0.1))]}
    )
    finished.discard(made["c", "m", 2][1])
    gains = gains_of(plan_of(("c", claim)), made, finished)
    assert gains[0].by_seed == pytest.approx({0: 0.1})
    assert gains[0].verdict is Verdict.too_few
    assert (gains[1].measure.segment, gains[1].by_seed, gains[1].difference) == ("cold", {}, estimate([]))
    assert gains_of(plan_of(("c", claim)), made, set()) == []


def test_sides_about_different_rows_are_refused(pairs):
    made, finished = pairs({"c": [(figures(0.7, n=100), figures(0.6, n=99))]})
    with pytest.raises(InputError, match=r"c, m, market 0: gauc_click, all is about 100 cases with .* 99 without"):
        gains_of(plan_of(("c", Claim("m", Expectation.helps, (GAUC,)))), made, finished)


def test_holm_corrects_the_primary_figures_together(pairs):
    def markets(*gaps):
        return [(figures(0.5 + gap), figures(0.5)) for gap in gaps]

    claim = Claim("m", Expectation.helps, (GAUC, LOSS))
    made, finished = pairs({"a": markets(0.1, 0.11, 0.12), "b": markets(0.1, -0.1, 0.05)})
    gains = [gain for gain in gains_of(plan_of(("a", claim), ("b", claim)), made, finished) if gain.primary]
    p = [gain.difference.p for gain in gains]
    assert p[0] < p[1]
    assert [gain.difference.p_holm for gain in gains] == [2 * p[0], max(2 * p[0], p[1])]


def test_a_curve_is_in_the_order_of_its_doses(pairs):
    claim = Claim("m", Expectation.open, (GAUC,))
    plan = plan_of(("high", claim), ("low", claim))
    made, finished = pairs({name: [(figures(0.7), figures(0.6))] for name in ("high", "low")})
    curve = along(plan.axes["dose"], plan, gains_of(plan, made, finished))
    assert [(dose, gain.condition, gain.measure) for dose, gain in curve] == [(1.0, "low", GAUC), (2.0, "high", GAUC)]


def test_a_gain_is_strict_json():
    gain = Gain("c", "m", GAUC, Expectation.null, True, {3: 0.1}, estimate([0.1]), 0.5, 9)
    read = json.loads(json.dumps(gain.as_json(), allow_nan=False))
    assert (read["verdict"], read["expected"], read["low"], read["by_seed"]) == (
        "too few markets",
        "null",
        None,
        {"3": 0.1},
    )
