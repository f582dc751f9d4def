"""How cost grows: with the vocabulary, the batch, levels, threads, items in P and candidates, drawn for the docs.

    python benchmarks/growth.py [CURVE…]

Every curve is measured in one run in which all kinds of step take turns; one that is in the table is measured again
only where it is named. Writes docs/results/tables/growth.json and docs/pictures/growth_*.svg, and prints the tables.
Peers (``pip install -e '.[peers]'``) are in the curves where they are installed. Nothing else should run beside it.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import configs  # noqa: F401  sets how OpenMP threads wait, before torch loads the library

# isort: split

import numpy as np
import torch
from peers import installed, peer
from pictures import Curve, Panel, panels
from torch import Tensor
from training_step import BATCH, ROWS, SQUARE, Sketch, random_batch, sketch_step, system_step, timed

from prerank.encoding.batches import Batch
from prerank.pages.markdown import row
from prerank.pages.plot import PlotAxis

DOCS = Path(__file__).parents[1] / "docs"
TABLE = DOCS / "results" / "tables" / "growth.json"
ROUNDS, WARM_UP = 12, 3
COLUMN_ROWS = 20_000
PACKAGES = ("torch", "torch-rechub", "deepctr-torch")

Call = Callable[[Batch], object]


@dataclass(frozen=True)
class Growth:
    """One curve's axis.

    Attributes:
        name, x: of the panel and of its axis.
        values: at which is measured.
        rows: of the batch at a value.
        calls: what is timed at a value, by name.
        threads: at a value.
    """

    name: str
    x: str
    values: Sequence[float]
    calls: Callable[[float], dict[str, Call]]
    rows: Callable[[float], int] = lambda _: BATCH
    threads: Callable[[float], int] = lambda _: 2

    def measure(self) -> dict[str, list[list[float]]]:
        """Name → for each value its milliseconds: median, 10th and 90th percentile."""
        curves: dict[str, list[list[float]]] = {}
        for value in self.values:
            torch.set_num_threads(self.threads(value))
            calls = self.calls(value)
            batches = [random_batch(torch.Generator().manual_seed(seed), self.rows(value)) for seed in range(4)]
            times: dict[str, list[float]] = {name: [] for name in calls}
            for number in range(WARM_UP + ROUNDS):
                batch = batches[number % len(batches)]
                for name, call in calls.items():
                    duration = timed(call, batch)
                    if number >= WARM_UP:
                        times[name].append(duration)
            for name, durations in times.items():
                low, high = np.percentile(durations, [10, 90])
                curves.setdefault(name, []).append([statistics.median(durations), float(low), float(high)])
        torch.set_num_threads(2)
        return curves


def ids_of(batch: Batch, item_rows: int) -> Tensor:
    """What a peer is given: a number below its vocabulary in each column, the item's first."""
    columns = torch.cat([side.ids for side in batch.sides.values()], dim=1).remainder(COLUMN_ROWS)
    return torch.cat([batch.item_hash.remainder(item_rows).unsqueeze(1), columns], dim=1)


def peer_steps(rows: int, levels: int) -> dict[str, Call]:
    """A training step of each peer that is here."""

    def of(name: str) -> Call:
        step = peer(name, rows, COLUMN_ROWS, levels).make_step()
        return lambda batch: step(ids_of(batch, rows), torch.stack([batch.clicked, batch.ordered], dim=1))

    return {name: of(name) for name in installed()}


def own_steps(names: Sequence[str], *keys: str, share_in_p: float = 0.5) -> dict[str, Call]:
    return {name.upper(): system_step(name, keys=keys, share_in_p=share_in_p)[1] for name in names}


def forwards(_candidates: float) -> dict[str, Call]:
    """A plain forward pass, without gradients, of a request's candidates."""
    modules = {name.upper(): system_step(name)[0].eval() for name in ("ple", "grace")}
    sketch, others = Sketch(), {name: peer(name, ROWS, COLUMN_ROWS) for name in installed()}
    calls: dict[str, Call] = dict(modules)
    calls["sketch"] = lambda batch: sketch(batch.item_hash, torch.cat([s.ids for s in batch.sides.values()], dim=1))
    calls |= {
        name: lambda batch, other=other: other.probabilities(ids_of(batch, ROWS)) for name, other in others.items()
    }  # type: ignore[misc]
    return {name: torch.inference_mode()(call) for name, call in calls.items()}


def by_vocabulary(rows: float) -> dict[str, Call]:
    ours = own_steps(("ple", "grace"), f"model.item.hash_vocabulary={int(rows)}")
    # A step of theirs passes over the whole table: at ten million rows it takes seconds and says nothing new.
    theirs = peer_steps(int(rows), 1) if rows <= 3_000_000 else {}
    return {**ours, "sketch": sketch_step(int(rows)), **theirs}


GROWTHS = {
    "vocabulary": Growth(
        "rows of the hash table", "rows of 32", (30_000, 300_000, 3_000_000, 10_000_000), by_vocabulary
    ),
    "batch": Growth("rows of a batch", "rows", (64, 256, 1024, 4096), lambda _: own_steps(("ple", "grace")), int),
    "levels": Growth(
        "extraction levels",
        "levels",
        (1, 2, 3),
        lambda levels: (
            own_steps(("ple", "grace"), f"model.experts.levels={int(levels)}") | peer_steps(30_000, int(levels))
        ),
    ),
    "threads": Growth(
        "threads", "threads", (1, 2), lambda _: own_steps(("ple", "grace")), threads=lambda threads: int(threads)
    ),
    "items_in_p": Growth(
        "share of the batch's items in P",
        "share",
        (0.0, 0.25, 0.5, 1.0),
        lambda share: own_steps(("grace",), share_in_p=share),
    ),
    "candidates": Growth("candidates, forward only", "candidates", (100, 1_000, 3_000, 10_000), forwards, int),
}
PICTURES = {"training": ("vocabulary", "batch"), "network": ("levels", "threads"), "use": ("candidates", "items_in_p")}
STYLES = {
    "PLE": "simulated",
    "GRACE": "trivago",
    "sketch": "reference",
    "torch-rechub": "expedia",
    "deepctr-torch": "fifth",
}


def gemm_rate(dtype: torch.dtype) -> float:
    """GFLOP/s of a square product, the median of ten."""
    square = torch.randn(SQUARE, SQUARE).to(dtype)
    product = square @ square
    durations = []
    for _ in range(10):
        started = time.perf_counter()
        torch.mm(square, square, out=product)
        durations.append(time.perf_counter() - started)
    return 2 * SQUARE**3 / statistics.median(durations) / 1e9


def machine() -> dict[str, object]:
    """Where and with what: processor, versions, rates of a square product."""
    models = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "processor": f"{len(models)} x {models[0]}" if models else platform.processor(),
        "gflops": {
            str(dtype).removeprefix("torch."): round(gemm_rate(dtype)) for dtype in (torch.float32, torch.bfloat16)
        },
        "versions": {"python": platform.python_version(), **versions},
    }


def markdown(growth: Growth, curves: dict[str, list[list[float]]]) -> str:
    """The medians, with the 10th and 90th percentile."""
    head = [growth.x, *(f"{name}, ms" for name in curves)]
    rows = [
        [_number(value), *(_cell(points[place]) if place < len(points) else "–" for points in curves.values())]
        for place, value in enumerate(growth.values)
    ]
    return "\n".join(map(row, [head, ["---"] * len(head), *rows]))


def _number(value: float) -> str:
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def _cell(point: Sequence[float]) -> str:
    return f"{point[0]:.3g} ({point[1]:.3g}–{point[2]:.3g})"


def drawn(growth: Growth, curves: dict[str, list[list[float]]]) -> Panel:
    """A curve's panel; milliseconds are logarithmic, and so is what grows by factors."""
    points = [point for values in curves.values() for point in values]
    bottom, top = min(point[1] for point in points), max(point[2] for point in points)
    decades = [10.0**power * digit for power in range(-1, 5) for digit in (1, 2, 5)]
    ticks = [(value, f"{value:g}") for value in decades if bottom / 2.5 <= value <= top * 2.5]
    y = PlotAxis(ticks[0][0], ticks[-1][0], ticks, logarithmic=True)
    logarithmic = growth.values[0] > 3
    labels = [(float(value), _short(value)) for value in growth.values]
    x = PlotAxis(growth.values[0], growth.values[-1], labels, logarithmic=logarithmic)
    lines = [
        Curve(
            name,
            STYLES[name],
            list(growth.values[: len(at)]),
            [p[0] for p in at],
            marks=True,
            spans=[(p[1], p[2]) for p in at],
        )
        for name, at in curves.items()
    ]
    return Panel(growth.name, x, y, growth.x, "milliseconds", lines)


def _short(value: float) -> str:
    for least, size, unit in ((1_000_000, 1_000_000, " M"), (10_000, 1_000, " k")):
        if value >= least:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def main(names: Sequence[str]) -> None:
    """Measure what is named, or what is not there yet; then draw everything."""
    torch.set_num_threads(2)
    torch.sparse.check_sparse_tensor_invariants.disable()
    stored = json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {}
    for name in names or [name for name in GROWTHS if name not in stored]:
        stored[name] = {
            "machine": machine(),
            "values": list(GROWTHS[name].values),
            "milliseconds": GROWTHS[name].measure(),
        }
        TABLE.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
        print(f"\n{GROWTHS[name].name}\n\n{markdown(GROWTHS[name], stored[name]['milliseconds'])}", flush=True)
    for picture, pair in PICTURES.items():
        parts = [drawn(GROWTHS[name], stored[name]["milliseconds"]) for name in pair if name in stored]
        if parts:
            note = "Medians of 12 in turns, 10th to 90th percentile; milliseconds are on logarithmic axes."
            path = DOCS / "pictures" / f"growth_{picture}.svg"
            path.write_text(panels(f"How cost grows: {picture}", parts, note), encoding="utf-8")
            print(f"written: {path}")


if __name__ == "__main__":
    main(sys.argv[1:])
