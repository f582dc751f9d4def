"""Reading batches beside training on them: rows per second, and the share of a training step that reading takes.

    python benchmarks/batches.py [rows=1600000] [batches=60] [threads=2] [precision=32-true] [model=grace] [folder=/tmp]

The log is that of ``training.py``: 12 id columns, one of them hashed to 3,000,000 rows. Batches of 1,024 shuffled rows
are read and trained on in turn, so that both find the caches as the other has left them. Medians over the batches. On a
busy machine waiting threads make a step look longer than it is, which flatters reading: take the processor time of
``threads=1`` there.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import configs  # noqa: F401  sets how OpenMP threads wait, before torch loads the library

# isort: split

import numpy as np
import torch
from scale import options
from training import BATCH, open_work, write_encoded
from training_step import Step, make_step

from configs.console import say, table
from prerank import systems
from prerank.encoding.batch_loader import BatchLoader

WARM_UP = 20


def measure(loader: BatchLoader, step: Step, batches: int, half: bool) -> np.ndarray:
    """Median seconds [reading or training, wall clock or processor] of a batch that is read and then trained on."""
    times = []
    iterator = iter(loader)
    for number in range(min(batches + WARM_UP, len(loader))):
        started = _now()
        batch = next(iterator)
        read = _now()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            step(batch)
        if number >= WARM_UP:
            times.append([read - started, _now() - read])
    return np.median(times, axis=0)


def _now() -> np.ndarray:
    return np.array([time.perf_counter(), time.process_time()])


def main(arguments: list[str]) -> None:
    chosen = options(
        arguments, rows="1600000", batches="60", threads="2", precision="32-true", model="grace", folder=""
    )
    torch.set_num_threads(int(chosen["threads"]))
    with tempfile.TemporaryDirectory(dir=chosen["folder"] or None) as folder:
        write_encoded(Path(folder) / "encoded", int(chosen["rows"]))
        work = open_work(chosen["model"], Path(folder) / "encoded", Path(folder))
        module: Any = systems.find(work.config.model)(work)  # type: ignore[operator]
        module._trainer = SimpleNamespace(is_last_batch=False, global_step=0)
        split = work.encoded.split("train")
        half = chosen["precision"] == "bf16-mixed"
        times = measure(BatchLoader(split, BATCH, seed=0), make_step(module), int(chosen["batches"]), half)
    table(
        f"batches of {BATCH:,} of {split.rows:,} rows, 12 id columns, {chosen['precision']}, "
        f"{chosen['threads']} thread(s)",
        ("", "ms", "processor ms", "rows/s"),
        [
            (name, f"{1e3 * wall:.2f}", f"{1e3 * processor:.2f}", f"{BATCH / wall:,.0f}")
            for name, (wall, processor) in zip(("reading", f"{chosen['model']}'s training step"), times, strict=True)
        ],
    )
    wall, processor = times[0] / times[1]
    say(f"reading takes {wall:.1%} of a training step, {processor:.1%} of its processor time (to stay under: 10 %)")


if __name__ == "__main__":
    main(sys.argv[1:])
