"""The candidates of JDsearch's test queries, with what is known of them before the query: their user's own touches."""

from __future__ import annotations

from pathlib import Path

import duckdb

from configs.console import progress
from graph.logs.database import text, write_days
from graph.logs.readers.undated import PlaceholderDay, place_requests

DRAWN = {"validation": 0.1, "test": 0.2}
"""Shares of the test queries: the set has one for each user and no lists to train on beside them."""

HISTORY_LENGTH = 50
"""Products of a history that are kept, the most recent first."""

LISTS = {
    "past": "BIGINT[]",
    "past_touches": "INTEGER",
    "query_terms": "INTEGER",
    "terms_in_title": "FLOAT",
    "item_touches": "INTEGER",
    "brand_touches": "INTEGER",
    "shop_touches": "INTEGER",
    "category_touches": "INTEGER",
    "seconds_since_category": "FLOAT",
}
"""Columns that only the lists have, and their SQL types."""


def write_lists(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Write the test queries' candidates on the placeholder days of their split."""
    connection.execute(
        "CREATE TABLE lists AS SELECT user_id AS request, 'train' AS split, len(candidates) AS rows, "
        "user_id AS first_row, user_id AS last_row FROM users WHERE len(candidates) > 0"
    )
    with progress() as bar:
        for place in bar.track(place_requests(connection, DRAWN), description="writing lists"):
            _make_listed(connection, place)
            write_days(connection.sql(LIST_ROWS).to_arrow_reader(65_536), folder)


LIST_ROWS = f"""
    SELECT 'user ' || user_id || ' list' AS request_id, user_id, 'user ' || user_id || ' list' AS session_id, query,
        item_id, CAST(day AS TIMESTAMP) AS timestamp, 'exposed' AS stage, label >= 1 AS clicked, label = 3 AS ordered,
        history, {", ".join(LISTS)}, day
    FROM listed ORDER BY day, request_id, item_id
"""


def _make_listed(connection: duckdb.DuckDBPyConnection, place: PlaceholderDay) -> None:
    """Table ``listed``: one row a candidate of the day's test queries.

    ``history`` is the unfinished session's products, ``past`` the user's; both the most recent first, each once.
    """
    connection.execute(f"""
        CREATE OR REPLACE TABLE today AS
        SELECT user_id, query, candidates, labels, {text(place.day)} AS day
        FROM users JOIN placed ON placed.request = user_id
        WHERE placed.day = {text(place.day)} AND user_id BETWEEN {place.first_row} AND {place.last_row}
    """)
    connection.execute(f"""
        CREATE OR REPLACE TABLE recent AS
        SELECT behaviours.* FROM behaviours SEMI JOIN today USING (user_id)
        WHERE user_id BETWEEN {place.first_row} AND {place.last_row}
    """)
    connection.execute(f"""
        CREATE OR REPLACE TABLE pasts AS
        SELECT user_id, list(item_id ORDER BY last DESC)[1:{HISTORY_LENGTH}] AS past,
            (list(item_id ORDER BY last DESC) FILTER (WHERE live))[1:{HISTORY_LENGTH}] AS history,
            CAST(sum(touches) AS INTEGER) AS past_touches
        FROM (
            SELECT user_id, item_id, max(number) AS last, count(*) AS touches, bool_or(live) AS live
            FROM recent GROUP BY user_id, item_id
        ) GROUP BY user_id
    """)
    connection.execute(LISTED)


def _touches(column: str, extra: str = "") -> str:
    """SQL: how often the user touched each value of a column."""
    return (
        f"(SELECT user_id, {column}, CAST(count(*) AS INTEGER) AS touches{extra} FROM recent "
        f"WHERE {column} IS NOT NULL GROUP BY user_id, {column})"
    )


LISTED = f"""
    CREATE OR REPLACE TABLE listed AS
    WITH candidates AS (
        SELECT user_id, query, day, unnest(candidates) AS item_id, unnest(labels) AS label,
            list_distinct(string_split(query, ' ')) AS terms
        FROM today
    )
    SELECT user_id, query, day, item_id, label, history, past,
        coalesce(past_touches, 0) AS past_touches, CAST(len(terms) AS INTEGER) AS query_terms,
        CASE WHEN title IS NOT NULL THEN
            CAST(len(list_intersect(terms, string_split(title, ' '))) / len(terms) AS FLOAT) END AS terms_in_title,
        coalesce(by_item.touches, 0) AS item_touches, coalesce(by_brand.touches, 0) AS brand_touches,
        coalesce(by_shop.touches, 0) AS shop_touches, coalesce(by_category.touches, 0) AS category_touches,
        CAST(by_category.age AS FLOAT) AS seconds_since_category
    FROM candidates LEFT JOIN products USING (item_id) LEFT JOIN pasts USING (user_id)
        LEFT JOIN {_touches("item_id")} AS by_item USING (user_id, item_id)
        LEFT JOIN {_touches("brand")} AS by_brand USING (user_id, brand)
        LEFT JOIN {_touches("shop")} AS by_shop USING (user_id, shop)
        LEFT JOIN {_touches("category", ", min(age) AS age")} AS by_category USING (user_id, category)
"""
