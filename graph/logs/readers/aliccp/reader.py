"""``data=aliccp``: Ali-CCP (Tianchi), as published or as multi-task tables use it.

As published: ``sample_skeleton_train.csv`` (a row an impression) and ``common_features_train.csv`` (a row a user at a
moment, by an MD5 key), and the same for test. As multi-task tables use it: one table a split, joined and renumbered.
``docs/reference/data_undated.md`` maps field by field.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from configs.console import progress, say, warn
from configs.errors import InputError
from configs.schema import DataConfig
from graph.logs.contract import RawLog, source_folder
from graph.logs.database import scratch_database, text, write_days, write_table
from graph.logs.readers.aliccp.layouts import ITEM, PAIR_IDS, PAIR_VALUES, PERSON, TASTES, load_joined, load_published
from graph.logs.readers.published import READER_MEMORY_GB, write_rejected
from graph.logs.readers.undated import PlaceholderDay, place_requests, tell_undated

EXPECTED = (
    "the folder with sample_skeleton_train.csv, common_features_train.csv and those of test (also in folders "
    "sample_train and sample_test), or with the joined tables of train and test"
)
VALIDATION_SHARE = 0.1
"""Of the training users, where the set has no validation table."""


def read(data: DataConfig, seed: int, folder: Path) -> RawLog:
    """Write the impressions of ``data.path`` in the contract's form under ``folder``; ``seed`` is not used.

    Raises:
        InputError: if a file is missing, damaged or of another schema.
    """
    del seed
    root = source_folder(data, EXPECTED)
    with scratch_database(folder / "scratch", READER_MEMORY_GB) as connection:
        if not load_published(connection, root) and not load_joined(connection, root):
            raise InputError(f"{root} holds neither layout of Ali-CCP: expected {EXPECTED}; unpack archives first")
        rejected = write_rejected(connection, REJECTED, folder / "rejected.parquet")
        drawn = _make_lists(connection, root)
        connection.execute(FIRST_SHOWN)
        _tell_varying_items(connection)
        with progress() as bar:
            for place in bar.track(place_requests(connection, drawn), description="writing impressions"):
                write_days(connection.sql(impressions_of(place)).to_arrow_reader(65_536), folder / "impressions")
        write_table(connection.sql(ITEMS).to_arrow_reader(65_536), folder / "items.parquet")
        write_table(connection.sql(USERS).to_arrow_reader(65_536), folder / "users.parquet")
    return RawLog(folder / "impressions", folder / "items.parquet", folder / "users.parquet", rejected=rejected)


REJECTED = "SELECT source, source_row AS row, problem AS reason, content FROM shown WHERE problem IS NOT NULL"


def _make_lists(connection: duckdb.DuckDBPyConnection, root: Path) -> dict[str, float]:
    """Table ``lists``: one row a user at a moment; return the shares that are drawn from train.

    Raises:
        InputError: if no row can be read.
    """
    connection.execute(
        "CREATE TABLE lists AS SELECT person AS request, any_value(file_split) AS split, count(*) AS rows, "
        "min(source_row) AS first_row, max(source_row) AS last_row FROM shown WHERE problem IS NULL GROUP BY person"
    )
    (rows, lists, validation), *_ = connection.sql(
        "SELECT coalesce(sum(rows), 0), count(*), count_if(split = 'validation') FROM lists"
    ).fetchall()
    if not rows:
        reasons = connection.sql("SELECT problem, count(*) FROM shown GROUP BY problem").fetchall()
        problems = "; ".join(f"{reason}: {count:,}" for reason, count in reasons) or "no rows"
        raise InputError(f"{root}: no row can be read ({problems}): expected {EXPECTED}")
    say(f"{rows:,} impressions of {lists:,} users at a moment")
    tell_undated("Ali-CCP publishes no times", "build graphs with experiment=undated")
    return {} if validation else {"validation": VALIDATION_SHARE}


def impressions_of(place: PlaceholderDay) -> str:
    """The SQL of the contract's rows of a placeholder day.

    An item that the same user was shown again belongs to the user's next request: the contract allows it once in one.
    """
    affinities = ", ".join((*PAIR_IDS.values(), *PAIR_VALUES.values()))
    return f"""
        SELECT key || '/' || time AS request_id, key AS user_id, query, item_id, CAST(day AS TIMESTAMP) AS timestamp,
            'exposed' AS stage, clicked, ordered, position_class, {affinities}, day
        FROM (
            SELECT *, row_number() OVER (PARTITION BY person, item_id ORDER BY source_row) AS time
            FROM shown JOIN placed ON person = request AND day = {text(place.day)}
            WHERE problem IS NULL AND source_row BETWEEN {place.first_row} AND {place.last_row}
        ) JOIN people USING (person)
        ORDER BY person, time, item_id
    """


_DESCRIBED = ", ".join(f"arg_min({column}, (person, source_row)) AS {column}" for column in ITEM.values())
FIRST_SHOWN = f"""
    CREATE TABLE first_shown AS
    SELECT item_id, {_DESCRIBED}, {" OR ".join(f"min({c}) <> max({c})" for c in ITEM.values())} AS varies
    FROM shown WHERE problem IS NULL GROUP BY item_id
"""
ITEMS = f"SELECT item_id, {', '.join(ITEM.values())} FROM first_shown ORDER BY item_id"
USERS = f"SELECT key AS user_id, {', '.join((*PERSON.values(), *TASTES.values()))} FROM people ORDER BY person"


def _tell_varying_items(connection: duckdb.DuckDBPyConnection) -> None:
    """Say how many items change category, shop, intention or brand: the first is kept."""
    (varies, items), *_ = connection.sql("SELECT count_if(varies), count(*) FROM first_shown").fetchall()
    if varies:
        warn(f"{varies:,} of {items:,} items change an attribute in the log: the first one shown is kept")
