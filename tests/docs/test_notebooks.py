"""The notebooks run as they stand, each in a folder of its own log, and are kept without outputs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
nbformat = pytest.importorskip("nbformat", reason="the extra [test] is not installed")
nbclient = pytest.importorskip("nbclient", reason="the extra [test] is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_log: Path) -> Path:
    """Where they run; the last one goes on with what the one before has fitted, as it would alone."""
    folder = tmp_path_factory.mktemp("notebooks")
    shutil.copytree(tiny_log, folder / "runs" / "notebook" / "logs")
    return folder


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, folder, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}".rstrip(os.pathsep))
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=1500, resources={"metadata": {"path": str(folder)}})
    client.execute()
    last = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    assert last.outputs, "its last cell shows what came out"
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert "Traceback" not in output.get("text", "")
            assert "error: " not in output.get("text", "")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_kept_without_outputs_and_is_in_the_navigation(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    assert f"notebooks/{path.stem}.md" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


def test_there_is_one_for_each_user():
    assert [path.stem for path in NOTEBOOKS] == ["own_log", "researcher", "serving"]
