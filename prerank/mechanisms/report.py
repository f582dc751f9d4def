"""The experiment's table: ``mechanisms.json`` with every gain, ``mechanisms.md`` with the decisive ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from configs.stages import replacing, write_json
from prerank.evaluation.definitions import define
from prerank.evaluation.significance import LEVEL, POWER
from prerank.mechanisms.figure import draw
from prerank.mechanisms.gains import Gain, along
from prerank.mechanisms.plan import Expectation, Measure, MechanismPlan
from prerank.pages import numbers
from prerank.pages.markdown import document, heading
from prerank.pages.numbers import UNKNOWN, estimate, number, p_value, points
from prerank.pages.table import Table

METRICS = ("gauc_click", "recall_at_10", "recall_full_at_10", "hit_rate_order_at_10")
SEGMENTS = ("all", "tail", "cold", "outside_p")
COLUMNS = ("module", "condition", "expected", "figure", "gain", "interval", "without", "visible", "markets")
EXPECTED = {Expectation.helps: "helps", Expectation.null: "null", Expectation.open: "–"}


def write_report(plan: MechanismPlan, gains: Sequence[Gain], asked: int, folder: Path) -> list[Path]:
    """Write ``mechanisms.json``, ``mechanisms.md`` and ``mechanisms.svg``.

    Args:
        plan: what was measured, and what was expected.
        gains: of the fits that are finished.
        asked: markets of each kind that the command asked for.
        folder: to write to.

    Returns:
        The files.
    """
    files = [folder / f"mechanisms.{kind}" for kind in ("json", "md", "svg")]
    write_json(files[0], as_json(plan, gains, asked))
    for path, text in zip(files[1:], (as_markdown(plan, gains, asked), draw(plan, gains)), strict=True):
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return files


def as_json(plan: MechanismPlan, gains: Sequence[Gain], asked: int) -> dict[str, Any]:
    """Everything: condition → module → metric → segment → gain, and the dose-response curves."""
    conditions: dict[str, Any] = {}
    for gain in gains:
        condition = plan.conditions[gain.condition]
        about = {"title": condition.title, "world": condition.world, "overrides": dict(condition.overrides)}
        entry = conditions.setdefault(gain.condition, {**about, "modules": {}})
        metrics = entry["modules"].setdefault(gain.module, {})
        metrics.setdefault(gain.measure.metric, {})[gain.measure.segment] = gain.as_json()
    return {
        "simulated": True,
        "split": "test",
        "markets_asked": asked,
        "interval": f"{1 - LEVEL:.0%} t-interval of the mean over markets",
        "visible": f"smallest true gain that is shown with {POWER:.0%} power at the {LEVEL:.0%} level",
        "family": "p_holm: the primary figure of every condition and module, corrected together (Holm)",
        "definitions": {metric: define(metric) for metric in dict.fromkeys(gain.measure.metric for gain in gains)},
        "overrides": dict(plan.overrides),
        "modules": {name: module.title for name, module in plan.modules.items()},
        "conditions": conditions,
        "axes": {
            name: {
                "title": axis.title,
                "module": axis.module,
                "measure": str(axis.measure),
                "points": [{"dose": dose, "condition": gain.condition} for dose, gain in along(axis, plan, gains)],
            }
            for name, axis in plan.axes.items()
        },
    }


def as_markdown(plan: MechanismPlan, gains: Sequence[Gain], asked: int) -> str:
    """The tables for a reader, in points (hundredths of a metric)."""
    ordered = in_module_order(plan, gains)
    primary = [
        [*_cells(plan, gain), p_value(gain.difference.p_holm).removeprefix("p "), str(gain.verdict)]
        for gain in ordered
        if gain.primary
    ]
    claimed = [[*_cells(plan, gain), str(gain.verdict)] for gain in ordered if gain.expected and not gain.primary]
    return document(
        heading(1, "What each module of GRACE gains (simulated markets)"),
        "Gain: the system with the module less the system without it, on the test days, in points; positive is better. "
        f"{1 - LEVEL:.0%} t-intervals over markets, each with its own shoppers, items, log, graph, ψ and training; "
        f"up to {asked} markets of each kind. *Expected* was written down before anything was fitted. *Visible*: the "
        f"smallest true gain that so many markets show with {POWER:.0%} power. p is corrected (Holm) for all rows of "
        "the first table together.",
        heading(2, "What was expected, and what came out"),
        Table([*COLUMNS, "p (Holm)", "verdict"], primary).as_markdown(),
        heading(2, "The other claimed figures"),
        Table([*COLUMNS, "verdict"], claimed).as_markdown(),
        *(
            block
            for metric in METRICS
            for block in (heading(2, metric), define(metric), _by_segment(plan, ordered, metric).as_markdown())
        ),
    )


def in_module_order(plan: MechanismPlan, gains: Sequence[Gain]) -> list[Gain]:
    """By module, then by condition, as the plan has them."""
    modules, conditions = list(plan.modules), list(plan.conditions)
    return sorted(gains, key=lambda gain: (modules.index(gain.module), conditions.index(gain.condition)))


def interval(gain: Gain) -> str:
    """In points; a dash where there is none."""
    return numbers.interval(gain.difference.low, gain.difference.high, points) or UNKNOWN


def _cells(plan: MechanismPlan, gain: Gain) -> list[str]:
    return [
        plan.modules[gain.module].title,
        plan.conditions[gain.condition].title,
        EXPECTED[gain.expected or Expectation.open],
        str(gain.measure),
        points(gain.difference.value),
        interval(gain),
        number(gain.without, ".3f"),
        UNKNOWN if gain.difference.visible is None else number(100 * gain.difference.visible, ".2f"),
        str(len(gain.by_seed)),
    ]


def _by_segment(plan: MechanismPlan, ordered: Sequence[Gain], metric: str) -> Table:
    """A row for each module and condition, a column for each segment."""
    by_measure = {(gain.module, gain.condition, gain.measure): gain for gain in ordered}
    rows = []
    for module, condition in dict.fromkeys((gain.module, gain.condition) for gain in ordered):
        gains = [by_measure.get((module, condition, Measure(metric, segment))) for segment in SEGMENTS]
        cells = [UNKNOWN if gain is None else estimate(gain.difference, points) for gain in gains]
        rows.append([plan.modules[module].title, plan.conditions[condition].title, *cells])
    return Table(["module", "condition", *SEGMENTS], rows)
