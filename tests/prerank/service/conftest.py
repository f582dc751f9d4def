"""A small bundle of counts, whose scores a test can tell, and a service that runs from it."""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from configs.schema import ServiceConfig
from prerank.service.serving import Running
from prerank.serving.hashing import Texts, hash_texts
from prerank.serving.request import Request
from prerank.serving.scorer import Scorer

ITEMS = 50
COLUMNS = (
    ("brand", "item", "id", "text"),
    ("size", "item", "number", "integer"),
    ("query", "request", "text", "text"),
    ("user_id", "request", "id", "integer"),
    ("history", "request", "list", "text"),
    ("price", "pair", "number", "float"),
    ("place", "pair", "id", "integer"),
    ("is_ad", "pair", "id", "boolean"),
)
REQUEST = {
    "request": {"query": "red shoes", "user_id": 7, "history": ["i1", "i2"]},
    "candidates": {"item_id": ["i1", "i40", "new", "i30"], "price": [1.5, None, 3, 4]},
    "items": {"new": {"brand": "x", "size": 3}},
}


def write_bundle(folder: Path, clicks: int = 1, golden: int = 3) -> Path:
    """A bundle of item counts; item ``i<k>`` has 100 impressions and ``clicks * k`` clicks."""
    folder.mkdir(parents=True)
    columns = [dict(zip(("name", "side", "kind", "type"), column, strict=True)) for column in COLUMNS]
    features = {
        "format": 1,
        "system": "popularity",
        "columns": columns,
        "lengths": {"text": 16, "list": 20},
        "item_id": {"type": "text"},
        "sides": {},
        "history": None,
        "heads": ["click", "order"],
        "cutoffs": [],
    }
    (folder / "features.json").write_text(json.dumps(features))
    (folder / "fusion.json").write_text(json.dumps({"click": 1.0, "order": 0.5, "rank": 0.0}))
    hashes = hash_texts(Texts.of([f"i{item}" for item in range(ITEMS)]))
    order = np.argsort(hashes)
    items = np.arange(ITEMS, dtype=np.int32)[order]
    counts = {"clicks": clicks * items, "orders": items // 2, "impressions": np.full(ITEMS, 1000, np.int32)}
    save_file(
        {"hash": hashes[order], **{name: np.int32(values) for name, values in counts.items()}},
        folder / "items.safetensors",
    )
    (folder / "golden.jsonl").write_text("")
    seal(folder, 0)
    scorer = Scorer.load(folder, 1)
    scores = scorer.score(Request.of(REQUEST)).score.tolist()
    (folder / "golden.jsonl").write_text(
        "".join(json.dumps({"body": {**REQUEST, "n": 2}, "score": scores}) + "\n" for _ in range(golden))
    )
    seal(folder, golden)
    return folder


def seal(folder: Path, golden: int, **facts: Any) -> None:
    """Write the manifest of what lies in a folder."""
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in folder.iterdir()
        if path.name != "manifest.json"
    }
    manifest = {
        "format": 1,
        "kind": "popularity",
        "system": "popularity",
        "name": folder.name,
        "run": "demo",
        "files": files,
    }
    golden_facts = {"golden": {"requests": golden, "tolerance": 1e-5}, "written": "2026-11-28T00:00:00+00:00"}
    (folder / "manifest.json").write_text(json.dumps({**manifest, **golden_facts, **facts}))


class SlowScorer:
    """A scorer that waits before it scores, as long as it is told."""

    def __init__(self, scorer: Scorer, gate: threading.Event) -> None:
        self.scorer, self.gate = scorer, gate

    def __getattr__(self, name: str) -> Any:
        return getattr(self.scorer, name)

    def score(self, request: Request, logits: bool = True) -> Any:
        self.gate.wait(20)
        return self.scorer.score(request, logits)


@dataclass
class Client:
    """A running service, and how it is asked."""

    running: Running
    thread: threading.Thread

    @property
    def port(self) -> int:
        return self.running.server.port

    def raw(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        address = self.running.server.listener.getsockname()[0]
        connection = http.client.HTTPConnection(address, self.port, timeout=30)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer, content

    def get(self, path: str) -> tuple[int, Any]:
        answer, content = self.raw("GET", path)
        return answer.status, json.loads(content)

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer, text = self.raw("POST", path, content, {"Content-Type": "application/json", **headers})
        return answer.status, json.loads(text)

    def until_ready(self) -> None:
        until(lambda: self.get("/ready")[0] == 200)


def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    """Waits until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "never true"
        time.sleep(0.01)


Start = Callable[..., Client]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a service from ``tmp_path/bundle`` on a free port."""
    clients: list[Client] = []

    def run(wait: bool = True, load: Callable[[Path], Any] | None = None, **keys: Any) -> Client:
        config = ServiceConfig(
            **{"bundle": str(tmp_path / "bundle"), "port": 0, "poll_seconds": 0.02, "time_limit_ms": 60_000, **keys}
        )
        running = Running(config, load or (lambda folder: Scorer.load(folder, 1)))
        thread = threading.Thread(target=running.run, daemon=True)
        thread.start()
        clients.append(Client(running, thread))
        if wait:
            clients[-1].until_ready()
        return clients[-1]

    yield run
    for client in clients:
        client.running.server.stop()


@pytest.fixture
def client(tmp_path: Path, start: Start) -> Client:
    write_bundle(tmp_path / "bundle")
    return start()
