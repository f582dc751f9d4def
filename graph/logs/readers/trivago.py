"""``data=trivago``: the RecSys Challenge 2019 session log in its published schema (``train.csv``).

Every click-out is a request with its ranked list. What the session did before it, and nothing later, is user history.
No feature comes from a position: the position is the ranking model's output, unknown when a pre-ranker scores.
``docs/reference/data_trivago.md`` maps field by field.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from configs.console import progress, say, warn
from configs.schema import DataConfig
from graph.logs.contract import RawLog, source_path
from graph.logs.database import scratch_database, text, texts, write_days, write_table
from graph.logs.readers.published import READER_MEMORY_GB, load_published, published_files, write_rejected

EXPECTED = "train.csv, .csv.gz or .parquet of the trivago RecSys Challenge 2019, or its folder"
COLUMNS = (
    "user_id",
    "session_id",
    "timestamp",
    "step",
    "action_type",
    "reference",
    "platform",
    "city",
    "device",
    "current_filters",
    "impressions",
    "prices",
)
TOUCHES = (
    "clickout item",
    "interaction item rating",
    "interaction item info",
    "interaction item image",
    "interaction item deals",
    "search for item",
)
"""Actions whose reference is an item id."""

SORT_ORDERS = {
    "Sort by Price": "price only",
    "Best Value": "price and recommended",
    "Sort By Distance": "distance only",
    "Focus on Distance": "distance and recommended",
    "Sort By Rating": "rating only",
    "Focus on Rating": "rating and recommended",
    "Sort By Popularity": "our recommendations",
}
"""Sort actions among the active filters, by the name of the matching 'change of sort order' event."""

HISTORY_LENGTH = 50
PRICE_BANDS = 5


def read(data: DataConfig, seed: int, folder: Path) -> RawLog:
    """Write the click-outs of ``data.path`` in the contract's form under ``folder``; ``seed`` is not used.

    Raises:
        InputError: if the file is missing, damaged or of another schema.
    """
    del seed
    files = published_files(source_path(data, EXPECTED), "train")
    with scratch_database(folder / "scratch", READER_MEMORY_GB) as connection:
        load_published(connection, files, COLUMNS, "published")
        _make_steps(connection)
        _make_clickouts(connection)
        _make_popularity(connection)
        rejected = write_rejected(connection, REJECTED, folder / "rejected.parquet")
        _tell_counts(connection)
        days = [day for (day,) in connection.sql("SELECT DISTINCT day FROM clickouts ORDER BY day").fetchall()]
        with progress() as bar:
            for day in bar.track(days, description="reading days"):
                _make_lists(connection, day)
                _make_touched(connection)
                write_days(connection.sql(IMPRESSIONS).to_arrow_reader(65_536), folder / "impressions")
        write_table(connection.sql(ITEMS).to_arrow_reader(65_536), folder / "items.parquet")
    return RawLog(folder / "impressions", folder / "items.parquet", rejected=rejected)


def _make_steps(connection: duckdb.DuckDBPyConnection) -> None:
    """Tables ``steps``: a session's events numbered in time, and ``touches``: those that name an item."""
    connection.execute(f"""
        CREATE TABLE steps AS
        SELECT *, row_number() OVER (PARTITION BY session ORDER BY seconds, step, source, source_row) AS number
        FROM (
            SELECT source, source_row, user_id, user_id || '/' || session_id AS session, city, action_type AS action,
                TRY_CAST(timestamp AS BIGINT) AS seconds, TRY_CAST(step AS BIGINT) AS step,
                CASE WHEN action_type IN {tuple(TOUCHES)} THEN TRY_CAST(reference AS BIGINT) END AS item_id
            FROM published
        ) WHERE session IS NOT NULL AND seconds IS NOT NULL
    """)
    connection.execute(
        "CREATE TABLE touches AS SELECT user_id, session, number, item_id, seconds, action, city FROM steps "
        "WHERE item_id IS NOT NULL"
    )


def _make_clickouts(connection: duckdb.DuckDBPyConnection) -> None:
    """Table ``clickouts``: one row a request, with its list and what the request itself tells."""
    sorts = texts(list(SORT_ORDERS))
    connection.execute(f"""
        CREATE TABLE clickouts AS
        WITH filtered AS (
            SELECT source, source_row, platform, device, list_sort(list_distinct(string_split(
                coalesce(current_filters, ''), '|'))) AS active, TRY_CAST(reference AS BIGINT) AS chosen,
                string_split(impressions, '|') AS shown, string_split(prices, '|') AS shown_prices
            FROM published WHERE action_type = 'clickout item' AND impressions IS NOT NULL
        ), named AS (
            SELECT *, list_filter(active, lambda f: f <> '' AND NOT list_contains({sorts}, f)) AS filters,
                list_filter(active, lambda f: list_contains({sorts}, f)) AS sorted
            FROM filtered
        )
        SELECT session || '/' || number AS request_id, user_id, session, number, seconds,
            strftime(make_timestamp(seconds * 1000000), '%Y-%m-%d') AS day, city, platform, device, filters,
            map({sorts}, {texts(list(SORT_ORDERS.values()))})[sorted[1]] AS sort_order, chosen,
            list_transform(shown, lambda i: TRY_CAST(i AS BIGINT)) AS items,
            list_transform(shown_prices, lambda p: TRY_CAST(p AS DOUBLE)) AS prices, source, source_row
        FROM named JOIN steps USING (source, source_row)
        WHERE len(shown) = len(shown_prices) AND chosen IS NOT NULL
            AND NOT list_contains(list_transform(shown, lambda i: TRY_CAST(i AS BIGINT) IS NULL), true)
    """)


def _make_popularity(connection: duckdb.DuckDBPyConnection) -> None:
    """Tables ``touched_by_all`` and ``shown_to_all``: an item's running counts up to and including each second."""
    connection.execute("""
        CREATE TABLE touched_by_all AS
        SELECT item_id, seconds, sum(count(*)) OVER so_far AS all_touches,
            sum(count_if(action = 'clickout item')) OVER so_far AS all_clickouts
        FROM touches GROUP BY item_id, seconds WINDOW so_far AS (PARTITION BY item_id ORDER BY seconds)
    """)
    connection.execute("""
        CREATE TABLE shown_to_all AS
        SELECT item_id, seconds, sum(count(*)) OVER (PARTITION BY item_id ORDER BY seconds) AS all_displays
        FROM (SELECT seconds, unnest(items) AS item_id FROM clickouts) GROUP BY item_id, seconds
    """)


REJECTED = """
    SELECT published.source, published.source_row AS row,
        CASE
            WHEN user_id IS NULL OR session_id IS NULL THEN 'user_id or session_id is null'
            WHEN TRY_CAST(timestamp AS BIGINT) IS NULL THEN 'timestamp is not in whole seconds'
            WHEN TRY_CAST(reference AS BIGINT) IS NULL THEN 'reference of the click-out is not an item id'
            WHEN impressions IS NULL THEN 'impressions of the click-out are null'
            WHEN prices IS NULL OR len(string_split(prices, '|')) <> len(string_split(impressions, '|'))
                THEN 'prices are not as many as impressions'
            ELSE 'impressions hold something that is not an item id'
        END AS reason,
        CAST(to_json(published) AS VARCHAR) AS content
    FROM published ANTI JOIN clickouts USING (source, source_row)
    WHERE action_type = 'clickout item' OR user_id IS NULL OR session_id IS NULL
        OR TRY_CAST(timestamp AS BIGINT) IS NULL
"""


def _tell_counts(connection: duckdb.DuckDBPyConnection) -> None:
    """Say what the published events became."""
    (clickouts, outside), *_ = connection.sql(
        "SELECT count(*), count_if(NOT list_contains(items, chosen)) FROM clickouts"
    ).fetchall()
    touches = connection.sql("SELECT count(*) FROM touches").fetchall()[0][0]
    say(f"{clickouts:,} click-outs are requests; {touches:,} events touch an item and are history of later ones")
    if outside:
        warn(f"{outside:,} click-outs chose an item that is not in their list: kept as requests without a click")
    unread = f"action_type IN {tuple(TOUCHES)} AND action_type <> 'clickout item' AND TRY_CAST(reference AS BIGINT)"
    (nameless,) = connection.sql(f"SELECT count(*) FROM published WHERE {unread} IS NULL").fetchall()[0]
    if nameless:
        warn(f"{nameless:,} item interactions have no item id as their reference: they are no history")


def _make_lists(connection: duckdb.DuckDBPyConnection, day: str) -> None:
    """Tables ``today``: the day's click-outs, and ``lists``: their items with prices and their order by price."""
    connection.execute(f"CREATE OR REPLACE TABLE today AS SELECT * FROM clickouts WHERE day = {text(day)}")
    connection.execute("""
        CREATE OR REPLACE TABLE lists AS
        SELECT *, rank() OVER (PARTITION BY request_id ORDER BY price NULLS LAST) AS price_rank,
            price / nullif(median(price) OVER (PARTITION BY request_id), 0) AS relative_price
        FROM (
            SELECT request_id, user_id, session, number, seconds, unnest(items) AS item_id, unnest(prices) AS price,
                unnest(range(1, len(items) + 1)) AS position
            FROM today
        )
    """)


def _make_touched(connection: duckdb.DuckDBPyConnection) -> None:
    """Tables of what the session did strictly before each click-out of today.

    ``touched``: by item; ``before``: by request, with the items most recently touched first; ``shown_before``: earlier
    lists of the session that held the item. ``touched_by_user``: the user's earlier sessions, by item.
    """
    connection.execute("""
        CREATE OR REPLACE TABLE touched AS
        SELECT request_id, touches.item_id, count(*) AS touch_count, max(touches.number) AS last_number,
            max(touches.seconds) AS last_seconds, arg_max(action, touches.number) AS last_action,
            count_if(action = 'clickout item') AS clickout_count
        FROM today JOIN touches ON touches.session = today.session AND touches.number < today.number
        GROUP BY request_id, touches.item_id
    """)
    connection.execute(f"""
        CREATE OR REPLACE TABLE before AS
        SELECT request_id, list(item_id ORDER BY last_number DESC)[1:{HISTORY_LENGTH}] AS history,
            arg_max(item_id, last_number) AS last_item, sum(touch_count) AS touches
        FROM touched GROUP BY request_id
    """)
    connection.execute("""
        CREATE OR REPLACE TABLE shown_before AS
        SELECT lists.request_id, lists.item_id, count(*) AS shown_count
        FROM lists JOIN (
            SELECT session, number, unnest(items) AS item_id FROM clickouts
            WHERE session IN (SELECT session FROM today)
        ) AS earlier ON earlier.session = lists.session AND earlier.item_id = lists.item_id
            AND earlier.number < lists.number
        GROUP BY lists.request_id, lists.item_id
    """)
    connection.execute("""
        CREATE OR REPLACE TABLE touched_by_user AS
        SELECT lists.request_id, lists.item_id, count(*) AS user_touches
        FROM lists JOIN touches ON touches.user_id = lists.user_id AND touches.item_id = lists.item_id
            AND touches.session <> lists.session AND touches.seconds < lists.seconds
        GROUP BY lists.request_id, lists.item_id
    """)


IMPRESSIONS = """
    WITH known AS (
        SELECT lists.*, touched.* EXCLUDE (request_id, item_id), coalesce(shown_count, 0) AS shown_count,
            coalesce(user_touches, 0) AS user_touches, coalesce(all_touches, 0) AS all_touches,
            coalesce(all_displays, 0) AS all_displays,
            (coalesce(all_clickouts, 0) + 0.5) / (coalesce(all_displays, 0) + 10) AS click_rate
        FROM lists LEFT JOIN touched USING (request_id, item_id) LEFT JOIN shown_before USING (request_id, item_id)
            LEFT JOIN touched_by_user USING (request_id, item_id)
            ASOF LEFT JOIN touched_by_all
                ON touched_by_all.item_id = lists.item_id AND lists.seconds > touched_by_all.seconds
            ASOF LEFT JOIN shown_to_all ON shown_to_all.item_id = lists.item_id AND lists.seconds > shown_to_all.seconds
    ), anchored AS (
        SELECT *, first_value(price) OVER recent AS last_price, first_value(price_rank) OVER recent AS last_price_rank,
            max(last_number) OVER (PARTITION BY request_id) IS NOT NULL AS any_touched,
            CASE WHEN last_number IS NOT NULL THEN row_number() OVER recent END AS touch_rank,
            rank() OVER (PARTITION BY request_id ORDER BY all_touches DESC) AS popularity_rank,
            rank() OVER (PARTITION BY request_id ORDER BY click_rate DESC) AS click_rate_rank
        FROM known
        WINDOW recent AS (PARTITION BY request_id ORDER BY last_number DESC NULLS LAST, item_id)
    )
    SELECT request_id, today.user_id AS user_id, today.session AS session_id,
        concat_ws(' | ', city, nullif(array_to_string(filters, ', '), ''), sort_order) AS query,
        item_id, make_timestamp(today.seconds * 1000000) AS timestamp, 'exposed' AS stage, CAST(position AS INTEGER) AS
        position, item_id = chosen AS clicked, CAST(price AS FLOAT) AS price,
        platform, device, city, sort_order, filters, CAST(len(filters) AS INTEGER) AS filter_count,
        CAST(today.number AS INTEGER) AS session_step, CAST(coalesce(touches, 0) AS INTEGER) AS session_touches,
        coalesce(history, []) AS history,
        CAST(price_rank AS INTEGER) AS price_rank, CAST(relative_price AS FLOAT) AS relative_price,
        CAST(coalesce(touch_count, 0) AS INTEGER) AS touch_count, CAST(touch_rank AS INTEGER) AS touch_rank,
        CAST(today.number - last_number AS INTEGER) AS touch_recency,
        CAST(today.seconds - last_seconds AS INTEGER) AS seconds_since_touch, last_action,
        CAST(coalesce(clickout_count, 0) AS INTEGER) AS clickout_count,
        CAST(coalesce(item_id = last_item, false) AS INTEGER) AS is_last_touched,
        CAST(shown_count AS INTEGER) AS shown_count, CAST(user_touches AS INTEGER) AS user_touches,
        CAST(all_touches AS INTEGER) AS all_touches, CAST(all_displays AS INTEGER) AS all_displays,
        CAST(click_rate AS FLOAT) AS click_rate, CAST(popularity_rank AS INTEGER) AS popularity_rank,
        CAST(click_rate_rank AS INTEGER) AS click_rate_rank,
        CASE WHEN any_touched THEN CAST(ln(price / nullif(last_price, 0)) AS FLOAT) END AS price_to_last_touched,
        CASE WHEN any_touched THEN CAST(price_rank - last_price_rank AS INTEGER) END AS price_rank_to_last_touched,
        day
    FROM anchored JOIN today USING (request_id) LEFT JOIN before USING (request_id)
    ORDER BY day, timestamp, request_id, position
"""

ITEMS = f"""
    WITH displays AS (
        SELECT unnest(items) AS item_id, unnest(prices) AS price, city, (seconds, session, number) AS moment
        FROM clickouts
    ), displayed AS (
        SELECT item_id, arg_min(city, moment) AS city, arg_min(price, moment) AS price, min(moment) AS moment
        FROM displays GROUP BY item_id
    ), handled AS (
        SELECT item_id, arg_min(city, (seconds, session, number)) AS city, min(seconds) AS seconds
        FROM touches GROUP BY item_id
    ), joined AS (
        SELECT item_id, coalesce(displayed.city, handled.city) AS city, price,
            least(struct_extract_at(moment, 1), seconds) AS first_seconds
        FROM displayed FULL JOIN handled USING (item_id)
    )
    SELECT item_id, city, nullif(regexp_extract(city, ', ([^,]+)$', 1), '') AS country,
        CASE WHEN price IS NOT NULL THEN CAST(least({PRICE_BANDS}, 1 + floor({PRICE_BANDS} * percent_rank() OVER (
            PARTITION BY city, price IS NULL ORDER BY price))) AS INTEGER) END AS price_band,
        CAST(price AS FLOAT) AS price, make_timestamp(first_seconds * 1000000) AS listed_at
    FROM joined ORDER BY item_id
"""
