"""Logs as people have them, read by a mapping."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest

from configs.command import parse
from graph.logs.prepare import check_new_log
from graph.logs.readers.table.reader import read


@pytest.fixture
def written_table(tmp_path):
    """Write files and a mapping (YAML below ``data.table``); return the configuration of ``data``."""

    def write(files, mapping, *overrides):
        (tmp_path / "logs").mkdir(exist_ok=True)
        for name, content in files.items():
            path = tmp_path / "logs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        lines = "\n".join("    " + line for line in mapping.splitlines())
        mine = tmp_path / "mine.yaml"
        mine.write_text(f"data:\n  name: table\n  path: {tmp_path / 'logs'}\n  table:\n{lines}\n")
        return parse(["--config", str(mine), *overrides], remember=False).config.data

    return write


@pytest.fixture
def read_table(written_table, tmp_path):
    """Write files and a mapping, read and check them, return the log and its rows by request and item."""

    def run(files, mapping, *overrides):
        log = check_new_log(written_table(files, mapping, *overrides), tmp_path / "checked")
        return log, {(row["request_id"], row["item_id"]): row for row in log.dataset().to_table().to_pylist()}

    return run


@pytest.fixture
def read_row(written_table, tmp_path):
    """Write files and a mapping, read them unchecked, return the first row."""

    def run(files, mapping):
        raw = read(written_table(files, mapping), 0, tmp_path / "raw")
        return pq.read_table(min(raw.impressions.rglob("*.parquet"))).to_pylist()[0]

    return run
