"""The command line: strict keys with suggestions, layers in order, what a run remembers, errors in one line."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from configs.command import config_from, main, parse, run_config, save, settings
from configs.commands import COMMANDS, Command
from configs.errors import InputError


def at(folder: Path, *arguments: str):
    return parse([f"runs_folder={folder}", "run=one", *arguments])


def test_defaults_are_grace_on_the_marketplace(tmp_path):
    config = at(tmp_path).config
    assert (config.data.name, config.model.name, config.model.contrast.loss.value) == (
        "marketplace",
        "grace",
        "phi_phi",
    )


def test_experiment_paper_is_section_3_1_4(tmp_path):
    config = at(tmp_path, "experiment=paper", "data=trivago").config
    assert config.model.item.hash_vocabulary == 3_000_000
    assert config.model.item.hash_dimension == 32
    assert (config.prerank.batch_size, config.prerank.learning_rate, config.prerank.max_epochs) == (1024, 0.05, 20)
    assert config.data.cutoffs == [10, 30, 50, 100]
    assert (config.model.rank.weight, config.model.contrast.weight) == (0.1, 0.1)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("prerank.batchsize=3", "did you mean 'prerank.batch_size'"),
        ("batch_size=3", "did you mean 'prerank.batch_size'"),
        ("prerank.batch_size=many", "prerank.batch_size"),
        ("prerank.batch_size=0", "above 0"),
        ("prerank.batch_size=1.5", "prerank.batch_size"),
        ("model=gracee", "did you mean 'grace'"),
        ("data=nowhere", "there are"),
        ("backend=jax", "backend"),
        ("data.cutoffs=[10,5]", "ascending"),
        ("data.cutoffs=[]", "ascending"),
        ("data.split.shares=[0.5,0.5]", "three shares"),
        ("model.rank.k_weights=[1]", "one weight for each"),
        ("data.features=[{column: a, kindd: id}]", "kindd"),
        ("data.split=5", "data.split: "),
        ("run=../elsewhere", "plain folder name"),
        ("run=", "run: "),
        ("seed", "key=value"),
        ("--sed=1", "key=value"),
    ],
)
def test_bad_arguments_are_refused_with_advice(tmp_path, argument, message):
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        at(tmp_path, argument)


@pytest.mark.parametrize("name", ["2024_05_01", "1.10", "1.1", "007", "1e3", "12345e67", "on", "10-30"])
def test_text_is_taken_as_typed(tmp_path, name):
    """Not as YAML reads it, where 1.10 and 1.1 are one number, and two runs one folder."""
    assert parse([f"runs_folder={tmp_path}", f"run={name}"]).run.root == tmp_path / name
    assert at(tmp_path, f"data.path={name}").config.data.path == name
    assert at(tmp_path, f"data.path=dir/{name} #7: a").config.data.path == f"dir/{name} #7: a"
    assert at(tmp_path, f"ab.runs=[{name},2024-05-01]").config.ab.runs == [name, "2024-05-01"]
    for quote in ("'", '"'):
        assert at(tmp_path, f"data.path={quote}{name}{quote}").config.data.path == name
    file = tmp_path / "mine.yaml"
    for text in (f"'{name}'", name):
        file.write_text(f"run: {text}\nab: {{runs: [{text}, '2']}}\ndata: {{path: {text}}}\n")
        read = parse(["--config", str(file)])
        assert (read.run.root.name, read.config.data.path, read.config.ab.runs) == (name, name, [name, "2"])


NASTY = [
    *("nan", "1e400", "9" * 5000, "0x" + "f" * 5000, "-" + "9" * 30, "[" * 300, "[" * 300 + "]" * 300, "{" * 300),
    *("[{}]", "[[]]", "[null]", "[nan]", "[a, 1]", "{a: {b: [1]}}", "&a [*a]", "*a", "!!python/object:os.system x"),
    *("", "null", "'", "a: b", "\ud800", "日本", "a" * 5000, "2024-13-45", "<<: 1", "a\0b"),
]


@pytest.mark.parametrize(
    "key",
    ["run", "data.path", "data.features", "data.cutoffs", "graph.days", "seed", "prerank.learning_rate", "engine"],
)
def test_no_value_is_a_traceback(tmp_path, key, capsys):
    """On the command line and in a file: a number too large, lists in lists, text that is no Unicode."""
    file = tmp_path / "mine.yaml"
    for value in NASTY:
        *sections, name = key.split(".")
        text = "".join(f"{section}: {{" for section in sections) + f"{name}: {value}" + "}" * len(sections)
        file.write_text(text, encoding="utf-8", errors="surrogatepass")
        for arguments in ([f"{key}={value}"], ["--config", str(file)]):
            status = main(Command("test", "Purpose.", lambda _: None), [f"runs_folder={tmp_path}", *arguments])
            error = capsys.readouterr().err
            assert (status, bool(error)) in ((0, False), (2, True)), value
            assert len(error) < 800, value


def test_main_says_what_to_do_when_the_memory_is_full(capsys):
    def body(_request):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: 9 bytes")

    assert main(Command("test", "Purpose.", body), []) == 2
    assert "lower batch sizes" in capsys.readouterr().err


def test_text_may_be_nothing(tmp_path):
    assert at(tmp_path, "data.path=null").config.data.path is None
    assert at(tmp_path, "data.path='null'").config.data.path == "null"


@pytest.mark.parametrize(
    "argument", ["data.path=/data/${USER}/log", "run=${USER}", "data=${X}", "data.split.test=[${X}]"]
)
def test_variables_are_not_expanded(tmp_path, argument, capsys):
    assert main(Command("test", "Purpose.", lambda _: None), [f"runs_folder={tmp_path}", argument]) == 2
    assert f"error: {argument}: ${{...}} is not expanded here" in capsys.readouterr().err


def test_a_variable_in_a_file_that_does_not_exist_is_named(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("data: {path: '/data/${USER}/log'}\n")
    with pytest.raises(InputError, match="USER"):
        at(tmp_path, "--config", str(file))


def test_later_layers_win(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("model: {name: ple, dimension: 5}\nprerank: {learning_rate: 0.3}\n")
    config = at(tmp_path, "--config", str(file), "prerank.learning_rate=0.7").config
    assert (config.model.name, config.model.dimension, config.prerank.learning_rate) == ("ple", 5, 0.7)
    assert config.model.rank.head.value == "none"  # of the model's file


@pytest.mark.parametrize(
    ("text", "message"),
    [("modell: {name: ple}", "did you mean"), ("- a\n- b", "keys and values"), ("a: [", "readable YAML")],
)
def test_bad_config_files(tmp_path, text, message):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        at(tmp_path, f"--config={file}")


def test_a_missing_config_file(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        at(tmp_path, "--config", str(tmp_path / "no.yaml"))


def test_a_run_remembers_its_data_but_not_the_model(tmp_path):
    first = at(tmp_path, "data=contract", "data.path=/somewhere", "seed=3", "model=ple", "pretrain.dimension=8")
    save(first.config, first.run.config)
    again = at(tmp_path).config
    assert (again.data.name, again.data.path, again.seed, again.pretrain.dimension) == ("contract", "/somewhere", 3, 8)
    assert again.model.name == "grace"
    assert settings(run_config(first.run)) == settings(first.config)


def test_the_same_place_in_other_words_is_the_same_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = at(tmp_path, "data=contract", "data.path=log")
    save(first.config, first.run.config)
    for path in (tmp_path / "log", "./log", tmp_path / "elsewhere" / ".." / "log", "log/"):
        assert at(tmp_path, f"data.path={path}").config.data.path == "log"
        fit = COMMANDS["prerank.fit"]  # which works on what the run holds
        assert parse([f"runs_folder={tmp_path}", "run=one", f"data.path={path}"], command=fit).config.data.path == "log"
    assert at(tmp_path, "data.path=log2").config.data.path == "log2"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert at(tmp_path, "data.path=~/log").config.data.path == "log"


def test_other_data_for_a_run_starts_from_defaults(tmp_path):
    first = at(tmp_path, "data=marketplace", "data.world=tiny")
    save(first.config, first.run.config)
    other = at(tmp_path, "data=contract", "data.path=/new").config
    assert (other.data.name, other.data.split.by.value) == ("contract", "auto")


def test_no_such_run(tmp_path):
    with pytest.raises(InputError, match=r"pretrain\.run run=one"):
        run_config(at(tmp_path).run)


def test_saved_config_round_trips(tmp_path):
    config = at(tmp_path, "model=lightgbm", "data.features=[{column: brand, kind: id, side: item}]").config
    save(config, tmp_path / "config.yaml")
    assert settings(config_from(tmp_path / "config.yaml")) == settings(config)


def test_main_turns_user_errors_into_one_line(capsys):
    def body(_request):
        raise InputError("expected a, found b")

    assert main(Command("test", "Purpose.", body), []) == 2
    assert capsys.readouterr().err == "error: expected a, found b\n"
    assert main(Command("test", "Purpose.", body), ["nonsense"]) == 2


def test_main_says_what_to_do_when_the_disk_is_full(capsys):
    def body(_request):
        raise OSError(errno.ENOSPC, "No space left on device", "runs/x/graph/edges")

    assert main(Command("test", "Purpose.", body), []) == 2
    assert "disk is full (runs/x/graph/edges)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("PytorchStreamWriter failed writing file data/1: file write failed"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 19584 vs 19478"),
        ValueError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_main_recognises_a_full_disk_whoever_found_it(tmp_path, capsys, error):
    def body(_request):
        raise error

    assert main(Command("test", "Purpose.", body), [f"runs_folder={tmp_path}", "run=one"]) == 2
    assert f"disk is full ({tmp_path / 'one'})" in capsys.readouterr().err


def test_main_finds_a_full_disk_behind_another_error(capsys):
    def body(_request):
        try:
            raise OSError(errno.ENOSPC, "No space left on device", "last.ckpt")
        except OSError:
            raise RuntimeError("while closing") from None

    assert main(Command("test", "Purpose.", body), []) == 2
    assert "disk is full (last.ckpt)" in capsys.readouterr().err


def test_main_says_which_folder_cannot_be_written(capsys):
    def body(_request):
        raise OSError(errno.EROFS, "Read-only file system", "runs/x")

    assert main(Command("test", "Purpose.", body), []) == 2
    assert "runs/x: Read-only file system; give runs_folder=" in capsys.readouterr().err


def test_what_was_asked_for_is_known_apart_from_defaults(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("prerank: {patience: 3}\n")
    request = at(tmp_path, "--config", str(file), "model=ple", "model.dimension=5", "experiment=paper")
    assert {"prerank.patience", "model.dimension", "model.item.hash_vocabulary", "data.cutoffs"} <= request.asked
    assert "model.buckets" not in request.asked


def test_main_keeps_the_traceback_of_our_own_defects():
    def body(_request):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        main(Command("test", "Purpose.", body), [])


def test_help_lists_every_key_and_choice(capsys):
    assert main(Command("test", "Purpose.", lambda _: None), ["--help"]) == 0
    printed = capsys.readouterr().out
    for word in ("Purpose.", "prerank.batch_size=1024", "model= one of: cold, copr", "lambda_1", "data.cutoffs"):
        assert word in printed


def test_a_run_may_be_named_in_full_again(tmp_path):
    first = at(tmp_path, "data=contract", "data.path=/somewhere", "data.cutoffs=[3,5]", "seed=3")
    first.save(first.run.config)
    again = at(tmp_path, "data=contract", "data.path=/new").config
    assert (again.data.path, again.data.cutoffs, again.seed) == ("/new", [10, 30, 50, 100], 3)


def test_a_group_without_a_name_lists_the_names(tmp_path):
    with pytest.raises(InputError, match="data= is unknown; there are: aliccp"):
        at(tmp_path, "data=")


def test_a_run_that_goes_on_takes_over_what_its_origin_settled(tmp_path):
    common = [f"runs_folder={tmp_path}", "run=monday", "data=marketplace", "graph.degree_cap=7", "seed=3"]
    monday = parse([*common, "graph.days=[2024-01-01]"])
    monday.save(monday.run.config)
    tuesday = parse([f"runs_folder={tmp_path}", "run=tuesday", "from=monday", "data=contract", "data.path=day"])
    config = tuesday.config
    assert (config.from_run, config.seed, config.graph.degree_cap, config.graph.days) == ("monday", 3, 7, [])
    assert (config.data.name, config.data.path) == ("contract", "day")
    assert config.data.features == monday.config.data.features
    assert (config.data.split.by, config.data.split.shares) == ("session", [0.9, 0.05, 0.05])
    tuesday.save(tuesday.run.config)
    asked = ["run=wednesday", "from=tuesday", "data.split.shares=[0.8,0.1,0.1]"]
    wednesday = parse([f"runs_folder={tmp_path}", *asked])
    assert (wednesday.config.from_run, wednesday.config.data.split.shares) == ("tuesday", [0.8, 0.1, 0.1])
    again = parse([f"runs_folder={tmp_path}", "run=tuesday", "from=monday"], command=COMMANDS["prerank.fit"])
    assert again.config.from_run == "monday"
    with pytest.raises(InputError, match=r"run=tuesday holds from_run=monday, asked for wednesday"):
        parse([f"runs_folder={tmp_path}", "run=tuesday", "from=wednesday"], command=COMMANDS["prerank.fit"])
    with pytest.raises(InputError, match=r"from=sunday: .*sunday is no run"):
        parse([f"runs_folder={tmp_path}", "run=tuesday2", "from=sunday"])
    first = r"tuesday2 is no run yet: make it with `python -m pretrain.run run=tuesday2 from=monday` first"
    with pytest.raises(InputError, match=first):
        parse([f"runs_folder={tmp_path}", "run=tuesday2", "from=monday"], command=COMMANDS["prerank.fit"])
