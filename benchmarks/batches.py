"""Reading batches beside training on them: rows per second, and the share of a training step that reading takes.

    python benchmarks/batches.py [rows=2000000] [batches=100] [threads=2] [precision=32-true] [folder=/tmp]

A checked log with 12 id columns (the item's hashed id among them) is drawn with numpy and encoded, which is timed too.
Then batches of 1,024 shuffled rows are read and trained on in turn by the project's PLE with a rank head and sparse
Adagrad, so that both find the caches as the other has left them. Medians over the batches. On a busy machine waiting
threads make a step look longer than it is, which flatters reading: take the processor time of ``threads=1`` there.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F

from configs.command import Invocation, parse
from configs.console import say, table
from configs.stages import Stage, write_json
from graph.logs.log import SearchLog, catalogue_fingerprint
from prerank.encoding.batch_loader import BatchLoader
from prerank.encoding.batches import Batch
from prerank.encoding.features import encode_log
from prerank.network.pre_ranking import PreRankingNetwork

BATCH_SIZE = 1024
WARM_UP = 20
LIST_LENGTH = 25
ITEMS, QUERIES, USERS = 500_000, 100_000, 200_000
MILLISECONDS_PER_DAY = 86_400_000
DAYS = {"train": 8, "validation": 1, "test": 1}
ITEM_COLUMNS = {"brand": 5_000, "shop": 20_000, "category": 300, "colour": 40}
REQUEST_COLUMNS = {"city": 3_000, "device": 4, "channel": 12, "hour": 24, "intent": 200}
"""With user_id, query and item_id: 12 id columns, and how many values each has."""
FEATURES = [
    *(f"{{column: {name}}}" for name in ITEM_COLUMNS),
    *(f"{{column: {name}, side: request}}" for name in ("user_id", "query", *REQUEST_COLUMNS)),
    "{column: price, kind: number, side: pair}",
]


def write_log(folder: Path, rows: int) -> SearchLog:
    """A checked log of random rows: ten days of lists of 25."""
    stage = Stage(folder, {"rows": rows})
    stage.start()
    draw = np.random.default_rng(0)
    attributes = {name: draw.integers(0, size, ITEMS) for name, size in ITEM_COLUMNS.items()}
    items = pa.table({"item_id": np.arange(ITEMS) + 10_000_000, **attributes})
    pq.write_table(items, folder / "items.parquet")
    requests = max(rows // (sum(DAYS.values()) * LIST_LENGTH), 1)
    splits = {name: {"rows": days * requests * LIST_LENGTH, "requests": days * requests} for name, days in DAYS.items()}
    for day, split in enumerate(name for name, days in DAYS.items() for _ in range(days)):
        path = folder / "impressions" / f"day=2024-01-{day + 1:02d}" / "part-0.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(_day(draw, day, requests, split), path)
    tasks = {task: {"available": True, "reason": ""} for task in ("click", "order", "rank")}
    facts = {"catalogue": catalogue_fingerprint(items["item_id"]), "splits": splits, "tasks": tasks}
    write_json(folder / "log.json", facts)
    stage.finish()
    return SearchLog.open(folder)


def _day(draw: np.random.Generator, day: int, requests: int, split: str) -> pa.Table:
    request = np.repeat(np.arange(requests), LIST_LENGTH)
    count = len(request)
    moments = np.sort(draw.integers(0, MILLISECONDS_PER_DAY, requests)) + day * MILLISECONDS_PER_DAY
    context = {name: draw.integers(0, size, requests)[request] for name, size in REQUEST_COLUMNS.items()}
    return pa.table(
        {
            "request_id": request + day * requests,
            "user_id": draw.integers(0, USERS, requests)[request],
            "query": draw.integers(0, QUERIES, requests)[request],
            "item_id": draw.integers(0, ITEMS, count) + 10_000_000,
            "timestamp": pa.array((np.datetime64("2024-01-01", "ms") + moments)[request], pa.timestamp("ms", tz="UTC")),
            "stage": pa.array(["exposed"]).take(np.zeros(count, dtype=np.int64)),
            "position": np.tile(np.arange(1, LIST_LENGTH + 1, dtype=np.int32), requests),
            "rank_score": draw.random(count, np.float32),
            "clicked": draw.random(count) < 0.08,
            "ordered": draw.random(count) < 0.01,
            "price": draw.random(count, np.float32),
            "split": pa.array([split]).take(np.zeros(count, dtype=np.int64)),
            **context,
        }
    )


class Trainee:
    """PLE with a shared rank head: the heaviest of the shipped losses' networks, trained as ``prerank.fit`` does."""

    def __init__(self, invocation: Invocation, schema: Any, precision: str) -> None:
        self.network = PreRankingNetwork(schema, invocation.config.model, invocation.config.pretrain.dimension)
        self.optimiser = torch.optim.Adagrad(self.network.parameters(), lr=invocation.config.prerank.learning_rate)
        self.half = precision == "bf16-mixed"

    def step(self, batch: Batch) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            outputs = self.network(batch)
        loss = F.binary_cross_entropy_with_logits(outputs.click.float(), batch.clicked)
        loss = loss + F.binary_cross_entropy_with_logits(outputs.order.float(), batch.ordered)
        top = (batch.position <= 10).float().unsqueeze(1).expand_as(outputs.rank)
        loss = loss + F.binary_cross_entropy_with_logits(outputs.rank.float(), top)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()


def measure(loader: BatchLoader, trainee: Trainee, batches: int) -> np.ndarray:
    """Median seconds [reading or training, wall clock or processor] of a batch that is read and then trained on."""
    times = []
    iterator = iter(loader)
    for number in range(min(batches + WARM_UP, len(loader))):
        started = _now()
        batch = next(iterator)
        read = _now()
        trainee.step(batch)
        if number >= WARM_UP:
            times.append([read - started, _now() - read])
    return np.median(times, axis=0)


def _now() -> np.ndarray:
    return np.array([time.perf_counter(), time.process_time()])


def main(arguments: list[str]) -> None:
    options = {"rows": "2000000", "batches": "100", "threads": "2", "precision": "32-true"}
    options |= {"folder": tempfile.gettempdir()}
    options |= dict(argument.split("=", 1) for argument in arguments)
    torch.set_num_threads(int(options["threads"]))
    with tempfile.TemporaryDirectory(dir=options["folder"]) as folder:
        invocation = parse(
            [f"runs_folder={folder}", "run=benchmark", "model=grace", f"data.features=[{','.join(FEATURES)}]"]
        )
        log = write_log(Path(folder) / "log", int(options["rows"]))
        written = sum(split["rows"] for split in log.facts["splits"].values())
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started, processor = time.perf_counter(), time.process_time()
        encoded = encode_log(invocation, log)
        seconds, processor = time.perf_counter() - started, time.process_time() - processor
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        say(
            f"encoding: {written:,} rows in {seconds:.1f} s ({processor:.1f} s of processor time); peak resident "
            f"memory {peak / 1e6:.2f} GB, of which {before / 1e6:.2f} GB was reached before it"
        )
        split = encoded.split("train")
        trainee = Trainee(invocation, encoded.schema, options["precision"])
        times = measure(BatchLoader(split, BATCH_SIZE, seed=0), trainee, int(options["batches"]))
    table(
        f"batches of {BATCH_SIZE:,} of {split.rows:,} rows, 12 id columns, {options['precision']}, "
        f"{options['threads']} thread(s)",
        ("", "ms", "processor ms", "rows/s"),
        [
            (name, f"{1e3 * wall:.2f}", f"{1e3 * processor:.2f}", f"{BATCH_SIZE / wall:,.0f}")
            for name, (wall, processor) in zip(("reading", "training step"), times, strict=True)
        ],
    )
    wall, processor = times[0] / times[1]
    say(f"reading takes {wall:.1%} of a training step, {processor:.1%} of its processor time (to stay under: 10 %)")


if __name__ == "__main__":
    main(sys.argv[1:])
