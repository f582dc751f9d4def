"""``data=marketplace``: the embedded simulated marketplace, ``data.world`` names a file of ``configs/world``."""

from __future__ import annotations

from pathlib import Path

from configs.errors import InputError
from configs.schema import DataConfig
from configs.worlds import load_world
from graph.logs.contract import RawLog
from graph.marketplace.simulate import simulate


def read(data: DataConfig, seed: int, folder: Path) -> RawLog:
    """Simulate the world ``data.world`` under ``folder``; its ``world.json`` goes beside ``folder``.

    ``folder`` holds raw files, which are removed once the checked log is written; the figures stay with that.

    Raises:
        InputError: if there is no such world or its file is wrong, or if a path is given, which nothing would read.
    """
    if data.path is not None:
        raise InputError(
            f"data.path={data.path} is not read by data=marketplace, which simulates a log: say what it is, as "
            "data=contract, data=table or data=ubi"
        )
    simulate(load_world(data.world), seed, folder)
    (folder / "world.json").replace(folder.parent / "world.json")
    return RawLog(
        impressions=folder / "impressions",
        items=folder / "items.parquet",
        users=folder / "users.parquet",
        queries=folder / "queries.parquet",
        simulated=True,
    )
