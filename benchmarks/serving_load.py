"""Load on a service of its own process, on loopback: from little to more than it can do, or very many requests.

    python benchmarks/serving_load.py bundle=FOLDER [candidates=1000] [kind=json] [seconds=4] [requests=0] [swap=FOLDER]

Bodies are the bundle's golden requests, their candidates strung together until there are as many as asked for. First
CONNECTIONS clients ask that wait for each answer: what is answered then is the capacity. Then requests begin at shares
of that rate, whatever has been answered (``seconds`` of each), and times count from when a request was due, so that one
that had to wait for its turn to be sent has waited. ``requests=200000`` asks so many and shows the service's memory in
between; ``swap=FOLDER`` puts that bundle and the first one in each other's place all the time, at half the capacity;
``kind=arrow`` sends Arrow streams and asks for them, and ``kind=both`` asks one thing after the other: JSON, Arrow, and
the scorer alone in the client's process. Further keys are the service's (``service.queue=8``). The client takes a part
of the same cores.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from itertools import count, cycle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from configs.console import say, table
from prerank.serving.request import Request
from prerank.serving.scorer import Scorer

CONNECTIONS = 8
SHARES = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.25, 2.0)
ARROW = "application/vnd.apache.arrow.stream"
BODIES = 50
WARM_UP = 10


class Connection(asyncio.Protocol):
    """A kept connection that asks one thing at a time and notes how it was answered."""

    def __init__(self) -> None:
        self.answered: asyncio.Future[int] | None = None
        self.received = b""
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def ask(self, content: bytes) -> asyncio.Future[int]:
        """The status of the answer, once all of it is there; 0 if the connection ended before."""
        self.answered = asyncio.get_running_loop().create_future()
        self.transport.write(content)
        return self.answered

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, separator, body = self.received.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) >= length and self.answered is not None:
            self.received = b""
            self.answered.set_result(int(head[9:12]))

    def connection_lost(self, _error: Exception | None) -> None:
        if self.answered is not None and not self.answered.done():
            self.answered.set_result(0)


class Load:
    """Requests to one service.

    Args:
        port: of it.
        contents: requests as bytes, asked in turn.
    """

    def __init__(self, port: int, contents: list[bytes]) -> None:
        self.port, self.contents = port, cycle(contents)
        self.idle: list[Connection] = []

    async def ask(self) -> int:
        connection = self.idle.pop() if self.idle else await self.connect()
        status = await connection.ask(next(self.contents))
        if status and not connection.transport.is_closing():
            self.idle.append(connection)
        return status

    async def connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, "127.0.0.1", self.port)
        return connection

    async def closed(self, seconds: float, most: float = float("inf")) -> tuple[int, Counter[int], float]:
        """Ask from CONNECTIONS clients that wait for each answer: how many there were, their statuses, seconds."""
        statuses: Counter[int] = Counter()
        begun = time.perf_counter()

        async def client() -> None:
            while time.perf_counter() - begun < seconds and statuses.total() < most:
                statuses[await self.ask()] += 1

        await asyncio.gather(*(client() for _ in range(CONNECTIONS)))
        return statuses.total(), statuses, time.perf_counter() - begun

    async def open(self, rate: float, seconds: float) -> tuple[list[float], Counter[int], float]:
        """Ask at a rate, at random times: milliseconds of each answer that had scores, statuses, seconds."""
        draw = np.random.default_rng(0)
        due = np.cumsum(draw.exponential(1 / rate, max(int(rate * seconds), 1)))
        statuses: Counter[int] = Counter()
        milliseconds: list[float] = []
        begun = time.perf_counter()

        async def one(at: float) -> None:
            status = await self.ask()
            statuses[status] += 1
            if status == 200:
                milliseconds.append(1000 * (time.perf_counter() - begun - at))

        tasks = []
        for at in due:
            wait = begun + at - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            tasks.append(asyncio.create_task(one(at)))
        await asyncio.gather(*tasks)
        return milliseconds, statuses, time.perf_counter() - begun


def contents_of(bundle: Path, candidates: int, kind: str, port: int) -> list[bytes]:
    """Whole HTTP requests of so many candidates."""
    golden = [json.loads(line)["body"] for line in (bundle / "golden.jsonl").read_text().splitlines()]
    columns = {
        name: [value for body in golden for value in body["candidates"][name]] for name in golden[0]["candidates"]
    }
    total = len(columns["item_id"])
    contents = []
    for number, body in enumerate(golden[:BODIES]):
        rows = [(number * 997 + row) % total for row in range(candidates)]
        own = {name: [values[row] for row in rows] for name, values in columns.items()}
        head = f"POST /score HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        if kind == "arrow":
            content = stream(own, body["request"])
            head += f"Content-Type: {ARROW}\r\nAccept: {ARROW}\r\n"
        else:
            content = json.dumps({"request": body["request"], "candidates": own}).encode()
            head += "Content-Type: application/json\r\n"
        contents.append(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
    return contents


def stream(columns: dict[str, list[Any]], request: dict[str, Any]) -> bytes:
    """Candidates as the service's Arrow body."""
    content = pa.table(columns).replace_schema_metadata({"request": json.dumps(request)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, content.schema) as writer:
        writer.write_table(content)
    return bytes(sink.getvalue())


def megabytes(process: int, what: str) -> float:
    """Of a process, as the kernel counts them."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:")) / 1024


async def many(load: Load, process: int, requests: int) -> None:
    """Ask very many, and show memory in between."""
    rows = []
    parts, seconds, total = 10, 0.0, 0
    statuses: Counter[int] = Counter()
    for _ in range(parts):
        asked, seen, took = await load.closed(float("inf"), requests / parts)
        statuses, seconds, total = statuses + seen, seconds + took, total + asked
        anonymous, mapped = megabytes(process, "RssAnon"), megabytes(process, "RssFile")
        rows.append([f"{total:,}", f"{anonymous:.1f}", f"{mapped:.1f}", f"{total / seconds:.0f}"])
    table("memory of the service", ["requests", "anonymous MB", "mapped MB", "requests/s"], rows)
    say(f"statuses: {dict(statuses)}")


async def swapping(load: Load, seconds: float, link: Path, folders: tuple[Path, Path], url: str) -> None:
    """Half the capacity without a swap, then with one after the other."""
    await load.closed(1)
    asked, _, took = await load.closed(seconds)
    rows = []
    for swaps in (0, 10):
        asking = asyncio.create_task(load.open(asked / took / 2, 2 * seconds))
        for number in range(swaps):
            point(link, folders[(number + 1) % 2])
            await asyncio.sleep(2 * seconds / swaps)
        milliseconds, statuses, _ = await asking
        figures = [f"{each:.1f}" for each in np.percentile(milliseconds, (50, 99, 100))]
        rows.append([swaps, *figures, dict(statuses)])
    table("bundles swapped under load", ["swaps", "p50 ms", "p99 ms", "longest ms", "statuses"], rows)
    with urllib.request.urlopen(f"{url}metrics") as answer:
        lines = answer.read().decode().splitlines()
    say("\n".join(line for line in lines if line.startswith("grace_bundles_total")))


def point(link: Path, folder: Path) -> None:
    """Let a link lead to another folder, at once."""
    beside = link.with_name("next")
    beside.symlink_to(folder.resolve())
    beside.replace(link)


async def in_turn(loads: dict[str, Load], scorer: Scorer, requests: list[Request], seconds: float) -> None:
    """One client: JSON, Arrow and the scorer without HTTP, in turn."""
    milliseconds: dict[str, list[float]] = {name: [] for name in (*loads, "scorer alone")}
    begun = time.perf_counter()
    for number in count():
        for name, load in loads.items():
            started = time.perf_counter()
            status = await load.ask()
            milliseconds[name].append(1000 * (time.perf_counter() - started))
            assert status == 200, status
        started = time.perf_counter()
        scorer.score(requests[number % len(requests)])
        milliseconds["scorer alone"].append(1000 * (time.perf_counter() - started))
        if time.perf_counter() - begun > seconds:
            break
    rows = []
    for name, each in milliseconds.items():
        measured = each[WARM_UP:]
        rows.append([name, *(f"{value:.2f}" for value in np.percentile(measured, (50, 90, 99))), len(measured)])
    table("one request at a time", ["", "p50 ms", "p90 ms", "p99 ms", "n"], rows)


async def rising(load: Load, seconds: float) -> None:
    """From a tenth of the capacity to twice as much."""
    await load.closed(1)
    asked, statuses, took = await load.closed(seconds)
    capacity = asked / took
    say(f"capacity: {capacity:.0f} requests/s with {CONNECTIONS} clients that wait; statuses {dict(statuses)}")
    rows = []
    for share in SHARES:
        milliseconds, statuses, took = await load.open(share * capacity, seconds)
        p50, p99, p999 = np.percentile(milliseconds, (50, 99, 99.9))
        others = {status: count for status, count in sorted(statuses.items()) if status != 200}
        answered = f"{len(milliseconds) / took:.0f}"
        figures = [f"{each:.1f}" for each in (p50, p99, p999)]
        rows.append(
            [f"{share:.0%}", f"{share * capacity:.0f}", answered, *figures, f"{len(milliseconds):,}", others or ""]
        )
        await asyncio.sleep(0.2)
    heads = ["of capacity", "asked/s", "answered/s", "p50 ms", "p99 ms", "p99.9 ms", "n", "other statuses"]
    table("load", heads, rows)


def main() -> None:
    keys = dict(argument.split("=", 1) for argument in sys.argv[1:])
    bundle = Path(keys.pop("bundle"))
    candidates, kind = int(keys.pop("candidates", "1000")), keys.pop("kind", "json")
    seconds, requests = float(keys.pop("seconds", "4")), int(keys.pop("requests", "0"))
    other = keys.pop("swap", None)
    with tempfile.TemporaryFile("w+") as log, tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "bundle"
        point(link, bundle)
        command = [sys.executable, "-m", "prerank.serve", f"bundle={link}", "service.port=0"]
        arguments = [f"{key}={value}" for key, value in keys.items()]
        process = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        url = next(word for word in process.stdout.readline().split() if word.startswith("http"))
        port = int(url.rstrip("/").rsplit(":", 1)[1])
        until_ready(url)
        contents = contents_of(bundle, candidates, "json" if kind == "both" else kind, port)
        size = np.mean([len(content) for content in contents]) / 1000
        say(f"{bundle.name}: {candidates:,} candidates a request, {kind}, {size:.0f} kB")
        load = Load(port, contents)
        try:
            if kind == "both":
                loads = {each: Load(port, contents_of(bundle, candidates, each, port)) for each in ("json", "arrow")}
                requests_ = [Request.of(json.loads(content.partition(b"\r\n\r\n")[2])) for content in contents]
                asyncio.run(in_turn(loads, Scorer.load(bundle, verify=False), requests_, 4 * seconds))
            elif other:
                asyncio.run(swapping(load, seconds, link, (bundle, Path(other)), url))
            else:
                asyncio.run(many(load, process.pid, requests) if requests else rising(load, seconds))
        finally:
            process.terminate()
            process.wait(timeout=30)
    say(f"the service ended with {process.returncode}")


def until_ready(url: str) -> None:
    while True:
        try:
            urllib.request.urlopen(f"{url}ready").close()
            return
        except OSError:
            time.sleep(0.05)


if __name__ == "__main__":
    main()
