"""The queue: what is taken is answered, in time or not at all; the rest is refused at once."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from prerank.serving.request import Request
from prerank.serving.scorer import Scorer
from tests.prerank.service.conftest import REQUEST, Client, SlowScorer, Start, until, write_bundle


@pytest.fixture
def gate() -> threading.Event:
    """Set: scores come at once; the requests that warm a bundle pass as well."""
    gate = threading.Event()
    gate.set()
    return gate


def slow(gate: threading.Event) -> Any:
    def load(folder: Path) -> Any:
        return SlowScorer(Scorer.load(folder, 1), gate)

    return load


def test_429_comes_beyond_the_queue_and_not_before(tmp_path: Path, start: Start, gate: threading.Event) -> None:
    write_bundle(tmp_path / "bundle")
    client = start(load=slow(gate), queue=3, time_limit_ms=20_000)
    queue = client.running.service.queue
    gate.clear()
    with ThreadPoolExecutor(8) as threads:
        taken = [threads.submit(client.post, "/score", REQUEST) for _ in range(3)]
        until(lambda: queue.length == 3)
        answer, content = client.raw("POST", "/score", b"{}", {"Content-Type": "application/json"})
        assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
        assert b"3 requests are waiting" in content
        assert client.get("/ready")[0] == client.get("/health")[0] == 200
        assert b"grace_queue_length 3.0" in client.raw("GET", "/metrics")[1]
        gate.set()
        assert [each.result()[0] for each in taken] == [200] * 3
        until(lambda: queue.length == 0)
        assert client.post("/score", REQUEST)[0] == 200


def test_more_work_than_can_be_done_in_time_is_not_taken(tmp_path: Path, start: Start) -> None:
    """Whatever the number of places: those that are taken are answered, and the others are told at once."""
    write_bundle(tmp_path / "bundle")

    class Sleepy(SlowScorer):
        def score(self, request: Request, logits: bool = True) -> Any:
            time.sleep(0.1)
            return self.scorer.score(request, logits)

    client = start(load=lambda folder: Sleepy(Scorer.load(folder, 1), threading.Event()), time_limit_ms=4000)
    queue = client.running.service.queue
    client.post("/score", REQUEST)
    assert queue.seconds_each > 0.009
    queue.seconds_each = 0.5
    with ThreadPoolExecutor(12) as threads:
        answers = [each.result() for each in [threads.submit(client.post, "/score", REQUEST) for _ in range(12)]]
    statuses = [status for status, _ in answers]
    assert set(statuses) == {200, 429}
    assert statuses.count(200) >= 5


def test_a_large_body_that_is_refused_ends_neither_the_answer_nor_the_connection(
    tmp_path: Path, start: Start, gate: threading.Event
) -> None:
    write_bundle(tmp_path / "bundle")
    client = start(load=slow(gate), queue=1)
    gate.clear()
    headers = {"Content-Type": "application/json"}
    with ThreadPoolExecutor(1) as threads:
        taken = threads.submit(client.post, "/score", REQUEST)
        until(lambda: client.running.service.queue.length == 1)
        connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=20)
        for _ in range(2):
            connection.request("POST", "/score", b" " * 4_000_000, headers)
            answer = connection.getresponse()
            assert answer.status == 429
            answer.read()
        gate.set()
        assert taken.result()[0] == 200
    connection.request("POST", "/score", json.dumps(REQUEST).encode(), headers)
    assert connection.getresponse().status == 200


def test_a_request_whose_time_is_up_keeps_its_place_until_it_is_done(
    tmp_path: Path, start: Start, gate: threading.Event
) -> None:
    write_bundle(tmp_path / "bundle")
    client = start(load=slow(gate), queue=2, time_limit_ms=300)
    queue = client.running.service.queue
    gate.clear()
    with ThreadPoolExecutor(2) as threads:
        answers = [each.result() for each in [threads.submit(client.post, "/score", REQUEST) for _ in range(2)]]
    by_status = {status: failure["error"] for status, failure in answers}
    assert set(by_status) == {503, 504}
    assert "turn of this request had not come after" in by_status[503]
    assert "scores were not there after" in by_status[504]
    assert queue.length == 1
    gate.set()
    until(lambda: queue.length == 0)
    assert client.post("/score", REQUEST)[0] == 200


@pytest.mark.parametrize("ends", [False, True])
def test_a_body_that_does_not_come_gives_its_place_back(tmp_path: Path, start: Start, ends: bool) -> None:
    write_bundle(tmp_path / "bundle")
    client = start(queue=1, time_limit_ms=300)
    queue = client.running.service.queue
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as connection:
        head = f"POST /score HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: 100\r\n\r\n".encode() + b"{")
        if ends:
            until(lambda: queue.length == 1)
            connection.shutdown(socket.SHUT_RDWR)
        else:
            assert connection.recv(4096).startswith(b"HTTP/1.1 408 ")
    until(lambda: queue.length == 0)
    assert client.post("/score", REQUEST)[0] == 200


def test_requests_do_not_disturb_each_other(client: Client) -> None:
    bodies = [{"candidates": {"item_id": [f"i{item}", f"i{item % 7}"]}} for item in range(50)]
    expected = [client.post("/score", body) for body in bodies]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda body: client.post("/score", body), bodies)) == expected
