"""Marginals of a search log: popularity, price, position, funnel, sessions and newness, each with its interval.

Every figure keeps its bootstrap draws, so that the ratio of two logs' figures has an interval too. Units of resampling
are requests where a figure is a mean over them, and items or queries where it is a share of a ranking of those.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from graph.logs.contract import RawLog
from graph.logs.database import text
from graph.resampling import RatioOfSums, Resampler, percentile_interval

Whole = npt.NDArray[np.int64]
Real = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

DRAWS, CONFIDENCE = 300, 0.95
PLACES = 25
"""Places of a list that are compared: trivago's page."""
FEWEST_PRICES = 5
OF_REQUESTS = ("session", "query", "shown")
"""Columns of a market with a row a request; the others have one a row."""
ZIPF_COUNT, ZIPF_RANKS = 5, 50
"""A slope is fitted over ranks with at least so many events, if there are so many ranks."""


@dataclass(frozen=True)
class Market:
    """The exposed rows of a log, and its requests in order of time.

    Args:
        request, item: numbers from 0 of every row [rows].
        place: 1-based, as displayed; gaps are as published [rows].
        order: 1-based, without gaps [rows].
        clicked, ordered: [rows]; ``ordered`` is all False where unknown.
        price: NaN where unknown [rows].
        random: the item was put at this place at random [rows].
        session, query, shown: numbers of the session, the query text and the displayed list [requests].
    """

    request: Whole
    item: Whole
    place: Whole
    order: Whole
    clicked: Flags
    ordered: Flags
    price: Real
    random: Flags
    session: Whole
    query: Whole
    shown: Whole

    @property
    def requests(self) -> int:
        return len(self.query)

    def per_request(self, values: npt.NDArray[Any]) -> Real:
        """Sums of a row's values over each request."""
        return np.bincount(self.request, weights=values, minlength=self.requests)

    def of(self, mask: Flags) -> Market:
        """Some of the requests, numbered anew in their order."""
        rows, numbers = mask[self.request], np.cumsum(mask) - 1
        chosen = {name: values[mask if name in OF_REQUESTS else rows] for name, values in vars(self).items()}
        return Market(**{**chosen, "request": numbers[chosen["request"]]})

    def first_places(self) -> Market:
        """The same requests with the first ``PLACES`` of each list."""
        rows = self.order <= PLACES
        return replace(self, **{n: v[rows] for n, v in vars(self).items() if n not in OF_REQUESTS})

    def with_click(self) -> Market:
        """The requests with a click: all that trivago and Expedia publish."""
        return self.of(self.per_request(self.clicked) > 0)

    def merged(self) -> Market:
        """One request for each list that a session was shown: trivago writes a list once for each click on it."""
        key = self.session * (self.shown.max() + 1) + self.shown
        _, first, of_key = np.unique(key, return_index=True, return_inverse=True)
        place = np.argsort(np.argsort(first))[of_key]
        cell = place[self.request] * (self.order.max() + 1) + self.order
        cells, row, of_cell = np.unique(cell, return_index=True, return_inverse=True)
        chosen = {name: values[row] for name, values in vars(self).items() if name not in OF_REQUESTS}
        chosen["request"] = place[chosen["request"]]
        for name in ("clicked", "ordered"):
            chosen[name] = np.bincount(of_cell, weights=getattr(self, name), minlength=len(cells)) > 0
        return Market(**chosen, **{name: getattr(self, name)[np.sort(first)] for name in OF_REQUESTS})

    def thinned(self, requests: int) -> Market:
        """So many requests at random: shares of a ranking depend on how much was counted."""
        if requests >= self.requests:
            return self
        mask = np.zeros(self.requests, dtype=np.bool_)
        mask[np.random.default_rng(0).choice(self.requests, requests, replace=False)] = True
        return self.of(mask)


@dataclass(frozen=True)
class Marginal:
    """A number, its bootstrap draws and the count behind it; ``value`` is NaN where it is undefined."""

    value: float
    draws: Real
    n: int
    unit: str

    @property
    def interval(self) -> tuple[float, float]:
        low, high = percentile_interval(self.value, self.draws, CONFIDENCE)
        return (math.nan, math.nan) if low is None else (low, high)


def load(raw: RawLog, displayed: Path | None = None, random: str = "false") -> Market:
    """Read the exposed rows of a log in the contract's form.

    Args:
        raw: as a reader left it.
        displayed: published file with ``srch_id``, ``prop_id`` and ``position``, where the log hides some positions.
        random: SQL condition of rows that were put at their place at random.
    """
    rows = f"read_parquet({text(str(raw.impressions) + '/*/*.parquet')}, hive_partitioning = true)"
    with duckdb.connect() as connection:
        columns = set(connection.sql(f"SELECT * FROM {rows} LIMIT 0").columns)
        place, join = "position", ""
        if displayed is not None:
            place = "shown.position"
            published = f"read_csv({text(displayed)}, nullstr = 'NULL')"
            join = f"JOIN {published} AS shown ON shown.srch_id = log.request_id AND shown.prop_id = log.item_id"
        ordered = "log.ordered" if "ordered" in columns else "false"
        session = "session_id" if "session_id" in columns else "request_id"
        connection.execute(f"""
            CREATE TABLE rows AS
            SELECT dense_rank() OVER (ORDER BY epoch_ms(timestamp), request_id) - 1 AS request, {session} AS session,
                dense_rank() OVER (ORDER BY item_id) - 1 AS item, CAST({place} AS BIGINT) AS place, item_id,
                row_number() OVER (PARTITION BY request_id ORDER BY {place}) AS "order", query,
                CAST(log.clicked AS BOOLEAN) AS clicked, CAST({ordered} AS BOOLEAN) AS ordered,
                coalesce(CAST(price AS DOUBLE), 'nan') AS price, coalesce({random}, false) AS random
            FROM {rows} AS log {join} WHERE stage = 'exposed'
        """)
        of_rows = connection.sql(
            'SELECT request, item, place, "order", clicked, ordered, price, random FROM rows ORDER BY request, "order"'
        ).fetchnumpy()
        of_requests = connection.sql("""
            SELECT dense_rank() OVER (ORDER BY session) - 1 AS session, dense_rank() OVER (ORDER BY query) - 1 AS query,
                dense_rank() OVER (ORDER BY items) - 1 AS shown
            FROM (SELECT request, any_value(session) AS session, any_value(query) AS query,
                list(item_id ORDER BY "order") AS items FROM rows GROUP BY request) ORDER BY request
        """).fetchnumpy()
    return Market(**{name: np.asarray(values) for name, values in (of_rows | of_requests).items()})


def mean_of(above: Real, below: Real, unit: str) -> Marginal:
    """Σ above / Σ below over units of resampling, for example clicks and exposures of each request."""
    mean = RatioOfSums(above.astype(np.float64), below.astype(np.float64), int(below.sum()))
    return Marginal(mean.value, mean.draws(Resampler(len(above), DRAWS, 0)), mean.n, unit)


def statistic_of(values: Real, statistic: Callable[[Real], float], unit: str) -> Marginal:
    """Any statistic of the units' values, resampled with replacement."""

    def of_block(multiplicity: npt.NDArray[np.uint8]) -> Real:
        drawn = (np.repeat(values, times) for times in multiplicity.T)
        return np.array([statistic(each) if len(each) else math.nan for each in drawn])  # a block's end may be empty

    return Marginal(statistic(values), Resampler(len(values), DRAWS, 0).each_block(of_block), len(values), unit)


def held_by_top(share: float) -> Callable[[Real], float]:
    """The share of all events that falls on the top ``share`` of units."""

    def share_of_top(counts: Real) -> float:
        ordered = np.sort(counts)[::-1]
        return float(ordered[: max(1, round(share * len(counts)))].sum() / counts.sum())

    return share_of_top


def zipf_slope(counts: Real) -> float:
    """Minus the slope of log count on log rank by least squares; NaN where too few units have enough events."""
    ordered = np.sort(counts)[::-1]
    ordered = ordered[ordered >= ZIPF_COUNT]
    if len(ordered) < ZIPF_RANKS:
        return float("nan")
    return float(-np.polyfit(np.log(np.arange(1, len(ordered) + 1)), np.log(ordered), 1)[0])


def counts_by_item(market: Market, clicks: int | None = None) -> Real:
    """Impressions of every displayed item; or, of so many clicks at random, those of every clicked item."""
    item = market.item
    if clicks is not None:
        item = np.random.default_rng(0).choice(item[market.clicked], clicks, replace=False)
    return np.unique(item, return_counts=True)[1].astype(np.float64)


def counts_by_query(market: Market) -> Real:
    """Requests of every query."""
    return np.unique(market.query, return_counts=True)[1].astype(np.float64)


def price_spread(market: Market) -> tuple[Real, Real]:
    """Standard deviation of log price, and highest over lowest price, of each list with ``FEWEST_PRICES`` or more."""
    rows = (market.order <= PLACES) & (market.price > 0)
    request, logs = market.request[rows], np.log(market.price[rows])
    _, starts, counts = np.unique(request, return_index=True, return_counts=True)
    means = np.add.reduceat(logs, starts) / counts
    spread = np.sqrt(np.add.reduceat((logs - np.repeat(means, counts)) ** 2, starts) / counts)
    ratio = np.exp(np.maximum.reduceat(logs, starts) - np.minimum.reduceat(logs, starts))
    enough = counts >= FEWEST_PRICES
    return spread[enough], ratio[enough]


@dataclass(frozen=True)
class PositionCurve:
    """Click rate at places 1 to ``PLACES`` over that at place 1; NaN where a place was hardly ever shown.

    ``exponent``: η of click rate ∝ place^−η, by maximum likelihood over all places.
    """

    relative: Real
    low: Real
    high: Real
    exponent: Marginal


def position_curve(market: Market, mask: Flags) -> PositionCurve:
    """Click rate by displayed place over some of the rows, resampled by request."""
    rows = mask & (market.place <= PLACES)
    request, place = market.request[rows], market.place[rows] - 1
    size = market.requests * PLACES
    cell = request * PLACES + place
    clicks, shown = (
        np.bincount(cell, weights=weights, minlength=size).reshape(-1, PLACES)
        for weights in (market.clicked[rows].astype(float), np.ones(len(cell)))
    )
    resampler = Resampler(market.requests, DRAWS, 0)
    drawn_clicks, drawn_shown = (
        resampler.each_block(lambda multiplicity, sums=sums: multiplicity.T.astype(np.float64) @ sums)
        for sums in (clicks, shown)
    )
    clicks, shown = clicks.sum(axis=0), shown.sum(axis=0)
    rare = shown < 0.2 * shown.max()
    with np.errstate(divide="ignore", invalid="ignore"):
        rates, drawn = clicks / shown, drawn_clicks / drawn_shown
        relative, drawn = rates / rates[0], drawn / drawn[:, :1]
    relative[rare], drawn[:, rare] = np.nan, 0.0
    low, high = np.nanquantile(drawn, [0.025, 0.975], axis=0)
    exponent = Marginal(
        float(_exponent(clicks[None], shown[None])[0]), _exponent(drawn_clicks, drawn_shown), int(shown.sum()), "rows"
    )
    return PositionCurve(relative, low, high, exponent)


def _exponent(clicks: Real, shown: Real) -> Real:
    """η where Σ clicks·log p / Σ clicks = Σ shown·p^−η·log p / Σ shown·p^−η, by bisection. [draws, places] → [draws]"""
    logs = np.log(np.arange(1, clicks.shape[1] + 1))
    wanted = (clicks * logs).sum(axis=1) / np.maximum(clicks.sum(axis=1), 1)
    low, high = np.full(len(clicks), -2.0), np.full(len(clicks), 5.0)
    for _ in range(50):
        middle = (low + high) / 2
        weights = shown * np.exp(-middle[:, None] * logs)
        above = (weights * logs).sum(axis=1) / weights.sum(axis=1) > wanted
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return (low + high) / 2


def repeated_within_session(market: Market, what: Whole) -> Flags:
    """Whether a request's query or list occurred before in its session. [requests]"""
    key = market.session * (what.max() + 1) + what
    repeated = np.ones(market.requests, dtype=np.bool_)
    repeated[np.unique(key, return_index=True)[1]] = False
    return repeated


def never_seen(market: Market) -> Marginal:
    """Share of the last fifth's impressions whose item was not displayed in the four fifths before."""
    early = market.request < 0.8 * market.requests
    known = np.zeros(market.item.max() + 1, dtype=np.bool_)
    known[market.item[early]] = True
    late = market.of(np.arange(market.requests) >= 0.8 * market.requests)
    return mean_of(late.per_request(~known[late.item]), late.per_request(np.ones(len(late.item))), "impressions")
