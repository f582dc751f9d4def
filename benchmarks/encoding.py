"""The encoding of 1 and 10 million rows beside a bare DuckDB pass: time, peak memory, and how both grow.

    python benchmarks/encoding.py [rows=1000000,10000000] [limit=4.0] [folder=/tmp]

Logs are those of ``graph_build.py``. **Bare** is one connection that reads the same columns, joins items to their row
numbers, writes labels and numbers of every row and hashed ids of every request to Parquet without compression, and
counts the exposures and clicks of each item. It checks nothing, hashes no words and no lists, and takes no statistics.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import duckdb
from scale import each_size, emit, invocation, options, print_growth

from graph.logs.log import SearchLog, impressions_pattern
from prerank.encoding.features import encode_log

BARE = """
COPY (
    SELECT item, request_id, clicked, ordered, position, stage, price, rank_score, distance
    FROM log JOIN items USING (item_id)
) TO '{folder}/rows.parquet' (FORMAT parquet, COMPRESSION uncompressed);
COPY (
    SELECT request_id, any_value(timestamp), any_value(session_id), hash(any_value(user_id)), hash(any_value(query)),
        hash(any_value(city)), hash(any_value(device)), any_value(history), count(position)
    FROM log GROUP BY request_id
) TO '{folder}/requests.parquet' (FORMAT parquet, COMPRESSION uncompressed);
CREATE TEMP TABLE counts AS
    SELECT item_id, count(*), count_if(clicked), count_if(ordered) FROM log WHERE split = 'train' GROUP BY item_id;
"""


def bare(folder: Path, limit: str) -> None:
    log = SearchLog.open(folder / "run" / "logs")
    with tempfile.TemporaryDirectory(dir=folder) as made, duckdb.connect() as connection:
        connection.execute(f"SET memory_limit = '{limit}GB'; SET temp_directory = '{made}'; SET TimeZone = 'UTC'")
        connection.execute("SET preserve_insertion_order = false; SET enable_progress_bar = false")
        connection.execute(f"CREATE VIEW log AS FROM read_parquet('{impressions_pattern(log.folder)}')")
        connection.execute(
            "CREATE TEMP TABLE items AS SELECT item_id, file_row_number AS item "
            f"FROM read_parquet('{log.folder}/items.parquet', file_row_number = true)"
        )
        connection.execute(BARE.format(folder=made))


def measure(kind: str, folder: Path, limit: str) -> None:
    if kind == "bare":
        emit(lambda: bare(folder, limit))
    else:
        log = SearchLog.open(folder / "run" / "logs")
        emit(lambda: encode_log(invocation(folder, limit), log))


def main(arguments: list[str]) -> None:
    chosen = options(arguments, rows="1000000,10000000", limit="4.0", folder=tempfile.gettempdir())
    encoding, beside = each_size(chosen, __file__, ("encoding", "bare"))
    print_growth("encoding", encoding, beside)


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        measure(sys.argv[2], Path(sys.argv[3]), sys.argv[4])
    else:
        main(sys.argv[1:])
