"""Where a page's figures come from, as its header says it; what is missing or damaged is left out."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from configs.stages import Run, write_json
from prerank.pages.provenance import code_version, is_simulated, provenance, written


def run_of(folder: Path, log: dict[str, Any]) -> Run:
    run = Run(folder)
    write_json(run.logs / "log.json", log)
    write_json(run.logs / "manifest.json", {"settings": {"data.name": "marketplace", "data.world": "demo"}})
    write_json(run.pretrain / "manifest.json", {"settings": {"seed": 0, "pretrain.max_epochs": 7}})
    for system, settings in {"grace": {"seed": 3, "prerank.max_epochs": 2}, "popularity": {"seed": 0}}.items():
        write_json(run.system(system) / "manifest.json", {"settings": settings})
    return run


def test_a_header_names_data_dates_seeds_epochs_code_and_time(tmp_path: Path) -> None:
    splits = {
        "train": {"first": "2024-01-01 03:54:54", "last": "2024-01-08 23:34:27"},
        "test": {"first": "2024-01-09 01:00:00", "last": "2024-01-09 23:00:00"},
    }
    run = run_of(tmp_path, {"simulated": True, "rows": 267264, "splits": splits})
    figures = run.system("grace") / "manifest.json"
    os.utime(figures, (1_700_000_000,) * 2)
    assert dict(provenance(run, ["grace", "popularity"], [figures, tmp_path / "missing"])) == {
        "data": "marketplace, demo, simulated, 267,264 rows",
        "dates": "train 2024-01-01 to 2024-01-08; test 2024-01-09",
        "seed": "0, 3",
        "epochs at most": "ψ 7, systems 2",
        "measured": "2023-11-14 22:13 UTC",
        "code": code_version(),
    }
    assert is_simulated(run)


def test_what_is_missing_or_damaged_is_left_out(tmp_path: Path) -> None:
    nothing = [name for name, _ in provenance(Run(tmp_path / "none"), ["grace"])]
    assert nothing == ["code"] * bool(code_version())
    run = run_of(tmp_path / "damaged", {"splits": {"test": None, "train": {"last": None}}, "rows": "many"})
    (run.system("grace") / "manifest.json").write_text("[1]")
    (run.pretrain / "manifest.json").write_text("{")
    assert dict(provenance(run, ["grace", "popularity"]))["seed"] == "0"
    assert not is_simulated(run)


def test_the_code_is_a_commit_or_a_version() -> None:
    assert re.fullmatch(r"[0-9a-f]{10}\+?|version \S+|", code_version())
    assert dict(written([])).get("measured") is None
