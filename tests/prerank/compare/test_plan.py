"""What a comparison is asked for: its plan, tuned keys, and the command line of each fit."""

from __future__ import annotations

import pytest
import yaml

from configs.command import parse, save
from configs.commands import COMMANDS
from configs.errors import InputError
from configs.stages import write_json
from prerank.compare.comparison import compare_systems
from prerank.compare.jobs import passed_over, plan_comparison
from prerank.compare.plan import compared_data, read_plan
from prerank.compare.tuned import TunedKeys, read_tuned, tuning_warnings, tuning_words
from prerank.experiment.progress import ExperimentProgress

SYSTEMS = "compare.systems=[ple,grace]"


@pytest.fixture
def ask(tmp_path):
    return lambda *overrides: parse([f"runs_folder={tmp_path}", "run=c", SYSTEMS, "compare.seeds=2", *overrides])


@pytest.fixture
def planned(ask, tmp_path):
    return lambda *overrides: plan_comparison(ask(*overrides), tmp_path / "c" / "compare")


def write(path, content):
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def entry(**arguments):
    return {"market": {"title": "A market", "arguments": {"data": "marketplace", "data.world": "tiny", **arguments}}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "names no data"),
        ("- a\n- b\n", "must hold names and values"),
        ("a: [", "not readable YAML"),
        ({"A market": {}}, "small letters"),
        ({"../up": {}}, "small letters"),
        ({"a": {"title": "t", "argumets": {}}}, "did you mean 'arguments'"),
        ({"a": {"title": "t"}}, "arguments is missing"),
        ({"a": {"title": " ", "arguments": {"data": "trivago"}}}, "title must be text"),
        ({"a": {"title": "t", "arguments": {"data.path": "x"}}}, "expected data"),
        (entry(model="ple"), "leave it out"),
        (entry(seed=3), "leave it out"),
        (entry(run="x"), "leave it out"),
        (entry(**{"compare.seeds": 9}), "leave it out"),
    ],
)
def test_a_plan_is_checked(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        read_plan(write(tmp_path / "plan.yaml", content))


def test_a_plan_that_does_not_exist(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_plan(tmp_path / "none.yaml")


def test_values_of_a_plan_are_checked_before_anything_is_fitted(planned, tmp_path):
    path = write(tmp_path / "plan.yaml", entry(**{"prerank.max_epoch": 3}))
    with pytest.raises(InputError, match=r"did you mean 'prerank\.max_epochs'"):
        planned(f"compare.plan={path}")


def test_without_a_plan_the_data_are_the_command_lines(ask):
    (market,) = compared_data(ask("data.world=tiny", "prerank.max_epochs=3"))
    assert (market.name, market.title) == ("marketplace_tiny", "marketplace, world tiny")
    assert market.arguments == ("data=marketplace", 'data.world="tiny"', "prerank.max_epochs=3")
    (log,) = compared_data(ask("data=trivago", "data.path=/x y/log.parquet"))
    assert log.arguments == ("data=trivago", 'data.path="/x y/log.parquet"')


def test_the_command_line_goes_over_the_plan(ask, tmp_path):
    path = write(tmp_path / "plan.yaml", entry(**{"prerank.max_epochs": 7, "graph.degree_cap": 5}))
    (market,) = compared_data(ask(f"compare.plan={path}", "prerank.max_epochs=3"))
    assert sorted(market.arguments[1:]) == ['data.world="tiny"', "graph.degree_cap=5", "prerank.max_epochs=3"]
    with pytest.raises(InputError, match="names the data"):
        compared_data(ask(f"compare.plan={path}", "data.world=default"))


def test_what_a_fit_is_told(planned, tmp_path):
    made = planned("data.world=tiny", "seed=4", "prerank.batch_size=64", "prerank.threads=8", "evaluation.seed=9")
    (data,) = made.data
    assert data.market
    assert list(data.fits) == ["ple", "grace"]
    fit = data.fits["grace"][5]
    request = parse(fit.arguments, remember=False)
    config = request.config
    assert request.run.root == fit.place.root == tmp_path / "c" / "compare" / "marketplace_tiny" / "seed-5"
    assert (config.seed, config.model.name, config.data.world) == (5, "grace", "tiny")
    assert (config.prerank.batch_size, config.prerank.threads, config.pretrain.threads) == (64, 1, 1)
    assert (config.evaluation.draws, config.evaluation.seed) == (200, 9)
    assert [(job.seed, [f.system for f in job.fits]) for job in made.jobs] == [(s, ["ple", "grace"]) for s in (4, 5)]


def test_a_key_of_one_system_goes_to_the_fits_that_read_it(planned):
    data = planned("data.world=tiny", "model.rank.weight=0.7", "model.dimension=8").data[0]
    assert "model.rank.weight=0.7" in data.fits["grace"][0].arguments
    assert not any(text.startswith("model.rank.weight") for text in data.fits["ple"][0].arguments)
    assert all("model.dimension=8" in data.fits[system][0].arguments for system in ("ple", "grace"))
    plain = planned("data.world=tiny", "model.dimension=8").data[0]
    assert data.fits["ple"][0].configuration == plain.fits["ple"][0].configuration


def test_a_key_that_not_every_system_reads_is_told_and_one_that_none_reads_is_refused(tmp_path, monkeypatch, capsys):
    def command(*overrides):
        asked = (f"runs_folder={tmp_path}", "run=c", SYSTEMS, "compare.seeds=1", *overrides)
        return parse(asked, command=COMMANDS["prerank.compare"])

    asked = command("model.rank.weight=0.7", "model.dimension=8")
    assert [passed_over(system, asked) for system in ("ple", "grace")] == [["model.rank.weight"], []]
    monkeypatch.setattr(ExperimentProgress, "make_fits", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        compare_systems(asked)
    assert "ple does not read model.rank.weight: it is fitted without" in capsys.readouterr().out
    with pytest.raises(
        InputError, match=r"model\.lightgbm\.trees is read by none of compare\.systems \['ple', 'grace'\]"
    ):
        plan_comparison(command("model.lightgbm.trees=3", "model.dimension=8"), tmp_path)


def test_seeds_of_a_real_log_share_it_but_not_psi(planned, tmp_path):
    log = write(tmp_path / "log.parquet", "x")
    first = planned("data=trivago", f"data.path={log}")
    job = first.jobs[0]
    assert not first.data[0].market
    assert [donor.name for donor in job.donors] == ["seed-1"]
    assert job.shared == ("logs", "graph", "prerank/encoded")
    assert parse(job.fits[0].arguments, remember=False).config.evaluation.draws == 2000
    few = planned("data=trivago", f"data.path={log}", "evaluation.draws=50")
    assert parse(few.jobs[0].fits[0].arguments, remember=False).config.evaluation.draws == 50
    write(log, "other content")
    assert planned("data=trivago", f"data.path={log}").jobs[0].fits[0].configuration != job.fits[0].configuration


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("model=ple",), "leave model out"),
        (("compare.systems=[ple]",), "two or more different"),
        (("compare.systems=[ple,ple]",), "two or more different"),
        (("compare.systems=[ple,nothing]",), "two or more different"),
        (("compare.baseline=lightgbm",), "must be one of compare.systems"),
    ],
)
def test_refusals(planned, overrides, message):
    with pytest.raises(InputError, match=message):
        planned("data.world=tiny", *overrides)


def test_a_run_with_data_of_its_own_is_refused(ask, planned):
    request = ask()
    save(request.config, request.run.config)
    with pytest.raises(InputError, match="another name"):
        planned("data.world=tiny")


@pytest.fixture
def tuned_folder(tmp_path):
    folder = tmp_path / "tuned"
    for system, trials in (("ple", 6), ("grace", 8)):
        (folder / system).mkdir(parents=True)
        keys = {"prerank": {"learning_rate": 0.011}, "model": {"experts": {"hidden": [12]}, "rank": {"weight": 0.3}}}
        write(folder / system / "best.yaml", keys if system == "grace" else {"prerank": {"batch_size": 77}})
        if system == "ple":
            write_json(folder / system / "tune.json", {"trials": [{}] * trials})
    write_json(folder / "trials.json", {"grace": 8})
    return folder


def test_tuned_keys_arrive_in_that_systems_fits_alone(planned, tuned_folder):
    made = planned("data.world=tiny", f"compare.tuned={tuned_folder}", "prerank.learning_rate=0.5")
    fits = made.data[0].fits
    grace, ple = (parse(fits[system][0].arguments, remember=False).config for system in ("grace", "ple"))
    assert (grace.model.experts.hidden, grace.model.rank.weight, grace.prerank.batch_size) == ([12], 0.3, 1024)
    assert (ple.model.experts.hidden, ple.prerank.batch_size) == ([128, 64], 77)
    assert grace.prerank.learning_rate == ple.prerank.learning_rate == 0.5  # the command line's, for all alike
    assert made.overridden == ("prerank.learning_rate",)
    assert fits["ple"][0].configuration != planned("data.world=tiny").data[0].fits["ple"][0].configuration


def test_unequal_tuning_is_told(tuned_folder):
    tuned = read_tuned(str(tuned_folder), ["ple", "grace", "lightgbm", "popularity"])
    assert [tuning_words(each) for each in tuned.values()] == [
        "tuned, 6 trials", "tuned, 8 trials", "untuned", "untuned",
    ]  # fmt: skip
    warnings = tuning_warnings(tuned)
    assert "ple, grace tuned, lightgbm not" in warnings[0]  # popularity has nothing to tune
    assert "ple 6, grace 8" in warnings[1]
    assert tuning_warnings({"ple": TunedKeys(tuned=True, trials=6), "grace": TunedKeys(tuned=True, trials=6)}) == []
    assert "UNKNOWN TERMS" in tuning_warnings({"ple": TunedKeys(tuned=True)})[0]
    assert tuning_warnings(read_tuned(None, ["ple", "grace"])) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"data": {"world": "tiny"}}, "best.yaml: 'data' is unknown: there are model, prerank"),
        ("- a", "best.yaml must hold names and values"),
        ("a: [", "not readable"),
        ({"model": {"name": "dssm"}}, "is of model=dssm"),
    ],
)
def test_a_tuned_file_is_checked(tuned_folder, content, message):
    write(tuned_folder / "ple" / "best.yaml", content)
    with pytest.raises(InputError, match=message):
        read_tuned(str(tuned_folder), ["ple"])


def test_a_tuned_folder_of_other_systems(tmp_path):
    with pytest.raises(InputError, match=r"no SYSTEM/best\.yaml"):
        read_tuned(str(tmp_path), ["ple"])
