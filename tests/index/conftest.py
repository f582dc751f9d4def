"""A run as the earlier stages leave it, made by hand: 400 items whose ψ follows category and brand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.command import Invocation, save
from configs.schema import Config
from configs.stages import Run, Stage, write_json
from graph.hashing import hash_values
from graph.logs.log import catalogue_fingerprint
from index.audit import auditing as audit_module
from index.measures import cold_start, students
from prerank.encoding.schema import Column, EncodedSchema, SideSchema
from pretrain.embeddings import EmbeddingTable
from pretrain.psi import TrainedPsi

ITEMS, IN_P, DIMENSION = 400, 300, 8


@dataclass
class World:
    """A run on disk and what it was made of."""

    request: Invocation
    items: pa.Table
    psi: np.ndarray
    in_p: np.ndarray

    @property
    def run(self) -> Run:
        return self.request.run


@pytest.fixture
def no_cold_start(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The audit without the protocol, for tests of the rest: figures as it would leave them."""
    exact = {"value": 0.1, "low": None, "high": None, "n": 1}
    undefined = {"value": None, "low": None, "high": None, "n": 0, "reason": "not run"}
    figures = {"student_infonce/overlap@5": undefined, "overlap@5_chance": exact}
    found = {"held_out": 0, "kept": 0, "neighbours": [5], "figures": figures}
    monkeypatch.setattr(audit_module, "hold_out_and_learn", lambda *_: found)
    return found


@pytest.fixture
def build_world() -> Callable[..., World]:
    """For tests that want another folder or other titles."""
    return make_world


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = make_world(tmp_path)
    monkeypatch.setattr(audit_module, "write_dashboard", lambda run: run.reports / "segments.html")
    monkeypatch.setattr(audit_module, "train_psi", induced_psi(made))
    monkeypatch.setattr(audit_module.Graph, "open", lambda _folder: None)
    for module in (students, cold_start):
        monkeypatch.setattr(module, "STEPS", 60)
    return made


def make_world(folder: Path, title: Callable[[int], str] = "lamp {}".format) -> World:
    """Write logs, encoded items, ψ of the first items and a φ that is ψ with noise."""
    generator = np.random.default_rng(0)
    category, brand = generator.integers(0, 6, ITEMS), generator.integers(0, 25, ITEMS)
    centres = generator.normal(size=(6, DIMENSION)), generator.normal(size=(25, DIMENSION))
    psi = centres[0][category] + 0.7 * centres[1][brand] + 0.3 * generator.normal(size=(ITEMS, DIMENSION))
    items = pa.table(
        {
            "item_id": pa.array([f"i{row}" for row in range(ITEMS)]),
            "title": [title(row) for row in range(ITEMS)],
            "category": [f"category {code}" for code in category],
            "brand": [None if row % 17 == 0 else f"brand {code}" for row, code in enumerate(brand)],
            "price": pa.array(generator.lognormal(size=ITEMS), pa.float32()),
        }
    )
    config = Config()
    config.run, config.runs_folder = "tiny", str(folder)
    config.index.neighbours = [5, 20]
    config.evaluation.draws = 50
    config.pretrain.dimension = DIMENSION
    config.model.buckets = config.model.item.hash_vocabulary = 500
    config.prerank.threads = 1
    run = Run(folder / "tiny")
    _write_log(run, items)
    _write_encoded(run, items, generator)
    in_p = generator.permutation(np.arange(ITEMS) < IN_P)
    rows = np.flatnonzero(in_p)
    catalogue = catalogue_fingerprint(items["item_id"])
    ids = items["item_id"].combine_chunks()
    finish(run.pretrain)
    EmbeddingTable(ids.take(pa.array(rows)), psi[rows].astype(np.float32), catalogue, "psi").save(run.psi)
    system = run.system("grace")
    finish(system)
    save(config, system / "config.yaml")
    save(config, run.config)
    phi = (psi + 0.3 * generator.normal(size=psi.shape)).astype(np.float32)
    EmbeddingTable(ids, phi, catalogue, "phi").save(system / "phi")
    return World(Invocation(config, run, frozenset()), items, psi.astype(np.float32), in_p)


def induced_psi(world: World) -> Callable[..., TrainedPsi]:
    """In place of the training of ψ: the known vectors, rotated, and noise for items that are left out."""

    def train(_graph: Any, _log: Any, _config: Config, _folder: Path, excluded_items: np.ndarray) -> TrainedPsi:
        generator = np.random.default_rng(1)
        rotation = np.linalg.qr(generator.normal(size=(DIMENSION, DIMENSION)))[0]
        vectors = (world.psi @ rotation).astype(np.float32)
        vectors[excluded_items] += generator.normal(size=(len(excluded_items), DIMENSION)).astype(np.float32)
        return TrainedPsi(EmbeddingTable.load(world.run.psi), lambda items: vectors[items])

    return train


def finish(folder: Path) -> None:
    """Leave the folder as a finished stage."""
    stage = Stage(folder, {"made": "by hand"})
    stage.start()
    stage.finish()


def _write_log(run: Run, items: pa.Table) -> None:
    finish(run.logs)
    pq.write_table(items, run.logs / "items.parquet")
    write_json(run.logs / "log.json", {"catalogue": catalogue_fingerprint(items["item_id"]), "simulated": True})


def _write_encoded(run: Run, items: pa.Table, generator: np.random.Generator) -> None:
    finish(run.encoded)
    columns = tuple(Column(name, "id", "item", "items", name) for name in ("category", "brand"))
    names = tuple(column.name for column in columns)
    EncodedSchema(
        columns=columns,
        sides={"item": SideSchema(ids=names, id_tables=names), "request": SideSchema(), "pair": SideSchema()},
        n_items=ITEMS,
        catalogue=catalogue_fingerprint(items["item_id"]),
        tasks={},
        cutoffs=(),
        log="by hand",
        splits={},
    ).save(run.encoded / "schema.json")
    folder = run.encoded / "items"
    folder.mkdir()
    np.save(folder / "ids.npy", np.stack([hash_values(items[name]) for name in names], axis=1))
    np.save(folder / "numbers.npy", np.zeros((ITEMS, 0), dtype=np.float32))
    np.save(folder / "item_hash.npy", hash_values(items["item_id"]))
    np.save(folder / "training_impressions.npy", generator.zipf(1.5, ITEMS).clip(max=5000).astype(np.int64))
    for name in ("clicks", "orders"):
        np.save(folder / f"training_{name}.npy", np.zeros(ITEMS, dtype=np.int64))
    pq.write_table(items.select(["item_id"]), folder / "item_id.parquet")
