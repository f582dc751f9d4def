"""The documents of User Behavior Insights as they were exported, in two flat tables: ``queries`` and ``events``.

JSON lines (plain, in bulk form with an action line before each document, or as hits with ``_source``), gzipped or not,
and Parquet (structs, JSON texts or flattened names). What a field may be called in 1.0 to 1.3, in OpenSearch's own
mapping and in its exports stands in `FIELDS`, once.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from configs.console import say, warn
from configs.errors import InputError
from graph.logs.database import name, place, reading, text, texts

LINES = tuple(f"{ending}{packed}" for ending in (".ndjson", ".jsonl", ".json") for packed in ("", ".gz", ".zst"))
ITEMS = "items.parquet"
"""A catalogue beside the documents."""
LONGEST_LINE = 64 * 2**20
"""Bytes of one document."""

FIELDS = {
    "application": ["application"],
    "query_id": ["query_id"],
    "client_id": ["client_id"],
    "user_id": ["user_id", "event_attributes.user_id"],
    "session_id": ["session_id", "event_attributes.session_id"],
    "written": ["timestamp", "@timestamp"],
    "user_query": ["user_query"],
    "action_name": ["action_name"],
    "message_type": ["message_type"],
    "message": ["message"],
    "object_id": ["event_attributes.object.object_id"],
    # An integer in 1.3 and in OpenSearch's mapping, an object with an index in 1.0 to 1.2, a rank in its generator.
    "place": [
        "event_attributes.position.ordinal.index",
        "event_attributes.position.ordinal",
        "event_attributes.ordinal",
        "event_attributes.rank",
    ],
    "price": ["event_attributes.object.price", "event_attributes.object.object_detail.price"],
    "hits": ["query_response_hit_ids", "query_response_object_ids", "query_response_objects_ids"],
    "query_attributes": ["query_attributes"],
    "engine_query": ["query"],
}
"""Column → where its value is, in order of preference."""


def load_documents(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
    """Make ``documents`` (number, source, source_row, body) and, of those that can be read, ``queries`` and ``events``.

    A document that is neither has no row in the two; ``problem`` says what is wrong with an event or a query.

    Returns:
        The number of documents; action lines of the bulk form are none.

    Raises:
        InputError: if there is no file, or one that cannot be read.
    """
    connection.execute("CREATE TABLE lines (source VARCHAR, source_row BIGINT, body VARCHAR)")
    files = document_files(path)
    for file in files:
        with reading(file):
            connection.execute(
                f"INSERT INTO lines SELECT {text(_shown(file, path))}, row_number() OVER () - 1, body "
                f"FROM {_scan(file)}"
            )
    # An action line names the index that the line after it goes to; what the document is, it says itself.
    action = "len(keys) = 1 AND keys[1] IN ('index', 'create')"
    connection.execute(f"""
        CREATE TABLE documents AS
        SELECT row_number() OVER () AS number, source, source_row, body,
            CASE WHEN json_type(doc, '$._source') = 'OBJECT' THEN json_extract(doc, '$._source') ELSE doc END AS doc
        FROM (
            SELECT *, CASE WHEN json_valid(body) THEN CAST(body AS JSON) END AS doc,
                coalesce(json_keys(doc), []) AS keys
            FROM lines WHERE trim(body) <> ''
        ) WHERE NOT ({action})
    """)
    connection.execute("DROP TABLE lines")
    (rows, objects), *_ = connection.sql(
        "SELECT count(*), count_if(json_type(doc) = 'OBJECT') FROM documents"
    ).fetchall()
    if not objects:
        raise InputError(
            f"{files[0]} holds no JSON document on a line of its own ({rows:,} lines): expected one query or event a "
            "line, as `jq -c '.[]' FILE` makes them of a JSON array"
        )
    say(f"read {rows:,} documents of {', '.join(_shown(file, path) for file in files)}")
    _flatten(connection)
    return int(rows)


def document_files(path: Path) -> list[Path]:
    """The file, or the files of known endings in the folder and below it, by name; others are named out loud.

    Raises:
        InputError: if there is none.
    """
    if path.is_file():
        inside = [path]
    else:
        below = (file for file in path.rglob("*") if file.is_file())
        inside = sorted(f for f in below if not any(part.startswith(".") for part in f.relative_to(path).parts))
    known = [file for file in inside if file.name.lower().endswith((*LINES, ".parquet")) and file != path / ITEMS]
    if not known:
        raise InputError(
            f"{path} is or holds no file ending in .parquet, {', '.join(LINES)}: export the two UBI indices"
        )
    others = [str(file.relative_to(path)) for file in inside if file not in known and file != path / ITEMS]
    if others:
        warn(f"{len(others)} files in {path} are of other endings and are not read, e.g. {others[0]}")
    return known


def _shown(file: Path, path: Path) -> str:
    return str(file.relative_to(path)) if file != path else file.name


def _scan(file: Path) -> str:
    """The SQL of a file's documents as JSON texts."""
    if file.name.endswith(".parquet"):
        return f"(SELECT to_json(each) AS body FROM read_parquet({place(file)}, hive_partitioning = false) AS each)"
    # JSON escapes control characters, so that this one splits no document.
    return (
        f"read_csv({place(file)}, header = false, auto_detect = false, delim = '\x1f', quote = '', escape = '', "
        f"columns = {{'body': 'VARCHAR'}}, max_line_size = {LONGEST_LINE}, null_padding = true, strict_mode = false)"
    )


def _flatten(connection: duckdb.DuckDBPyConnection) -> None:
    """Tables ``queries`` and ``events`` of the documents."""
    # An exported Parquet file may hold event_attributes as JSON text.
    connection.execute("""
        CREATE TABLE whole AS
        SELECT number, CASE WHEN json_type(doc, '$.event_attributes') = 'VARCHAR' THEN json_merge_patch(doc,
            json_object('event_attributes', TRY_CAST(doc ->> '$.event_attributes' AS JSON))) ELSE doc END AS doc
        FROM documents WHERE json_type(doc) = 'OBJECT'
    """)
    paths = [path for places in FIELDS.values() for path in _paths(places)]
    value_of = {path: f"nullif(told[{number}], '')" for number, path in enumerate(paths, 1)}
    columns = ", ".join(
        f"coalesce({', '.join(value_of[path] for path in _paths(places))}) AS {name(column)}"
        for column, places in FIELDS.items()
    )
    # All paths in one call: each call reads the document anew.
    told = f"json_extract_string(doc, {texts(paths)}) AS told"
    connection.execute(
        f"CREATE TABLE flat AS SELECT number, doc, {columns} FROM (SELECT number, doc, {told} FROM whole)"
    )
    connection.execute("DROP TABLE whole")
    person = "coalesce(user_id, client_id, session_id)"
    connection.execute(f"""
        CREATE TABLE read AS
        SELECT * EXCLUDE (written, place, hits), {_moment("written")} AS moment, {person} AS person,
            CASE WHEN TRY_CAST(place AS DOUBLE) = floor(TRY_CAST(place AS DOUBLE)) THEN TRY_CAST(place AS INTEGER) END
                AS ordinal,
            list_filter(CAST(from_json_strict(hits, '["VARCHAR"]') AS VARCHAR[]), lambda id: id <> '') AS hits
        FROM (SELECT * REPLACE (CASE WHEN json_type(TRY_CAST(hits AS JSON)) = 'ARRAY' THEN hits END AS hits) FROM flat)
    """)
    connection.execute("DROP TABLE flat")
    untimed = "moment IS NULL THEN 'timestamp is missing or neither ISO 8601 nor an epoch'"
    nobody = "person IS NULL THEN 'user_id, client_id and session_id are missing'"
    connection.execute(f"""
        CREATE TABLE events AS
        SELECT * EXCLUDE (hits, query_attributes, engine_query), lower(action_name) AS action,
            CASE WHEN {untimed} WHEN {nobody} END AS problem
        FROM read WHERE action_name IS NOT NULL
    """)
    connection.execute(f"""
        CREATE TABLE queries AS
        SELECT number, application, query_id, client_id, user_id, session_id, person, moment, hits, query_attributes,
            coalesce(user_query, '') AS query,
            TRY_CAST(CASE WHEN json_valid(engine_query) THEN json_extract_string(engine_query, '$.from') END AS BIGINT)
                AS hits_before,
            CASE WHEN query_id IS NULL THEN 'query_id is missing' WHEN {untimed} WHEN {nobody} END AS problem
        FROM read WHERE action_name IS NULL AND (query_id IS NOT NULL OR user_query IS NOT NULL)
    """)
    connection.execute("DROP TABLE read")


def _paths(places: list[str]) -> list[str]:
    """A field's places as JSON paths, quoted for names such as ``@timestamp``: nested, or flattened into one name."""
    nested = ['$."' + place.replace(".", '"."') + '"' for place in places]
    return nested + [f'$."{place}"' for place in places if "." in place]


def _moment(written: str) -> str:
    """UTC of ISO 8601 text, of epoch milliseconds (OpenSearch's other form) or, by size, seconds or microseconds."""
    number = f"TRY_CAST({written} AS DOUBLE)"
    micros = f"{number} * CASE WHEN {number} >= 1e14 THEN 1 WHEN {number} >= 1e11 THEN 1e3 ELSE 1e6 END"
    epoch = f"CASE WHEN {number} BETWEEN 1e8 AND 7e15 THEN make_timestamp(CAST(round({micros}) AS BIGINT)) END"
    iso = f"TRY_CAST(TRY_CAST({written} AS TIMESTAMPTZ) AS TIMESTAMP)"
    moment = f"date_trunc('millisecond', coalesce({epoch}, {iso}))"
    return f"CASE WHEN {moment} BETWEEN TIMESTAMP '1973-01-01' AND TIMESTAMP '2200-01-01' THEN {moment} END"
