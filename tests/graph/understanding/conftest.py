"""Small logs in the contract's form."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("logs_conftest", Path(__file__).parents[1] / "logs" / "conftest.py")
assert _spec is not None
assert _spec.loader is not None
_logs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_logs)


@pytest.fixture
def good_rows():
    """A log without fault: three days, twelve requests, 72 rows."""
    return _logs.make_rows()


@pytest.fixture
def write_log():
    """Write rows as a contract folder and return it."""
    return _logs.write_log
