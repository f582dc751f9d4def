"""What `pip install` brings: the wheel and the source archive hold what git has, and run outside the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("configs", "graph", "pretrain", "prerank", "index")
BUILD = "import sys; from setuptools.build_meta import build_{0}; build_{0}(sys.argv[1])"


def tracked(*paths: str) -> set[str]:
    """Files that git has, or would have once they are added; the test is skipped where there is no git."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *paths]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("the files are not in a git repository")
    return {path for path in listed.stdout.splitlines() if (ROOT / path).is_file()}


@pytest.fixture(scope="module")
def built(once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A folder with the wheel and the source archive, built from a copy of what git has."""
    pytest.importorskip("setuptools", minversion="77")
    files = tracked(*ROOMS, "pyproject.toml", "README.md", "LICENSE")

    def fill(folder: Path) -> None:
        for path in files:
            (folder / "source" / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, folder / "source" / path)
        for kind in ("sdist", "wheel"):
            command = [sys.executable, "-c", BUILD.format(kind), str(folder)]
            subprocess.run(command, cwd=folder / "source", check=True, capture_output=True)

    return once("wheel", fill)


def test_the_wheel_holds_what_git_has(built):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
        info = next(name for name in names if name.endswith("/METADATA")).removesuffix("/METADATA")
        entry = wheel.read(f"{info}/entry_points.txt").decode()
        metadata = wheel.read(f"{info}/METADATA").decode()
    assert {name for name in names if not name.startswith(info)} == tracked(*ROOMS)
    assert {f"{room}/py.typed" for room in ROOMS} <= names
    assert f"{info}/licenses/LICENSE" in names
    assert "grace = configs.grace:main" in entry
    assert f"Version: {project['version']}\n" in metadata
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra ==" not in line]
    assert len(required) == len(project["dependencies"]) <= 6, "the base installation is light"


def test_the_source_archive_holds_what_the_wheel_is_made_of(built):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert tracked(*ROOMS, "pyproject.toml", "README.md", "LICENSE") <= names


def test_it_runs_where_the_repository_is_not(built, tmp_path, tiny_log):
    """Unpacked as pip would, beside the packages of this environment."""
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "site")
    shutil.copytree(tiny_log, tmp_path / "empty" / "runs" / "one" / "logs")
    program = (
        "import sys, configs, pathlib; from configs.grace import main\n"
        "assert pathlib.Path(configs.__file__).is_relative_to(sys.argv[1]), configs.__file__\n"
        "sys.exit(main(sys.argv[2:]))"
    )
    arguments = ["build", "run=one", "data.world=tiny"]
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "site"), *arguments],
        cwd=tmp_path / "empty",
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "graph: runs/one/graph" in ended.stdout
    assert (tmp_path / "empty" / "runs" / "one" / "graph" / "graph.json").exists()
