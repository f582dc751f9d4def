"""The histories of JDsearch's users: touches with their time before the test query, and the searches they came from."""

from __future__ import annotations

from pathlib import Path

import duckdb

from configs.console import progress
from graph.logs.database import batches_of_days, text, texts, write_days
from graph.logs.readers.jdsearch.lists import HISTORY_LENGTH, LISTS
from graph.logs.readers.undated import FIRST_DAYS

SESSION_SECONDS = 1800
"""A longer pause starts a new session; the set has no sessions of its own."""

CHUNK_ROWS = 2_000_000


def make_behaviours(connection: duckdb.DuckDBPyConnection) -> None:
    """Table ``behaviours``: one row a touch, with its product's attributes; users are unfolded some at a time.

    ``number`` counts a user's touches, ``session`` its sessions and ``search`` its runs of one query in a session (null
    without a query); ``age`` is in seconds before the test query; ``live`` says that its session goes on until then.
    """
    connection.execute(
        "CREATE TABLE behaviours (user_id BIGINT, number BIGINT, query VARCHAR, item_id BIGINT, ordered BOOLEAN, "
        "age BIGINT, session BIGINT, search BIGINT, live BOOLEAN, brand BIGINT, shop BIGINT, category BIGINT)"
    )
    chunks = connection.sql(f"""
        SELECT min(user_id), max(user_id) FROM (
            SELECT user_id, sum(len(history_items)) OVER (ORDER BY user_id) // {CHUNK_ROWS} AS chunk FROM users
        ) GROUP BY chunk ORDER BY 1
    """).fetchall()
    with progress() as bar:
        for first, last in bar.track(chunks, description="unfolding histories"):
            connection.execute(f"INSERT INTO behaviours {behaviours_of(first, last)}")


def behaviours_of(first: int, last: int) -> str:
    """The SQL of the touches of the users from ``first`` to ``last``."""
    user = "PARTITION BY user_id ORDER BY number"
    return f"""
        WITH unfolded AS (
            SELECT user_id, unnest(range(1, len(history_items) + 1)) AS number, unnest(history_queries) AS query,
                unnest(history_items) AS item_id, unnest(history_types) = 'ORD' AS ordered,
                unnest(gaps[1:len(history_items)]) AS gap, list_sum(gaps) AS total, gaps[-1] AS last_gap
            FROM users WHERE user_id BETWEEN {first} AND {last} AND len(history_items) > 0
        ), timed AS (
            SELECT *, total - sum(gap) OVER ({user}) AS age,
                sum(CAST(gap > {SESSION_SECONDS} AS INTEGER)) OVER ({user}) AS session
            FROM unfolded
        ), turned AS (
            SELECT *, query <> '-1' AND (query IS DISTINCT FROM lag(query) OVER ({user})
                OR session IS DISTINCT FROM lag(session) OVER ({user})) AS turns,
                max(session) OVER (PARTITION BY user_id) = session AND last_gap <= {SESSION_SECONDS} AS live
            FROM timed
        )
        SELECT user_id, number, query, item_id, ordered, age, session,
            CASE WHEN query <> '-1' THEN sum(CAST(turns AS INTEGER)) OVER ({user}) END, live, brand, shop, category
        FROM turned LEFT JOIN products USING (item_id)
    """


def write_histories(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Write the searches of histories, each with what it touched, on the days before the lists'."""
    connection.execute(f"""
        CREATE TABLE searches AS
        SELECT user_id, search, any_value(session) AS session, any_value(query) AS query, min(number) AS first_number,
            TIMESTAMP {text(FIRST_DAYS["train"])} - to_seconds(max(age) + 1) AS timestamp,
            strftime(timestamp, '%Y-%m-%d') AS day, count(DISTINCT item_id) AS rows
        FROM behaviours WHERE search IS NOT NULL GROUP BY user_id, search
    """)
    counts = dict(connection.sql("SELECT day, CAST(sum(rows) AS BIGINT) FROM searches GROUP BY day").fetchall())
    with progress() as bar:
        for days in bar.track(batches_of_days(counts, CHUNK_ROWS), description="writing histories"):
            connection.execute(
                f"CREATE OR REPLACE TABLE today AS SELECT * FROM searches WHERE list_contains({texts(days)}, day)"
            )
            write_days(connection.sql(HISTORIES).to_arrow_reader(65_536), folder)


_NO_LISTS = ", ".join(f"CAST(NULL AS {kind}) AS {column}" for column, kind in LISTS.items())
HISTORIES = f"""
    WITH before AS (
        SELECT user_id, search, list(item_id ORDER BY last DESC)[1:{HISTORY_LENGTH}] AS history
        FROM (
            SELECT today.user_id, today.search, item_id, max(number) AS last
            FROM today JOIN behaviours ON behaviours.user_id = today.user_id AND behaviours.session = today.session
                AND behaviours.number < today.first_number
            GROUP BY ALL
        ) GROUP BY ALL
    ), touched AS (
        SELECT user_id, search, item_id, bool_or(ordered) AS ordered
        FROM behaviours SEMI JOIN today USING (user_id, search) GROUP BY ALL
    )
    SELECT 'user ' || user_id || ' search ' || search AS request_id, user_id,
        'user ' || user_id || ' session ' || session AS session_id, query, item_id, timestamp, 'recalled' AS stage,
        true AS clicked, ordered, history, {_NO_LISTS}, day
    FROM touched JOIN today USING (user_id, search) LEFT JOIN before USING (user_id, search)
    ORDER BY day, timestamp, request_id, item_id
"""
