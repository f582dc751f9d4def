"""``data=aliexpress``: AliExpress Searching System Dataset, one country, as published or as multi-task tables use it.

As published: ``CC_user_train.csv`` (a row a search: user and query) and ``CC_item_train.csv`` (a row an item shown),
without headers, and the same for test. As multi-task tables use it: ``train.csv`` and ``test.csv``, joined and named.
Nothing in the set names a product, a user, a query or a moment. docs/reference/data_undated.md: what follows.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from configs.console import progress, say
from configs.errors import InputError
from configs.schema import DataConfig
from graph.logs.contract import RawLog, source_folder
from graph.logs.database import reading, scratch_database, text, write_days, write_table
from graph.logs.readers.published import READER_MEMORY_GB, write_rejected
from graph.logs.readers.undated import (
    PlaceholderDay,
    files_with,
    first_problem,
    only,
    place_requests,
    scan_lines,
    scan_table,
    tell_undated,
)

EXPECTED = (
    "the folder of one country: train.csv and test.csv, or CC_user_train.csv, CC_item_train.csv and those of test"
)
USER_IDS = tuple(f"categorical_{number}" for number in range(1, 10))
ITEM_IDS = tuple(f"categorical_{number}" for number in range(10, 17))
USER_NUMBERS = tuple(f"numerical_{number}" for number in range(1, 24))
ITEM_NUMBERS = tuple(f"numerical_{number}" for number in range(24, 64))
JOINED = ("search_id", *USER_IDS, *ITEM_IDS, *USER_NUMBERS, *ITEM_NUMBERS, "click", "conversion")
"""The columns of ``train.csv``; those of user and query come from the first published file, those of items from the
second."""

USER_FILE = ("search_id", *USER_IDS[:7], *USER_NUMBERS, *USER_IDS[7:])
"""The 33 columns of ``CC_user_train.csv`` in order, by their names in the joined table."""

_ITEM_ID_PLACES = dict(zip((19, 34, 35, 36, 40, 41, 42), ITEM_IDS, strict=True))
_ITEM_NUMBER_PLACES = dict(zip((p for p in range(2, 49) if p not in _ITEM_ID_PLACES), ITEM_NUMBERS, strict=True))
ITEM_FILE = (
    "search_id",
    *(_ITEM_ID_PLACES.get(place) or _ITEM_NUMBER_PLACES[place] for place in range(2, 49)),
    "label",
)
"""The 49 columns of ``CC_item_train.csv`` in order, by their names in the joined table, and the label: 0, 1 or 2."""

TYPES = dict.fromkeys((*USER_NUMBERS, *ITEM_NUMBERS), "FLOAT") | {"click": "VARCHAR", "conversion": "VARCHAR"}
"""SQL types of the columns that are not whole numbers."""

DRAWN = {"validation": 0.1}
"""Share of the training searches: the set has no validation part."""

SPLITS = ("train", "test")


def read(data: DataConfig, seed: int, folder: Path) -> RawLog:
    """Write the searches of ``data.path`` in the contract's form under ``folder``; ``seed`` is not used.

    Raises:
        InputError: if a file is missing, damaged or of another schema.
    """
    del seed
    root = source_folder(data, EXPECTED)
    with scratch_database(folder / "scratch", READER_MEMORY_GB) as connection:
        _load(connection, root)
        rejected = write_rejected(connection, REJECTED, folder / "rejected.parquet")
        _make_searches(connection, root, data.rejected_share)
        with progress() as bar:
            for place in bar.track(place_requests(connection, DRAWN), description="writing searches"):
                write_days(connection.sql(impressions_of(place)).to_arrow_reader(65_536), folder / "impressions")
        write_table(connection.sql(ITEMS).to_arrow_reader(65_536), folder / "items.parquet")
    return RawLog(folder / "impressions", folder / "items.parquet", rejected=rejected)


def _load(connection: duckdb.DuckDBPyConnection, root: Path) -> None:
    """Table ``shown``: one row an item shown, numbers as numbers, with what is wrong with it.

    Raises:
        InputError: if the folder holds neither layout.
    """
    declared = ", ".join(f"{column} {TYPES.get(column, 'BIGINT')}" for column in JOINED)
    connection.execute(
        f"CREATE TABLE shown (file_split VARCHAR, source VARCHAR, source_row BIGINT, {declared}, problem VARCHAR, "
        "content VARCHAR)"
    )
    for split in SPLITS:
        joined = only(files_with(root, split, JOINED), root, f"table of {split} with the columns {JOINED[0]}, ...")
        items = only(_published(root, "item", split), root, f"*_item_{split}.csv")
        users = only(_published(root, "user", split), root, f"*_user_{split}.csv")
        if joined is not None:
            numbered = f"(SELECT row_number() OVER () - 1 AS source_row, * FROM {scan_table(joined)})"
            _insert(connection, split, joined, numbered, "NULL")
        elif items is not None and users is not None:
            _insert_published(connection, split, items, users)
        else:
            raise InputError(
                f"{root} holds no {split} rows: expected {EXPECTED}; the joined table has {len(JOINED)} columns, "
                f"{JOINED[0]}, {JOINED[1]}, ..., {JOINED[-1]} (unpack archives first)"
            )
    counted = connection.sql("SELECT file_split, count(*) FROM shown GROUP BY file_split").fetchall()
    say(", ".join(f"read {rows:,} rows of {split}" for split, rows in sorted(counted)))


def _published(root: Path, side: str, split: str) -> list[Path]:
    return sorted(file for file in root.glob(f"*_{side}_{split}.csv*") if file.name.endswith((".csv", ".csv.gz")))


def _insert_published(connection: duckdb.DuckDBPyConnection, split: str, items: Path, users: Path) -> None:
    """Join the two published files of a split.

    Raises:
        InputError: if a search occurs twice in the users' file.
    """
    with reading(users):
        connection.execute(f"CREATE OR REPLACE TABLE searchers AS SELECT * FROM {scan_lines(users, USER_FILE, ',')}")
    (repeated, example), *_ = connection.sql(
        "SELECT count(*), min(search_id) FROM (SELECT search_id FROM searchers GROUP BY search_id HAVING count(*) > 1)"
    ).fetchall()
    if repeated:
        raise InputError(
            f"{users}: expected one row for each search_id (first column); found {repeated:,} that repeat, e.g. "
            f"{example}: give the file as published"
        )
    joined = f"""
        (SELECT shown.* EXCLUDE (surplus, label), searchers.* EXCLUDE (source_row, search_id, surplus),
            searchers.search_id IS NULL AS alone, coalesce(shown.surplus, searchers.surplus) AS surplus,
            CASE label WHEN '0' THEN '0' WHEN '1' THEN '1' WHEN '2' THEN '1' ELSE label END AS click,
            CASE label WHEN '2' THEN '1' WHEN '0' THEN '0' WHEN '1' THEN '0' END AS conversion
        FROM {scan_lines(items, ITEM_FILE, ",")} AS shown LEFT JOIN searchers USING (search_id))
    """
    problem = first_problem(
        (
            (f"the line has more than {len(ITEM_FILE)} or {len(USER_FILE)} fields", "surplus IS NOT NULL"),
            (f"search_id is not in {users.name}", "alone"),
        )
    )
    _insert(connection, split, items, joined, problem)


def _insert(connection: duckdb.DuckDBPyConnection, split: str, file: Path, rows: str, problem: str) -> None:
    """Insert rows of text as numbers; a bad row keeps its text in ``content``."""
    chosen = ", ".join(f"TRY_CAST({column} AS {TYPES.get(column, 'BIGINT')})" for column in JOINED)
    with reading(file):
        connection.execute(f"""
            INSERT INTO shown
            SELECT {text(split)}, {text(file.name)}, source_row, {chosen}, problem,
                CASE WHEN problem IS NOT NULL THEN CAST(to_json(judged) AS VARCHAR) END
            FROM (SELECT *, coalesce({problem}, {first_problem(PROBLEMS)}) AS problem FROM {rows}) AS judged
        """)


def _any(columns: tuple[str, ...], bad: str) -> str:
    return " OR ".join(bad.format(column=column) for column in columns)


PROBLEMS = (
    ("search_id is not a whole number", "TRY_CAST(search_id AS BIGINT) IS NULL"),
    (
        "a categorical column is not a whole number",
        _any((*USER_IDS, *ITEM_IDS), "TRY_CAST({column} AS BIGINT) IS NULL"),
    ),
    (
        "a numerical column is neither empty nor a number",
        _any(
            (*USER_NUMBERS, *ITEM_NUMBERS),
            "({column} IS NOT NULL AND coalesce(NOT isfinite(TRY_CAST({column} AS FLOAT)), true))",
        ),
    ),
    ("click or conversion is neither 0 nor 1", "NOT coalesce(click IN ('0', '1') AND conversion IN ('0', '1'), false)"),
)
"""Of a row of text, by the first that holds."""

REJECTED = "SELECT source, source_row AS row, problem AS reason, content FROM shown WHERE problem IS NOT NULL"


def _make_searches(connection: duckdb.DuckDBPyConnection, root: Path, most: float) -> None:
    """Table ``lists``: one row a search; train and test number their searches apart.

    Raises:
        InputError: if no row can be read, or if user columns differ within more than ``most`` of the searches.
    """
    same = ", ".join((*USER_IDS, *USER_NUMBERS))
    connection.execute(f"""
        CREATE TABLE lists AS
        SELECT file_split || '/' || search_id AS request, file_split AS split, count(*) AS rows,
            min(source_row) AS first_row, max(source_row) AS last_row,
            min(hash({same})) <> max(hash({same})) AS differs
        FROM shown WHERE problem IS NULL GROUP BY file_split, search_id
    """)
    (searches, differ, example), *_ = connection.sql(
        "SELECT count(*), count_if(differs), min(request) FILTER (WHERE differs) FROM lists"
    ).fetchall()
    if not searches:
        reasons = connection.sql("SELECT problem, count(*) FROM shown GROUP BY problem").fetchall()
        raise InputError(
            f"{root}: no row can be read ({'; '.join(f'{reason}: {count:,}' for reason, count in reasons)}): "
            f"expected {EXPECTED}"
        )
    if differ > most * searches:
        raise InputError(
            f"{root}: expected {USER_IDS[0]} to {USER_IDS[-1]} and {USER_NUMBERS[0]} to {USER_NUMBERS[-1]} (user and "
            f"query) to be equal in all rows of a search; found {differ:,} of {searches:,} searches where they differ, "
            f"e.g. {example}: the columns are in another order, or search_id is not the search"
        )
    say(f"{searches:,} searches are requests" + (f"; in {differ:,} user columns differ" if differ else ""))
    tell_undated("AliExpress publishes no times", "build graphs with experiment=undated")


def impressions_of(place: PlaceholderDay) -> str:
    """The SQL of the contract's rows of a placeholder day.

    Items are numbered within their search in the order of a digest: the order of the file may be the displayed one.
    """
    profile = ", ".join(USER_IDS)
    users = ", ".join(f"first_value({column}) OVER search AS {column}" for column in (*USER_IDS, *USER_NUMBERS))
    return f"""
        SELECT request AS request_id, request AS user_id, concat_ws(' ', {profile}) AS query, item_id,
            CAST(day AS TIMESTAMP) AS timestamp, 'exposed' AS stage, click = '1' AS clicked,
            conversion = '1' AS ordered, {", ".join((*USER_IDS, *USER_NUMBERS, *ITEM_IDS, *ITEM_NUMBERS))}, day
        FROM (
            SELECT request, day, row_number() OVER (PARTITION BY request ORDER BY md5(source || source_row)) AS item_id,
                {users}, {", ".join((*ITEM_IDS, *ITEM_NUMBERS))}, click, conversion
            FROM shown JOIN placed ON request = file_split || '/' || search_id
            WHERE problem IS NULL AND day = {text(place.day)}
                AND source_row BETWEEN {place.first_row} AND {place.last_row}
            WINDOW search AS (PARTITION BY request ORDER BY source_row)
        ) ORDER BY request_id, item_id
    """


ITEMS = "SELECT unnest(range(1, (SELECT max(rows) FROM lists) + 1)) AS item_id"
