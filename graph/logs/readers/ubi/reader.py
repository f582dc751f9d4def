"""``data=ubi``: User Behavior Insights 1.0 to 1.3 (queries and events), the open standard for logs of a search.

Every document has one fate: it became part of a request, it is bad and rejected, or it is left out for a reason that
is said and counted. ``docs/reference/data_ubi.md`` maps field by field.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from configs.console import say
from configs.errors import InputError
from configs.schema import DataConfig
from graph.logs.accounting import Account
from graph.logs.contract import RawLog, source_path
from graph.logs.database import scratch_database, write_days
from graph.logs.readers.published import READER_MEMORY_GB, write_rejected
from graph.logs.readers.ubi.documents import load_documents
from graph.logs.readers.ubi.items import write_items
from graph.logs.readers.ubi.requests import make_requests, make_rows

SHOWN_ACTIONS = 10
EXPECTED = "the documents of ubi_queries and ubi_events, as JSON lines or Parquet: a file or a folder of files"


def read(data: DataConfig, seed: int, folder: Path) -> RawLog:
    """Write the requests of ``data.path`` in the contract's form under ``folder``; ``seed`` is not used.

    Raises:
        InputError: if there is no file, one cannot be read, or no request can be made of the documents.
    """
    del seed
    path = source_path(data, EXPECTED)
    with scratch_database(folder / "scratch", READER_MEMORY_GB) as connection:
        documents = load_documents(connection, path)
        make_requests(connection, data.ubi)
        make_rows(connection)
        connection.execute(FATES)
        rejected = write_rejected(connection, REJECTED, folder / "rejected.parquet")
        account = _account(connection, documents)
        (rows,) = connection.sql("SELECT count(*) FROM rows").fetchall()[0]
        if not rows:
            raise InputError(
                f"{path}: no request can be made of {account}. A request needs a query with its text, and impressions "
                "or hits; data.ubi.impression, click, cart and order name the actions"
            )
        write_days(connection.sql(_impressions(connection)).to_arrow_reader(65_536), folder / "impressions")
        write_items(connection, path, folder / "items.parquet")
    say(f"{account.kept:,} of {documents:,} documents make {rows:,} rows: an item that a query showed or ranked each")
    left_out = dict(account.left_out)
    return RawLog(folder / "impressions", folder / "items.parquet", rejected=rejected, left_out=left_out)


FATES = """
    CREATE TABLE fates AS
    WITH joined AS (
        SELECT number, problem, ours, events.kind, events.action, query_id, object_id, events.moment,
            placed.request_id AS asked, coalesce(engaged.request_id, placed.request_id) AS request_id,
            events.kind <> 'impression' AND engaged.request_id IS NULL AS stray,
            placed.request_id IN (SELECT request_id FROM listed) AS has_list
        FROM events LEFT JOIN placed USING (number) LEFT JOIN engaged USING (number)
    ), told AS (
        SELECT number, problem AS bad,
            CASE WHEN NOT ours THEN 'not of data.ubi.applications'
                WHEN (query_id, query) NOT IN (SELECT (query_id, query) FROM requests
                    WHERE request_id IN (SELECT request_id FROM rows))
                THEN 'queries of which neither an impression nor a hit is known' END AS reason
        FROM queries
        UNION ALL
        SELECT number, problem,
            CASE WHEN NOT ours THEN 'not of data.ubi.applications'
                WHEN kind IS NULL THEN 'actions that data.ubi does not name'
                WHEN request_id IS NULL AND query_id IS NULL THEN concat(kind, 's without query_id')
                WHEN request_id IS NULL THEN concat(kind, 's of queries whose text is unknown')
                WHEN stray AND has_list THEN concat(kind, 's of items that no list showed')
                WHEN stray THEN concat(kind, 's of queries whose list is unknown: neither impressions nor hits')
                WHEN row_number() OVER (PARTITION BY request_id, object_id, kind ORDER BY moment, number) > 1
                    THEN concat('further ', kind, 's of one item in one request')
            END
        FROM joined
    )
    SELECT number, CASE WHEN told.number IS NULL AND coalesce(json_type(doc), '') <> 'OBJECT' THEN 'no JSON document'
            WHEN told.number IS NULL THEN 'neither an event (action_name) nor a query (query_id, user_query)'
            ELSE bad END AS bad,
        reason
    FROM documents LEFT JOIN told USING (number)
"""
"""What became of each document: ``bad`` and rejected, left out for a ``reason``, or used."""

REJECTED = """
    SELECT source, source_row AS row, bad AS reason, body AS content FROM fates JOIN documents USING (number)
    WHERE bad IS NOT NULL ORDER BY number
"""


def _account(connection: duckdb.DuckDBPyConnection, documents: int) -> Account:
    """What became of the documents, in numbers."""
    (used, rejected), *_ = connection.sql(
        "SELECT count_if(bad IS NULL AND reason IS NULL), count_if(bad IS NOT NULL) FROM fates"
    ).fetchall()
    left_out = connection.sql(
        "SELECT reason, count(*) FROM fates WHERE bad IS NULL AND reason IS NOT NULL GROUP BY reason "
        "ORDER BY count(*) DESC, reason"
    ).fetchall()
    account = Account(documents, used, rejected, dict(left_out))
    account.require("documents of User Behavior Insights")
    unnamed = connection.sql(
        "SELECT concat(action, ' (', count(*), ')') FROM events WHERE kind IS NULL AND ours AND problem IS NULL "
        "GROUP BY action ORDER BY count(*) DESC, action"
    ).fetchall()
    if unnamed:
        shown = ", ".join(action for (action,) in unnamed[:SHOWN_ACTIONS]) + ", ..." * (len(unnamed) > SHOWN_ACTIONS)
        say(f"actions that data.ubi.impression, click, cart and order do not name are left out: {shown}")
    return account


def _impressions(connection: duckdb.DuckDBPyConnection) -> str:
    """The SQL of the rows, without columns that no document fills."""
    optional = ("session_id", "application", "query_attributes", "price")
    counts = ", ".join(f"count(nullif(CAST({column} AS VARCHAR), '{{}}'))" for column in optional)
    filled = connection.sql(f"SELECT {counts} FROM rows").fetchall()[0]
    empty = [column for column, count in zip(optional, filled, strict=True) if not count]
    without = f" EXCLUDE ({', '.join(empty)})" if empty else ""
    return f"SELECT *{without} FROM rows ORDER BY day, timestamp, request_id, position NULLS LAST, item_id"
