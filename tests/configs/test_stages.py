"""Writing rules: whole or not at all, finished only when the manifest says so, resumed only by the same work."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.command import main
from configs.commands import Command
from configs.errors import InputError
from configs.stages import (
    Stage,
    fingerprint,
    identity_of,
    mend,
    read_json,
    replacing,
    replacing_together,
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
    require_inputs(tmp_path / "grace", {"encoded": "abc", "unread": "x"}, "run `make it`")
    with pytest.raises(InputError, match=r"another encoded stage .* run `make it`"):
        require_inputs(tmp_path / "grace", {"encoded": "abd"}, "run `make it`")


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


def finished(folder, settings, inputs=None):
    stage = Stage(folder, settings, inputs)
    stage.start()
    (stage.folder / "result").write_text(str(settings))
    stage.finish()
    return stage


@pytest.mark.parametrize(
    ("settings", "inputs", "message"),
    [
        (
            {"cap": 4, "days": []},
            {"logs": "abc"},
            r"s was made with cap=3, asked for 4: give run=NAME to keep both, or ",
        ),
        ({"cap": 3, "days": []}, {"logs": "xyz"}, r"s was made from another logs stage .*overwrite=true"),
        ({"cap": 3, "days": [], "new": 1}, {"logs": "abc"}, "s was made by another version of this program"),
    ],
)
def test_a_finished_stage_is_not_replaced_without_a_word(tmp_path, settings, inputs, message):
    before = finished(tmp_path / "s", {"cap": 3, "days": []}, {"logs": "abc"})
    other = Stage(tmp_path / "s", settings, inputs)
    with pytest.raises(InputError, match=message):
        other.start()
    assert before.finished
    assert not other.finished
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_a_successor_is_made_beside_and_takes_the_place_when_it_is_finished(tmp_path):
    before = finished(tmp_path / "s", {"cap": 3})
    for attempt in range(2):  # the first one is killed
        successor = Stage(tmp_path / "s", {"cap": 4}, overwrite=True)
        assert successor.start() is (attempt > 0)
        (successor.folder / "result").write_text("4")
        assert before.finished
        assert (tmp_path / "s" / "result").read_text() == "{'cap': 3}"
    successor.finish()
    assert successor.folder == tmp_path / "s"
    assert successor.finished
    assert (tmp_path / "s" / "result").read_text() == "4"
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_a_successor_with_yet_other_settings_starts_over(tmp_path):
    finished(tmp_path / "s", {"cap": 3})
    first = Stage(tmp_path / "s", {"cap": 4}, overwrite=True)
    first.start()
    (first.folder / "half").touch()
    second = Stage(tmp_path / "s", {"cap": 5}, overwrite=True)
    assert second.start() is False
    assert not (second.folder / "half").exists()


@pytest.mark.parametrize("killed_at", [1, 2])
def test_a_process_killed_between_the_renames_is_made_good(tmp_path, monkeypatch, killed_at):
    finished(tmp_path / "s", {"cap": 3})
    successor = Stage(tmp_path / "s", {"cap": 4}, overwrite=True)
    successor.start()
    calls = []
    rename = Path.replace

    def killed(path, target):
        if path.is_dir():
            calls.append(path)
            if len(calls) == killed_at:
                raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            successor.finish()
    again = Stage(tmp_path / "s", {"cap": 4})
    if killed_at == 2:  # nothing lies in the stage's place: a reader puts the successor there too
        assert identity_of(tmp_path / "s", "make it") == again.identity
    assert again.finished
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_results_that_belong_together_are_replaced_together(tmp_path):
    (tmp_path / "phi").mkdir()
    (tmp_path / "phi" / "vectors").write_text("old")
    (tmp_path / "figures").write_text("old")
    (tmp_path / "other").write_text("stays")

    def write(fail):
        with replacing_together(tmp_path, last="figures") as fresh:
            (fresh / "phi").mkdir()
            (fresh / "phi" / "vectors").write_text("new")
            (fresh / "figures").write_text("new")
            if fail:
                raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        write(fail=True)
    assert (tmp_path / "phi" / "vectors").read_text() == (tmp_path / "figures").read_text() == "old"
    write(fail=False)
    assert (tmp_path / "phi" / "vectors").read_text() == (tmp_path / "figures").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures", "other", "phi"]


def test_a_stage_that_is_made_anew_under_a_command_is_named(tmp_path, capsys):
    """Whatever the command then fails with: a file that is gone, or columns that it does not expect."""
    manifest = tmp_path / "one" / "logs" / "manifest.json"
    manifest.parent.mkdir(parents=True)

    def fails_with(error: Exception, text: str) -> Command:
        def body(_: object) -> None:
            manifest.write_text(text)
            raise error

        return Command("test", "Purpose.", body, inherits=("data",))

    asked = [f"runs_folder={tmp_path}", "run=one"]
    for number, error in enumerate((FileNotFoundError("part-0.parquet"), InputError("delete the folder"))):
        manifest.write_text("{}")
        assert main(fails_with(error, f'{{"identity": {number}}}'), asked) == 2
        expected = f"error: {tmp_path / 'one'}: logs was made anew while this command read it: run the command again\n"
        assert capsys.readouterr().err == expected
        with pytest.raises(ZeroDivisionError):
            main(fails_with(ZeroDivisionError(), manifest.read_text()), asked)
