"""Rows per second and peak memory of the simulated marketplace, at several multiples of the default world's traffic.

``python benchmarks/marketplace.py [MULTIPLE ...]`` (default: 1 3). Users grow with the requests; the catalogue stays.
Every world runs in a process of its own, because a process's peak memory never falls. Seconds of work leave out the
compilation of the kernels and are CPU seconds besides: on a busy machine only those compare.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

from configs.console import table
from configs.worlds import load_world
from graph.marketplace.simulate import simulate


def measured(multiple: int) -> tuple[int, float, float, float]:
    """Rows, wall seconds, CPU seconds and peak MB of one world."""
    world = load_world("default")
    larger = replace(world, requests_per_day=multiple * world.requests_per_day, users=multiple * world.users)
    with tempfile.TemporaryDirectory() as folder:
        simulate(load_world("tiny"), 0, Path(folder) / "compile")
        wall, cpu = time.perf_counter(), time.process_time()
        figures = simulate(larger, 0, Path(folder) / "world")
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return figures["rows"], wall, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(multiples: list[int]) -> None:
    """Measure each multiple and print one row for it."""
    rows = []
    for multiple in multiples:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            count, wall, cpu, peak = process.submit(measured, multiple).result()
        rows.append((f"x{multiple}", f"{count:,}", f"{wall:.1f}", f"{cpu:.1f}", f"{count / wall:,.0f}", f"{peak:,.0f}"))
    table("marketplace", ("traffic", "rows", "wall s", "CPU s", "rows/s", "peak MB"), rows)


if __name__ == "__main__":
    main([int(text) for text in sys.argv[1:]] or [1, 3])
