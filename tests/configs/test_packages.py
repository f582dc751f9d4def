"""A package that is missing is one line with the remedy, before any work is done for it."""

from __future__ import annotations

import sys

import pytest

from configs.command import main


@pytest.mark.parametrize(
    ("argument", "package", "remedy"),
    [("backend=dgl", "dgl", "use backend=pyg"), ("engine=spark", "pyspark", "or take engine=duckdb")],
)
def test_a_missing_package_is_told_before_a_log_is_read(argument, package, remedy, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    assert main("pretrain.run", [f"runs_folder={tmp_path}", "data.world=tiny", argument]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert remedy in captured.err
    assert captured.err.count("\n") == 1
    assert not list(tmp_path.iterdir())
