"""The service's routes: what they answer, and what they refuse."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from configs.command import main
from prerank.service.bodies import ARROW
from prerank.serving.request import Request
from prerank.serving.scorer import Scorer
from prerank.web.headers import SAFE
from tests.prerank.service.conftest import REQUEST, Client, Start, write_bundle

SCORED = pytest.mark.parametrize("path", ["/score", "/top", "/explain"])


def changed(**parts: Any) -> dict[str, Any]:
    return {**REQUEST, **parts}


def stream(columns: dict[str, Any], options: pa.ipc.IpcWriteOptions | None = None, **beside: Any) -> bytes:
    table = pa.table(columns).replace_schema_metadata({name: json.dumps(value) for name, value in beside.items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=3)
    return bytes(sink.getvalue())


def test_scores_are_those_of_the_scorer(client: Client, tmp_path: Path) -> None:
    scorer = Scorer.load(tmp_path / "bundle", 1)
    expected = scorer.score(Request.of(REQUEST))
    status, scored = client.post("/score", changed(logits=True))
    assert status == 200
    for head in ("score", "click", "order"):
        assert scored[head] == [pytest.approx(float(value)) for value in getattr(expected, head)]
    assert "rank" not in scored
    assert scored["missing"] == ["candidates.place", "candidates.is_ad"]
    assert scored["unknown"] == []
    assert set(client.post("/score", REQUEST)[1]) == {"score", "unknown", "missing", "bundle"}
    status, best = client.post("/top", changed(n=2))
    assert (status, best["item_id"], best["position"]) == (200, ["i40", "i30"], [1, 3])
    assert best["score"] == [scored["score"][1], scored["score"][3]]
    status, why = client.post("/explain", changed(n=3))
    assert [each["item_id"] for each in why["candidates"]] == ["i40", "i30", "new"]
    first = why["candidates"][0]
    assert sum(head["contribution"] for head in first["heads"].values()) == pytest.approx(first["score"])
    assert first["item"]["training_clicks"] == 40
    assert scored["bundle"] == best["bundle"] == why["bundle"]


def test_a_batch_has_the_answers_of_its_requests(client: Client) -> None:
    bodies = [changed(), {"candidates": {"item_id": ["unseen", "i3"]}}]
    for path in ("/score", "/top", "/explain"):
        status, batch = client.post(f"/batch{path}", {"requests": bodies})
        assert status == 200
        assert batch["results"] == [client.post(path, body)[1] for body in bodies]
        assert [each["unknown"] for each in batch["results"]] == [[], [0]]
        assert all("request.query" in each["missing"] for each in batch["results"][1:])


def test_an_arrow_body_has_the_answer_of_json(client: Client) -> None:
    ids = [f"i{item}" for item in range(8)] + ["ünknown"]
    columns = {
        "item_id": ids,
        "price": [None, *map(float, range(1, 9))],
        "place": [None, *range(1, 9)],
        "is_ad": [True, False, None] * 3,
    }
    body = {
        "request": {"query": "x", "user_id": 3},
        "candidates": columns,
        "items": {"i3": {"size": 4}},
        "logits": True,
    }
    beside = {name: body[name] for name in ("request", "items", "logits")}
    types = {"item_id": pa.large_string(), "price": pa.float32(), "place": pa.int32(), "is_ad": pa.bool_()}
    typed = {name: pa.array(values, types[name]) for name, values in columns.items()}
    status, expected = client.post("/score", body)
    assert status == 200
    for content in (stream(columns, **beside), stream(typed, **beside)):
        assert client.post("/score", content, **{"Content-Type": ARROW}) == (200, expected)
    answer, content = client.raw("POST", "/score", stream(columns, **beside), {"Content-Type": ARROW, "Accept": ARROW})
    assert answer.headers["Content-Type"] == ARROW
    table = pa.ipc.open_stream(content).read_all()
    assert table["score"].to_pylist() == pytest.approx(expected["score"])
    assert json.loads(table.schema.metadata[b"unknown"]) == expected["unknown"] == [8]
    answer, content = client.raw("POST", "/top", stream(columns, n=3), {"Content-Type": ARROW, "Accept": ARROW})
    assert (
        pa.ipc.open_stream(content).read_all()["item_id"].to_pylist()
        == client.post("/top", {"candidates": columns, "n": 3})[1]["item_id"]
    )


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"", 400, "no stream"),
        (b"ARROW1\0\0" * 10, 400, "no stream"),
        (stream({"item_id": ["a"]})[:-40], 400, "no stream"),
        (stream({"item_id": ["a"]}, logits="x"), 422, "logits: expected"),
        (stream({"item_id": ["a"]}, candidates={"item_id": ["b"]}), 422, "candidates: expected columns"),
        (stream({"item_id": ["a"]}).replace(b"\x01\x00\x00\x00a", b"\x01\x00\x00\x00\xff"), 400, "no stream"),
        (stream({"item_id": ["a"], "price": ["dear"]}), 422, "candidates.price: expected a number"),
        (stream({"item_id": [None, "a"]}), 422, "candidates.item_id[0]: expected an item's id"),
        (stream({"item_id": pa.array([], pa.string())}), 422, "at least one candidate"),
        (stream({"item_id": ["a"], "price": pa.array([1], pa.timestamp("us"))}), 422, "expected text, int"),
        (stream({"item_id": pa.array(["a"]).dictionary_encode()}), 415, "dictionaries"),
        (stream({"item_id": ["a" * 9999]}, pa.ipc.IpcWriteOptions(compression="zstd")), 415, "compressed"),
        (stream({"item_id": ["a" * 9999]}, pa.ipc.IpcWriteOptions(compression="lz4")), 415, "compressed"),
    ],
)  # fmt: skip
def test_arrow_bodies_that_are_not_read(client: Client, content: bytes, status: int, message: str) -> None:
    found, failure = client.post("/score", content, **{"Content-Type": ARROW})
    assert found == status
    assert message in failure["error"]


def test_a_damaged_arrow_body_never_ends_the_process(client: Client) -> None:
    draw = np.random.default_rng(0)
    whole = bytearray(stream({"item_id": [f"i{k}" for k in range(20)], "price": np.arange(20.0)}, request={}))
    for _ in range(150):
        damaged = bytearray(whole)
        for place in draw.integers(0, len(whole), 3):
            damaged[place] = draw.integers(256)
        assert client.post("/score", bytes(damaged), **{"Content-Type": ARROW})[0] in (200, 400, 415, 422)


@pytest.mark.parametrize(
    ("body", "field", "value", "rule"),
    [
        (changed(request={"qery": "x"}), "request.qery", "'x'", "did you mean 'query'"),
        (changed(candidates={"item_id": ["a", 3]}), "candidates.item_id[1]", "3", "text"),
        ({"candidates": {"item_id": ["a"], "price": ["dear"]}}, "candidates.price[0]", "'dear'", "number"),
        (changed(candidates={"item_id": ["a"], "price": [1, 2]}), "candidates.price", "'2 values'", "as many"),
        (changed(candidates={"item_id": []}), "candidates.item_id", "[]", "at least one"),
        (changed(candidates={"item_id": "abc"}), "candidates.item_id", "'abc'", "an array"),
        (changed(items={"new": {"size": "big"}}), "items.new.size", "'big'", "a number"),
        (changed(n=0), "n", "0", "at least 1"),
        (changed(n=True), "n", "True", "a whole number"),
        (changed(colour="red"), "colour", "'red'", "no such name"),
        (changed(logits=True), "logits", "True", "no such name"),
        ({"request": {}}, "candidates", "{'request': {}}", "a value under this name"),
        ([], "body", "[]", "an object of the names candidates, request, items, n"),
    ],
)  # fmt: skip
def test_a_bad_request_is_told_the_field_the_value_and_the_rule(
    client: Client, body: Any, field: str, value: str, rule: str
) -> None:
    status, failure = client.post("/top", body)
    assert (status, failure["field"], failure["value"]) == (422, field, value)
    assert rule in failure["rule"]
    status, failure = client.post("/batch/top", {"requests": [changed(), body]})
    assert status == 422
    assert failure["field"] == ("requests[1]" if field == "body" else f"requests[1].{field}")


def test_bodies_that_are_no_requests(client: Client) -> None:
    for content, kind, status, message in (
        (b"{", "application/json", 400, "no JSON"),
        (b'{"candidates": {"item_id": ["\xff"]}}', "application/json", 400, "no JSON"),
        (b"[" * 100_000, "application/json", 400, "no JSON"),
        (b"{}", "text/plain", 415, "Content-Type must be application/json or"),
        (b"{}", "application/x-www-form-urlencoded", 415, "Content-Type must be"),
    ):
        found, failure = client.post("/score", content, **{"Content-Type": kind})
        assert (found, message in failure["error"]) == (status, True)
    assert client.post("/batch/score", stream({"item_id": ["a"]}), **{"Content-Type": ARROW})[0] == 415


def test_limits(tmp_path: Path, start: Start) -> None:
    write_bundle(tmp_path / "bundle")
    client = start(candidates=5, batch=2, body_bytes=2000)
    fits = {"candidates": {"item_id": ["i1"] * 5}}
    assert client.post("/score", fits)[0] == client.post("/batch/score", {"requests": [fits]})[0] == 200
    status, failure = client.post("/score", {"candidates": {"item_id": ["i1"] * 6}})
    assert (status, failure["rule"]) == (422, "at most 5 candidates")
    status, failure = client.post("/batch/score", {"requests": [fits, fits]})
    assert (status, failure["rule"]) == (422, "at most 5 candidates in all")
    one = {"candidates": {"item_id": ["i1"]}}
    assert client.post("/batch/score", {"requests": [one] * 2})[0] == 200
    status, failure = client.post("/batch/score", {"requests": [one] * 3})
    assert (status, failure["rule"]) == (422, "at most 2 requests")
    status, failure = client.post("/score", {"candidates": {"item_id": ["x" * 3000]}})
    assert status == 413
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as connection:
        head = f"POST /score HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\nContent-Type: application/json\r\n"
        connection.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + b"x" * 1024 + b"\r\n")
        connection.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_health_readiness_metrics_and_headers(client: Client) -> None:
    assert client.get("/health") == (200, {"alive": True})
    status, ready = client.get("/ready")
    assert (status, ready["ready"], ready["current"]["name"], ready["previous"]) == (200, True, "bundle", None)
    for path in ("/score", "/top", "/explain"):
        client.post(path, {"candidates": {"item_id": ["i1", "unseen"]}})
    client.post("/score", {})
    client.raw("GET", "/nowhere")
    answer, content = client.raw("GET", "/metrics")
    text = content.decode()
    for line in (
        'grace_requests_total{route="/score",status="200"} 1.0',
        'grace_requests_total{route="/score",status="422"} 1.0',
        'grace_requests_total{route="other",status="404"} 1.0',
        'grace_request_seconds_bucket{le="0.001",route="/score"}',
        "grace_unknown_items_total 3.0",
        'grace_missing_columns_total{column="request.query"} 3.0',
        'grace_candidates_bucket{le="10.0"} 3.0',
        "grace_queue_length 0.0",
        f'grace_bundle_info{{bundle="{ready["current"]["bundle"]}",name="bundle",run="demo",system="popularity"',
        'grace_bundles_total{outcome="loaded"} 1.0',
    ):
        assert line in text, line
    for name, value in SAFE.items():
        assert answer.headers[name] == value
    assert client.raw("POST", "/health")[0].status == 405
    assert client.raw("GET", "/docs")[0].status == 404


def test_an_error_a_log_line_and_an_answer_have_one_id(client: Client, capfd: pytest.CaptureFixture[str]) -> None:
    answer, content = client.raw(
        "POST", "/score", b"{}", {"Content-Type": "application/json", "X-Request-ID": "mine-1"}
    )
    assert answer.headers["X-Request-ID"] == json.loads(content)["request_id"] == "mine-1"
    client.post("/score", REQUEST)
    written = ""
    while written.count('"/score"') < 2:  # the answer is sent first
        written += capfd.readouterr().err
    lines = [json.loads(line) for line in written.splitlines()]
    refused, scored = (line for line in lines if line.get("path") == "/score")
    assert (refused["request_id"], refused["status"]) == ("mine-1", 422)
    assert "candidates" in refused["error"]
    assert (scored["status"], scored["candidates"], scored["unknown"]) == (200, 4, 0)
    assert len(scored["request_id"]) == 16


def test_a_defect_is_logged_and_not_shown(
    client: Client, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("the secret")

    monkeypatch.setattr(Scorer, "score", broken)
    status, failure = client.post("/score", REQUEST)
    assert status == 500
    assert "secret" not in failure["error"]
    written = ""
    while failure["request_id"] not in written:  # the answer is sent first
        written += capfd.readouterr().err
    (line,) = [line for line in written.splitlines() if failure["request_id"] in line]
    assert "the secret" in "".join(json.loads(line)["traceback"])


def test_only_this_machine_by_its_own_name_is_answered(client: Client) -> None:
    assert client.raw("GET", "/ready", headers={"Host": "evil.example"})[0].status == 421
    assert client.raw("GET", "/ready", headers={"Sec-Fetch-Site": "cross-site"})[0].status == 403
    assert client.raw("GET", "/ready", headers={"Host": f"localhost:{client.port}"})[0].status == 200


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this machine has no IPv6")
def test_this_machine_is_answered_by_its_address_of_version_6(tmp_path: Path, start: Start) -> None:
    write_bundle(tmp_path / "bundle")
    client = start(host="::1")
    assert client.raw("GET", "/ready", headers={"Host": f"[::1]:{client.port}"})[0].status == 200
    assert client.raw("GET", "/ready", headers={"Host": "evil.example"})[0].status == 421


def test_a_host_that_was_told_is_answered_by_any_name(tmp_path: Path, start: Start) -> None:
    write_bundle(tmp_path / "bundle")
    assert start(host="0.0.0.0").raw("GET", "/ready", headers={"Host": "service:8080"})[0].status == 200


def test_nothing_is_ready_before_the_bundle_is(tmp_path: Path, start: Start) -> None:
    write_bundle(tmp_path / "bundle")
    gate = threading.Event()

    def load(folder: Path) -> Scorer:
        gate.wait(20)
        return Scorer.load(folder, 1)

    client = start(wait=False, load=load)
    assert client.get("/health")[0] == 200
    for status, failure in (client.get("/ready"), client.post("/score", REQUEST)):
        assert status == 503
        assert "still being loaded" in failure["error"]
    gate.set()
    client.until_ready()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "bundle=FOLDER is missing"),
        (["bundle=x", "service.queue=0"], "service.queue must be from 1 to 10000, found 0"),
        (["bundle=x", "service.body_bytes=10"], "service.body_bytes must be from 1024"),
        (["bundle=x", "service.time_limit_ms=0"], "service.time_limit_ms must be from 1"),
        (["bundle=x", "service.candidates=2000000"], "service.candidates must be from 1 to 1000000"),
        (["bundle=x", "service.port=65536"], "service.port must be at least 0 and at most 65535|65535"),
        (["bundle=x", "service.host=192.0.2.1"], "192.0.2.1 is of no address of this machine"),
        (["bundle=x", "queue=3"], "did you mean 'service.queue'"),
    ],
)
def test_what_a_command_line_cannot_ask_for(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    free = [] if any("port" in argument for argument in arguments) else ["service.port=0"]
    assert main("prerank.serve", [*arguments, *free]) == 2
    errors = capsys.readouterr().err
    assert any(each in errors for each in message.split("|"))
