"""``data=expedia``: "Personalize Expedia Hotel Searches" (ICDM 2013) in its published schema (``train.csv``).

A search is a request, a booking is the order. Searches with ``random_bool = 1`` were shown in random order: their
position is not the ranking model's and is unknown. ``docs/reference/data_expedia.md`` maps field by field.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from configs.console import progress, say, warn
from configs.errors import InputError
from configs.schema import DataConfig
from graph.logs.contract import RawLog, source_path
from graph.logs.database import batches_of_days, scratch_database, texts, write_days, write_table
from graph.logs.readers.published import READER_MEMORY_GB, load_published, published_files, write_rejected

EXPECTED = "train.csv, .csv.gz or .parquet of Personalize Expedia Hotel Searches, or its folder"
SEARCH_NUMBERS = {
    "srch_length_of_stay": "length_of_stay",
    "srch_booking_window": "booking_window",
    "srch_adults_count": "adults",
    "srch_children_count": "children",
    "srch_room_count": "rooms",
    "srch_saturday_night_bool": "saturday_night",
    "visitor_hist_starrating": "visitor_stars",
    "visitor_hist_adr_usd": "visitor_price",
}
"""Published column → number of the request."""

PAIR_NUMBERS = {
    "promotion_flag": "promotion",
    "prop_location_score2": "location_score2",
    "srch_query_affinity_score": "query_affinity",
    "orig_destination_distance": "distance",
}
"""Published column → number of the hotel in this search."""

COMPETITORS = range(1, 9)
COLUMNS = (
    "srch_id",
    "date_time",
    "site_id",
    "visitor_location_country_id",
    "prop_country_id",
    "prop_id",
    "prop_starrating",
    "prop_review_score",
    "prop_brand_bool",
    "prop_location_score1",
    "prop_log_historical_price",
    "position",
    "price_usd",
    "srch_destination_id",
    "random_bool",
    *SEARCH_NUMBERS,
    *PAIR_NUMBERS,
    *(f"comp{number}_{what}" for number in COMPETITORS for what in ("rate", "inv")),
    "click_bool",
    "gross_bookings_usd",
    "booking_bool",
)
HIGHEST_PRICE = 10_000.0
"""USD a night above which a price is an artefact of the set (some countries list the whole stay in local money)."""

PRICE_BANDS = 5
CHUNK_ROWS = 1_000_000


def read(data: DataConfig, seed: int, folder: Path) -> RawLog:
    """Write the searches of ``data.path`` in the contract's form under ``folder``; ``seed`` is not used.

    Raises:
        InputError: if the file is missing, damaged or of another schema.
    """
    del seed
    files = published_files(source_path(data, EXPECTED), "train")
    with scratch_database(folder / "scratch", READER_MEMORY_GB) as connection:
        load_published(connection, files, COLUMNS, "published")
        connection.execute(f"CREATE TABLE searches AS {SEARCHES}")
        rejected = write_rejected(connection, REJECTED, folder / "rejected.parquet")
        _tell_counts(connection, files[0])
        counts = dict(connection.sql("SELECT day, count(*) FROM searches GROUP BY day").fetchall())
        with progress() as bar:
            for days in bar.track(batches_of_days(counts, CHUNK_ROWS), description="reading days"):
                batches = connection.sql(impressions_of(days)).to_arrow_reader(65_536)
                write_days(batches, folder / "impressions")
        write_table(connection.sql(ITEMS).to_arrow_reader(65_536), folder / "items.parquet")
    return RawLog(folder / "impressions", folder / "items.parquet", rejected=rejected)


def _tell_counts(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    """Say what the published rows became.

    Raises:
        InputError: if no row has a date.
    """
    (rows, searches, random, absurd), *_ = connection.sql(
        "SELECT count(*), count(DISTINCT srch_id), count_if(random_bool = 1), count_if(absurd) FROM searches"
    ).fetchall()
    if not rows:
        raise InputError(f"{file}: no row has a date_time such as 2013-04-04 08:32:15")
    say(f"{searches:,} searches are requests")
    if random:
        warn(f"{random:,} of {rows:,} rows were shown in random order: their position by a ranking model is unknown")
    if absurd:
        warn(f"{absurd:,} prices are not above 0 or above {HIGHEST_PRICE:,.0f} USD a night: taken as unknown")


def _numbers(columns: dict[str, str]) -> str:
    return ", ".join(f"TRY_CAST({source} AS FLOAT) AS {column}" for source, column in columns.items())


def _competitors(what: str, value: int) -> str:
    """How many of the eight competitors have the value."""
    terms = (f"coalesce(CAST(TRY_CAST(comp{c}_{what} AS DOUBLE) = {value} AS INTEGER), 0)" for c in COMPETITORS)
    return " + ".join(terms)


_PRICE = "TRY_CAST(price_usd AS DOUBLE)"
_PLAUSIBLE = f"{_PRICE} > 0 AND {_PRICE} <= {HIGHEST_PRICE}"

SEARCHES = f"""
    SELECT source, source_row, TRY_CAST(srch_id AS BIGINT) AS srch_id, TRY_CAST(prop_id AS BIGINT) AS prop_id,
        TRY_CAST(date_time AS TIMESTAMP) AS moment, strftime(moment, '%Y-%m-%d') AS day,
        'destination ' || srch_destination_id AS destination,
        'site ' || site_id AS site, 'country ' || visitor_location_country_id AS visitor_country,
        TRY_CAST(random_bool AS INTEGER) AS random_bool, TRY_CAST(position AS INTEGER) AS position,
        CASE WHEN {_PLAUSIBLE} THEN {_PRICE} END AS price, {_PRICE} IS NOT NULL AND NOT ({_PLAUSIBLE}) AS absurd,
        TRY_CAST(click_bool AS INTEGER) AS clicked, TRY_CAST(booking_bool AS INTEGER) AS ordered,
        TRY_CAST(gross_bookings_usd AS FLOAT) AS booking_value,
        {_numbers(SEARCH_NUMBERS)}, {_numbers(PAIR_NUMBERS)},
        TRY_CAST(prop_starrating AS INTEGER) AS stars, TRY_CAST(prop_review_score AS FLOAT) AS review_score,
        TRY_CAST(prop_location_score1 AS FLOAT) AS location_score1, 'country ' || prop_country_id AS country,
        CASE TRY_CAST(prop_brand_bool AS INTEGER) WHEN 1 THEN 'chain' WHEN 0 THEN 'independent' END AS brand,
        nullif(TRY_CAST(prop_log_historical_price AS DOUBLE), 0) AS log_historical_price,
        {_competitors("rate", 1)} AS cheaper_than, {_competitors("rate", -1)} AS dearer_than,
        {_competitors("inv", 1)} AS only_here
    FROM published WHERE TRY_CAST(date_time AS TIMESTAMP) IS NOT NULL
"""

REJECTED = """
    SELECT source, source_row AS row, 'date_time is not a date' AS reason,
        CAST(to_json(published) AS VARCHAR) AS content
    FROM published WHERE TRY_CAST(date_time AS TIMESTAMP) IS NULL
"""


NIGHTS = """
    CASE WHEN length_of_stay <= 3 THEN CAST(CAST(length_of_stay AS INTEGER) AS VARCHAR)
        WHEN length_of_stay <= 6 THEN '4-6' WHEN length_of_stay > 6 THEN '7+' ELSE '?' END
"""
"""The stay as the query says it."""


def impressions_of(days: list[str]) -> str:
    """The SQL of the contract's rows of some days, in order of days."""
    search = "PARTITION BY srch_id"
    requests = ", ".join(SEARCH_NUMBERS.values())
    pairs = ", ".join(PAIR_NUMBERS.values())
    return f"""
        SELECT srch_id AS request_id, srch_id AS user_id, concat(destination, ' | ', {NIGHTS}, ' nights') AS query,
            prop_id AS item_id, moment AS timestamp, 'exposed' AS stage,
            CASE WHEN random_bool = 0 THEN position END AS position, clicked, ordered,
            CAST(price AS FLOAT) AS price, random_bool, booking_value,
            destination, site, visitor_country, {requests}, CAST(month(moment) AS INTEGER) AS month, {pairs},
            cheaper_than, dearer_than, only_here,
            CAST(ln(price) AS FLOAT) AS log_price,
            CASE WHEN price IS NOT NULL THEN CAST(rank() OVER ({search} ORDER BY price NULLS LAST) AS INTEGER)
                END AS price_rank,
            CAST(ln(price / median(price) OVER ({search})) AS FLOAT) AS log_relative_price,
            CAST(ln(price) - log_historical_price AS FLOAT) AS price_to_historical,
            CAST(ln(price / nullif(visitor_price, 0)) AS FLOAT) AS price_to_visitor,
            CAST(stars - visitor_stars AS FLOAT) AS stars_to_visitor,
            CAST(nullif(stars, 0) - avg(nullif(stars, 0)) OVER ({search}) AS FLOAT) AS stars_to_list,
            CAST(review_score - avg(review_score) OVER ({search}) AS FLOAT) AS review_to_list,
            CAST(location_score2 - avg(location_score2) OVER ({search}) AS FLOAT) AS location_to_list,
            day
        FROM searches WHERE list_contains({texts(days)}, day)
        ORDER BY day, timestamp, request_id, item_id
    """


ITEMS = f"""
    WITH first_shown AS (
        SELECT prop_id AS item_id, arg_min(stars, (moment, srch_id)) AS stars,
            arg_min(brand, (moment, srch_id)) AS brand, arg_min(country, (moment, srch_id)) AS country,
            arg_min(price, (moment, srch_id)) AS price,
            arg_min(review_score, (moment, srch_id)) AS review_score,
            arg_min(location_score1, (moment, srch_id)) AS location_score1, min(moment) AS listed_at
        FROM searches WHERE prop_id IS NOT NULL GROUP BY prop_id
    )
    SELECT item_id, brand, CASE WHEN stars > 0 THEN stars || ' stars' END AS stars, country,
        CASE WHEN price IS NOT NULL THEN CAST(least({PRICE_BANDS}, 1 + floor({PRICE_BANDS} * percent_rank() OVER (
            PARTITION BY country, price IS NULL ORDER BY price))) AS INTEGER) END AS price_band,
        CAST(price AS FLOAT) AS price, nullif(review_score, 0) AS review_score, location_score1,
        CAST(nullif(stars, 0) AS FLOAT) AS star_rating, listed_at
    FROM first_shown ORDER BY item_id
"""
