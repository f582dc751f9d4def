"""Seconds and peak memory of the audit of two embedding tables, against the bare FAISS searches that it needs.

``python benchmarks/audit.py [ITEMS] [DIMENSION]`` (default: 1,000,000 32). Two tables of clustered vectors, the second
the first with noise, and their items with category and brand, are written to a temporary folder. Bare: exact indexes of
both tables and of both centred, searched, with the vectors in memory already. Audit: ``index.audit`` from the files to
``audit.json``, without the page. Each runs in a process of its own, because a process's peak memory never falls. The
ratio of their seconds must be at most 1.5; seconds of CPU stand beside, since on a busy machine only those compare.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from configs.command import Invocation, parse
from configs.console import say, table
from index.audit import auditing as audit_module
from index.audit.tables import open_tables, subject_of_tables
from index.measures import ann
from index.measures import suite as measures
from pretrain.embeddings import EmbeddingTable

MOST = 1.5
"""Audit over bare searches."""
CATEGORIES, BRANDS = 300, 5000
ROWS_AT_ONCE = 100_000


def write_tables(folder: Path, items: int, dimension: int) -> None:
    """Tables ``a`` and ``b`` and ``items.parquet``, a few rows at a time."""
    random = np.random.default_rng(0)
    category, brand = random.integers(0, CATEGORIES, items), random.zipf(1.3, items) % BRANDS
    centres = random.normal(size=(CATEGORIES, dimension)).astype(np.float32)
    first, second = (np.empty((items, dimension), dtype=np.float32) for _ in range(2))
    for start in range(0, items, ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        noise = random.normal(size=(2, len(category[part]), dimension)).astype(np.float32)
        first[part] = centres[category[part]] + noise[0]
        second[part] = first[part] + noise[1]
    ids = pa.array(np.arange(items))
    EmbeddingTable(ids, first, "benchmark", "a").save(folder / "a")
    EmbeddingTable(ids, second, "benchmark", "b").save(folder / "b")
    columns = {"category": category, "brand": brand}
    names = {name: pa.array(codes).cast(pa.string()).dictionary_encode() for name, codes in columns.items()}
    pq.write_table(pa.table({"item_id": ids, **names}), folder / "items.parquet")


def request_for(folder: str) -> Invocation:
    """What the command line would ask for."""
    tables = [f"index.{name}={folder}/{name}" for name in ("a", "b")]
    return parse(
        [*tables, f"index.items={folder}/items.parquet", f"index.output={folder}/out", f"runs_folder={folder}"]
    )


def bare(folder: str) -> Callable[[], None]:
    """The exact searches alone."""
    config = request_for(folder).config
    subject = subject_of_tables(open_tables(config), config)
    rows = subject.queries

    def search() -> None:
        for units in (subject.psi, subject.phi, subject.psi_centred, subject.phi_centred):
            ann.on_fastest(ann.exact_index(units)).search(units[rows], subject.widest + 1)

    return search


def whole(folder: str) -> Callable[[], None]:
    """The audit, without the page; says how long each group of figures took."""
    for module, name in (
        (measures, "find_neighbours"),
        (measures, "overlap_figures"),
        (measures, "purity_figures"),
        (measures, "geometry_figures"),
        (measures, "popularity_rows"),
        (measures, "occurrence_rows"),
        (audit_module, "approximate_figures"),
    ):
        setattr(module, name, _timed(getattr(module, name)))
    audit_module.__dict__["browser_content"] = lambda *_: {}
    audit_module.__dict__["write_report"] = lambda *_: "not written here"

    def audit() -> None:
        audit_module.audit(request_for(folder))

    return audit


def measured(prepare: Callable[[str], Callable[[], None]], folder: str) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak MB of one piece of work."""
    work = prepare(folder)
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return wall, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(items: int = 1_000_000, dimension: int = 32) -> int:
    """Measure both; exit status 1 if the audit takes more than ``MOST`` times the bare searches."""
    with tempfile.TemporaryDirectory() as folder:
        write_tables(Path(folder), items, dimension)
        measurements = {}
        for work in (bare, whole):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                measurements[work.__name__] = process.submit(measured, work, folder).result()
    rows = [
        (name, f"{wall:.1f}", f"{cpu:.1f}", f"{peak:,.0f}", f"{wall / measurements['bare'][0]:.2f}")
        for name, (wall, cpu, peak) in measurements.items()
    ]
    table(f"audit of two tables of {items:,} x {dimension}", ("", "wall s", "CPU s", "peak MB", "ratio"), rows)
    return 0 if measurements["whole"][0] <= MOST * measurements["bare"][0] else 1


def _timed(function: Callable[..., object]) -> Callable[..., object]:
    def call(*arguments: object) -> object:
        wall, cpu = time.perf_counter(), time.process_time()
        result = function(*arguments)
        say(f"{function.__name__}: {time.perf_counter() - wall:.1f} s, CPU {time.process_time() - cpu:.1f} s")
        return result

    return call


if __name__ == "__main__":
    sys.exit(main(*(int(text) for text in sys.argv[1:])))
