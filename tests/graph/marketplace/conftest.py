"""One small simulated log, shared by the marketplace's tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.stages import read_json
from configs.worlds import WorldConfig, load_world
from graph.marketplace.simulate import simulate


@dataclass(frozen=True)
class Simulated:
    """A simulated log, and what made it."""

    world: WorldConfig
    seed: int
    folder: Path
    figures: dict[str, Any]

    def impressions(self) -> pa.Table:
        files = sorted((self.folder / "impressions").glob("day=*/part-0.parquet"))
        return pa.concat_tables([pq.ParquetFile(file).read() for file in files])

    def table(self, name: str) -> pa.Table:
        return pq.ParquetFile(self.folder / f"{name}.parquet").read()


@pytest.fixture(scope="session")
def tiny(once: Callable[[str, Callable[[Path], object]], Path]) -> Simulated:
    """The tiny world, seed 0."""
    world = load_world("tiny")
    folder = once("tiny-world", lambda folder: simulate(world, 0, folder))
    return Simulated(world, 0, folder, read_json(folder / "world.json"))


@pytest.fixture(scope="session")
def short_world() -> WorldConfig:
    """Two days of the tiny world, for tests that simulate many."""
    return replace(load_world("tiny"), days=2)
