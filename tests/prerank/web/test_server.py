"""What the servers share: patience, limits, ids, log lines, and the end."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from configs.errors import InputError
from prerank.web import server as server_module
from prerank.web.errors import AnswerError, ErrorAnswers
from prerank.web.headers import SAFE, SafeHeaders
from prerank.web.logs import RequestLog
from prerank.web.server import Server, listen

Started = tuple[Server, threading.Thread]


def hello(request: Request) -> Response:
    request.state.facts["candidates"] = 3
    return PlainTextResponse("hello", headers={"Cache-Control": "max-age=1"})


def slow(_request: Request) -> Response:
    time.sleep(0.5)
    return PlainTextResponse("at last")


def refused(_request: Request) -> Response:
    raise AnswerError(418, "no coffee", {"Retry-After": "1"})


def broken(_request: Request) -> Response:
    raise ValueError("a defect")


def failure(_request: Request, error: Exception) -> Response:
    if isinstance(error, AnswerError):
        return PlainTextResponse(error.reason, error.status, error.headers)
    return PlainTextResponse("defect", 500)


APPLICATION = Starlette(
    routes=[Route(f"/{answer.__name__}", answer) for answer in (hello, slow, refused, broken)],
    middleware=[Middleware(RequestLog), Middleware(SafeHeaders), Middleware(ErrorAnswers, answer=failure)],
)


@pytest.fixture(params=[H11Protocol, HttpToolsProtocol])
def start(request: pytest.FixtureRequest) -> Iterator[Callable[..., Started]]:
    started: list[Started] = []

    def run(**options: Any) -> Started:
        server = Server(APPLICATION, listen("127.0.0.1", 0, "serve"), request.param, lifespan="off", **options)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        started.append((server, thread))
        return started[-1]

    yield run
    for server, _ in started:
        server.stop()


def get(server: Server, path: str, headers: dict[str, str] | None = None) -> tuple[http.client.HTTPResponse, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", path, headers=headers or {})
    answer = connection.getresponse()
    return answer, answer.read().decode()


def line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    (text,) = capsys.readouterr().err.splitlines()
    content: dict[str, Any] = json.loads(text)
    return content


def test_a_line_of_the_log_and_the_answer_have_one_id(
    start: Callable[..., Started], capsys: pytest.CaptureFixture[str]
) -> None:
    server, _ = start()
    answer, _ = get(server, "/hello?secret=1", {"X-Request-ID": "of-the-client.1"})
    written = line(capsys)
    assert answer.headers["X-Request-ID"] == written["request_id"] == "of-the-client.1"
    assert (written["path"], written["status"], written["candidates"]) == ("/hello", 200, 3)
    assert written["ms"] > 0
    answer, _ = get(server, "/hello", {"X-Request-ID": 'x", "forged": "1'})
    written = line(capsys)
    assert answer.headers["X-Request-ID"] == written["request_id"]
    assert "forged" not in written["request_id"]


def test_errors_are_answered_with_safe_headers(
    start: Callable[..., Started], capsys: pytest.CaptureFixture[str]
) -> None:
    server, _ = start()
    for path, status, text in (("/refused", 418, "no coffee"), ("/broken", 500, "defect"), ("/hello", 200, "hello")):
        answer, body = get(server, path)
        assert (answer.status, body) == (status, text)
        for name, value in SAFE.items():
            assert answer.headers.get_all(name) == [
                value if (name, path) != ("Cache-Control", "/hello") else "max-age=1"
            ]
        assert line(capsys)["status"] == status


@pytest.mark.parametrize(
    "beginning", [b"", b"GET /hello HTTP/1.1\r\nHost: x\r\n", b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"]
)
def test_a_connection_that_does_not_ask_is_closed(
    start: Callable[..., Started], monkeypatch: pytest.MonkeyPatch, beginning: bytes
) -> None:
    monkeypatch.setattr(server_module, "SECONDS_TO_ASK", 0.4)
    server, _ = start()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(beginning)
        started = time.monotonic()
        while connection.recv(4096):
            pass
        assert time.monotonic() - started < 10


def test_a_slow_answer_outlives_the_time_to_ask(start: Callable[..., Started], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "SECONDS_TO_ASK", 0.1)
    assert get(start()[0], "/slow")[1] == "at last"


def test_a_head_without_end_is_cut_off(start: Callable[..., Started]) -> None:
    server, _ = start()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(b"GET /hello HTTP/1.1\r\n")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            connection.sendall(b"x: aaaaaaaaaaaa\r\n" * 1_000_000)


def test_what_was_taken_is_finished_at_the_end(start: Callable[..., Started]) -> None:
    server, thread = start(seconds_to_end=20)
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(get(server, "/slow")[1]))
    asking.start()
    time.sleep(0.2)
    port = server.port
    server.stop()
    asking.join(timeout=20)
    thread.join(timeout=20)
    assert answers == ["at last"]
    with pytest.raises((ConnectionRefusedError, ConnectionResetError)):
        socket.create_connection(("127.0.0.1", port), timeout=2)


def test_ports_that_cannot_be_used_say_what_to_do(start: Callable[..., Started]) -> None:
    server, _ = start()
    with pytest.raises(InputError, match=r"is in use: give another by serve.port=\.\.\."):
        listen("127.0.0.1", server.port, "serve")
    with pytest.raises(InputError, match=r"service.host=192.0.2.1|192.0.2.1 is of no address of this machine"):
        listen("192.0.2.1", 0, "service")
    with pytest.raises(InputError, match=r"service.host=no such host is no address"):
        listen("no such host", 0, "service")
