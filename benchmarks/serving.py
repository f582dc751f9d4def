"""What it costs to score a request of 10,000 candidates, beside what the scores are worth.

    python benchmarks/serving.py run=demo [runs_folder=runs] [rounds=40] [candidates=10000]

Fitted systems of the run are exported (those that are missing are named and left out) and asked in turns, in bursts of
five after one that is not counted, so that whatever else the machine does falls on all alike and nobody pays for the
cache that another has filled; of each the median, the 90th and the 99th percentile. *Plain* and *chunked forward* are
the training network in torch, its batch ready; *ONNX Runtime alone* is GRACE's exported network with every vector
ready; *towers, FAISS* is one inner product a candidate. Writes docs/results/tables/serving.json and
docs/pictures/serving.svg. Nothing else should run beside it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import configs  # noqa: F401  sets how OpenMP threads wait, before torch loads the library

# isort: split

import faiss
import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import torch
from growth import machine
from pictures import Curve, Panel, panels
from scale import options

from configs.command import parse
from configs.errors import InputError
from configs.stages import Run
from graph.figure import Figure
from prerank import load_system
from prerank.encoding.batches import Batch
from prerank.exporting.bundle import export_bundle
from prerank.pages.markdown import row
from prerank.pages.plot import PlotAxis
from prerank.serving.network import Network, Threads
from prerank.serving.request import Request
from prerank.serving.scorer import Scorer

DOCS = Path(__file__).parents[1] / "docs"
SYSTEMS = ("grace", "ple", "cold", "dssm", "lightgbm", "popularity")
THREADS, BURST, CHUNK, KEPT = 2, 5, 1024, 500
QUALITY = ("gauc_click", "recall_at_10")

Call = Callable[[], object]


def whole_request(bundle: Path, candidates: int) -> Request:
    """A real request whose candidates are drawn from the whole catalogue, with pair values drawn from real ones."""
    draw = np.random.default_rng(0)
    bodies = [json.loads(line)["body"] for line in (bundle / "golden.jsonl").read_text(encoding="utf-8").splitlines()]
    ids = pq.read_table(bundle / "item_attributes.parquet", columns=["item_id"])["item_id"].to_pylist()
    chosen = {"item_id": [ids[place] for place in draw.choice(len(ids), candidates, candidates > len(ids))]}
    for name in bodies[0]["candidates"]:
        if name != "item_id":
            values = [value for body in bodies for value in body["candidates"][name]]
            chosen[name] = [values[place] for place in draw.integers(0, len(values), candidates)]
    return Request(bodies[0]["request"], chosen)


def one_request(arguments: Sequence[str], candidates: int) -> tuple[torch.nn.Module, Batch]:
    """GRACE's network and a batch whose rows have one request."""
    system = load_system(parse([*arguments, "model=grace"]))
    split = system.encoded.split("test")
    batch = split.batch(np.arange(candidates, dtype=np.int64) % split.rows)
    batch.sides["request"] = batch.sides["request"].map(lambda each: each[:1].repeat(candidates, 1))
    batch.request.zero_()
    return system.fitted.module.network, batch  # type: ignore[attr-defined]


def rows_of(batch: Batch, start: int, stop: int) -> Batch:
    rows = torch.arange(start, stop)
    sides = {name: side.map(lambda each: each[rows]) for name, side in batch.sides.items()}
    columns = {name: value[start:stop] for name, value in vars(batch).items() if name != "sides"}
    return Batch(sides=sides, **columns)


def forwards(arguments: Sequence[str], candidates: int) -> dict[str, Call]:
    network, batch = one_request(arguments, candidates)
    parts = [rows_of(batch, at, min(at + CHUNK, candidates)) for at in range(0, candidates, CHUNK)]
    return {
        "GRACE, plain forward": torch.inference_mode()(lambda: network(batch)),
        f"GRACE, forward in chunks of {CHUNK:,}": torch.inference_mode()(lambda: [network(part) for part in parts]),
    }


def network_alone(bundle: Path, candidates: int) -> Call:
    draw = np.random.default_rng(0)
    network = Network((bundle / "network.onnx").read_bytes(), "network.onnx", Threads(THREADS))
    shapes = {each.name: each.shape for each in onnxruntime.InferenceSession(bundle / "network.onnx").get_inputs()}
    rows = {name: shape[0] if isinstance(shape[0], int) else candidates for name, shape in shapes.items()}
    inputs = {name: draw.normal(size=(rows[name], shape[1])).astype(np.float32) for name, shape in shapes.items()}
    return lambda: network.run(candidates, inputs)


def towers(bundle: Path, candidates: int) -> Call:
    """The best of the candidates by inner product alone, in FAISS."""
    index = faiss.read_index(str(bundle / "phi.faiss"))
    vectors = index.reconstruct_n(0, index.ntotal)[np.arange(candidates) % index.ntotal]
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    request = vectors[:1].copy()
    return lambda: flat.search(request, KEPT)


def in_turns(calls: Mapping[str, Call], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each call: median, 90th and 99th percentile of ``rounds`` bursts."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            call()
            for _ in range(BURST):
                started = time.perf_counter()
                call()
                times[name].append(1e3 * (time.perf_counter() - started))
    return {name: [float(value) for value in np.percentile(each, [50, 90, 99])] for name, each in times.items()}


def quality(run: Run, system: str) -> dict[str, Any]:
    figures = json.loads((run.system(system) / "metrics.json").read_text(encoding="utf-8"))["test"]["all"]
    return {name: figures[name] for name in QUALITY if name in figures}


def measure(arguments: Sequence[str], candidates: int, rounds: int, folder: Path) -> dict[str, Any]:
    calls: dict[str, Call] = {}
    worth: dict[str, Any] = {}
    run = parse(arguments).run
    for name in SYSTEMS:
        bundle = folder / name
        try:
            export_bundle(parse([*arguments, f"model={name}", f"export.folder={bundle}"]))
        except InputError as error:
            print(f"{name} is left out: {error}")
            continue
        scorer, request = Scorer.load(bundle, THREADS), whole_request(bundle, candidates)
        calls[f"{name}, scorer"] = lambda scorer=scorer, request=request: scorer.top(request, KEPT)  # type: ignore[misc]
        worth[name] = quality(run, name)
    if (folder / "grace").exists():
        calls |= forwards(arguments, candidates) | {
            "GRACE, ONNX Runtime alone": network_alone(folder / "grace", candidates)
        }
    if (folder / "dssm").exists():
        calls["towers, FAISS"] = towers(folder / "dssm", candidates)
    return {
        "machine": machine(),
        "candidates": candidates,
        "rounds": rounds,
        "milliseconds": in_turns(calls, rounds),
        "quality": worth,
    }


def markdown(measured: Mapping[str, Any]) -> str:
    lines = [row(["", "p50, ms", "p90", "p99"]), row(["---"] * 4)]
    for name, each in sorted(measured["milliseconds"].items(), key=lambda entry: entry[1][0]):
        lines.append(row([name, *(f"{value:.2f}" for value in each)]))
    return "\n".join(lines)


def drawn(measured: Mapping[str, Any], metric: str) -> Panel:
    """Quality, with its interval, against the p99 of a request."""
    styles = ("trivago", "simulated", "expedia", "fifth", "sixth", "reference")
    curves, lows, highs = [], [], []
    for name, style in zip(SYSTEMS, styles, strict=True):
        if metric in measured["quality"].get(name, {}):
            figure = Figure.read(measured["quality"][name][metric])
            cost = measured["milliseconds"][f"{name}, scorer"][2]
            lows.append(figure.low), highs.append(figure.high)
            curves.append(Curve(name, style, [cost], [figure.value], marks=True, spans=[(figure.low, figure.high)]))
    bottom, top = np.floor(min(lows) * 20) / 20, np.ceil(max(highs) * 20) / 20
    ticks = [(value, f"{value:.2f}") for value in np.arange(bottom, top + 0.01, 0.05)]
    x = [(value, f"{value:g}") for value in (0.5, 1, 2, 5, 10, 20, 50, 100, 200)]
    costs = [measured["milliseconds"][f"{name}, scorer"][2] for name in measured["quality"]]
    x = [tick for tick in x if min(costs) / 2.5 <= tick[0] <= max(costs) * 2.5]
    return Panel(
        metric,
        PlotAxis(x[0][0], x[-1][0], x, logarithmic=True),
        PlotAxis(float(bottom), float(top), ticks),
        f"ms for {measured['candidates']:,} candidates, p99",
        "test, 95 % interval",
        curves,
    )


def main(arguments: Sequence[str]) -> None:
    torch.set_num_threads(THREADS)
    own = options(
        [each for each in arguments if each.split("=")[0] in ("rounds", "candidates")], rounds="40", candidates="10000"
    )
    others = [each for each in arguments if each.split("=")[0] not in own]
    table = DOCS / "results" / "tables" / "serving.json"
    folder = DOCS.parent / "build" / "serving"
    measured = measure(others, int(own["candidates"]), int(own["rounds"]), folder)
    table.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    picture = DOCS / "pictures" / "serving.svg"
    asked = measured["rounds"] * BURST
    note = f"Simulated demo; {asked} requests of each in turns on two threads; p99 on a logarithmic axis."
    content = panels("Quality beside the cost of serving", [drawn(measured, metric) for metric in QUALITY], note)
    picture.write_text(content, encoding="utf-8")
    print(markdown(measured), f"\nwritten: {table}\nwritten: {picture}", sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
