"""``data=jdsearch``: JDsearch (SIGIR 2023) in its published schema, ``user_behavior_data`` and ``product_meta_data``.

One line is one user: a test query with the candidates that it displayed and their labels, and everything before it as
a history of touched products with the seconds between them. The list is a request with shown, not clicked products.
Histories only name what was touched: they teach the graph (stage ``recalled``), not the click task.
``docs/reference/data_undated.md`` maps field by field.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from configs.console import say, warn
from configs.errors import InputError
from configs.schema import DataConfig
from graph.logs.contract import RawLog, source_folder
from graph.logs.database import reading, scratch_database, text, texts, write_table
from graph.logs.readers.jdsearch.histories import make_behaviours, write_histories
from graph.logs.readers.jdsearch.lists import write_lists
from graph.logs.readers.published import READER_MEMORY_GB, write_rejected
from graph.logs.readers.undated import FIRST_DAYS, first_problem, only, scan_lines, tell_undated

EXPECTED = "the unpacked folder with user_behavior_data.txt and product_meta_data.txt"
LINE = (
    "query",
    "candidate_wid_list",
    "candidate_label_list",
    "history_qry_list",
    "history_wid_list",
    "history_type_list",
    "history_time_list",
)
PRODUCT = (
    "wid",
    "name",
    "brand_id",
    "brand_name",
    "cate_id_1",
    "cate_name_1",
    "cate_id_2",
    "cate_name_2",
    "cate_id_3",
    "cate_name_3",
    "cate_id_4",
    "cate_name_4",
    "shop_id",
)
TERM_SEPARATOR = "\x18"
"""Octal 030, between the term ids of a query or name; ``_`` separates the elements of a list."""

TYPES = ("ORD", "CLICK", "CART", "FLW")


def read(data: DataConfig, seed: int, folder: Path) -> RawLog:
    """Write the lists and histories of ``data.path`` in the contract's form under ``folder``; ``seed`` is not used.

    Raises:
        InputError: if a file is missing, damaged or of another schema.
    """
    del seed
    lines, products = _files(source_folder(data, EXPECTED))
    with scratch_database(folder / "scratch", READER_MEMORY_GB) as connection:
        _load_products(connection, products)
        _load_lines(connection, lines)
        rejected = write_rejected(connection, REJECTED, folder / "rejected.parquet")
        _tell_lines(connection, lines)
        make_behaviours(connection)
        write_histories(connection, folder / "impressions")
        write_lists(connection, folder / "impressions")
        write_table(connection.sql(ITEMS).to_arrow_reader(65_536), folder / "items.parquet")
        _tell_items(connection)
    return RawLog(folder / "impressions", folder / "items.parquet", rejected=rejected)


def _files(path: Path) -> tuple[Path, Path]:
    """The users' and the products' file, whose names start as the published ones do."""
    sources = []
    for stem in ("user_behavior_data", "product_meta_data"):
        files = [f for f in sorted(path.glob(f"{stem}*")) if f.name.endswith((".txt", ".txt.gz"))]
        file = only(files, path, f"{stem}*.txt")
        if file is None:
            raise InputError(f"{path} holds no {stem}.txt: expected {EXPECTED} (unpack JDsearch.tar.gz first)")
        sources.append(file)
    return sources[0], sources[1]


def _words(column: str) -> str:
    """SQL: term ids with spaces between them."""
    return f"replace({column}, {text(TERM_SEPARATOR)}, ' ')"


def _load_products(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    """Table ``products``: one row a product; a repeated wid keeps its first row, out loud.

    Raises:
        InputError: if no line has 13 fields and a whole number first.
    """
    with reading(file):
        connection.execute(f"""
            CREATE TABLE product_lines AS
            SELECT source_row, TRY_CAST(wid AS BIGINT) AS item_id, {_words("name")} AS title,
                TRY_CAST(brand_id AS BIGINT) AS brand, TRY_CAST(shop_id AS BIGINT) AS shop,
                TRY_CAST(cate_id_1 AS BIGINT) AS category_1, TRY_CAST(cate_id_2 AS BIGINT) AS category_2,
                TRY_CAST(cate_id_3 AS BIGINT) AS category, TRY_CAST(cate_id_4 AS BIGINT) AS category_4,
                surplus IS NOT NULL AS surplus
            FROM {scan_lines(file, PRODUCT, chr(9))}
        """)
    connection.execute(
        "CREATE TABLE products AS SELECT * EXCLUDE (source_row, surplus) FROM product_lines "
        "WHERE item_id IS NOT NULL AND NOT surplus "
        "QUALIFY row_number() OVER (PARTITION BY item_id ORDER BY source_row) = 1"
    )
    (lines, products, unread), *_ = connection.sql(
        "SELECT count(*), (SELECT count(*) FROM products), count_if(item_id IS NULL OR surplus) FROM product_lines"
    ).fetchall()
    if not products:
        raise InputError(
            f"{file}: expected lines of {len(PRODUCT)} fields between tabs, a whole number first; none of its "
            f"{lines:,} lines is one: give product_meta_data.txt as published"
        )
    say(f"read {products:,} products of {file.name}")
    if lines > products:
        warn(f"{unread:,} lines of {file.name} are no product, {lines - products - unread:,} repeat one: left out")
    connection.execute("DROP TABLE product_lines")


def _load_lines(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    """Tables ``bad_lines``, and ``users`` with one row a good line: numbers in lists, in the file's order."""
    with reading(file):
        connection.execute(f"""
            CREATE TABLE users AS
            SELECT *, {first_problem(PROBLEMS)} AS problem
            FROM (
                SELECT source_row AS user_id, {_words("query")} AS query,
                    {_numbers("candidate_wid_list", "BIGINT")} AS candidates,
                    {_numbers("candidate_label_list", "DOUBLE")} AS labels,
                    {_split(_words("history_qry_list"))} AS history_queries,
                    {_numbers("history_wid_list", "BIGINT")} AS history_items,
                    {_split("history_type_list")} AS history_types,
                    {_numbers("history_time_list", "BIGINT")} AS gaps, surplus
                FROM {scan_lines(file, LINE, chr(9))}
            )
        """)
    connection.execute(
        f"CREATE TABLE bad_lines AS SELECT {text(file.name)} AS source, user_id AS row, problem AS reason, "
        "CAST(to_json(users) AS VARCHAR) AS content FROM users WHERE problem IS NOT NULL"
    )
    connection.execute("DELETE FROM users WHERE problem IS NOT NULL")


def _split(column: str) -> str:
    """SQL: the elements of a published list; an empty field has none."""
    return f"CASE WHEN {column} IS NULL THEN CAST([] AS VARCHAR[]) ELSE string_split({column}, '_') END"


def _numbers(column: str, kind: str) -> str:
    return f"list_transform({_split(column)}, lambda element: TRY_CAST(element AS {kind}))"


def _holds_null(values: str) -> str:
    return f"list_contains(list_transform({values}, lambda value: value IS NULL), true)"


PROBLEMS = (
    (f"the line has more than {len(LINE)} fields", "surplus IS NOT NULL"),
    ("candidate_wid_list holds something that is not a whole number", _holds_null("candidates")),
    ("candidate_label_list is not as long as candidate_wid_list", "len(labels) <> len(candidates)"),
    (
        "candidate_label_list holds something other than 0.0, 1.0, 2.0 and 3.0",
        "list_contains(list_transform(labels, lambda l: l IS NULL OR NOT l IN (0, 1, 2, 3)), true)",
    ),
    ("candidates without a query", "len(candidates) > 0 AND query IS NULL"),
    ("history_wid_list holds something that is not a whole number", _holds_null("history_items")),
    (
        "history_qry_list or history_type_list is not as long as history_wid_list",
        "len(history_queries) <> len(history_items) OR len(history_types) <> len(history_items)",
    ),
    (
        f"history_type_list holds something other than {', '.join(TYPES)}",
        f"NOT list_has_all({texts(TYPES)}, history_types)",
    ),
    ("history_time_list is not one longer than history_wid_list", "len(gaps) <> len(history_items) + 1"),
    (
        "history_time_list holds something that is not a whole number of seconds from 0",
        "list_contains(list_transform(gaps, lambda gap: gap IS NULL OR gap < 0), true)",
    ),
)
"""Of a line, by the first that holds."""

REJECTED = "SELECT source, row, reason, content FROM bad_lines"


def _tell_lines(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    """Say what the lines became.

    Raises:
        InputError: if none can be read.
    """
    (users, lists, clicked, touches, free), *_ = connection.sql(
        "SELECT count(*), count_if(len(candidates) > 0), count_if(list_max(labels) > 0), sum(len(history_items)), "
        "sum(len(list_filter(history_queries, lambda q: q = '-1'))) FROM users"
    ).fetchall()
    if not users:
        bad = connection.sql("SELECT reason, count(*) FROM bad_lines GROUP BY reason ORDER BY 2 DESC").fetchall()
        problems = "; ".join(f"{reason} ({count:,})" for reason, count in bad) or "no line"
        raise InputError(
            f"{file}: expected lines of {len(LINE)} fields between tabs, lists joined with _; found {problems}: give "
            "user_behavior_data.txt as published"
        )
    say(f"{users:,} users; {lists:,} test queries with candidates are requests, {lists - clicked:,} of them unclicked")
    say(f"{touches:,} touches in histories; {free:,} without a query are history of the session's later queries only")
    tell_undated(
        "JDsearch publishes the seconds between a user's touches, not when they were",
        f"histories lie as long before {FIRST_DAYS['train']} as they were before their user's test query",
    )


ITEMS = """
    SELECT item_id, title, brand, shop, category, category_1, category_2, category_4
    FROM (SELECT item_id FROM behaviours UNION SELECT unnest(candidates) FROM users) LEFT JOIN products USING (item_id)
    ORDER BY item_id
"""


def _tell_items(connection: duckdb.DuckDBPyConnection) -> None:
    """Say how the products that occur and those that are described differ."""
    (unknown, unused), *_ = connection.sql(
        f"WITH occurring AS ({ITEMS}) SELECT (SELECT count(*) FROM occurring ANTI JOIN products USING (item_id)), "
        "(SELECT count(*) FROM products ANTI JOIN occurring USING (item_id))"
    ).fetchall()
    if unknown:
        say(f"{unknown:,} products of lists and histories are not in the metadata: their attributes are missing")
    if unused:
        say(f"{unused:,} products of the metadata occur nowhere: they are not in the catalogue")
