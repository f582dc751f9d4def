"""Folders whose names mean something to DuckDB: patterns, the end of a database's name, another separator."""

from __future__ import annotations

import shutil

import pytest

from configs.command import parse
from configs.errors import InputError
from graph.building import build_graph
from graph.logs.prepare import prepare_log


@pytest.mark.parametrize("name", ["*", "what?", "[ab]"])
def test_a_folder_is_what_its_name_says_beside_others_that_its_name_matches(written_log, good_rows, tmp_path, name):
    source = written_log(good_rows)
    for called in (name, "other", "whatx"):
        shutil.copytree(source, tmp_path / "logs" / called)
    for number in range(2):  # beside another run
        run = parse(
            ["data=contract", f"data.path={tmp_path / 'logs' / name}", f"runs_folder={tmp_path}/{name}/{number}"]
        )
        log = prepare_log(run)
        assert log.facts["rows"] == len(good_rows)
        assert build_graph(run, log).facts["rows"] == log.facts["splits"]["train"]["rows"]


def test_a_backslash_is_refused_where_duckdb_would_write_elsewhere(prepare, good_rows, tmp_path):
    source = tmp_path / "logs" / "a\\b"
    shutil.copytree(prepare(good_rows).folder.parents[1].parent / "source", source)
    assert prepare(source, "overwrite=true").facts["rows"] == len(good_rows)
    with pytest.raises(InputError, match="backslash"):
        prepare_log(parse(["data=contract", f"data.path={source}", f"runs_folder={source}"]))
