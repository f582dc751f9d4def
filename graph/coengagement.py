"""Log rows to engagement and from there to weighted edges, as Ibis expressions that DuckDB and Spark both evaluate.

An **event** is a clicked or ordered training impression, or an item of a request's ``history`` (a touch). It weighs

.. math:: w = w_{kind} \\cdot 0.5^{age / half\\_life}

with the age in days before the end of the training days used. Every weight is rounded to a multiple of 2^-24: sums of
such numbers are exact in float64 (below 2^29) in any order, so neither the engine nor the number of threads changes a
bit of the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import ibis

from configs.schema import GraphConfig

SECONDS_PER_DAY = 86_400.0
RESOLUTION = 2.0**-24


def training_rows(impressions: Any, days: Sequence[str]) -> Any:
    """The rows that the graph may see: training rows of the chosen days."""
    day = impressions.day.cast("string")
    return impressions.mutate(day=day).filter(impressions.split == "train", day.isin(list(days)))


def distinct(rows: Any, **column: Any) -> Any:
    """The distinct values of one column of ``rows``, given as ``name=column``.

    By grouping and not by ``Table.distinct``: where an ``order_by`` follows, Ibis 12 writes SQL for Spark that is
    distinct over more columns than were selected.
    """
    return rows.group_by(**column).agg()


def decayed(weight: Any, timestamp: Any, end: datetime, half_life_days: float) -> Any:
    """Event weights after time decay, float64, at least 2^-24.

    Args:
        weight: of the event's kind.
        timestamp: column of the event's time.
        end: the moment that ages are measured from.
        half_life_days: age at which the weight has halved.
    """
    # Engines disagree on the fraction of a second that epoch_seconds keeps, so it is cut off first.
    seconds = timestamp.truncate("s").epoch_seconds().cast("float64")
    age_days = (ibis.literal(end.timestamp()) - seconds) / SECONDS_PER_DAY
    units = weight * ibis.literal(0.5) ** (age_days / half_life_days) / RESOLUTION
    return ibis.greatest(units.round().cast("float64"), ibis.literal(1.0)) * RESOLUTION


def engagement(rows: Any, config: GraphConfig, end: datetime, earlier: Any | None = None) -> Any:
    """All events: session, query, item_id, kind (click, order, touch), weight.

    A touch counts once for a session, query and item, however many requests of the session repeat it.

    Args:
        rows: training rows.
        config: weights and decay.
        end: the moment that ages are measured from.
        earlier: engagement of rows before these (:func:`engaged`).
    """
    rows = rows.mutate(session=session_key(rows))
    parts = []
    for kind, chosen, weight in (
        ("click", rows.clicked & ~rows.ordered, config.weight_click),
        ("order", rows.ordered, config.weight_order),
    ):
        if weight > 0:
            parts.append(_weighted(rows.filter(chosen), kind, weight, end, config.half_life_days))
    if config.weight_touch > 0 and "history" in rows.columns:
        parts.append(_weighted(touches(rows, earlier), "touch", config.weight_touch, end, config.half_life_days))
    return ibis.union(*parts) if len(parts) > 1 else parts[0]


def session_key(rows: Any) -> Any:
    """What events are co-engaged within: the session, or the request where there is none."""
    if "session_id" not in rows.columns:
        return rows.request_id
    session = ibis.literal("session ").concat(rows.session_id.cast("string"))
    return ibis.coalesce(session, ibis.literal("request ").concat(rows.request_id.cast("string")))


def engaged(rows: Any, earlier: Any | None = None) -> Any:
    """user_id, item_id, engaged_at: when each user first clicked or ordered each item, here or in earlier rows."""
    rows = rows.filter(rows.clicked | rows.ordered)
    pairs = rows.group_by(["user_id", "item_id"]).agg(engaged_at=rows.timestamp.min())
    if earlier is None:
        return pairs
    both = ibis.union(pairs, earlier.cast(dict(pairs.schema())).select(*pairs.columns))
    return both.group_by(["user_id", "item_id"]).agg(engaged_at=both.engaged_at.min())


def touches(rows: Any, earlier: Any | None = None) -> Any:
    """The items of each request's ``history``: session, query, item_id, timestamp (of the latest such request).

    A history that reaches back over earlier searches repeats their clicks. Those are events already, under the search
    that they answered, so an item that the user clicked or ordered before the request is no touch of it. ``earlier``:
    engagement of rows before these.
    """
    with_history = rows.filter(rows.history.notnull())
    # history belongs to the request and is repeated on its rows: the row of the smallest item id speaks for it.
    of_request = ("session", "query", "user_id", "timestamp", "history")
    first = {name: with_history[name].argmin(with_history.item_id) for name in of_request}
    requests = with_history.group_by("request_id").agg(**first)
    touched = requests.select("session", "query", "user_id", "timestamp", item_id=requests.history.unnest())
    touched = touched.filter(touched.item_id.notnull())
    touched = touched.left_join(engaged(rows, earlier), ["user_id", "item_id"])
    touched = touched.filter(touched.engaged_at.isnull() | (touched.engaged_at >= touched.timestamp))
    return touched.group_by(["session", "query", "item_id"]).agg(timestamp=touched.timestamp.max())


def query_item(events: Any) -> Any:
    """Edges query (source) – item (target): the sum of their events' weights."""
    grouped = events.group_by(source=events.query, target=events.item)
    return grouped.agg(strength=events.weight.sum())


def item_item(events: Any, window: int) -> Any:
    """Edges between items engaged in one session, each pair once: the lower index is the source.

    An item's strength in a session is the sum of its clicks and orders plus its touch. The ``window`` strongest items
    of a session (ties: lower index) are paired; a pair weighs as much as the weaker of the two, summed over sessions.
    """
    touch = events.kind == "touch"
    strength = events.weight.sum(where=~touch).fill_null(0.0) + events.weight.max(where=touch).fill_null(0.0)
    items = events.group_by(["session", "item"]).agg(strength=strength)
    place = ibis.row_number().over(group_by=items.session, order_by=[items.strength.desc(), items.item])
    left = items.mutate(place=place).filter(lambda table: table.place < window).drop("place")
    right = left.view()
    pairs = left.join(right, [left.session == right.session, left.item < right.item])
    pairs = pairs.select(source=left.item, target=right.item, strength=ibis.least(left.strength, right.strength))
    return pairs.group_by(["source", "target"]).agg(strength=pairs.strength.sum())


def item_attribute(items: Any, attribute: str) -> Any:
    """Edges item (source) – attribute value (target) of the items that the graph may know, strength 1 each."""
    known = items.filter(items.known, items[attribute].notnull())
    return known.select(source=known.item, target=known[attribute], strength=ibis.literal(1.0))


def query_category(query_items: Any, items: Any) -> Any:
    """Edges query (source) – category (target): the weights of the query's engaged items, summed by their category."""
    categories = items.select(target=items.item, category=items.category).filter(lambda table: table.category.notnull())
    joined = query_items.join(categories, "target").select("source", "category", "strength")
    return joined.group_by(joined.source, target=joined.category).agg(strength=joined.strength.sum())


def _weighted(rows: Any, kind: str, weight: float, end: datetime, half_life_days: float) -> Any:
    return rows.select(
        "session",
        "query",
        "item_id",
        kind=ibis.literal(kind),
        weight=decayed(ibis.literal(float(weight)), rows.timestamp, end, half_life_days),
    )
