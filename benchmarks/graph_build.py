"""The graph of ten million training rows in bounded memory: rows, seconds, the limit set and the peak reached.

    python benchmarks/graph_build.py [rows=10000000] [limit=1.0] [folder=/tmp]

A checked log is drawn with numpy, a day at a time, into a temporary folder (some 0.2 GB); then the graph is built in a
process of its own, whose peak resident memory the operating system reports.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from configs.command import parse
from configs.console import say
from configs.stages import Stage, write_json
from graph.building import build_graph
from graph.logs.log import SearchLog, catalogue_fingerprint

DAYS, TRAINING_DAYS = 16, 14
LIST_LENGTH = 25
HISTORY = 5
ITEMS, QUERIES, USERS = 500_000, 100_000, 200_000
MILLISECONDS_PER_DAY = 86_400_000
FIRST_DAY = np.datetime64("2024-01-01", "ms")


def write_log(folder: Path, rows: int) -> SearchLog:
    """A checked log of ``rows`` training impressions: Zipf popularity, 8 % clicks, 1 % orders, histories of 5 items."""
    stage = Stage(folder, {"rows": rows})
    stage.start()
    draw = np.random.default_rng(0)
    items = pa.table(
        {
            "item_id": np.arange(ITEMS) + 10_000_000,
            "brand": [f"brand {value}" for value in _zipf(draw, 5_000, ITEMS)],
            "shop": [f"shop {value}" for value in _zipf(draw, 20_000, ITEMS)],
            "category": [f"category {value}" for value in _zipf(draw, 300, ITEMS)],
        }
    )
    pq.write_table(items, folder / "items.parquet")
    splits: dict[str, dict[str, Any]] = {name: {"rows": 0, "days": []} for name in ("train", "validation", "test")}
    requests = rows // (TRAINING_DAYS * LIST_LENGTH)
    for day in range(DAYS):
        split = "train" if day < TRAINING_DAYS else "validation" if day == TRAINING_DAYS else "test"
        name = str((FIRST_DAY + day * MILLISECONDS_PER_DAY).astype("datetime64[D]"))
        path = folder / "impressions" / f"day={name}" / "part-0.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(_day(draw, day, requests, split), path)
        splits[split]["rows"] += requests * LIST_LENGTH
        splits[split]["days"].append(name)
    facts = {"catalogue": catalogue_fingerprint(items["item_id"]), "splits": splits, "split_by": "day"}
    write_json(folder / "log.json", facts)
    stage.finish()
    return SearchLog.open(folder)


def _day(draw: np.random.Generator, day: int, requests: int, split: str) -> pa.Table:
    moments = np.sort(draw.integers(0, MILLISECONDS_PER_DAY, requests)) + day * MILLISECONDS_PER_DAY
    request = np.repeat(np.arange(requests), LIST_LENGTH)
    users = draw.integers(0, USERS, requests)
    queries = _zipf(draw, QUERIES, requests)
    history = np.repeat(_zipf(draw, ITEMS, requests * HISTORY).reshape(requests, HISTORY), LIST_LENGTH, axis=0)
    count = len(request)
    offsets = np.arange(0, (count + 1) * HISTORY, HISTORY, dtype=np.int32)
    # A list that holds an item twice is no valid request: items of a list are spaced apart.
    first = _zipf(draw, ITEMS, requests)[request]
    shown = (first + np.tile(np.arange(LIST_LENGTH), requests) * (ITEMS // LIST_LENGTH)) % ITEMS
    return pa.table(
        {
            "request_id": request + day * requests,
            "user_id": users[request],
            "session_id": (users + day * USERS)[request],
            "query": pa.array(queries).cast(pa.string()).take(request),
            "item_id": shown + 10_000_000,
            "timestamp": pa.array((FIRST_DAY + moments)[request], pa.timestamp("ms", tz="UTC")),
            "position": np.tile(np.arange(1, LIST_LENGTH + 1, dtype=np.int32), requests),
            "clicked": draw.random(count) < 0.08,
            "ordered": draw.random(count) < 0.01,
            "history": pa.ListArray.from_arrays(offsets, history.ravel() + 10_000_000),
            "split": pa.array([split]).take(np.zeros(count, dtype=np.int64)),
        }
    )


def _zipf(draw: np.random.Generator, kinds: int, count: int) -> Any:
    """``count`` of ``kinds`` values with a probability of about 1 / rank."""
    return (np.exp(draw.random(count) * np.log(kinds + 1)) - 1).astype(np.int64)


def build(folder: str, limit: str) -> None:
    """What the measured process does."""
    invocation = parse([f"runs_folder={folder}", "run=benchmark", f"graph.memory_limit_gb={limit}"])
    started = time.perf_counter()
    graph = build_graph(invocation, SearchLog.open(Path(folder) / "log"))
    seconds = time.perf_counter() - started
    edges = sum(graph.facts["edges"].values())
    print(json.dumps({"seconds": seconds, "nodes": graph.node_counts, "edges": edges, "rows": graph.facts["rows"]}))


def main(arguments: list[str]) -> None:
    options = {"rows": "10000000", "limit": "1.0", "folder": tempfile.gettempdir()}
    options |= dict(argument.split("=", 1) for argument in arguments)
    with tempfile.TemporaryDirectory(dir=options["folder"]) as folder:
        log = write_log(Path(folder) / "log", int(options["rows"]))
        rows = sum(split["rows"] for split in log.facts["splits"].values())
        size = sum(file.stat().st_size for file in log.folder.rglob("*.parquet"))
        say(f"log: {rows:,} rows, {size / 1e9:.2f} GB of Parquet")
        command = [sys.executable, __file__, "build", folder, options["limit"]]
        printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        facts = json.loads(printed.splitlines()[-1])
    say(f"graph: {facts['rows']:,} training rows, nodes {facts['nodes']}, {facts['edges']:,} edges")
    say(f"{facts['seconds']:.1f} s, {used.ru_utime + used.ru_stime:.1f} s of processor time, start-up included")
    say(f"DuckDB's limit {options['limit']} GB, peak resident memory {used.ru_maxrss * 1024 / 1e9:.2f} GB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["build"]:
        build(*sys.argv[2:])
    else:
        main(sys.argv[1:])
