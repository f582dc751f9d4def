"""Writing rules: whole or not at all, finished only when the manifest says so, resumed only by the same work."""

from __future__ import annotations

import pytest

from configs.errors import InputError
from configs.stages import (
    Stage,
    fingerprint,
    identity_of,
    mend,
    read_json,
    replacing,
    require_inputs,
    source_fingerprint,
    write_json,
)


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


def test_what_a_killed_process_was_writing_is_removed(tmp_path):
    stage = Stage(tmp_path / "s", {"seed": 1})
    stage.start()
    (tmp_path / "s" / "checkpoints").mkdir()
    (tmp_path / "s" / "checkpoints" / "last.ckpt").write_text("whole")
    (tmp_path / "s" / "checkpoints" / ".last.ckpt.17.tmp").write_text("half")
    (tmp_path / "s" / ".train.17.tmp").mkdir()
    assert stage.start() is True
    assert {path.name for path in (tmp_path / "s").rglob("*")} == {"started.json", "checkpoints", "last.ckpt"}


def test_the_advice_names_the_folder_that_has_to_go(tmp_path):
    stage = Stage(tmp_path / "encoded", {})
    stage.start()
    (tmp_path / "encoded" / "items").mkdir()
    assert "has not finished" in mend(tmp_path / "encoded" / "items" / "ids.npy")
    stage.finish()
    assert f"delete the folder {tmp_path / 'encoded'} " in mend(tmp_path / "encoded" / "items" / "ids.npy")


def test_a_stage_whose_input_was_made_anew_is_refused(tmp_path):
    stage = Stage(tmp_path / "grace", {}, {"encoded": "abc"})
    stage.start()
    stage.finish()
    require_inputs(tmp_path / "grace", {"encoded": "abc", "unread": "x"}, "make it")
    with pytest.raises(InputError, match=r"another encoded stage .* run `make it` again"):
        require_inputs(tmp_path / "grace", {"encoded": "abd"}, "make it")


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
