"""The runtime loads nothing that trains, and importing the room loads nothing at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TRAINING = ("torch", "numba", "pandas", "scipy", "duckdb", "pytorch_lightning", "torch_geometric", "graph", "pretrain")
ONLY_WHEN_ASKED = ("pyarrow", "lightgbm", "sklearn")


@pytest.mark.parametrize(
    "statements",
    [
        "import prerank.serving",
        "from prerank import Scorer",
        "from prerank.serving.scorer import Scorer; Scorer.load(Path(sys.argv[1]))",
    ],
)
def test_what_is_loaded(statements: str, hand_bundle: Any) -> None:
    code = f"import sys; from pathlib import Path; {statements}; print(*sys.modules)"
    root = Path(__file__).parents[3]
    loaded = subprocess.run(
        [sys.executable, "-c", code, str(hand_bundle.folder)], cwd=root, check=True, capture_output=True, text=True
    ).stdout.split()
    assert not {name.partition(".")[0] for name in loaded} & {*TRAINING, *ONLY_WHEN_ASKED}
    rooms = {name.split(".")[1] for name in loaded if name.startswith("prerank.")}
    assert rooms == {"serving"}
