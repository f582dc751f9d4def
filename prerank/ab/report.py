"""The figures of an A/B replay, of each world and over all, and the tables that show them. All of it is simulated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from configs.console import say
from configs.schema import Config
from graph.figure import Difference
from graph.marketplace.replay import Bound
from graph.resampling import Resampler
from prerank.ab.replays import AGAIN, OTHER_LUCK, Replayed
from prerank.evaluation.significance import estimate, holm
from prerank.evaluation.uplift import METRICS, Uplift, compare, halves_test
from prerank.pages.markdown import bullets, document, heading
from prerank.pages.numbers import UNKNOWN
from prerank.pages.table import Table

SPLITS_IN_HALVES = 200
BOUNDS = (Bound.random.value, Bound.oracle.value)
"""Arms that are no hypotheses: they take no part in Holm's correction."""
LABELS = {"ctr": "CTR", "cvr": "CVR", "orders_per_user": "orders per user", "gmv_per_user": "GMV per user"}
DEFINITIONS = {
    "ctr": "clicks / exposed items, over all users; interval by the delta method over users",
    "cvr": "orders / clicks, over all users; interval by the delta method over users",
    "orders_per_user": "orders per user who searched; interval by the normal approximation over users",
    "gmv_per_user": "price of what a user ordered in all days, cut to a quantile of the control's users; bootstrap",
}
SEGMENTS = ("all", "tail", "cold")

Place = tuple[str, str, str]
"""Segment, metric and arm."""
Tested = TypeVar("Tested", bound=Difference)
Figures = dict[str, dict[str, dict[str, Tested]]]
"""segment → metric → arm → uplift."""


@dataclass(frozen=True)
class MeanUplift(Difference):
    """The mean of an uplift over worlds.

    Attributes:
        n: worlds whose users tell.
        worlds: all of them.
        covered: those whose own interval holds 0.
    """

    worlds: int = 0
    covered: int = 0

    def as_json(self) -> dict[str, Any]:
        """As a difference, with ``worlds`` and ``covered``."""
        return {**super().as_json(), "worlds": self.worlds, "covered": self.covered}


def report_of(replays: Mapping[str, Replayed], config: Config) -> dict[str, Any]:
    """Every figure of ``ab.json``, typed.

    Args:
        replays: run → its replay; all have the same arms.
        config: ``ab`` and ``evaluation``.

    Returns:
        ``runs`` (each with its totals, uplifts and A/A) and ``across`` (the uplifts over all of them).
    """
    runs = {name: _run_report(replay, config) for name, replay in replays.items()}
    evaluation = config.evaluation
    return {
        "simulated": True,
        "control": config.ab.control,
        "days": config.ab.days,
        "draws": config.ab.draws,
        "seed": evaluation.seed,
        "quantile": config.ab.quantile,
        "confidence": evaluation.confidence,
        "definitions": DEFINITIONS,
        "runs": runs,
        "across": {
            "worlds": len(runs),
            "uplift": _across([run["uplift"] for run in runs.values()], evaluation.confidence),
            "other_luck": _across([run["other_luck"] for run in runs.values()], evaluation.confidence),
            "halves": _mean_halves([run["halves"] for run in runs.values()]),
        },
    }


def _run_report(replay: Replayed, config: Config) -> dict[str, Any]:
    """One world: its arms against the control, and the control against itself."""
    evaluation, control = config.evaluation, replay.sums[config.ab.control]
    resampler = Resampler(len(control["all"]), config.ab.draws, evaluation.seed)
    uplifts: dict[Place, Uplift] = {
        (segment, metric, arm): uplift
        for segment in SEGMENTS
        for arm, sums in replay.sums.items()
        if arm not in (config.ab.control, AGAIN)
        for metric, uplift in compare(
            sums[segment], control[segment], config.ab.quantile, evaluation.confidence, resampler
        ).items()
    }
    luck = {place: uplift for place, uplift in uplifts.items() if place[2] == OTHER_LUCK}
    level = 1 - evaluation.confidence
    return {
        **replay.facts,
        "totals": {arm: {segment: sums.totals() for segment, sums in of.items()} for arm, of in replay.sums.items()},
        "uplift": _nested(_corrected({place: each for place, each in uplifts.items() if place not in luck})),
        "other_luck": _nested(luck),
        "halves": {
            segment: halves_test(control[segment], config.ab.quantile, level, SPLITS_IN_HALVES, evaluation.seed)
            for segment in SEGMENTS
        },
    }


def _corrected(uplifts: Mapping[Place, Tested]) -> dict[Place, Tested]:
    """With Holm's correction over the arms of one segment and metric; the bounds take no part."""
    hypotheses = {place: uplift for place, uplift in uplifts.items() if place[2] not in BOUNDS}
    return {**uplifts, **holm(hypotheses, family=lambda place: place[:2])}


def _nested(uplifts: Mapping[Place, Tested]) -> Figures[Tested]:
    figures: Figures[Tested] = {}
    for (segment, metric, arm), uplift in uplifts.items():
        figures.setdefault(segment, {}).setdefault(metric, {})[arm] = uplift
    return figures


def _across(worlds: Sequence[Figures[Uplift]], confidence: float) -> Figures[MeanUplift]:
    """The uplifts over worlds."""
    places = [(segment, metric, arm) for segment, of in worlds[0].items() for metric in of for arm in of[metric]]
    uplifts = {place: [world[place[0]][place[1]][place[2]] for world in worlds] for place in places}
    return _nested(_corrected({place: _mean(of, confidence) for place, of in uplifts.items()}))


def _mean(worlds: Sequence[Uplift], confidence: float) -> MeanUplift:
    """Over worlds; one where too few users tell is left out."""
    values = [each.value for each in worlds if each.value is not None and each.low is not None]
    covered = sum(each.covers(0.0) for each in worlds)
    return MeanUplift(**vars(estimate(values, confidence)), worlds=len(worlds), covered=covered)


def _mean_halves(worlds: Sequence[dict[str, dict[str, dict[str, Any]]]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Share of significant splits over all worlds, each split counted once."""
    shares: dict[str, dict[str, dict[str, Any]]] = {}
    for segment, metrics in worlds[0].items():
        shares[segment] = {}
        for metric in metrics:
            each = [world[segment][metric] for world in worlds if world[segment][metric]["share"] is not None]
            splits = sum(one["splits"] for one in each)
            significant = sum(one["share"] * one["splits"] for one in each)
            shares[segment][metric] = {"share": significant / splits if splits else None, "splits": splits}
    return shares


def tables_of(report: Mapping[str, Any]) -> list[Table]:
    """The tables of a report: totals, claim and A/A come before single worlds."""
    worlds, confidence = report["across"]["worlds"], f"{report['confidence']:.0%}"
    tables = [_totals_table(report)]
    for segment in SEGMENTS if worlds > 1 else ():
        title = f"simulated uplift over {report['control']}, {segment} items: mean of {worlds} worlds"
        figures = report["across"]["uplift"][segment]
        tables.append(_uplift_table(f"{title}, {confidence} t intervals, p by Holm", figures))
    tables.append(_control_table(report))
    for name, run in report["runs"].items():
        for segment in SEGMENTS:
            title = f"simulated uplift over {report['control']} in {name} (world {run['world']}, seed {run['seed']})"
            users = f"{run['users']:,} users, {confidence} intervals over users, p by Holm"
            tables.append(_uplift_table(f"{title}: {run['segments'][segment]}; {users}", run["uplift"][segment]))
    return tables


def _totals_table(report: Mapping[str, Any]) -> Table:
    """What each arm brought in all worlds together."""
    rows = []
    arms = next(iter(report["runs"].values()))["totals"]
    for arm in arms:
        if arm in (AGAIN, OTHER_LUCK):
            continue
        total = {
            segment: {
                name: sum(run["totals"][arm][segment][name] for run in report["runs"].values())
                for name in ("exposed", "clicks", "orders", "gmv")
            }
            for segment in SEGMENTS
        }
        every, tail = total["all"], total["tail"]
        shares = [_share(tail[name], every[name]) for name in ("exposed", "orders")]
        cold = _share(total["cold"]["exposed"], every["exposed"])
        rows.append([arm, *(f"{value:,.0f}" for value in every.values()), *shares, cold])
    columns = ["arm", "exposed", "clicks", "orders", "GMV", "tail of exposed", "tail of orders", "cold of exposed"]
    users = sum(run["users"] for run in report["runs"].values())
    return Table(columns, rows, f"simulated totals of {report['days']} days, {users:,} users")


def _uplift_table(title: str, figures: Mapping[str, Mapping[str, Difference]]) -> Table:
    arms = list(figures["cvr"])
    rows = [[arm, *(uplift_cell(figures[metric][arm]) for metric in METRICS)] for arm in arms]
    return Table(["arm", *(LABELS[metric] for metric in METRICS)], rows, title)


def _control_table(report: Mapping[str, Any]) -> Table:
    """The A/A: the control against itself."""
    overall, level = report["across"], 1 - report["confidence"]
    luck = overall["other_luck"] if overall["worlds"] > 1 else next(iter(report["runs"].values()))["other_luck"]
    rows = []
    for metric in METRICS:
        for segment in ("all", "tail"):
            halves, other = overall["halves"][segment][metric], luck[segment][metric][OTHER_LUCK]
            share = UNKNOWN if halves["share"] is None else f"{halves['share']:.1%} of {halves['splits']:,}"
            mean = overall["other_luck"][segment][metric][OTHER_LUCK]
            hold = f"{mean.covered} of {mean.n}"
            rows.append([f"{LABELS[metric]}, {segment}", share, uplift_cell(other), hold])
    columns = ["A/A", f"halves with p < {level:.2g}", "other luck: uplift", "worlds whose interval holds 0"]
    return Table(columns, rows, f"simulated A/A of {report['control']}: nothing but chance")


def uplift_cell(uplift: Difference) -> str:
    """A relative uplift in per cent, its interval, and its corrected p, a line each; a dash where undefined."""
    if uplift.value is None:
        return UNKNOWN
    lines = [f"{uplift.value:+.1%}"]
    if uplift.low is not None:
        lines.append(f"({uplift.low:+.1%} to {uplift.high:+.1%})")
        lines += [] if uplift.p_holm is None else [f"p {uplift.p_holm:.2g}"]
    return "\n".join(lines)


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else UNKNOWN


def print_report(report: Mapping[str, Any]) -> None:
    """Print the tables of the claim and of the A/A; those of single worlds only where there is one."""
    worlds = report["across"]["worlds"]
    for table in tables_of(report)[: 2 + len(SEGMENTS)]:
        table.show()
    repeated = sum(run["control_repeated_itself"] for run in report["runs"].values())
    say(f"the control, replayed twice on the same luck, repeated itself in {repeated} of {worlds} worlds")
    if worlds == 1:
        say("one world: these intervals are about its users; a claim needs several worlds or seeds (ab.runs)")


def as_markdown(report: Mapping[str, Any]) -> str:
    """The tables as Markdown, all of them."""
    return document(
        heading(1, f"A/B replay over {report['across']['worlds']} worlds: simulated"),
        "No figure here comes from people. What it means and what it cannot tell: docs/guides/ab.md.",
        bullets(f"{LABELS[metric]}: {words}" for metric, words in report["definitions"].items()),
        *(block for table in tables_of(report) for block in (heading(2, table.title), table.as_markdown())),
    )
