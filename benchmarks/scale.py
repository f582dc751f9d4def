"""What the benchmarks of scale share: a log that grows in every direction, measured processes, and how cost grows.

A twentieth as many items as rows, a fiftieth as many users and a hundredth as many queries: a log of ten times the rows
has ten times the catalogue, so that nothing looks linear because it does not grow.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from configs.command import Invocation, parse
from configs.console import say, table
from configs.stages import Stage, write_json
from graph.logs.log import SearchLog, catalogue_fingerprint

SPLITS = {"train": 11, "validation": 2, "test": 3}
"""Days of each split, in order of time."""
DAYS = sum(SPLITS.values())
LIST_LENGTH = 25
HISTORY = 5
STEEP = 1.3
"""Seconds a row over those of the smallest log beyond which cost is not called linear."""
FEATURES = [
    *(f"{{column: {name}}}" for name in ("brand", "shop", "category")),
    "{column: title, kind: text}",
    *(f"{{column: {name}, side: request}}" for name in ("user_id", "query", "city", "device")),
    "{column: query, kind: text, side: request}",
    "{column: history, kind: list, side: request, table: item_id}",
    "{column: price, kind: number, side: pair}",
    "{column: distance, kind: number, side: pair}",
]


def write_log(folder: Path, rows: int) -> SearchLog:
    """A checked log: Zipf popularity, 8 % clicks, 1 % orders, histories of 5 items. One that lies there is taken.

    Every value is a hash of its row's number, so that the log of a size is the same wherever it is drawn.
    """
    stage = Stage(folder, {"rows": rows})
    if stage.finished:
        return SearchLog.open(folder)
    stage.start()
    requests = max(rows // (DAYS * LIST_LENGTH), 1)
    kinds = {"items": max(rows // 20, 500), "users": max(rows // 50, 50), "queries": max(rows // 100, 20)}
    splits: dict[str, dict[str, Any]] = {name: {"rows": 0, "requests": 0, "days": []} for name in SPLITS}
    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false; SET memory_limit = '2GB'; SET TimeZone = 'UTC'")
        connection.execute("CREATE MACRO uniform(n, salt) AS hash(n * 64 + salt) / 18446744073709551616.0::DOUBLE")
        # A probability of about 1 / rank, scattered over the ids.
        connection.execute(
            "CREATE MACRO zipf(n, salt, kinds) AS (exp(uniform(n, salt) * ln(kinds + 1)) - 1)::BIGINT * 7919 % kinds"
        )
        for day, split in enumerate(name for name, days in SPLITS.items() for _ in range(days)):
            path = stage.folder / "impressions" / f"day=2024-01-{day + 1:02d}" / "part-0.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            connection.execute(f"COPY ({_day(day, split, requests, **kinds)}) TO '{path}' (FORMAT parquet)")
            splits[split]["rows"] += requests * LIST_LENGTH
            splits[split]["requests"] += requests
            splits[split]["days"].append(path.parent.name.removeprefix("day="))
        items = stage.folder / "items.parquet"
        connection.execute(f"COPY ({_items(kinds['items'])}) TO '{items}' (FORMAT parquet)")
    facts = {
        "catalogue": catalogue_fingerprint(pq.read_table(items, columns=["item_id"])["item_id"]),
        "splits": splits,
        "split_by": "day",
        "tasks": {task: {"available": True, "reason": ""} for task in ("click", "order", "rank")},
    }
    write_json(stage.folder / "log.json", facts)
    stage.finish()
    return SearchLog.open(folder)


def _items(items: int) -> str:
    return f"""
        SELECT i + 10000000 AS item_id, 'title of ' || (i % 9973) || ' and ' || (i % 13) AS title,
            'brand ' || zipf(i, 1, {max(items // 100, 2)}) AS brand,
            'shop ' || zipf(i, 2, {max(items // 25, 2)}) AS shop, 'category ' || zipf(i, 3, 300) AS category
        FROM range({items}) AS numbers(i)
    """


def _day(day: int, split: str, requests: int, items: int, users: int, queries: int) -> str:
    """The SQL of one day's rows; items of a list are spaced apart, since none may repeat in it."""
    history = ", ".join(f"zipf(r, {10 + place}, {items}) + 10000000" for place in range(HISTORY))
    moment = f"1704067200000 + {day} * 86400000 + (r % {requests}) * 86400000 // {requests}"
    return f"""
        WITH requests AS (
            SELECT r, (uniform(r, 0) * {users})::BIGINT % {users} AS user_id, zipf(r, 1, {queries}) AS query_number,
                zipf(r, 2, {items}) AS first, [{history}] AS history, make_timestamp_ms({moment}) AS moment
            FROM range({day * requests}, {(day + 1) * requests}) AS numbers(r)
        ), placed AS (SELECT *, unnest(range({LIST_LENGTH})) AS place FROM requests
        ), cells AS (SELECT *, r * {LIST_LENGTH} + place AS n FROM placed)
        SELECT r AS request_id, user_id, user_id * {DAYS} + {day} AS session_id,
            'query ' || query_number || ' of ' || query_number % 97 AS query,
            (first + place * {items // LIST_LENGTH}) % {items} + 10000000 AS item_id,
            moment::TIMESTAMPTZ AS timestamp, 'exposed' AS stage, (place + 1)::INTEGER AS position,
            uniform(n, 3)::FLOAT AS rank_score, uniform(n, 4) < 0.08 AS clicked, uniform(n, 4) < 0.01 AS ordered,
            (uniform(n, 5) * 100)::FLOAT AS price, (uniform(n, 6) * 30)::FLOAT AS distance,
            'city ' || user_id % 3000 AS city, 'device ' || user_id % 4 AS device, history, '{split}' AS split
        FROM cells
    """


def invocation(folder: Path, limit: str) -> Invocation:
    """The run in ``folder``."""
    features = f"data.features=[{','.join(FEATURES)}]"
    return parse([f"runs_folder={folder}", "run=run", features, f"graph.memory_limit_gb={limit}"])


def emit(work: Callable[[], object]) -> None:
    """In a measured process: do the work and print what it cost as the last line."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, processor = time.perf_counter(), time.process_time()
    work()
    seconds, processor = time.perf_counter() - wall, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cost = {"seconds": seconds, "processor": processor, "peak_gb": peak * 1024 / 1e9, "before_gb": before * 1024 / 1e9}
    print(json.dumps(cost))


def measured(script: str, *arguments: object) -> dict[str, float]:
    """What :func:`emit` prints in a process of its own, started as ``script measure ARGUMENTS``."""
    command = [sys.executable, script, "measure", *map(str, arguments)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    cost: dict[str, float] = json.loads(printed.splitlines()[-1])
    return cost


Costs = Mapping[int, Mapping[str, float]]
"""Rows → what :func:`emit` says."""


def print_growth(title: str, costs: Costs, bare: Costs) -> None:
    """A line for each number of rows; ``bare``: what the bare aggregation of the same rows costs."""
    smallest = min(costs)
    lines: list[Sequence[object]] = []
    for rows, cost in costs.items():
        growth = cost["seconds"] / rows / (costs[smallest]["seconds"] / smallest)
        line = [f"{rows:,}", f"{cost['seconds']:.1f}", f"{cost['processor']:.1f}", f"{rows / cost['seconds']:,.0f}"]
        line += [f"{cost['peak_gb']:.2f} ({cost['before_gb']:.2f})", f"{growth:.2f}"]
        if bare:
            beside = bare[rows]
            line += [f"{beside['seconds']:.1f}", f"{cost['seconds'] / beside['seconds']:.2f}"]
            line += [f"{cost['processor'] / beside['processor']:.2f}"]
        lines.append(line)
    names = ["rows", "s", "processor s", "rows/s", "peak GB (before)", "s a row, of the smallest"]
    beside = ["bare s", "ratio", "ratio, processor"] if bare else []
    table(title, [*names, *beside], lines)
    worst = max(cost["seconds"] / rows for rows, cost in costs.items()) / (costs[smallest]["seconds"] / smallest)
    say(f"the most expensive row costs {worst:.2f} x one of the smallest log (linear: up to {STEEP})")


def options(arguments: Sequence[str], **defaults: str) -> dict[str, str]:
    """``key=value`` arguments over their defaults."""
    return defaults | dict(argument.split("=", 1) for argument in arguments)


def each_size(chosen: Mapping[str, str], script: str, kinds: Sequence[str]) -> list[dict[int, dict[str, float]]]:
    """What each kind of work costs on a log of each size, in turns; logs are removed unless ``folder`` is named."""
    costs: list[dict[int, dict[str, float]]] = [{} for _ in kinds]
    for rows in map(int, chosen["rows"].split(",")):
        folder = Path(chosen["folder"]) / f"scale_{rows}"
        write_log(folder / "run" / "logs", rows)
        for kind, of_kind in zip(kinds, costs, strict=True):
            of_kind[rows] = measured(script, kind, folder, chosen["limit"])
        for made in ("graph", "prerank"):
            shutil.rmtree(folder / "run" / made, ignore_errors=True)
    return costs
