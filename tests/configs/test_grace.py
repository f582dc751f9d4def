"""The console command ``grace`` calls every ``python -m`` command by a word of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from configs import grace
from configs.commands import COMMANDS
from configs.layers import CONFIGS

PROGRAM = "import sys; from configs.grace import main; sys.argv[0] = 'grace'; sys.exit(main())"


def test_every_command_has_a_word_of_its_own(capsys):
    words = [command.word for command in COMMANDS.values()]
    assert len({*words, *COMMANDS}) == 2 * len(words)
    assert {"pretrain", "fit", "evaluate", "export", "serve", "audit", "reports"} <= {*words}
    assert grace.main(["--help"]) == grace.main([]) == 0
    printed = capsys.readouterr().out
    assert all(f"  {word} " in printed for word in words)
    assert all(f"(python -m {name})" in printed for name in COMMANDS)


@pytest.mark.parametrize("word", ["fit", "prerank.fit"])
def test_a_word_and_a_full_name_call_the_command(word, tmp_path, capsys):
    assert grace.main([word, f"runs_folder={tmp_path}", "graph.degree_cap=3"]) == 2
    assert "graph.degree_cap is read by pretrain.run" in capsys.readouterr().err
    assert grace.main([word, "--help"]) == 0
    assert "usage: python -m prerank.fit key=value ... [--config FILE] [--version]\n   or: grace fit key" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize("arguments", [["--version"], ["fit", "--version"], ["audit", "--version"]])
def test_version(arguments, capsys):
    assert grace.main(arguments) == 0
    assert capsys.readouterr().out.startswith("grace-prerank ")


@pytest.mark.parametrize(
    ("word", "advice"),
    [
        ("pretrian", "did you mean 'pretrain'?"),
        ("prerank.fti", "did you mean 'prerank.fit'?"),
        ("Fit", "did you mean 'fit'?"),
        ("", "there are pretrain, "),
        ("日本", "there are pretrain, "),
    ],
)
def test_an_unknown_word_gets_the_nearest(word, advice, capsys):
    assert grace.main([word]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: grace has no command {word!r}")
    assert advice in captured.err


def test_a_model_in_the_folder_that_it_is_called_from(tmp_path):
    """As for ``python -m``, which puts that folder on Python's path and a console script does not."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.yaml").write_text("system: my_system\n")
    (tmp_path / "my_system.py").write_text("raise SystemExit('mine')")
    program = f"{PROGRAM.replace('; from', '; sys.path[0] = sys.argv.pop(1); from', 1)}"
    ended = subprocess.run(
        [sys.executable, "-c", program, str(CONFIGS.parent), "fit", "model=mine", "run=none"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert ended.stderr == "mine\n"


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "utf-16", "cp037"])
def test_what_an_encoding_lacks_ends_no_command(encoding):
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    for arguments in (["-m", "configs.reference"], ["-c", PROGRAM, "pretrain", "--help=all"]):
        ended = subprocess.run(
            [sys.executable, *arguments], capture_output=True, cwd=CONFIGS.parent, env=environment, check=False
        )
        assert (ended.returncode, ended.stderr) == (0, b"")
        assert "degree_cap" in ended.stdout.decode(encoding)
