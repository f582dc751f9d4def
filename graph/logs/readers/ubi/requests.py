"""Requests of User Behavior Insights: who asked what and when, what the list held, and what came of it.

A request is a ``query_id`` with one text: an application that keeps the id while its user types on asks several times.
Positions are the engine's own where the query's hits are there: an interface may count its tiles otherwise.
"""

from __future__ import annotations

import duckdb

from configs.console import say, warn
from configs.schema.ubi import UbiConfig
from graph.logs.database import texts

KINDS = ("impression", "click", "cart", "order")
LEAST_AGREEMENT = 0.5
"""Share of impressions that must lie in the hits of their query, for an application's hits to be in the same ids."""


def make_requests(connection: duckdb.DuckDBPyConnection, ubi: UbiConfig) -> None:
    """From ``queries`` and ``events`` to ``requests``, ``placed`` (events by request), ``listed`` and ``engaged``.

    ``listed``: request_id, item_id, hit_position, ordinal and whether an impression has seen it.
    """
    _tell_applications_apart(connection)
    _sort_events(connection, ubi)
    _make_requests(connection)
    _place_events(connection)
    _make_lists(connection)
    _make_engagements(connection, ubi.window_minutes)


def _tell_applications_apart(connection: duckdb.DuckDBPyConnection) -> None:
    """Two applications may count their queries alike."""
    connection.execute("""
        CREATE TABLE shared AS
        SELECT query_id
        FROM (SELECT query_id, application FROM queries UNION ALL SELECT query_id, application FROM events)
        WHERE query_id IS NOT NULL GROUP BY query_id HAVING count(DISTINCT application) > 1
    """)
    (count,) = connection.sql("SELECT count(*) FROM shared").fetchall()[0]
    if count:
        warn(f"{count:,} query_ids occur in several applications: taken as one query in each")
        for table in ("queries", "events"):
            connection.execute(
                f"UPDATE {table} SET query_id = concat(application, '/', query_id) WHERE query_id IN (FROM shared)"
            )


def _sort_events(connection: duckdb.DuckDBPyConnection, ubi: UbiConfig) -> None:
    """Add ``kind``: impression, click, cart, order, or null for what says nothing about an item of a list."""
    named = " ".join(
        f"WHEN list_contains({texts([action.lower() for action in getattr(ubi, kind)])}, action) THEN '{kind}'"
        for kind in KINDS
        if getattr(ubi, kind)
    )
    of_ours = f"list_contains({texts(ubi.applications)}, coalesce(application, ''))" if ubi.applications else "true"
    missing = "kind IS NOT NULL AND ours AND problem IS NULL AND object_id IS NULL THEN action || ' without object_id'"
    connection.execute(f"""
        CREATE OR REPLACE TABLE events AS
        SELECT * REPLACE (CASE WHEN {missing} ELSE problem END AS problem)
        FROM (SELECT *, {of_ours} AS ours, CASE {named} END AS kind FROM events)
    """)
    connection.execute(f"CREATE OR REPLACE TABLE queries AS SELECT *, {of_ours} AS ours FROM queries")


def _make_requests(connection: duckdb.DuckDBPyConnection) -> None:
    """What a query's text was: what its documents say, else what its events say, else its QUERY event's message."""
    connection.execute("""
        CREATE TABLE told AS
        SELECT query_id, query, moment, person, session_id, application, query_attributes, 1 AS rank FROM queries
        WHERE problem IS NULL AND ours
        UNION ALL
        SELECT query_id, coalesce(user_query, message), moment, person, session_id, application, NULL,
            CASE WHEN user_query IS NOT NULL THEN 2 ELSE 3 END
        FROM events WHERE problem IS NULL AND ours AND query_id IS NOT NULL
            AND (user_query IS NOT NULL OR (upper(message_type) = 'QUERY' AND message IS NOT NULL))
    """)
    connection.execute("""
        CREATE TABLE requests AS
        SELECT query_id || CASE WHEN count(*) OVER (PARTITION BY query_id) > 1 THEN '/' || number ELSE '' END
            AS request_id, *
        FROM (
            SELECT query_id, query, min(moment) AS moment,
                any_value(query_attributes ORDER BY moment) AS query_attributes,
                row_number() OVER (PARTITION BY query_id ORDER BY min(moment), query) AS number
            FROM (FROM told QUALIFY rank = min(rank) OVER (PARTITION BY query_id)) GROUP BY query_id, query
        )
    """)
    # A query's document knows no session, and its events may know the user: whoever says it first.
    connection.execute("""
        CREATE TABLE askers AS
        SELECT query_id, any_value(user_id ORDER BY moment) AS user_id,
            any_value(client_id ORDER BY moment) AS client_id,
            any_value(session_id ORDER BY moment) AS session_id, any_value(application ORDER BY moment) AS application
        FROM (
            SELECT query_id, user_id, client_id, session_id, application, moment FROM queries WHERE problem IS NULL
            UNION ALL
            SELECT query_id, user_id, client_id, session_id, application, moment FROM events WHERE problem IS NULL
        ) GROUP BY query_id
    """)
    connection.execute("""
        CREATE OR REPLACE TABLE requests AS
        SELECT requests.*, coalesce(user_id, client_id, session_id) AS user_id, session_id, application
        FROM requests JOIN askers USING (query_id)
    """)
    connection.execute("DROP TABLE told; DROP TABLE askers")


def _place_events(connection: duckdb.DuckDBPyConnection) -> None:
    """Table ``placed``: events about items, each with the request of its query that has its text, else the latest."""
    connection.execute("""
        CREATE TABLE placed AS
        SELECT events.number, kind, action, object_id AS item_id, ordinal, events.moment, events.person,
            events.session_id, events.application, events.doc, TRY_CAST(price AS FLOAT) AS price,
            coalesce(same.request_id, latest.request_id, first.request_id) AS request_id
        FROM (FROM events WHERE problem IS NULL AND ours AND kind IS NOT NULL) AS events
        LEFT JOIN requests AS same ON same.query_id = events.query_id AND same.query = events.user_query
        ASOF LEFT JOIN requests AS latest ON latest.query_id = events.query_id AND events.moment >= latest.moment
        LEFT JOIN (FROM requests WHERE number = 1) AS first ON first.query_id = events.query_id
    """)


def _make_lists(connection: duckdb.DuckDBPyConnection) -> None:
    """Tables ``hits`` (the engine's list of a request, page by page) and ``listed`` (with what impressions say)."""
    connection.execute("""
        CREATE TABLE hits AS
        SELECT request_id, item_id, min(before + place) AS hit_position
        FROM (
            SELECT request_id, coalesce(hits_before, 0) AS before, unnest(hits) AS item_id,
                generate_subscripts(hits, 1) AS place
            FROM queries JOIN requests USING (query_id, query)
            WHERE problem IS NULL AND ours AND len(hits) > 0
            QUALIFY row_number() OVER (PARTITION BY request_id, coalesce(hits_before, 0) ORDER BY queries.moment,
                queries.number) = 1
        ) GROUP BY request_id, item_id
    """)
    connection.execute("""
        CREATE TABLE impressed AS
        SELECT request_id, item_id, arg_min(ordinal, (moment, number)) AS ordinal,
            arg_min(price, (moment, number)) FILTER (price BETWEEN 0 AND 3.4e38) AS price
        FROM placed WHERE kind = 'impression' AND request_id IS NOT NULL GROUP BY request_id, item_id
    """)
    strangers = connection.sql(f"""
        SELECT coalesce(application, ''), count(*), count(hits.item_id)
        FROM impressed JOIN requests USING (request_id) LEFT JOIN hits USING (request_id, item_id)
        WHERE request_id IN (SELECT request_id FROM hits) GROUP BY 1
        HAVING count(hits.item_id) < {LEAST_AGREEMENT} * count(*)
    """).fetchall()
    for application, impressions, agreeing in strangers:
        warn(
            f"application {application!r}: {agreeing:,} of {impressions:,} impressions lie in their query's hits, so "
            "the two name items by different ids (object_id_field): the hits are not used"
        )
        connection.execute(
            "DELETE FROM hits WHERE request_id IN "
            "(SELECT request_id FROM requests WHERE coalesce(application, '') = $application)",
            {"application": application},
        )
    connection.execute("""
        CREATE TABLE listed AS
        SELECT request_id, item_id, hit_position, ordinal, impressed.item_id IS NOT NULL AS seen, price
        FROM hits FULL JOIN impressed USING (request_id, item_id)
    """)


def _make_engagements(connection: duckdb.DuckDBPyConnection, window_minutes: float) -> None:
    """Table ``engaged``: clicks, carts and orders with the request that they belong to; null where no list is known.

    The own query's list, where it holds the item; else the latest list of the session, or of the person, that does;
    else a click has shown that the item was on its query's list.
    """
    connection.execute("""
        CREATE TABLE strays AS
        SELECT placed.* FROM placed ANTI JOIN listed USING (request_id, item_id) WHERE kind <> 'impression'
    """)
    asked = " UNION ALL ".join(
        f"""
            SELECT strays.number, requests.request_id, requests.moment, {same_session} AS same_session
            FROM strays JOIN requests ON {by}
            JOIN listed ON listed.request_id = requests.request_id AND listed.item_id = strays.item_id
            WHERE strays.moment BETWEEN requests.moment AND requests.moment + INTERVAL {window_minutes * 60} SECOND
        """
        for by, same_session in (
            ("requests.session_id = strays.session_id", 1),
            ("requests.user_id = strays.person", 0),
        )
    )
    connection.execute(f"""
        CREATE TABLE engaged AS
        SELECT number, kind, item_id, ordinal, moment, strays.number IS NULL AS on_its_list,
            CASE WHEN on_its_list THEN placed.request_id WHEN elsewhere.request_id IS NOT NULL THEN elsewhere.request_id
                WHEN kind = 'click' AND placed.request_id IN (SELECT request_id FROM listed) THEN placed.request_id
            END AS request_id,
            NOT on_its_list AND elsewhere.request_id IS NULL AS added
        FROM (FROM placed WHERE kind <> 'impression') AS placed
        LEFT JOIN (SELECT number FROM strays) AS strays USING (number)
        LEFT JOIN (
            SELECT number, arg_max(request_id, (same_session, moment, request_id)) AS request_id
            FROM ({asked}) GROUP BY number
        ) AS elsewhere USING (number)
    """)
    (moved, added), *_ = connection.sql(
        "SELECT count_if(NOT on_its_list AND NOT added), count_if(added) FROM engaged WHERE request_id IS NOT NULL"
    ).fetchall()
    if moved:
        say(f"{moved:,} engagements belong to an earlier list that showed the item: their own query did not")
    if added:
        say(f"{added:,} clicks are on items that no impression or hit of their query names: taken as shown there")
    connection.execute("""
        INSERT INTO listed
        SELECT request_id, item_id, NULL, arg_min(ordinal, (moment, number)), true, NULL FROM engaged
        WHERE added AND request_id IS NOT NULL GROUP BY request_id, item_id
    """)


def make_rows(connection: duckdb.DuckDBPyConnection) -> None:
    """Table ``rows``: the contract's impressions.

    Where an application logs impressions, a hit without one was ranked and not shown; where it logs none, the hits are
    what was shown. Ordinals count from 0 where an application has a 0.
    """
    connection.execute("""
        CREATE TABLE counted_from_0 AS
        SELECT DISTINCT coalesce(application, '') AS application FROM placed WHERE ordinal = 0
    """)
    connection.execute("""
        CREATE TABLE rows AS
        WITH labels AS (
            SELECT request_id, item_id, bool_or(kind = 'click') AS clicked, bool_or(kind = 'cart') AS carted,
                bool_or(kind = 'order') AS ordered
            FROM engaged WHERE request_id IS NOT NULL GROUP BY request_id, item_id
        ), impressing AS (
            SELECT DISTINCT coalesce(application, '') AS application FROM placed WHERE kind = 'impression'
        ), joined AS (
            SELECT requests.*, item_id, price, coalesce(clicked, false) AS clicked, coalesce(carted, false) AS carted,
                coalesce(ordered, false) AS ordered,
                seen OR coalesce(clicked OR carted OR ordered, false)
                    OR coalesce(application, '') NOT IN (FROM impressing) AS exposed,
                CASE WHEN bool_or(hit_position IS NOT NULL) OVER (PARTITION BY request_id) THEN hit_position
                    ELSE ordinal + CAST(coalesce(application, '') IN (FROM counted_from_0) AS INTEGER) END AS place
            FROM listed JOIN requests USING (request_id) LEFT JOIN labels USING (request_id, item_id)
        )
        SELECT request_id, user_id, query, item_id, moment AS timestamp,
            CASE WHEN exposed THEN 'exposed' ELSE 'ranked' END AS stage,
            CASE WHEN place BETWEEN 1 AND 2147483647
                AND row_number() OVER (PARTITION BY request_id, place ORDER BY exposed DESC, item_id) = 1
                THEN CAST(place AS INTEGER) END AS position,
            clicked, carted, ordered, price, session_id, application,
            CAST(query_attributes AS VARCHAR) AS query_attributes, strftime(moment, '%Y-%m-%d') AS day
        FROM joined
    """)
    (unplaced,), *_ = connection.sql("SELECT count(*) FROM rows WHERE position IS NULL").fetchall()
    if unplaced:
        say(f"{unplaced:,} rows have no position: their event or list tells none, or one that another item has")
    zero = [application for (application,) in connection.sql("FROM counted_from_0 ORDER BY 1").fetchall()]
    if zero:
        say(f"ordinals count from 0 in {', '.join(map(repr, zero))}: position = ordinal + 1")
