"""Checked logs written by hand, and small random ones whose labels depend on the features, encoded."""

from __future__ import annotations

import pkgutil
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from configs.command import Invocation, parse, save
from configs.stages import Stage, fingerprint, write_json
from graph.logs.log import SearchLog, catalogue_fingerprint
from graph.logs.prepare import prepare_log
from prerank.encoding.batches import EncodedLog
from prerank.encoding.features import encode_log
from prerank.experiment.pool import Answer, Task
from prerank.fitting import fit_system
from pretrain.embeddings import EmbeddingTable

WriteLog = Callable[..., SearchLog]
FIRST = datetime(2024, 1, 1, 12, tzinfo=UTC)
SPLIT_DAY = {"train": 0, "validation": 1, "test": 2}
TYPES = {
    "timestamp": pa.timestamp("ms", tz="UTC"),
    "position": pa.int32(),
    "rank_score": pa.float32(),
    "price": pa.float32(),
    "clicked": pa.bool_(),
    "ordered": pa.bool_(),
}
DEFAULTS = {
    "user_id": "u1",
    "query": "red shoes",
    "stage": "exposed",
    "position": None,
    "rank_score": None,
    "clicked": False,
    "ordered": False,
    "price": None,
    "split": "train",
}


def impressions_of(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows with the contract's columns; what a row does not say is filled in, the day follows from its split."""
    full = [
        {**DEFAULTS, "timestamp": FIRST + timedelta(days=SPLIT_DAY[row.get("split", "train")]), **row} for row in rows
    ]
    names = dict.fromkeys(name for row in full for name in row)
    return pa.table({n: pa.array([row.get(n) for row in full], TYPES.get(n)) for n in names})


def write_checked_log(
    folder: Path,
    impressions: pa.Table,
    items: pa.Table,
    users: pa.Table | None = None,
    queries: pa.Table | None = None,
    row_group: int = 1_000_000,
) -> SearchLog:
    """A finished log folder as ``graph.logs.prepare`` leaves it; rows are kept in the given order within a day."""
    stage = Stage(folder, {"rows": fingerprint(impressions.to_pydict()), "items": fingerprint(items.to_pydict())})
    stage.start()
    days = pc.strftime(impressions["timestamp"], format="%Y-%m-%d")
    for day in sorted(set(days.to_pylist())):
        path = folder / "impressions" / f"day={day}" / "part-0.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(impressions.filter(pc.equal(days, day)), path, row_group_size=row_group)
    for name, table in (("items", items), ("users", users), ("queries", queries)):
        if table is not None:
            pq.write_table(table, folder / f"{name}.parquet")
    splits = {}
    for name in SPLIT_DAY:
        rows = impressions.filter(pc.equal(impressions["split"], name))
        if len(rows):
            splits[name] = {"rows": len(rows), "requests": pc.count_distinct(rows["request_id"]).as_py()}
    positions = impressions["position"].null_count < len(impressions)
    tasks = {task: {"available": True, "reason": "both classes"} for task in ("click", "order")}
    tasks["rank"] = {"available": positions, "reason": "positions" if positions else "no row of train has a position"}
    facts = {"splits": splits, "tasks": tasks, "catalogue": catalogue_fingerprint(items["item_id"])}
    write_json(folder / "log.json", facts)
    stage.finish()
    return SearchLog.open(folder)


def request_in(folder: Path, *overrides: str, run: str = "test") -> Invocation:
    """A command line's request in a run of its own."""
    return parse(["data=contract", f"data.path={folder}", f"runs_folder={folder}", f"run={run}", *overrides])


@pytest.fixture
def request_for(tmp_path: Path) -> Callable[..., Invocation]:
    """Makes a request from overrides and the name of a run."""

    def make(*overrides: str, run: str = "test") -> Invocation:
        return request_in(tmp_path, *overrides, run=run)

    return make


@pytest.fixture
def checked_log(tmp_path: Path) -> WriteLog:
    """Writes a checked log: rows as dictionaries or a table, items, users, queries."""

    def make(
        rows: Sequence[Mapping[str, Any]] | pa.Table,
        items: pa.Table,
        users: pa.Table | None = None,
        queries: pa.Table | None = None,
        name: str = "logs",
        row_group: int = 1_000_000,
    ) -> SearchLog:
        table = rows if isinstance(rows, pa.Table) else impressions_of(rows)
        return write_checked_log(tmp_path / name, table, items, users, queries, row_group)

    return make


def random_log(folder: Path, n_items: int, n_requests: int, rows_per_request: int, seed: int = 0) -> SearchLog:
    """A random log in which brand and price decide positions, clicks and orders; 80 / 10 / 10 % of requests.

    Three of four rows of a request are exposed, of the rest one is a random negative and the others only recalled.
    """
    draw = np.random.default_rng(seed)
    brand, price = draw.integers(0, 8, n_items), draw.lognormal(3, 0.5, n_items).astype(np.float32)
    items = pa.table(
        {
            "item_id": [f"item {number}" for number in range(n_items)],
            "title": [f"a thing of brand {value} number {number}" for number, value in enumerate(brand)],
            "brand": [f"brand {value}" for value in brand],
            "price": price,
        }
    )
    size = (n_requests, rows_per_request)
    chosen = np.argsort(draw.random((n_requests, n_items)), axis=1)[:, :rows_per_request]
    utility = (brand[chosen] - 3.5) / 2 - (np.log(price[chosen]) - 3) + draw.normal(0, 0.5, size)
    slot = np.broadcast_to(np.arange(rows_per_request), size)
    shown = slot < max(1, rows_per_request * 3 // 4)
    stage = np.where(shown, "exposed", np.where(slot == rows_per_request - 1, "random", "recalled"))
    position = np.where(shown, utility, -np.inf).argsort(axis=1)[:, ::-1].argsort(axis=1) + 1
    clicked = shown & (draw.random(size) < 1 / (1 + np.exp(1 - utility)))
    ordered = clicked & (draw.random(size) < 0.4)
    number = np.repeat(np.arange(n_requests), rows_per_request)
    split = np.array(list(SPLIT_DAY))[np.searchsorted([0.8, 0.9], number / n_requests, side="right")]
    days = np.vectorize(SPLIT_DAY.get)(split)
    impressions = pa.table(
        {
            "request_id": number,
            "user_id": number % 17,
            "query": [f"query {value}" for value in number % 13],
            "item_id": items["item_id"].take(pa.array(chosen.ravel())),
            "timestamp": pa.array(np.datetime64("2024-01-01T12:00", "ms") + days * np.timedelta64(1, "D")).cast(
                TYPES["timestamp"]
            ),
            "stage": stage.ravel(),
            "position": pa.array(position.ravel().astype(np.int32), mask=~shown.ravel()),
            "rank_score": pa.array(utility.ravel().astype(np.float32), mask=~shown.ravel()),
            "clicked": clicked.ravel(),
            "ordered": ordered.ravel(),
            "price": price[chosen].ravel(),
            "split": split,
        }
    )
    return write_checked_log(folder, impressions, items)


@pytest.fixture(scope="session")
def encoded_log(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., EncodedLog]:
    """Writes and encodes a :func:`random_log`; the three numbers are its size, the lists' ranked rows are 3/4 of it."""

    def make(
        n_items: int = 50, n_requests: int = 40, rows_per_request: int = 12, seed: int = 0, cutoffs: str = "[3,5]"
    ) -> EncodedLog:
        folder = tmp_path_factory.mktemp("encoded")
        log = random_log(folder / "logs", n_items, n_requests, rows_per_request, seed)
        return encode_log(request_in(folder, f"data.cutoffs={cutoffs}"), log)

    return make


@pytest.fixture(scope="session")
def small_encoded_log(encoded_log: Callable[..., EncodedLog]) -> EncodedLog:
    """An encoded random log of 50 items and 480 rows (384 / 48 / 48) that many tests read and none changes."""
    return encoded_log()


@pytest.fixture
def random_run(request_for: Callable[..., Invocation]) -> Callable[..., Invocation]:
    """Makes a run of a :func:`random_log` without ψ, and the invocation of overrides on it."""

    def make(*overrides: str) -> Invocation:
        invocation = request_for("data.cutoffs=[3,5]")
        save(invocation.config, invocation.run.config)
        random_log(invocation.run.logs, n_items=50, n_requests=40, rows_per_request=12)
        return request_for(*overrides)

    return make


def fit_market(log: Path, command: Sequence[str], systems: Sequence[str]) -> None:
    """A run of the tiny marketplace with fitted systems; ψ is random, since what it holds does not matter here."""
    request = parse(["data=marketplace", "data.world=tiny", *command])
    save(request.config, request.run.config)
    shutil.copytree(log, request.run.logs)
    items = prepare_log(request).items()["item_id"].combine_chunks()
    stage = Stage(request.run.pretrain, {})
    stage.start()
    vectors = np.random.default_rng(0).normal(size=(400, 8)).astype(np.float32)
    EmbeddingTable(items.slice(0, 400), vectors, catalogue_fingerprint(items), "psi").save(request.run.psi)
    stage.finish()
    for system in systems:
        fit_system(parse([*command, f"model={system}", "prerank.max_epochs=1", "model.lightgbm.trees=5"]))


def carry_out_here(tasks: Iterable[Task[Any]], _processes: int, hear: Callable[[Answer[Any]], None]) -> None:
    """Does in this process what the workers do, to save them the loading of libraries."""
    for task in tasks:
        for content in pkgutil.resolve_name(task.function)(**task.arguments):
            hear(Answer(task.subject, content))


@pytest.fixture(scope="session")
def market(once: Callable[[str, Callable[[Path], object]], Path], tiny_log: Path) -> Invocation:
    """A run of the tiny marketplace with four fitted systems, which tests read and replay."""
    small = ["run=market", "model.experts.hidden=[8]", "model.experts.tower=[4]", "evaluation.draws=10"]
    systems = ("ple", "grace", "lightgbm", "popularity")

    def fill(folder: Path) -> None:
        fit_market(tiny_log, [f"runs_folder={folder}", *small], systems)

    return parse([f"runs_folder={once('market', fill)}", *small])
