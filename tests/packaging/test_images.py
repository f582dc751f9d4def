"""The images and the workflow name what there is: read, not run, for neither can be run everywhere."""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_what_images_copy_is_there_and_let_through():
    let_through = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.M)
    copied = {source for line in lines for source in line.split()}
    assert {"configs", "graph", "pretrain", "prerank", "index", "pyproject.toml", "constraints.txt"} <= copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, pattern) for pattern in let_through), source


def test_images_install_extras_that_there_are():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    text = (ROOT / "Dockerfile").read_text().replace("$FAISS", "cpu") + (ROOT / "Makefile").read_text()
    named = [name for group in re.findall(r"['\"]\.\[([\w,$()]+)\]['\"]", text) for name in group.split(",")]
    assert {"cpu", "serve", "tracking"} <= {*named}
    assert {name for name in named if "$" not in name} <= extras.keys()
    assert "torch==" in (ROOT / "constraints.txt").read_text(), "images and the workflow take its line"


def test_the_workflow_runs_what_ci_run_does_on_every_python():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    required = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    assert required == ">=3.11,<3.14"
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    commands = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    asked = set(re.findall(r"^make (\w+)", "\n".join(commands), re.M))
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    assert asked <= targets
    assert set(re.findall(r"^make (\w+)", (ROOT / ".ci" / "run").read_text(), re.M)) <= asked
    assert all(job["runs-on"] and job["timeout-minutes"] for job in workflow["jobs"].values())
    assert all(("uses" in step) != ("run" in step) for job in workflow["jobs"].values() for step in job["steps"])
