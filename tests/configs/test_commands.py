"""Each command reads its own keys: others are refused with where they belong, and what is saved is what was used."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from configs.command import Invocation, main, parse
from configs.commands import COMMANDS, Command, readers
from configs.errors import InputError
from configs.layers import CONFIGS
from configs.options import names

REPOSITORY = CONFIGS.parent


def told(name: str, folder: Path, *arguments: str) -> Invocation:
    """A command line of a command, about the run ``one``."""
    run = [f"runs_folder={folder}", "run=one"] if COMMANDS[name].takes("run") else [f"runs_folder={folder}"]
    return parse([*run, *arguments], command=COMMANDS[name])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder of runs in which ``pretrain.run`` has settled what ``one`` holds."""
    first = told(
        "pretrain.run", tmp_path, "data=contract", "data.path=/log", "graph.degree_cap=7", "pretrain.dimension=8"
    )
    first.save(first.run.config)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS.values(), ids=list(COMMANDS))
def test_what_a_command_reads_is_in_the_schema(command: Command) -> None:
    for part in (*command.reads, *command.but, *command.inherits, *command.short):
        assert any(name == part or name.startswith(f"{part}.") for name in names()), part


def test_every_key_is_read_by_a_command() -> None:
    assert [key for key in names() if not readers(key)] == []


@pytest.mark.parametrize("command", COMMANDS.values(), ids=list(COMMANDS))
def test_every_command_has_its_module_and_story(command: Command) -> None:
    parts = command.name.split(".")
    module = REPOSITORY.joinpath(*parts).with_suffix(".py")
    text = (module if module.exists() else REPOSITORY.joinpath(*parts, "__main__.py")).read_text()
    assert f'main("{command.name}")' in text
    assert isinstance(command.story, str)
    story, function = command.story.split(":")
    tree = ast.parse(REPOSITORY.joinpath(*story.split(".")).with_suffix(".py").read_text())
    assert function in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize(
    ("name", "argument", "message"),
    [
        ("pretrain.run", "tune.trials=3", r"^tune\.trials is read by prerank\.tune, not by pretrain\.run"),
        ("graph.build", "index.queries=3", r"read by index\.audit, not by graph\.build"),
        ("prerank.fit", "graph.degree_cap=3", r"read by pretrain\.run \(also by graph\.build, .*, not by prerank\.fit"),
        ("prerank.fit", "tune.trials=3", r"^tune\.trials is read by prerank\.tune, not by prerank\.fit"),
        ("prerank.evaluate", "prerank.batch_size=3", r"read by prerank\.fit"),
        ("prerank.tune", "compare.seeds=3", r"read by prerank\.compare, not"),
        ("prerank.compare", "prerank.threads=2", r"read by prerank\.fit .*, not by prerank\.compare"),
        ("prerank.mechanisms", "data.path=/x", r"not by prerank\.mechanisms"),
        ("prerank.ab", "model=ple", r"not by prerank\.ab"),
        ("index.audit", "model.dimension=3", r"read by prerank\.fit"),
        ("index.serve", "run=one", r"^run is read by pretrain\.run"),
        ("index.trends", "experiment=paper", r"^experiment is read by"),
    ],
)
def test_a_key_that_is_not_read_is_refused_with_where_it_belongs(tmp_path, name, argument, message):
    with pytest.raises(InputError, match=message):
        told(name, tmp_path, argument)


@pytest.mark.parametrize(
    ("name", "argument", "key"),
    [
        ("pretrain.run", "prerank.patience=3", "prerank.patience"),
        ("pretrain.run", "model=ple", "model.name"),
        ("pretrain.run", "evaluation.recall_at=[5]", "evaluation.recall_at"),
        ("graph.build", "pretrain.dimension=8", "pretrain.dimension"),
        ("graph.check", "prerank.max_epochs=1", "prerank.max_epochs"),
    ],
)
def test_a_key_of_a_command_that_comes_after_is_passed_over_and_said(tmp_path, capsys, name, argument, key):
    invocation = told(name, tmp_path, argument)
    assert f"passed over what {name} does not read: {key}\n" in capsys.readouterr().out
    assert key not in invocation.asked
    invocation.save(tmp_path / "saved.yaml")
    section, name_in_it = key.split(".")
    assert name_in_it not in yaml.safe_load((tmp_path / "saved.yaml").read_text()).get(section, {})


def test_what_a_fitted_system_holds_may_be_repeated(run):
    fitted = told("prerank.fit", run, "prerank.max_epochs=1", "model.dimension=5")
    fitted.save(fitted.run.system("grace") / "config.yaml")
    assert told("index.audit", run, "prerank.max_epochs=1").config.model.name == "grace"
    with pytest.raises(InputError, match=re.escape("run=one holds prerank.max_epochs=1, asked for 2: index.audit")):
        told("index.audit", run, "prerank.max_epochs=2")
    with pytest.raises(InputError, match=r"prerank\.max_epochs is read by prerank\.fit"):
        told("index.audit", run, "model=ple", "prerank.max_epochs=1")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (
            "graph.degree_cap=3",
            "run=one holds graph.degree_cap=7, asked for 3: prerank.fit works on what the run holds",
        ),
        ("data=trivago", "run=one holds data.name=contract, asked for trivago"),
        ("data.path=/other", "run=one holds data.path=/log, asked for /other"),
        ("pretrain.dimension=16", "run=one holds pretrain.dimension=8, asked for 16"),
        ("backend=dgl", "run=one holds backend=pyg, asked for dgl"),
        ("engine=spark", "run=one holds engine=duckdb, asked for spark"),
    ],
)
def test_what_a_run_holds_is_not_told_to_a_fit(run, argument, message):
    with pytest.raises(InputError, match=re.escape(message)):
        told("prerank.fit", run, argument)


def test_what_a_run_holds_may_be_repeated(run):
    repeated = ("data=contract", "data.path=/log", "graph.degree_cap=7", "pretrain.dimension=8", "backend=pyg")
    invocation = told("prerank.fit", run, *repeated, "seed=4", "data.cutoffs=[3,5]")
    config = invocation.config
    assert (config.data.path, config.graph.degree_cap, config.pretrain.dimension) == ("/log", 7, 8)
    assert (config.seed, config.data.cutoffs) == (4, [3, 5])
    assert invocation.asked == {"runs_folder", "run", "seed", "data.cutoffs"}


def test_a_new_log_is_told_to_an_evaluation(run):
    config = told("prerank.evaluate", run, "data=contract", "data.path=/tomorrow").config
    assert config.data.path == "/tomorrow"
    with pytest.raises(InputError, match=re.escape("holds data.cutoffs=[10, 30, 50, 100], asked for [3]")):
        told("prerank.evaluate", run, "data.cutoffs=[3]")


def test_a_file_of_the_user_is_as_strict_as_the_command_line(run, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("prerank: {patience: 3}\nindex: {queries: 5}\n")
    with pytest.raises(InputError, match=r"mine\.yaml: index\.queries is read by index\.audit, not by prerank\.fit"):
        told("prerank.fit", run, f"--config={file}")
    file.write_text("prerank: {patience: 3}\ngraph: {degree_cap: 5}\n")
    with pytest.raises(InputError, match=r"mine\.yaml: run=one holds graph\.degree_cap=7, asked for 5"):
        told("prerank.fit", run, f"--config={file}")


def test_a_saved_configuration_is_read_by_other_commands(run, capsys):
    saved = told("prerank.fit", run, "model=ple", "model.dimension=5", "prerank.patience=3")
    saved.save(run / "fit.yaml")
    file = f"--config={run / 'fit.yaml'}"
    again = told("prerank.fit", run, file).config
    assert (again.model.name, again.model.dimension, again.prerank.patience) == ("ple", 5, 3)
    assert capsys.readouterr().out == ""

    first = told("pretrain.run", run, file, "run=two")
    assert (first.config.data.path, first.config.graph.degree_cap, first.config.pretrain.dimension) == ("/log", 7, 8)
    assert first.config.model.name == "grace"
    assert "does not read: name, model, prerank, evaluation\n" in capsys.readouterr().out.replace(f"{run}", "")

    other = told("pretrain.run", run, "run=two", "graph.degree_cap=9")
    other.save(other.run.config)
    with pytest.raises(InputError, match=r"run=two holds data\.name=marketplace, asked for contract"):
        told("prerank.fit", run, file, "run=two")


def test_the_file_of_a_search_is_read_by_a_fit(run):
    best = CONFIGS / "tuned" / "laboratory" / "grace" / "best.yaml"
    assert told("prerank.fit", run, "--config", str(best)).config.model.rank.weight == 0.1


def test_an_experiment_is_applied_where_it_is_read(tmp_path):
    first = told("pretrain.run", tmp_path, "experiment=laboratory")
    assert (first.config.data.world, first.config.pretrain.max_epochs) == ("laboratory", 10)
    assert first.config.prerank.max_epochs == 5
    first.save(first.run.config)
    fit = told("prerank.fit", tmp_path, "experiment=laboratory").config
    assert (fit.data.world, fit.pretrain.max_epochs, fit.prerank.max_epochs) == ("laboratory", 10, 3)


def test_an_experiment_passes_over_what_the_run_was_told(tmp_path):
    first = told("pretrain.run", tmp_path, "experiment=laboratory", "pretrain.max_epochs=2")
    first.save(first.run.config)
    fit = told("prerank.fit", tmp_path, "experiment=laboratory").config
    assert (fit.pretrain.max_epochs, fit.prerank.max_epochs) == (2, 3)


def test_an_experiment_on_other_data_is_refused(run):
    with pytest.raises(InputError, match=r"experiment=laboratory: run=one holds data\.world=default, asked for lab"):
        told("prerank.fit", run, "experiment=laboratory")


def saved_keys(invocation: Invocation) -> dict[str, object]:
    path = invocation.run.root / "saved.yaml"
    invocation.save(path)
    content: dict[str, object] = yaml.safe_load(path.read_text())
    return content


def test_a_saved_configuration_holds_what_was_used(run):
    pretrained = saved_keys(told("pretrain.run", run, "experiment=paper"))
    assert {"data", "graph", "pretrain", "seed", "backend", "engine", "experiment"} < pretrained.keys()
    assert pretrained["evaluation"] == {"draws": 1000, "confidence": 0.95}
    assert not {"model", "prerank", "tune", "index"} & pretrained.keys()
    fitted = saved_keys(told("prerank.fit", run))
    assert {"data", "graph", "pretrain", "seed", "model", "prerank", "evaluation"} < fitted.keys()
    assert not {"tune", "compare", "index"} & fitted.keys()
    assert "threads" not in saved_keys(told("prerank.compare", run))["prerank"]  # type: ignore[operator]


def test_permission_to_overwrite_is_given_once(run):
    assert "overwrite" not in saved_keys(told("pretrain.run", run, "overwrite=true"))


def test_a_near_key_of_the_command_is_suggested(tmp_path):
    for name, key in (("pretrain.run", "pretrain.batch_size"), ("prerank.fit", "prerank.batch_size")):
        with pytest.raises(InputError, match=f"unknown key 'batch_size': did you mean '{key}'"):
            told(name, tmp_path, "batch_size=3")
    with pytest.raises(InputError, match=r"did you mean 'graph\.degree_cap'"):
        told("prerank.fit", tmp_path, "grap.degree_cap=3")


def test_help_shows_what_the_command_reads(capsys):
    assert main("prerank.fit", ["--help"]) == 0
    printed = capsys.readouterr().out
    assert "prerank.batch_size=1024  (int, above 0)\n      rows a step" in printed
    assert "data.split.by=auto" not in printed
    assert "graph.half_life_days" not in printed
    assert "model= one of: cold" in printed
    assert "data= one of" not in printed
    assert main("pretrain.run", ["--help"]) == 0
    printed = capsys.readouterr().out
    assert "graph.half_life_days=14.0  (float, above 0)\n      days after which" in printed
    assert "data= one of: aliccp" in printed
    assert "model= one of" not in printed


@pytest.mark.parametrize("arguments", [["--help", "all"], ["--help=all"]])
def test_help_shows_the_rest_when_asked(capsys, arguments):
    assert main("prerank.fit", arguments) == 0
    own, others = capsys.readouterr().out.split("Read by other commands only:")
    assert "prerank.batch_size=" in own
    assert "prerank.batch_size=" not in others
    assert "graph.half_life_days=" in others
    spelt = {"from_run": "from"}  # as it is written on a command line
    assert all(f"  {spelt.get(key, key)}=" in own + others for key in names())


HEAVY = ("torch", "sklearn", "pyarrow", "numpy", "scipy", "duckdb", "lightgbm")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_answers_before_anything_heavy_is_loaded(name):
    program = (
        f"import runpy, sys, time\nsys.argv = ['{name}', '--help']\n"
        f"try:\n    runpy.run_module('{name}', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        f"print([name for name in {HEAVY} if name in sys.modules], time.process_time() < 1, file=sys.stderr)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert ended.stderr == "[] True\n"
    assert COMMANDS[name].purpose in ended.stdout


@pytest.mark.parametrize(
    ("name", "missing", "extra"),
    [("prerank.fit", "torch", "train"), ("pretrain.run", "duckdb", "train"), ("index.audit", "faiss", "cpu")],
)
def test_a_command_without_its_extra_names_it_in_one_line(tmp_path, name, missing, extra):
    program = (
        f"import runpy, sys\nsys.modules['{missing}'] = None\nsys.argv = ['{name}', 'runs_folder={tmp_path}']\n"
        f"runpy.run_module('{name}', run_name='__main__', alter_sys=True)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert re.fullmatch(
        rf"error: python -m {name} needs the package {missing}, .* install the extra \[{extra}\], .*\n", ended.stderr
    )


def test_a_defect_of_ours_is_no_missing_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "index.trends.command", None)
    with pytest.raises(ModuleNotFoundError):
        COMMANDS["index.trends"].load()


def test_version(capsys):
    assert main("index.serve", ["--version"]) == 0
    assert re.fullmatch(r"grace-prerank \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_version_of_a_clone_that_is_not_installed(monkeypatch, capsys):
    monkeypatch.setattr("configs.manual.PACKAGE", "not-installed")
    assert main("index.serve", ["--version"]) == 0
    declared = re.search(r'^version = "(.*)"$', (REPOSITORY / "pyproject.toml").read_text(), re.M)
    assert declared is not None
    assert capsys.readouterr().out == f"not-installed {declared[1]}\n"


def test_the_command_itself_refuses_a_foreign_key(tmp_path, capsys):
    assert main("prerank.fit", [f"runs_folder={tmp_path}", "graph.degree_cap=3"]) == 2
    assert "error: graph.degree_cap is read by pretrain.run" in capsys.readouterr().err
    assert main("index.audit", [f"runs_folder={tmp_path}", "a=x", "trends.runs=[b]"]) == 2
    assert "error: trends.runs is read by index.trends, not by index.audit" in capsys.readouterr().err
