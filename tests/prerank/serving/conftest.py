"""A small bundle written by hand, and its scores by loops over rows: what the runtime is held against."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from graph.hashing import hash_ngrams, hash_values

HASHES, ROWS, WIDTH, PHI, CUTOFFS = 500, 50, 4, 8, 2
EDGES = [-0.5, 0.0, 0.7]
COLUMNS = [
    {"name": "brand", "side": "item", "kind": "id", "type": "text"},
    {"name": "title", "side": "item", "kind": "text", "type": "text"},
    {"name": "weight", "side": "item", "kind": "number", "type": "float"},
    {"name": "query", "side": "request", "kind": "id", "type": "text"},
    {"name": "query", "side": "request", "kind": "text", "type": "text"},
    {"name": "age", "side": "request", "kind": "id", "type": "integer"},
    {"name": "history", "side": "request", "kind": "list", "type": "text"},
    {"name": "price", "side": "pair", "kind": "number", "type": "float"},
    {"name": "offer", "side": "pair", "kind": "id", "type": "text"},
]
WEIGHTS = {"click": 1.0, "order": 0.5, "rank": 0.25}


def _hash(value: object) -> int:
    return int(hash_values(pa.array([value]))[0])


@dataclass
class HandBundle:
    """A bundle on disk and the weights behind it.

    Attributes:
        folder: of the bundle.
        weights: every table and layer by name, float64.
        items: id → attributes, of the catalogue.
    """

    folder: Path
    weights: dict[str, np.ndarray]
    items: dict[str, dict[str, Any]]

    def score(self, request: Mapping[str, Any], candidate: Mapping[str, Any], item: Mapping[str, Any] | None) -> float:
        """One candidate's score, in float64; ``item`` stands in the place of the catalogue's attributes."""
        heads = self.heads(request, candidate, item)
        return sum(WEIGHTS[head] * float(np.mean(heads[head])) for head in heads)

    def heads(
        self, request: Mapping[str, Any], candidate: Mapping[str, Any], item: Mapping[str, Any] | None
    ) -> dict[str, np.ndarray]:
        """The logits."""
        weights = self.weights
        attributes = self.items.get(candidate["item_id"], {}) if item is None else item
        item_row = np.concatenate(
            [
                self._row("brand", attributes.get("brand")),
                self._words("title", attributes.get("title")),
                weights["hash_id"][_hash(candidate["item_id"]) % HASHES],
                self._number("weight", attributes.get("weight")),
            ]
        )
        phi = np.maximum(item_row @ weights["phi"], 0)
        earlier = [weights["hash_id"][_hash(each) % HASHES] for each in (request.get("history") or [])[:20]]
        request_row = np.concatenate(
            [
                self._row("query", request.get("query")),
                self._row("age", request.get("age")),
                self._words("query_words", request.get("query")),
                np.mean(earlier, axis=0) if earlier else np.zeros(WIDTH),
            ]
        )
        pair_row = np.concatenate(
            [self._row("offer", candidate.get("offer")), self._number("price", candidate.get("price"))]
        )
        hidden = np.concatenate([phi, pair_row]) @ weights["of_rows"] + request_row @ weights["of_request"]
        logits = np.maximum(hidden, 0) @ weights["heads"]
        return {"click": logits[0], "order": logits[1], "rank": logits[2:]}

    def _row(self, table: str, value: object) -> np.ndarray:
        row: np.ndarray = self.weights[table][_hash(value) % ROWS]
        return row

    def _words(self, table: str, text: str | None) -> np.ndarray:
        hashes = [each for each in hash_ngrams(pa.array([text], pa.string()), 16)[0] if each]
        rows = [self.weights[table][each % ROWS] for each in hashes]
        return np.mean(rows, axis=0) if rows else np.zeros(WIDTH)

    def _number(self, name: str, value: float | None) -> np.ndarray:
        if value is None:
            return np.concatenate([[0.0], self.weights[name][0]])
        bucket = 1 + sum(value >= edge for edge in EDGES)
        return np.concatenate([[np.clip((value - 0.25) / 1.5, -5, 5)], self.weights[name][bucket]])


def write_hand_bundle(folder: Path, n_items: int = 300, precision: str = "fp32", seed: int = 0) -> HandBundle:
    """Write a bundle of a small network over columns of every kind."""
    draw = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    tables = dict.fromkeys(("brand", "title", "query", "age", "query_words", "offer"), (ROWS, WIDTH))
    tables |= {"hash_id": (HASHES, WIDTH), "weight": (len(EDGES) + 2, WIDTH), "price": (len(EDGES) + 2, WIDTH)}
    layers = {
        "phi": (4 * WIDTH + 1, PHI),
        "of_rows": (PHI + 2 * WIDTH + 1, 24),
        "of_request": (4 * WIDTH, 24),
        "heads": (24, 2 + CUTOFFS),
    }
    stored: dict[str, np.ndarray] = {}
    weights = {name: draw.normal(size=shape).astype(np.float32) for name, shape in (tables | layers).items()}
    for name, (inputs, _) in layers.items():
        weights[name] /= np.float32(inputs**0.5)
    for name in tables:
        stored |= _stored(name, weights[name], precision)
        weights[name] = _restored(stored, name)
    statistics = {"mean": [0.25], "scale": [1.5], "edges": [EDGES]}
    stored |= {name: np.array(values, np.float32) for name, values in statistics.items()}
    hand = HandBundle(folder, {name: each.astype(np.float64) for name, each in weights.items()}, {})
    for number in range(n_items):
        hand.items[f"item {number}"] = {
            "brand": f"brand {number % 7}",
            "title": None if number % 11 == 0 else f"Shoe {number} for Ärger {number % 5}",
            "weight": None if number % 13 == 0 else float(draw.normal()),
        }
    save_file(stored, folder / "tables.safetensors")
    _write_items(hand, precision, draw)
    _write_networks(folder, weights)
    (folder / "features.json").write_text(json.dumps(_features()))
    (folder / "fusion.json").write_text(json.dumps(WEIGHTS | {"objective": 0.7, "chosen_by": ["click"]}))
    write_golden(hand)
    write_manifest(folder)
    return hand


def write_golden(hand: HandBundle) -> None:
    lines = []
    for number in range(3):
        request = {"query": f"shoes {number}", "history": ["item 1", "item 999"], "age": number or None}
        ids = [f"item {number + step}" for step in range(5)]
        candidates = {"item_id": ids, "price": [0.1, None, 2.0, -9.0, 0.7], "offer": [None, "a", "b", "c", "a"]}
        rows = [dict(zip(candidates, row, strict=True)) for row in zip(*candidates.values(), strict=True)]
        score = [hand.score(request, row, None) for row in rows]
        lines.append({"body": {"request": request, "candidates": candidates, "n": 3}, "score": score})
    (hand.folder / "golden.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_manifest(folder: Path, **said: Any) -> None:
    """Name every file of the folder."""
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in sorted(folder.iterdir())
        if path.name != "manifest.json"
    }
    manifest = {
        "format": 1,
        "kind": "network",
        "golden": {"requests": 3, "tolerance": 1e-5},
        "segments": {"tail_most": 3, "head_least": 40},
        "files": files,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest | said))


def _features() -> dict[str, Any]:
    numbers = {"kind": "numbers", "mean": "mean", "scale": "scale", "edges": "edges", "buckets": len(EDGES) + 2}
    hash_id = {"kind": "hash_id", "table": "hash_id", "hashing": "single", "counts": [HASHES], "starts": [0]}

    def ids(name: str) -> dict[str, Any]:
        return {"kind": "columns", "table": name, "columns": [{"column": name, "offset": 0, "rows": ROWS}]}

    def words(name: str, table: str) -> dict[str, Any]:
        return {"kind": "list", "table": table, "column": name, "offset": 0, "rows": ROWS}

    item = [
        ids("brand"),
        words("title", "title"),
        hash_id | {"column": None, "list": False, "projection": None},
        numbers | {"table": "weight", "columns": ["weight"]},
    ]
    request = [
        ids("query"),
        ids("age"),
        words("query", "query_words"),
        hash_id | {"column": "history", "list": True, "projection": None},
    ]
    pair = [ids("offer"), numbers | {"table": "price", "columns": ["price"]}]
    return {
        "format": 1,
        "system": "hand",
        "columns": COLUMNS,
        "lengths": {"text": 16, "list": 20},
        "item_id": {"type": "text"},
        "sides": {
            "item": {"width": 4 * WIDTH + 1, "parts": item, "network": "item.onnx", "output": PHI},
            "request": {"width": 4 * WIDTH, "parts": request, "network": None, "output": 4 * WIDTH},
            "pair": {"width": 2 * WIDTH + 1, "parts": pair, "network": None, "output": 2 * WIDTH + 1},
        },
        "history": None,
        "heads": ["click", "order", "rank"],
        "cutoffs": [5, 10],
    }


def _write_items(hand: HandBundle, precision: str, draw: np.random.Generator) -> None:
    ids = sorted(hand.items, key=_hash)
    vectors = []
    for each in ids:
        attributes = hand.items[each]
        row = np.concatenate(
            [
                hand._row("brand", attributes["brand"]),
                hand._words("title", attributes["title"]),
                hand.weights["hash_id"][_hash(each) % HASHES],
                hand._number("weight", attributes["weight"]),
            ]
        )
        vectors.append(np.maximum(row @ hand.weights["phi"], 0))
    impressions = draw.integers(0, 60, len(ids)).astype(np.int32)
    arrays = {
        **_stored("vectors", np.array(vectors, np.float32).reshape(len(ids), PHI), precision),
        "hash": np.array([_hash(each) for each in ids], np.int64),
        "impressions": impressions,
        "clicks": impressions // 3,
        "orders": impressions // 9,
        "in_p": (impressions > 20).astype(np.uint8),
    }
    save_file(arrays, hand.folder / "items.safetensors")


def _write_networks(folder: Path, weights: Mapping[str, np.ndarray]) -> None:
    def model(
        name: str, nodes: list[Any], inputs: dict[str, list[Any]], outputs: dict[str, list[Any]], *used: str
    ) -> None:
        def values(shapes: Mapping[str, list[Any]]) -> list[Any]:
            return [helper.make_tensor_value_info(each, TensorProto.FLOAT, shape) for each, shape in shapes.items()]

        constants = [numpy_helper.from_array(weights[each], each) for each in used]
        constants.append(numpy_helper.from_array(np.array([1, 1, CUTOFFS], np.int64), "sizes"))
        constants.append(numpy_helper.from_array(np.array([1], np.int64), "last"))
        graph = helper.make_graph(nodes, name, values(inputs), values(outputs), constants)
        network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        onnx.checker.check_model(network)
        (folder / f"{name}.onnx").write_bytes(network.SerializeToString())

    node = helper.make_node
    model(
        "item",
        [node("MatMul", ["item", "phi"], ["product"]), node("Relu", ["product"], ["output"])],
        {"item": ["n", 4 * WIDTH + 1]},
        {"output": ["n", PHI]},
        "phi",
    )
    model(
        "network",
        [
            node("Concat", ["item", "pair"], ["rows"], axis=1),
            node("MatMul", ["request", "of_request"], ["share"]),
            node("Gemm", ["rows", "of_rows", "share"], ["first"]),
            node("Relu", ["first"], ["hidden"]),
            node("MatMul", ["hidden", "heads"], ["logits"]),
            node("Split", ["logits", "sizes"], ["click_column", "order_column", "rank"], axis=1),
            node("Squeeze", ["click_column", "last"], ["click"]),
            node("Squeeze", ["order_column", "last"], ["order"]),
        ],
        {"item": ["n", PHI], "request": [1, 4 * WIDTH], "pair": ["n", 2 * WIDTH + 1]},
        {"click": ["n"], "order": ["n"], "rank": ["n", CUTOFFS]},
        "of_rows",
        "of_request",
        "heads",
    )


def _stored(name: str, table: np.ndarray, precision: str) -> dict[str, np.ndarray]:
    if precision == "fp16":
        return {name: table.astype(np.float16)}
    if precision == "fp32":
        return {name: table}
    scale = np.maximum(np.abs(table).max(axis=1, initial=0), 1e-9).astype(np.float32) / 127
    return {name: np.rint(table / scale[:, None]).astype(np.int8), f"{name}.scale": scale}


def _restored(stored: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    values = stored[name].astype(np.float32)
    return values * stored[f"{name}.scale"][:, None] if f"{name}.scale" in stored else values


@pytest.fixture(scope="session", autouse=True)
def short_chunks() -> Iterator[None]:
    """Chunks as of a large network, so that a few hundred rows are several of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("prerank.serving.network.LIGHT_BYTES", 0)
        yield


@pytest.fixture(scope="session")
def hand_bundle(tmp_path_factory: pytest.TempPathFactory) -> HandBundle:
    """A bundle of 300 items in float32; tests that change it write one of their own."""
    return write_hand_bundle(tmp_path_factory.mktemp("hand") / "bundle")


@pytest.fixture
def write_bundle(tmp_path: Path) -> Callable[..., HandBundle]:
    """Writes a bundle of the test's own."""

    def write(**options: Any) -> HandBundle:
        return write_hand_bundle(tmp_path / "bundle", **options)

    return write
