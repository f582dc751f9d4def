"""The graph of 1 and 10 million rows beside the bare DuckDB aggregation: time, peak memory, and how both grow.

    python benchmarks/graph_build.py [rows=1000000,10000000] [limit=4.0] [folder=/tmp]

Logs are drawn by DuckDB into ``folder`` and stay there for the next run (0.2 GB for 10 million rows). **Bare** is
hand-written SQL in one connection with the same memory limit: events with their decayed weights, a request's history
once, the strengths of query–item and item–item edges (each pair once), left in temporary tables. It checks nothing,
counts nothing, knows no node indices and no attributes, neither normalises nor caps nor sorts, and writes no file.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import duckdb
from scale import each_size, emit, invocation, options, print_growth

from graph.building import build_graph
from graph.logs.log import SearchLog, impressions_pattern

BARE = """
CREATE TEMP TABLE engaged AS
    SELECT session_id, query, item_id, user_id, timestamp,
        greatest(round({decayed} * CASE WHEN ordered THEN 4 ELSE 1 END), 1) AS weight
    FROM log WHERE clicked OR ordered;
CREATE TEMP TABLE touched AS
    WITH requests AS (
        SELECT arg_min(session_id, item_id) AS session_id, arg_min(query, item_id) AS query,
            arg_min(user_id, item_id) AS user_id, arg_min(timestamp, item_id) AS timestamp,
            unnest(arg_min(history, item_id)) AS item_id
        FROM log WHERE history IS NOT NULL GROUP BY request_id
    ), first AS (SELECT user_id, item_id, min(timestamp) AS engaged_at FROM engaged GROUP BY ALL)
    SELECT session_id, query, item_id, max(timestamp) AS timestamp
    FROM requests LEFT JOIN first USING (user_id, item_id)
    WHERE engaged_at IS NULL OR engaged_at >= timestamp GROUP BY ALL;
CREATE TEMP TABLE events AS
    SELECT session_id, query, item_id, weight, false AS touch FROM engaged
    UNION ALL SELECT session_id, query, item_id, greatest(round({decayed} * 0.5), 1), true FROM touched;
CREATE TEMP TABLE query_item AS SELECT query, item_id, sum(weight) AS strength FROM events GROUP BY ALL;
CREATE TEMP TABLE item_item AS
    WITH items AS (
        SELECT session_id, item_id, coalesce(sum(weight) FILTER (NOT touch), 0)
            + coalesce(max(weight) FILTER (touch), 0) AS strength
        FROM events GROUP BY ALL
    ), strongest AS (
        SELECT * FROM items QUALIFY row_number() OVER (PARTITION BY session_id ORDER BY strength DESC, item_id) <= 20
    )
    SELECT a.item_id AS source, b.item_id AS target, sum(least(a.strength, b.strength)) AS strength
    FROM strongest AS a JOIN strongest AS b ON a.session_id = b.session_id AND a.item_id < b.item_id GROUP BY ALL;
"""


def bare(folder: Path, limit: str) -> None:
    log = SearchLog.open(folder / "run" / "logs")
    last = max(log.facts["splits"]["train"]["days"])
    age = f"(epoch(TIMESTAMPTZ '{last}' + INTERVAL 1 DAY) - epoch(timestamp)) / 86400"
    with tempfile.TemporaryDirectory(dir=folder) as spill, duckdb.connect() as connection:
        connection.execute(f"SET memory_limit = '{limit}GB'; SET temp_directory = '{spill}'; SET TimeZone = 'UTC'")
        connection.execute("SET preserve_insertion_order = false; SET enable_progress_bar = false")
        connection.execute(
            f"CREATE VIEW log AS FROM read_parquet('{impressions_pattern(log.folder)}') WHERE split = 'train'"
        )
        connection.execute(BARE.format(decayed=f"0.5 ** ({age} / 14) * {2**24}"))


def measure(kind: str, folder: Path, limit: str) -> None:
    if kind == "bare":
        emit(lambda: bare(folder, limit))
    else:
        log = SearchLog.open(folder / "run" / "logs")
        emit(lambda: build_graph(invocation(folder, limit), log))


def main(arguments: list[str]) -> None:
    chosen = options(arguments, rows="1000000,10000000", limit="4.0", folder=tempfile.gettempdir())
    graph, beside = each_size(chosen, __file__, ("graph", "bare"))
    print_growth(f"graph, DuckDB's limit {chosen['limit']} GB", graph, beside)


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        measure(sys.argv[2], Path(sys.argv[3]), sys.argv[4])
    else:
        main(sys.argv[1:])
