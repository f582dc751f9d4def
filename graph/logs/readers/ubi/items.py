"""The items that User Behavior Insights names: with what impressions say of them, beside a catalogue, or bare."""

from __future__ import annotations

from pathlib import Path

import duckdb

from configs.console import say, warn
from configs.errors import InputError
from graph.logs.database import name, place, reading, text, write_table
from graph.logs.readers.ubi.documents import ITEMS

MOST_ATTRIBUTES = 50
"""Attributes taken, those of most items first: ``object_detail`` is free, and so are its names."""
IDENTIFIERS = ("object_id", "object_id_field", "object_id_type", "internal_id", "transaction_id", "object_detail")
RENAMED = {"description": "title", "name": "title"}


def write_items(connection: duckdb.DuckDBPyConnection, path: Path, file: Path) -> None:
    """Write one row for each item of ``rows``, and each of the catalogue ``items.parquet`` beside the documents.

    Attributes come from impressions alone. Where only clicks and purchases carry them, having one would tell a model
    that somebody has clicked, test days included.
    """
    catalogue = path / ITEMS if path.is_dir() else path.with_name(ITEMS)
    known = _catalogue(connection, catalogue) if catalogue.exists() else _described(connection)
    connection.execute(
        "CREATE TABLE catalogue AS "
        f"SELECT * FROM ({known}) UNION ALL BY NAME "
        f"SELECT DISTINCT item_id FROM rows WHERE item_id NOT IN (SELECT item_id FROM ({known}))"
    )
    (items, bare), *_ = connection.sql(
        f"SELECT count(*), count(*) - (SELECT count(*) FROM ({known})) FROM catalogue"
    ).fetchall()
    say(f"{items:,} items, {bare:,} of them known by their id alone")
    write_table(connection.sql("FROM catalogue ORDER BY item_id").to_arrow_reader(65_536), file)


def _catalogue(connection: duckdb.DuckDBPyConnection, file: Path) -> str:
    """The SQL of the catalogue; ids are text in the events."""
    scan = f"read_parquet({place(file)}, hive_partitioning = false)"
    with reading(file):
        columns = connection.sql(f"SELECT * FROM {scan} LIMIT 0").columns
    if "item_id" not in columns:
        raise InputError(f"{file} has no column item_id (object_id of the events); found {', '.join(columns)}")
    with reading(file):
        connection.execute(
            f"CREATE TABLE known AS SELECT * REPLACE (CAST(item_id AS VARCHAR) AS item_id) FROM {scan} "
            "WHERE item_id IS NOT NULL QUALIFY row_number() OVER (PARTITION BY item_id) = 1"
        )
    (shown, unknown), *_ = connection.sql(
        "SELECT count(DISTINCT item_id), count(DISTINCT item_id) FILTER (item_id NOT IN (SELECT item_id FROM known)) "
        "FROM rows"
    ).fetchall()
    if unknown:
        warn(f"{unknown:,} of {shown:,} items of the log are not in {file.name}: their attributes are missing")
    return "SELECT * FROM known"


def _described(connection: duckdb.DuckDBPyConnection) -> str:
    """The SQL of what impressions say of items: the scalars of ``object`` and ``object_detail``, the latest of each."""
    connection.execute("""
        CREATE TABLE told AS
        SELECT item_id, key, atom, type, moment, number FROM (
            SELECT item_id, moment, number, unnest([json_extract(doc, '$.event_attributes.object'),
                json_extract(doc, '$.event_attributes.object.object_detail')]) AS object
            FROM placed WHERE kind = 'impression'
        ) AS objects, json_each(CASE WHEN json_type(object) = 'OBJECT' THEN object END)
        WHERE atom IS NOT NULL AND json_type(atom) NOT IN ('NULL', 'OBJECT', 'ARRAY') AND key <> ''
    """)
    taken = connection.sql(f"""
        SELECT lower(key), bool_and(type IN ('BIGINT', 'UBIGINT', 'DOUBLE')) AS is_number
        FROM told WHERE lower(key) NOT IN {IDENTIFIERS} AND lower(key) NOT IN ('item_id', 'listed_at')
        GROUP BY lower(key) ORDER BY count(DISTINCT item_id) DESC, lower(key) LIMIT {MOST_ATTRIBUTES}
    """).fetchall()
    columns: dict[str, str] = {}
    for key, is_number in taken:
        column = RENAMED.get(key, key)
        if column in columns or (column == "price" and not is_number):
            continue
        kind = "DOUBLE" if is_number else "VARCHAR"
        latest = f"arg_max(json_extract_string(atom, '$'), (moment, number)) FILTER (lower(key) = {text(key)})"
        columns[column] = f"CAST({latest} AS {kind})"
    chosen = "".join(f", {expression} AS {name(column)}" for column, expression in columns.items())
    if columns:
        say(f"attributes of items, as impressions tell them: {', '.join(columns)}")
    return f"SELECT item_id{chosen} FROM told GROUP BY item_id"
