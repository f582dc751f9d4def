"""How real the simulated marketplace looks: its marginals beside those of public sets, as pictures and a table.

``python benchmarks/realism.py [--world default] [--seed 0]`` simulates the world in a temporary folder, reads trivago's
and Expedia's logs from ``../shared/data``, and writes ``docs/pictures/realism_*.svg``, ``docs/pictures/realism.json``
and the table in ``docs/results/realism.md``. Only aggregates are written. Where a public set is absent, the table is
printed without it and the docs stay as they are.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from marginals import (
    CONFIDENCE,
    PLACES,
    Marginal,
    Market,
    PositionCurve,
    Real,
    counts_by_item,
    counts_by_query,
    held_by_top,
    load,
    mean_of,
    never_seen,
    position_curve,
    price_spread,
    repeated_within_session,
    statistic_of,
    zipf_slope,
)
from pictures import COLOURS, Curve, Dot, DotColumn, Panel, dots, panels

from configs.console import say, warn
from configs.schema import DataConfig
from configs.stages import replacing, write_json
from configs.worlds import WorldConfig, load_world
from graph.logs.contract import RawLog
from graph.logs.readers import reader
from graph.marketplace.simulate import simulate
from graph.resampling import percentile_interval
from prerank.pages.plot import PlotAxis

ROOT = Path(__file__).resolve().parents[1]
PUBLIC = {"trivago": "trivago_recsys2019/train.parquet", "expedia": "expedia_icdm2013/train.csv.gz"}
NAMES = {"simulated": "simulated", "trivago": "trivago", "expedia": "Expedia", "ali-ccp": "Ali-CCP"}
BAND = (0.8, 1.25)
"""A ratio of simulated to public figure in here is a match."""
ALI_CCP = {"impressions": 84e6, "clicks": 3.4e6, "orders": 18e3}
"""Public data set of Ma et al. 2018 (ESMM, SIGIR), table 1: recommendations of Taobao, counts as rounded there."""
VERDICTS = ("match", "no match", "cannot tell")
MARKERS = ("<!-- written by benchmarks/realism.py -->", "<!-- end -->")


@dataclass(frozen=True)
class MarginalComparison:
    """One marginal of the simulated market beside one public set's."""

    group: str
    marginal: str
    public_set: str
    simulated: Marginal
    public: Marginal

    @property
    def ratio(self) -> tuple[float, float, float]:
        """Simulated over public, and its 95 % interval from the draws of both."""
        # Both logs were resampled with the same seed; reversed, the draws of one do not go with those of the other.
        draws = self.simulated.draws / self.public.draws[::-1]
        ratio = self.simulated.value / self.public.value
        low, high = percentile_interval(ratio, np.where(np.isfinite(draws), draws, np.nan), CONFIDENCE)
        return (ratio, 0.0, math.inf) if low is None else (ratio, low, high)

    @property
    def verdict(self) -> str:
        value, low, high = self.ratio
        if BAND[0] <= value <= BAND[1]:
            return "match"
        return "cannot tell" if low <= BAND[1] and high >= BAND[0] else "no match"


def simulated_market(world: WorldConfig, seed: int, folder: Path) -> Market:
    """Simulate a world and read its exposed rows; explored slots are those with a propensity."""
    simulate(world, seed, folder)
    return load(RawLog(folder / "impressions", folder / "items.parquet"), random="propensity IS NOT NULL")


def public_markets(data: Path, scratch: Path) -> dict[str, Market]:
    """The public sets that are there, through the project's readers."""
    markets = {}
    for name, where in PUBLIC.items():
        if not (data / where).exists():
            warn(f"{data / where} is absent: nothing is compared with {NAMES[name]}")
            continue
        raw = reader(name)(DataConfig(name=name, path=str(data / where)), 0, scratch / name)
        if name == "expedia":
            markets[name] = load(raw, displayed=data / where, random="log.random_bool = 1")
        else:
            markets[name] = load(raw)
    return markets


def paired(simulated: Market, public: Market) -> tuple[Market, Market]:
    """Both cut to what can be compared: the first places of lists with a click, equally many requests."""
    ours, theirs = (market.first_places().with_click().merged() for market in (simulated, public))
    count = min(ours.requests, theirs.requests)
    return ours.thinned(count), theirs.thinned(count)


def figures_of(market: Market, clicks_compared: int) -> dict[tuple[str, str], Marginal]:
    """The marginals that every log with clicks has: (group, name) → figure.

    Args:
        market: a log, cut by :func:`paired`.
        clicks_compared: of both logs of the pair, for how concentrated clicks are.
    """
    figures: dict[tuple[str, str], Marginal] = {}
    counted = {"impressions": counts_by_item(market), "clicks": counts_by_item(market, clicks_compared)}
    for what, counts in counted.items():
        among = "displayed" if what == "impressions" else "clicked"
        for share in (0.01, 0.1):
            figures["popularity", f"{what}: share of the top {share:.0%} of {among} items"] = statistic_of(
                counts, held_by_top(share), "items"
            )
        figures["popularity", f"{what}: Zipf slope over items"] = statistic_of(counts, zipf_slope, "items")
    spread, ratio = price_spread(market)
    figures["price", "std of log price in a list, median"] = statistic_of(spread, _median, "lists")
    figures["price", "highest / lowest price of a list, median"] = statistic_of(ratio, _median, "lists")
    figures["position", "exponent η, as ranked"] = position_curve(market, ~market.random).exponent
    clicks, orders, items = (market.per_request(v) for v in (market.clicked, market.ordered, np.ones(len(market.item))))
    figures["funnel", "clicks / exposed item, clicked lists"] = mean_of(clicks, items, "impressions")
    figures["funnel", "clicks / list, clicked lists"] = mean_of(clicks, np.ones(market.requests), "lists")
    if orders.any():
        figures["funnel", "orders / click, clicked lists"] = mean_of(orders, clicks, "clicks")
        figures["funnel", "orders / list, clicked lists"] = mean_of(orders, np.ones(market.requests), "lists")
    queries = counts_by_query(market)
    figures["queries", "requests: Zipf slope over query texts"] = statistic_of(queries, zipf_slope, "queries")
    figures["queries", "requests whose query occurs once"] = mean_of(queries * (queries == 1), queries, "requests")
    figures["newness", "last fifth: impressions of items not seen before"] = never_seen(market)
    return figures


def session_figures(market: Market) -> dict[tuple[str, str], Marginal]:
    """Length of sessions, and what is repeated within them, over requests as logged."""
    lists = market.merged()
    _, lengths = np.unique(lists.session, return_counts=True)
    first = np.zeros(lists.requests)
    first[np.unique(lists.session, return_index=True)[1]] = 1.0
    repeated = repeated_within_session(lists, lists.query).astype(float)
    again = repeated_within_session(market, market.shown).astype(float)
    return {
        ("sessions", "clicked lists / session"): mean_of(lengths.astype(float), np.ones(len(lengths)), "sessions"),
        ("sessions", "later lists with an earlier query"): mean_of(repeated, 1.0 - first, "lists"),
        ("sessions", "requests that repeat a list"): mean_of(again, np.ones(market.requests), "requests"),
    }


def compared(simulated: Market, explored: Market, public: dict[str, Market]) -> Iterator[MarginalComparison]:
    """Every marginal that a public set has and that is defined in both."""
    length, by_chance = ("funnel", "items of a list, all places"), ("position", "exponent η, items placed at random")
    for name, whole in public.items():
        pair = paired(simulated, whole)
        clicks = min(int(market.clicked.sum()) for market in pair)
        ours, theirs = (figures_of(market, clicks) for market in pair)
        for marginals, market in ((ours, simulated), (theirs, whole)):
            marginals[length] = mean_of(
                market.per_request(np.ones(len(market.item))), np.ones(market.requests), "lists"
            )
        if len(np.unique(whole.session)) < whole.requests:
            ours |= session_figures(simulated.first_places().with_click())
            theirs |= session_figures(whole.with_click())
        if whole.random.any():
            for marginals, market in ((ours, explored), (theirs, whole)):
                marginals[by_chance] = position_curve(market, market.random).exponent
        for key in ours.keys() & theirs.keys():
            if math.isfinite(ours[key].value) and math.isfinite(theirs[key].value):
                yield MarginalComparison(*key, name, ours[key], theirs[key])
    yield from funnel_of_ali_ccp(simulated)


def funnel_of_ali_ccp(market: Market) -> Iterator[MarginalComparison]:
    """The funnel without the selection of lists with a click."""
    counts = {"impressions": np.ones(len(market.item)), "clicks": market.clicked, "orders": market.ordered}
    of = {name: market.per_request(values) for name, values in counts.items()}
    for name, above, below in (
        ("clicks / exposed item", "clicks", "impressions"),
        ("orders / click", "orders", "clicks"),
    ):
        ours = mean_of(of[above], of[below], below)
        rate = ALI_CCP[above] / ALI_CCP[below]
        public = Marginal(rate, np.full(len(ours.draws), rate), int(ALI_CCP[below]), below)
        yield MarginalComparison("funnel", f"{name}, all lists", "ali-ccp", ours, public)


def _median(values: Real) -> float:
    return float(np.median(values))


GROUPS = ("popularity", "newness", "price", "position", "funnel", "sessions", "queries")


def in_order(comparisons: Sequence[MarginalComparison]) -> list[MarginalComparison]:
    """By group, then marginal, then set."""
    return sorted(comparisons, key=lambda c: (GROUPS.index(c.group), c.marginal, c.public_set))


def table(comparisons: Sequence[MarginalComparison]) -> str:
    """Markdown: one row a comparison, then how many marginals match and how many do not."""
    lines = [
        "| marginal | public set | public | simulated | simulated / public | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for each in comparisons:
        value, low, high = each.ratio
        cells = [each.marginal, NAMES[each.public_set], _cell(each.public), _cell(each.simulated)]
        lines.append(f"| {' | '.join(cells)} | {value:.2f} ({low:.2f}–{high:.2f}) | {each.verdict} |")
    counts = Counter(each.verdict for each in comparisons)
    lines += ["", f"Of {len(comparisons)}: {'; '.join(f'{counts[verdict]} {verdict}' for verdict in VERDICTS)}."]
    return "\n".join(lines)


def _cell(figure: Marginal) -> str:
    low, high = figure.interval
    span = f" ({_short(low)}–{_short(high)})" if high > low else ""
    return f"{_short(figure.value)}{span}, n = {figure.n:,} {figure.unit}"


def _short(value: float) -> str:
    return f"{value:.3g}"


def draw(simulated: Market, explored: Market, public: dict[str, Market], world: WorldConfig, folder: Path) -> None:
    """Write the pictures of the curves."""
    pairs = {name: paired(simulated, market) for name, market in public.items()}
    pictures = {
        "popularity": popularity_picture(pairs),
        "price": price_picture(simulated, public),
        "position": position_picture(simulated, explored, public, world),
        "frequency": frequency_picture(pairs),
    }
    for name, picture in pictures.items():
        _write(folder / f"realism_{name}.svg", picture)


def popularity_picture(pairs: dict[str, tuple[Market, Market]]) -> str:
    """Share of impressions and of clicks held by the top items."""
    drawn = []
    for what in ("impressions", "clicks"):
        among, lines = "clicked" if what == "clicks" else "displayed", []
        for name, (ours, theirs) in pairs.items():
            clicks = min(int(m.clicked.sum()) for m in (ours, theirs)) if what == "clicks" else None
            for market, shown in ((ours, "simulated"), (theirs, name)):
                ordered = np.sort(counts_by_item(market, clicks))[::-1]
                tops = np.geomspace(0.001, 1, 60)
                shares = [ordered[: max(1, round(top * len(ordered)))].sum() / ordered.sum() for top in tops]
                label = f"{NAMES[shown]}: {int(ordered.sum()):,} {what}, {len(ordered):,} items"
                lines.append(Curve(label, shown, list(tops), shares, dashed=name == "expedia"))
        x = PlotAxis(0.001, 1, [(0.001, "0.1 %"), (0.01, "1 %"), (0.1, "10 %"), (1, "100 %")], logarithmic=True)
        drawn.append(Panel(f"Who gets the {what}", x, SHARES, f"top share of {among} items", f"share of {what}", lines))
    return panels("share of impressions and clicks held by the most popular items", drawn)


def price_picture(simulated: Market, public: dict[str, Market]) -> str:
    """Distributions of price spread over lists."""
    markets = {"simulated": simulated} | public
    spread, ratio = [], []
    for name, market in markets.items():
        for values, lines in zip(price_spread(market), (spread, ratio), strict=True):
            at = np.quantile(values, np.linspace(0, 1, 101))
            label = f"{NAMES[name]}, {len(values):,} lists"
            lines.append(Curve(label, name, list(at), list(np.linspace(0, 1, 101))))
    first = PlotAxis(0, 1.2, [(v, f"{v:g}") for v in (0, 0.2, 0.4, 0.6, 0.8, 1, 1.2)])
    second = PlotAxis(1, 100, [(v, f"{v}") for v in (1, 2, 5, 10, 20, 50, 100)], logarithmic=True)
    y_name = "share of lists at or below"
    return panels(
        "price spread within a list",
        [
            Panel("Spread of price in a list", first, SHARES, "standard deviation of log price", y_name, spread),
            Panel("Dearest over cheapest in a list", second, SHARES, "ratio", y_name, ratio),
        ],
        f"The first {PLACES} places of each list.",
    )


def position_picture(simulated: Market, explored: Market, public: dict[str, Market], world: WorldConfig) -> str:
    """Click rate by place over that at place 1: in the ranking's order, and with items placed at random."""
    ranked = [_curve("simulated, all lists", "simulated", position_curve(simulated, ~simulated.random))]
    clicked = simulated.first_places().with_click()
    curve = position_curve(clicked, ~clicked.random)
    ranked.append(
        replace(_curve("simulated, lists with a click", "simulated", curve), dashed=True, marks=False, spans=())
    )
    random = [_curve("simulated, explored slots of page 1", "simulated", position_curve(explored, explored.random))]
    for name, market in public.items():
        clicked = market.first_places().with_click().merged()
        ranked.append(_curve(f"{NAMES[name]}, as ranked", name, position_curve(clicked, ~clicked.random)))
        if market.random.any():
            random.append(_curve(f"{NAMES[name]}, random order", name, position_curve(market, market.random)))
    places = np.arange(1, PLACES + 1)
    law = f"looked at with probability place^-{world.position_bias:g}"
    random.append(Curve(law, "reference", list(places), list(places**-world.position_bias), dashed=True))
    x = PlotAxis(1, PLACES, [(v, str(v)) for v in (1, 5, 10, 15, 20, 25)])
    y = PlotAxis(0, 1.4, [(v, f"{v:g}") for v in (0, 0.2, 0.4, 0.6, 0.8, 1, 1.2, 1.4)])
    y_name = "click rate / that at place 1"
    return panels(
        "click rate by position",
        [
            Panel("In the ranking's order", x, y, "place", y_name, ranked),
            Panel("Items placed at random", x, y, "place", y_name, random),
        ],
        "Expedia hardly ever fills places 5, 11, 17, 23; both public sets hold lists with a click only. Bars: 95 %.",
    )


def _curve(label: str, name: str, curve: PositionCurve) -> Curve:
    there = np.flatnonzero(np.isfinite(curve.relative))
    spans = [(float(curve.low[p]), float(curve.high[p])) for p in there]
    return Curve(label, name, list(there + 1), list(curve.relative[there]), marks=True, spans=spans)


def frequency_picture(pairs: dict[str, tuple[Market, Market]]) -> str:
    """Clicks by rank of the item, requests by rank of the query."""
    drawn = []
    for title, y_name in (("Clicks by rank of the item", "clicks"), ("Requests by rank of the query text", "requests")):
        lines, most, last = [], 1.0, 1
        for name, (ours, theirs) in pairs.items():
            clicks = min(int(m.clicked.sum()) for m in (ours, theirs))
            for market, shown in ((ours, "simulated"), (theirs, name)):
                counts = counts_by_item(market, clicks) if y_name == "clicks" else counts_by_query(market)
                ordered = np.sort(counts)[::-1]
                ranks = np.unique(np.geomspace(1, len(ordered), 80).astype(int))
                label = f"{NAMES[shown]}: {int(ordered.sum()):,} {y_name}"
                lines.append(Curve(label, shown, list(ranks), list(ordered[ranks - 1]), dashed=name == "expedia"))
                most, last = max(most, ordered[0]), max(last, len(ordered))
        x, y = (PlotAxis(1, 10 ** math.ceil(math.log10(top)), _decades(top), logarithmic=True) for top in (last, most))
        drawn.append(Panel(title, x, y, "rank", y_name, lines))
    return panels("frequencies by rank", drawn)


def _decades(top: float) -> list[tuple[float, str]]:
    return [(10**power, f"{10**power:,}") for power in range(math.ceil(math.log10(top)) + 1)]


SHARES = PlotAxis(0, 1, [(v / 5, f"{20 * v} %") for v in range(6)])
RATIOS = PlotAxis(
    1 / 64,
    64,
    [(1 / 64, "≤ 1/64"), *((2.0**p, f"{2**p}" if p >= 0 else f"1/{2**-p}") for p in range(-5, 7))],
    logarithmic=True,
)


def overview(comparisons: Sequence[MarginalComparison]) -> str:
    """All ratios on one axis."""
    rows = [
        Dot(
            each.marginal,
            NAMES[each.public_set],
            each.public_set if each.public_set in COLOURS else "reference",
            *each.ratio,
        )
        for each in comparisons
    ]
    axis = "ratio and 95 % interval; in the shaded band it is a match"
    return dots("Simulated over public", [DotColumn(rows, RATIOS, BAND, axis)])


def as_json(comparisons: Sequence[MarginalComparison], world: str, seed: int) -> dict[str, Any]:
    """The table's figures."""
    rows = []
    for each in comparisons:
        value, low, high = each.ratio
        row: dict[str, Any] = {"group": each.group, "marginal": each.marginal, "public_set": NAMES[each.public_set]}
        for name, figure in (("public", each.public), ("simulated", each.simulated)):
            span = dict(zip(("low", "high"), figure.interval, strict=True))
            row[name] = {"value": figure.value, **span, "n": figure.n, "unit": figure.unit}
        row["ratio"] = {"value": value, "low": low, "high": high}
        rows.append({**row, "verdict": each.verdict})
    return {"world": world, "seed": seed, "band": BAND, "comparisons": rows}


def _write(path: Path, content: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(content, encoding="utf-8")


def write_docs(docs: Path, written: str) -> None:
    """Put the table between the marks of ``realism.md``."""
    page = docs / "results" / "realism.md"
    before, rest = page.read_text(encoding="utf-8").split(MARKERS[0])
    _, after = rest.split(MARKERS[1])
    _write(page, f"{before}{MARKERS[0]}\n\n{written}\n{MARKERS[1]}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", default="default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the public sets")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    arguments = parser.parse_args()
    world = load_world(arguments.world)
    with tempfile.TemporaryDirectory() as scratch:
        simulated = simulated_market(world, arguments.seed, Path(scratch) / "world")
        always = replace(world, explored_share=1.0)
        explored = simulated_market(always, arguments.seed, Path(scratch) / "explored")
        public = public_markets(arguments.data, Path(scratch))
    comparisons = in_order(list(compared(simulated, explored, public)))
    written = table(comparisons)
    print(f"\n{written}\n")
    if public.keys() < PUBLIC.keys():
        say(f"a public set is absent: {arguments.docs} is left as it is")
        return
    folder = arguments.docs / "pictures"
    draw(simulated, explored, public, world, folder)
    _write(folder / "realism_overview.svg", overview(comparisons))
    write_json(folder / "realism.json", as_json(comparisons, arguments.world, arguments.seed))
    write_docs(arguments.docs, written)
    say(f"written: {folder}/realism_*.svg, {folder}/realism.json, {arguments.docs}/results/realism.md")


if __name__ == "__main__":
    main()
