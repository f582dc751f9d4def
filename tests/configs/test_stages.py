"""Writing rules: whole or not at all, finished only when the manifest says so, resumed only by the same work."""

from __future__ import annotations

import pytest

from configs.errors import InputError
from configs.stages import Stage, fingerprint, identity_of, read_json, replacing, source_fingerprint, write_json


def test_a_failed_write_leaves_the_old_file(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fail():
        with replacing(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_json_is_strict(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"auc": float("nan")})
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize("content", ["", "{", "\xff"])
def test_damaged_json_is_named(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=r"a\.json is not readable"):
        read_json(path)


def test_missing_json_is_named(tmp_path):
    with pytest.raises(InputError, match="missing"):
        read_json(tmp_path / "a.json")


def test_a_stage_is_finished_only_by_its_own_manifest(tmp_path):
    stage = Stage(tmp_path / "graph", {"cap": 3}, {"logs": "abc"})
    assert not stage.finished
    assert stage.start() is False
    assert not stage.finished
    stage.finish(edges=7)
    assert stage.finished
    assert read_json(tmp_path / "graph" / "manifest.json")["edges"] == 7
    assert not Stage(tmp_path / "graph", {"cap": 4}, {"logs": "abc"}).finished
    assert not Stage(tmp_path / "graph", {"cap": 3}, {"logs": "other"}).finished


def test_the_same_work_resumes_and_other_work_starts_over(tmp_path):
    stage = Stage(tmp_path / "s", {"seed": 1})
    stage.start()
    (tmp_path / "s" / "half").write_text("x")
    assert Stage(tmp_path / "s", {"seed": 1}).start() is True
    assert (tmp_path / "s" / "half").exists()
    assert Stage(tmp_path / "s", {"seed": 2}).start() is False
    assert not (tmp_path / "s" / "half").exists()


def test_an_unfinished_stage_is_not_an_input(tmp_path):
    with pytest.raises(InputError, match="does not exist: run `make it`"):
        identity_of(tmp_path / "s", "make it")
    stage = Stage(tmp_path / "s", {})
    stage.start()
    with pytest.raises(InputError, match="interrupted"):
        identity_of(tmp_path / "s", "make it")
    stage.finish()
    assert identity_of(tmp_path / "s", "make it") == stage.identity


def test_fingerprints(tmp_path):
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    (tmp_path / "x").write_text("1")
    before = source_fingerprint(tmp_path)
    (tmp_path / "y").write_text("2")
    assert source_fingerprint(tmp_path) != before
