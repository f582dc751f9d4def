"""Chunks and threads: each row once, in its place, with the same bits whatever is beside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from prerank.serving.network import CHUNK, LIGHT_CHUNK, Network, Threads


@pytest.fixture(scope="module")
def network(hand_bundle: Any) -> Network:
    return Network((hand_bundle.folder / "network.onnx").read_bytes(), "network.onnx", Threads(3))


def run(network: Network, item: np.ndarray, pair: np.ndarray, request: np.ndarray) -> dict[str, np.ndarray]:
    return network.run(len(item), {"item": item, "pair": pair, "request": request})


@pytest.mark.parametrize("rows", [1, 15, 16, 17, 63, 64, 65, 255, 256, 257, 511, 2000])
def test_rows(rows: int, network: Network, hand_bundle: Any) -> None:
    draw = np.random.default_rng(rows)
    item, pair, request = (
        draw.normal(size=(count, network.widths[name])).astype(np.float32)
        for name, count in (("item", rows), ("pair", rows), ("request", 1))
    )
    outputs = run(network, item, pair, request)
    weights = hand_bundle.weights
    hidden = np.concatenate([item, pair], axis=1) @ weights["of_rows"] + request @ weights["of_request"]
    logits = np.maximum(hidden, 0) @ weights["heads"]
    assert [outputs[name].shape for name in ("click", "order", "rank")] == [(rows,), (rows,), (rows, 2)]
    assert np.abs(outputs["click"] - logits[:, 0]).max() < 1e-5
    assert np.abs(outputs["rank"] - logits[:, 2:]).max() < 1e-5
    order = draw.permutation(rows)
    shuffled = run(network, item[order], pair[order], request)
    assert all(np.array_equal(shuffled[name], values[order]) for name, values in outputs.items())


def test_small_requests_do_not_pay_for_a_whole_chunk(network: Network) -> None:
    """Where smaller chunks give the same bits, as they do on x86 with ONNX Runtime's kernels."""
    assert network._sizes[-1] == CHUNK
    assert len(network._sizes) > 1


def test_chunks_are_long_where_a_row_costs_little(
    network: Network, monkeypatch: pytest.MonkeyPatch, hand_bundle: Any
) -> None:
    """With the same bits."""
    monkeypatch.setattr("prerank.serving.network.LIGHT_BYTES", 65_536)
    light = Network((hand_bundle.folder / "network.onnx").read_bytes(), "network.onnx", Threads(3))
    assert (network.chunk, light.chunk) == (CHUNK, LIGHT_CHUNK)
    draw = np.random.default_rng(0)
    item, pair, request = (
        draw.normal(size=(count, network.widths[name])).astype(np.float32)
        for name, count in (("item", 9000), ("pair", 9000), ("request", 1))
    )
    outputs, others = (run(each, item, pair, request) for each in (network, light))
    assert all(np.array_equal(values, others[name]) for name, values in outputs.items())


@pytest.mark.parametrize("count", [1, 2, 5])
def test_each_piece_is_done_once(count: int) -> None:
    threads = Threads(count)
    lock, done, workers = threading.Lock(), [], set()

    def work(numbers: Iterator[int]) -> None:
        for number in numbers:
            time.sleep(0.0005)
            with lock:
                done.append(number)
                workers.add(threading.get_ident())

    for pieces in (0, 1, 3, 40):
        done.clear()
        threads.share(pieces, work)
        assert sorted(done) == list(range(pieces))
    assert len(workers) <= count


def test_a_busy_pool_delays_nobody() -> None:
    """A request whose helpers never get a turn is done by its own thread."""
    threads = Threads(2)
    release, started = threading.Event(), threading.Event()

    def block(numbers: Iterator[int]) -> None:
        for _ in numbers:
            started.set()
            release.wait()

    blocked = threading.Thread(target=threads.share, args=(2, block))
    blocked.start()
    started.wait()
    time.sleep(0.05)
    done: list[int] = []
    threads.share(5, done.extend)
    assert done == [0, 1, 2, 3, 4]
    release.set()
    blocked.join()


def test_an_error_reaches_the_caller() -> None:
    def fail(numbers: Iterator[int]) -> None:
        for _ in numbers:
            raise ValueError("boom")

    for count in (1, 3):
        with pytest.raises(ValueError, match="boom"):
            Threads(count).share(7, fail)
