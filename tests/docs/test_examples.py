"""The notebook-style examples of docs/examples run as they stand, one after the other on one small run."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import pytest

from index.measures import cold_start, students

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
IN_ORDER = ("graph", "psi", "systems", "audit")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_log: Path) -> Path:
    """Where the examples' runs lie: later ones go on from the earlier ones."""
    folder = tmp_path_factory.mktemp("notebook")
    shutil.copytree(tiny_log, folder / "runs" / "notebook" / "logs")
    return folder


@pytest.mark.parametrize("name", IN_ORDER)
def test_an_example_runs_and_shows_something(name, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    for module in (students, cold_start):
        monkeypatch.setattr(module, "STEPS", 60)
    found = runpy.run_path(str(EXAMPLES / f"{name}.py"))
    assert capsys.readouterr().out.strip()
    if name == "psi":
        assert len(found["psi"]) > 0
    if name == "systems":
        assert set(found["fitted"]) == {"ple", "grace"}


def test_every_example_is_run_and_no_cell_is_longer_than_ten_lines():
    assert sorted(path.stem for path in EXAMPLES.glob("*.py")) == sorted(IN_ORDER)
    for path in EXAMPLES.glob("*.py"):
        for cell in path.read_text(encoding="utf-8").split("# %%"):
            assert len([line for line in cell.splitlines() if line and line[0] not in "#"]) <= 10, path
