"""Bundles that take each other's place while requests come in."""

from __future__ import annotations

import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from configs.errors import InputError
from configs.schema import ServiceConfig
from prerank.service.serving import Running, load
from prerank.serving.scorer import Scorer
from tests.prerank.service.conftest import Client, Start, seal, until, write_bundle

BODY = {"candidates": {"item_id": ["i40"]}}


@pytest.fixture
def linked(tmp_path: Path, start: Start) -> Client:
    """A service whose bundle is a link to ``one``; ``two`` and ``three`` lie beside it."""
    for clicks, name in enumerate(("one", "two", "three"), start=1):
        write_bundle(tmp_path / name, clicks)
    (tmp_path / "bundle").symlink_to(tmp_path / "one")
    return start(time_limit_ms=60_000)


def put(tmp_path: Path, name: str) -> None:
    (tmp_path / "next").symlink_to(tmp_path / name)
    (tmp_path / "next").replace(tmp_path / "bundle")


def name_of(client: Client) -> Any:
    return client.get("/ready")[1]["current"]["name"]


def answered_by(client: Client, name: str) -> None:
    until(lambda: name_of(client) == name)


def outcomes(client: Client) -> dict[str, int]:
    return client.running.bundles.outcomes


def test_a_swap_under_load_loses_no_request(linked: Client, tmp_path: Path) -> None:
    scores: dict[str, set[float]] = {}
    ended = threading.Event()

    def ask() -> int:
        count = 0
        while not ended.is_set():
            status, scored = linked.post("/score", BODY)
            assert status == 200, scored
            scores.setdefault(scored["bundle"], set()).add(scored["score"][0])
            count += 1
        return count

    with ThreadPoolExecutor(4) as threads:
        asking = [threads.submit(ask) for _ in range(4)]
        for name in ("two", "three", "one", "two", "one"):
            put(tmp_path, name)
            answered_by(linked, name)
        ended.set()
        assert sum(each.result() for each in asking) > 20
    assert len(scores) == 3
    assert all(len(each) == 1 for each in scores.values())
    assert len(set().union(*scores.values())) == 3


def test_a_folder_that_is_renamed_into_place_is_taken(tmp_path: Path, start: Start) -> None:
    write_bundle(tmp_path / "bundle", 1)
    write_bundle(tmp_path / "next", 2)
    client = start()
    before = client.post("/score", BODY)[1]
    (tmp_path / "bundle").rename(tmp_path / "old")
    (tmp_path / "next").rename(tmp_path / "bundle")
    answered_by(client, "next")
    after = client.post("/score", BODY)[1]
    assert (after["bundle"], after["score"]) != (before["bundle"], before["score"])
    assert after["score"] > before["score"]


def damage(folder: Path, file: str) -> None:
    path = folder / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("file", ["items.safetensors", "features.json", "fusion.json", "golden.jsonl"])
def test_a_damaged_bundle_is_refused_once_and_the_old_one_goes_on(
    linked: Client, tmp_path: Path, capfd: pytest.CaptureFixture[str], file: str
) -> None:
    damage(tmp_path / "two", file)
    before = linked.post("/score", BODY)
    put(tmp_path, "two")
    until(lambda: outcomes(linked)["refused"] == 1)
    linked.running.watch._wake.set()
    assert linked.post("/score", BODY) == before
    until(lambda: "refused" in capfd.readouterr().err)
    put(tmp_path, "three")
    answered_by(linked, "three")
    assert outcomes(linked) == {"loaded": 2, "refused": 1, "rolled_back": 0}
    assert b'grace_bundles_total{outcome="refused"} 1.0' in linked.raw("GET", "/metrics")[1]


def test_a_bundle_whose_golden_requests_fail_is_refused(linked: Client, tmp_path: Path) -> None:
    golden = tmp_path / "two" / "golden.jsonl"
    lines = [json.loads(line) for line in golden.read_text().splitlines()]
    lines[1]["score"][0] += 0.01
    golden.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "two" / "manifest.json").unlink()
    seal(tmp_path / "two", len(lines))
    put(tmp_path, "two")
    until(lambda: outcomes(linked)["refused"] == 1)
    assert name_of(linked) == "one"


def test_a_mended_bundle_is_taken_when_it_is_asked_for(linked: Client, tmp_path: Path) -> None:
    damage(tmp_path / "two", "items.safetensors")
    put(tmp_path, "two")
    until(lambda: outcomes(linked)["refused"] == 1)
    damage(tmp_path / "two", "items.safetensors")
    assert name_of(linked) == "one"
    linked.running.watch.ask(linked.running.bundles.reload)
    answered_by(linked, "two")


def test_rolling_back_lasts_until_another_bundle_is_put_in_place(linked: Client, tmp_path: Path) -> None:
    bundles, watch = linked.running.bundles, linked.running.watch
    watch.ask(bundles.roll_back)
    put(tmp_path, "two")
    answered_by(linked, "two")
    assert linked.get("/ready")[1]["previous"]["name"] == "one"
    watch.ask(bundles.roll_back)
    answered_by(linked, "one")
    watch.ask(bundles.look)
    watch.ask(bundles.look)
    until(lambda: not watch._wanted)
    assert name_of(linked) == "one"
    put(tmp_path, "three")
    answered_by(linked, "three")
    watch.ask(bundles.roll_back)
    answered_by(linked, "one")
    watch.ask(bundles.roll_back)
    answered_by(linked, "three")


def test_the_bundle_before_answers_at_once_if_it_is_put_in_place_again(linked: Client, tmp_path: Path) -> None:
    one = linked.running.bundles.current
    put(tmp_path, "two")
    answered_by(linked, "two")
    put(tmp_path, "one")
    answered_by(linked, "one")
    assert linked.running.bundles.current is one


def test_a_place_that_is_empty_for_a_while_changes_nothing(linked: Client, tmp_path: Path) -> None:
    os.unlink(tmp_path / "bundle")  # noqa: PTH108 - a link
    for _ in range(3):
        linked.running.bundles.look()
    assert name_of(linked) == "one"
    assert outcomes(linked) == {"loaded": 1, "refused": 0, "rolled_back": 0}
    (tmp_path / "bundle").symlink_to(tmp_path / "two")
    answered_by(linked, "two")


def test_a_bundle_that_needs_another_package_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_bundle(tmp_path / "bundle")
    (folder / "manifest.json").unlink()
    seal(folder, 3, kind="trees")
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    monkeypatch.delitem(sys.modules, "prerank.serving.trees", raising=False)
    with pytest.raises(InputError, match=r"needs the package lightgbm, .*`pip install lightgbm`"):
        load(folder, 1)


@pytest.mark.parametrize(
    ("folder", "message"), [("bundle", r"items.safetensors was changed"), ("nowhere", "nowhere is no bundle")]
)
def test_a_first_bundle_that_cannot_be_loaded_ends_the_service(folder: str, message: str, tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle")
    damage(tmp_path / "bundle", "items.safetensors")
    running = Running(ServiceConfig(bundle=str(tmp_path / folder), port=0), Scorer.load)
    # In a thread of its own: a test of a page leaves its event loop to this one.
    with ThreadPoolExecutor(1) as thread, pytest.raises(InputError, match=message):
        thread.submit(running.run).result(60)
