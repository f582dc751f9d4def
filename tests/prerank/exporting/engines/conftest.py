"""A bundle written by hand whose columns, ids and values are what engines dislike."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from prerank.serving.features import encode_ids
from prerank.serving.request import Request
from prerank.serving.scorer import Scorer

IDS = [
    "plain",
    "a b/c?d#e&f=g",
    'quote " and \\ back',
    "ümläut 价",
    "colon:colon",
    "x" * 600,
    "ctrl\x01\ttab",
    "{}",
    "%41",
    "'",
]
WIDTH, LENGTH = 4, 20
FIRST_PHASE = {"direction": [0.5, -1e-7, 2.0, 1e-3], "recall": {"10": {"recall": 0.5, "chance": 0.2, "requests": 3}}}

VALUES = {
    "title": (
        pa.string(),
        ["red shoes", "", None, 'say "hi" \\ \n line', "bell\x07", "价格", "a", "b", "c", "d"],
        ("id", "text"),
    ),
    "select": (pa.string(), [f"brand {place % 3}" for place in range(10)], ("id",)),
    "position": (pa.int64(), [2**62, -1, None, *range(7)], ("id",)),
    "Position": (pa.int32(), [1] * 10, ("id",)),
    "preis €/kg": (pa.float32(), [0.1, float("nan"), float("inf"), None, 1e-30, 1e30, 1, 2, 3, 4], ("number",)),
    "价格": (pa.float64(), [0.1] * 10, ("number",)),
    "2nd": (pa.bool_(), [True, False, None] + [True] * 7, ("id",)),
    "tags": (pa.list_(pa.string()), [["a", None, "b"], [], None, [None], ["ü"]] + [["x"]] * 5, ("list",)),
    "flags": (pa.list_(pa.bool_()), [[True, False]] * 10, ("list",)),
    "sizes": (pa.list_(pa.int32(), 2), [[1, 2], None, *[[3, None]] * 8], ("list",)),
    "seen": (
        pa.timestamp("us", tz="UTC"),
        [datetime(2024, 1, 31, 10, 0, 0, 5, tzinfo=UTC), None] + [datetime(1969, 1, 1, tzinfo=UTC)] * 8,
        ("id",),
    ),
    "listed": (pa.date32(), [date(2024, 2, 29), None] + [date(1970, 1, 2)] * 8, ("id",)),
    "cost": (pa.decimal128(9, 2), [Decimal("1.25"), None] + [Decimal("0.10")] * 8, ("number",)),
    "huge": (pa.uint64(), [2**64 - 1, None] + [1] * 8, ("id",)),
    "kind": (pa.dictionary(pa.int8(), pa.string()), ["new", None] + ["old"] * 8, ("id",)),
    "item_vector": (pa.string(), ["mine"] * 10, ("id",)),
    "blob": (pa.binary(), [b"\x00\xff", None] + [b"x"] * 8, ("id",)),
    "price": (pa.float32(), [float(place) for place in range(10)], ("number",)),
}
"""Column of the items → Arrow type, values of the ids, kinds."""


@pytest.fixture(scope="session")
def odd_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Items with odd columns and ids, a request side, a pair side, and a history that is attended to."""
    return write_bundle(tmp_path_factory.mktemp("odd") / "bundle")


@pytest.fixture
def bundle_of(tmp_path: Path) -> Callable[..., Path]:
    """Writes a bundle of the test's own."""

    def make(**options: Any) -> Path:
        return write_bundle(tmp_path / "bundle", **options)

    return make


def write_bundle(
    folder: Path,
    ids: list[Any] = IDS,
    heads: tuple[str, ...] = ("click", "order", "rank"),
    columns: tuple[str, ...] = tuple(VALUES),
    kind: str = "network",
    sides: tuple[str, ...] = ("item", "request", "pair", "history"),
    opset: int = 18,
) -> Path:
    """A bundle whose golden scores are the runtime's."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    type_ = "text" if isinstance(ids[0], str) else "integer"
    hashes = encode_ids(ids, type_, lambda row: str(row))
    order = np.argsort(hashes)
    vectors = draw.normal(size=(len(ids), WIDTH)).astype(np.float32)
    zeros = np.zeros(len(ids), np.int32)
    arrays = {"vectors": vectors, "hash": hashes[order], "impressions": zeros, "clicks": zeros, "orders": zeros}
    save_file(arrays, folder / "items.safetensors")
    save_file(_tables(draw), folder / "tables.safetensors")
    table = {"item_id": pa.array([ids[place] for place in order], pa.uint64() if ids[0] == 2**64 - 1 else None)}
    for name in columns:
        arrow, values, _ = VALUES[name]
        table[name] = pa.array([values[place % len(values)] for place in order], arrow)
    pq.write_table(pa.table(table), folder / "item_attributes.parquet")
    (folder / "network.onnx").write_bytes(_network(draw, heads, sides, opset))
    (folder / "features.json").write_text(json.dumps(_features(type_, heads, columns, sides)))
    (folder / "fusion.json").write_text(json.dumps({"click": 1.0, "order": 0.25, "rank": 1e-7}))
    (folder / "golden.jsonl").write_text("")
    write_manifest(folder, kind)
    scorer, lines = Scorer.load(folder, threads=1, verify=False), []
    for number in range(3):
        asked = ids[number:] or ids
        request = {"query": f"shoes {number}", "age": number or None, "history": ids[:number]}
        candidates: dict[str, Any] = {"item_id": asked}
        if "pair" in sides:
            prices, offers = [1.5, None, 0.1, *[9.0] * len(asked)], ["a", "b", None, *["c"] * len(asked)]
            candidates |= {"price": prices[: len(asked)], "offer": offers[: len(asked)]}
        scores = scorer.score(Request(request, candidates)).score.tolist()
        lines.append({"body": {"request": request, "candidates": candidates, "n": 3}, "score": scores})
    (folder / "golden.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_manifest(folder, kind)
    return folder


def write_manifest(folder: Path, kind: str) -> None:
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in sorted(folder.iterdir())
        if path.name != "manifest.json"
    }
    said = {"format": 1, "kind": kind, "golden": {"requests": 3, "tolerance": 1e-5}, "files": files}
    (folder / "manifest.json").write_text(json.dumps(said))


def _tables(draw: np.random.Generator) -> dict[str, np.ndarray]:
    tables = {name: draw.normal(size=(50, 2)).astype(np.float32) for name in ("query", "age", "offer", "hash_id")}
    tables["price"] = draw.normal(size=(3, 2)).astype(np.float32)
    statistics = {"mean": [0.25], "scale": [1.5], "edges": [[0.5]]}
    return tables | {name: np.array(values, np.float32) for name, values in statistics.items()}


def _features(type_: str, heads: tuple[str, ...], columns: tuple[str, ...], sides: tuple[str, ...]) -> dict[str, Any]:
    def ids(name: str) -> dict[str, Any]:
        return {"kind": "columns", "table": name, "columns": [{"column": name, "offset": 0, "rows": 50}]}

    numbers = {
        "kind": "numbers",
        "mean": "mean",
        "scale": "scale",
        "edges": "edges",
        "buckets": 3,
        "columns": ["price"],
    }
    parts = {"item": [], "request": [ids("query"), ids("age")], "pair": [ids("offer"), numbers | {"table": "price"}]}
    widths = {"item": WIDTH, "request": 4, "pair": 5}
    described = {
        side: {"width": widths[side], "parts": parts[side] if side in sides else [], "network": None}
        | {"output": widths[side] if side in sides else 0}
        for side in ("item", "request", "pair")
    }
    history = {
        "columns": ["history"],
        "length": LENGTH,
        "table": "hash_id",
        "hashing": "single",
        "counts": [50],
        "starts": [0],
    }
    return {
        "format": 1,
        "system": "odd",
        "columns": [
            {"name": name, "side": "item", "kind": kind, "type": "float" if kind == "number" else "text"}
            for name in columns
            for kind in VALUES[name][2]
        ]
        + [
            {"name": "query", "side": "request", "kind": "id", "type": "text"},
            {"name": "age", "side": "request", "kind": "id", "type": "integer"},
            {"name": "history", "side": "request", "kind": "list", "type": type_},
            {"name": "price", "side": "pair", "kind": "number", "type": "float32"},
            {"name": "offer", "side": "pair", "kind": "id", "type": "text"},
        ],
        "lengths": {"text": 16, "list": LENGTH},
        "item_id": {"type": type_},
        "sides": described,
        "history": history if "history" in sides else None,
        "heads": list(heads),
        "cutoffs": [5, 10],
    }


def _network(draw: np.random.Generator, heads: tuple[str, ...], sides: tuple[str, ...], opset: int) -> bytes:
    """Inputs side by side through one layer; the history as the sum of what is present."""
    node, float_ = helper.make_node, TensorProto.FLOAT
    shapes = {"item": ["n", WIDTH], "request": [1, 4], "pair": ["n", 5], "history": [LENGTH, 2], "present": [LENGTH]}
    names = [name for name in shapes if name in sides or (name == "present" and "history" in sides)]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.BOOL if name == "present" else float_, shapes[name])
        for name in names
    ]
    columns = sum({"click": 1, "order": 1, "rank": 2}[head] for head in heads)
    weights = {
        name: draw.normal(size=(shapes[name][-1], columns)).astype(np.float32) for name in names if name != "present"
    }
    constants = [numpy_helper.from_array(values, f"of_{name}") for name, values in weights.items()]
    sizes = [2 if head == "rank" else 1 for head in heads]
    constants += [
        numpy_helper.from_array(np.array(values, np.int64), name)
        for name, values in (("sizes", sizes), ("last", [1]), ("first", [0]))
    ]
    nodes = [
        node("MatMul", [name, f"of_{name}"], [f"{name}_share"]) for name in names if name in ("item", "request", "pair")
    ]
    if "history" in sides:
        nodes += [
            node("Cast", ["present"], ["mask"], to=float_),
            node("Unsqueeze", ["mask", "first"], ["row"]),
            node("MatMul", ["row", "history"], ["pooled"]),
            node("MatMul", ["pooled", "of_history"], ["history_share"]),
        ]
    shares = [f"{name}_share" for name in names if name != "present"]
    nodes.append(node("Sum", shares, ["logits"]))
    nodes.append(
        node("Split", ["logits", "sizes"], ["rank" if head == "rank" else f"{head}_column" for head in heads], axis=1)
    )
    nodes += [node("Squeeze", [f"{head}_column", "last"], [head]) for head in heads if head != "rank"]
    outputs = [helper.make_tensor_value_info(head, float_, ["n", 2] if head == "rank" else ["n"]) for head in heads]
    model = helper.make_model(
        helper.make_graph(nodes, "score", inputs, outputs, constants),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=10,
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
