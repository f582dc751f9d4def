"""The command as a process: what it prints, how it ends, and what signals do."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.prerank.service.conftest import until, write_bundle

MANY = {"candidates": {"item_id": [f"i{item % 60}" for item in range(20_000)], "price": [1.0] * 20_000}}


class Process:
    """A running command."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-u", "-m", "prerank.serve", "service.port=0", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.printed = self.process.stdout.readline()
        self.url = re.findall(r"http://\S+/", self.printed)[0]

    def ask(self, path: str, body: Any = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, content, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read())

    def ready(self, name: str | None = None) -> bool:
        try:
            current = self.ask("ready")["current"]
        except urllib.error.URLError:
            return False
        return name is None or current["name"] == name


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    write_bundle(tmp_path / "one")
    write_bundle(tmp_path / "two", 2)
    (tmp_path / "bundle").symlink_to(tmp_path / "one")
    process = Process(f"bundle={tmp_path / 'bundle'}", "service.poll_seconds=3600")
    yield process
    if process.process.poll() is None:
        process.process.kill()
        process.process.communicate()


def taken(process: Process) -> float:
    """Requests for scores that wait or have been answered."""
    text = urllib.request.urlopen(process.url + "metrics").read().decode()
    counts = re.findall(r'^(?:grace_queue_length|grace_requests_total{route="/score",status="200"}) (.+)', text, re.M)
    return sum(map(float, counts))


def test_sigterm_finishes_what_was_taken_and_exits_0(process: Process) -> None:
    until(process.ready)
    answers: list[Any] = []
    asking = [threading.Thread(target=lambda: answers.append(process.ask("score", MANY))) for _ in range(6)]
    for each in asking:
        each.start()
    until(lambda: taken(process) == len(asking))
    process.process.send_signal(signal.SIGTERM)
    for each in asking:
        each.join(timeout=20)
    printed, errors = process.process.communicate(timeout=20)
    assert [len(answer["score"]) for answer in answers] == [20_000] * 6
    assert process.process.returncode == 0
    assert printed == "stopped\n"
    assert all(json.loads(line)["status"] in (200, 503) for line in errors.splitlines() if '"request"' in line)


def test_signals_take_the_next_bundle_and_the_one_before(process: Process, tmp_path: Path) -> None:
    until(process.ready)
    (tmp_path / "next").symlink_to(tmp_path / "two")
    (tmp_path / "next").replace(tmp_path / "bundle")
    assert process.ready("one")
    os.kill(process.process.pid, signal.SIGHUP)
    until(lambda: process.ready("two"))
    os.kill(process.process.pid, signal.SIGUSR2)
    until(lambda: process.ready("one"))


def test_a_bundle_that_is_none_ends_the_command_in_one_line(tmp_path: Path) -> None:
    process = Process(f"bundle={tmp_path}")
    _, errors = process.process.communicate(timeout=20)
    assert process.process.returncode == 2
    assert (
        errors == f"error: {tmp_path} is no bundle: manifest.json: No such file or directory; "
        "`python -m prerank.export` makes one\n"
    )
