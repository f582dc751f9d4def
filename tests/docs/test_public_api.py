"""The names that a room exports: documented, loaded only when asked for, and their docstrings' examples hold."""

from __future__ import annotations

import doctest
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from index.measures import cold_start, students
from prerank.compare import cost
from prerank.experiment import progress
from tests.prerank.conftest import carry_out_here

PUBLIC = {
    "configs": ("parse", "Config", "InputError", "Run"),
    "graph": ("prepare_log", "build_graph", "SearchLog", "Graph"),
    "pretrain": ("make_psi", "EmbeddingTable"),
    "prerank": (
        "fit_system",
        "evaluate_system",
        "load_system",
        "read_evaluation",
        "paired_difference",
        "tune_system",
        "compare_systems",
        "score_log",
        "export_bundle",
        "Request",
        "Scorer",
    ),
    "index": ("audit_run", "audit_tables"),
}
"""In the order in which the examples build on each other: they share one run."""
ROOT = Path(__file__).parents[2]
NAMES = [(room, name) for room, names in PUBLIC.items() for name in names]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory of all examples."""
    return tmp_path_factory.mktemp("notebook")


@pytest.mark.parametrize(("room", "name"), NAMES, ids=[name for _, name in NAMES])
def test_the_example_of_a_public_name_holds(
    room: str, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for module in (progress, cost):
        monkeypatch.setattr(module, "carry_out", carry_out_here)
    for module in (students, cold_start):
        monkeypatch.setattr(module, "STEPS", 60)
    text = inspect.getdoc(getattr(importlib.import_module(room), name)) or ""
    examples = doctest.DocTestParser().get_examples(text)
    assert "Examples:" in text
    space: dict[str, object] = {}
    for example in examples:
        if example.exc_msg is not None:
            with pytest.raises(Exception) as raised:  # noqa: PT011
                exec(example.source, space)
            kind = raised.type
            assert f"{kind.__module__}.{kind.__name__}: {raised.value}\n" == example.exc_msg
        elif example.want:
            assert repr(eval(example.source, space)) == example.want.strip(), example.source
        else:
            exec(example.source, space)


def test_a_room_exports_these_names_and_no_others() -> None:
    for room, names in PUBLIC.items():
        module = importlib.import_module(room)
        assert sorted(names) == module.__all__
        with pytest.raises(AttributeError, match="it has"):
            _ = module.no_such_name


def test_importing_the_rooms_loads_no_library() -> None:
    heavy = ("torch", "pandas", "pyarrow", "numpy", "faiss", "omegaconf")
    code = f"import sys, {', '.join(PUBLIC)}; print([name for name in {heavy} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert shown.stdout.strip() == "[]"


def test_threads_are_told_to_wait_before_a_room_loads_torch() -> None:
    code = "import prerank, os; print(os.environ['OMP_WAIT_POLICY'])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert shown.stdout.strip() == "PASSIVE"
