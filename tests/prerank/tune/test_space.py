"""What is searched: our file covers every system within the configuration's ranges; a bad one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from configs.command import CONFIGS, parse
from configs.errors import InputError
from configs.schema import Config
from prerank import systems
from prerank.tune.report import nested
from prerank.tune.space import (
    NOT_TUNED,
    SPACES,
    Choices,
    Range,
    configured,
    leaves,
    read_space,
    with_values,
)

SYSTEMS = sorted(path.stem for path in (CONFIGS / "model").glob("*.yaml"))
NEURAL = ("prerank.learning_rate", "model.experts.dropout")
RATE = {"prerank.learning_rate": {"low": 0.01, "high": 0.1}}


@pytest.fixture
def write(tmp_path: Path):
    """Writes a file of spaces."""

    def make(content: object) -> Path:
        path = tmp_path / "spaces.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return path

    return make


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_shipped_space_of_a_system(system):
    """Its ends lie within the configuration's ranges, or reading it would have failed (below)."""
    space = read_space(SPACES, system)
    config = parse([f"model={system}"]).config
    assert len(space) <= 5
    assert list(configured(config, space)) == list(space)  # what is configured lies within
    assert all((key in space) == ("prerank" in systems.find(config.model).KEYS) for key in NEURAL)


def test_only_the_systems_own_part_differs():
    spaces = {system: read_space(SPACES, system) for system in ("popularity", "lightgbm", "grace", "copr")}
    assert spaces["popularity"] == {}
    assert all(key.startswith("model.lightgbm.") for key in spaces["lightgbm"])
    assert list(spaces["grace"]) == [
        *NEURAL,
        "model.rank.weight",
        "model.contrast.weight",
        "model.contrast.temperature",
    ]
    assert spaces["grace"]["model.rank.weight"] == Range(0.03, 3, log=True)
    assert spaces["copr"]["model.copr.chunk"] == Range(2, 10, integer=True)


def test_only_the_given_values_change():
    values = {"prerank.learning_rate": 0.1, "model.copr.chunk": 10}
    config = Config()
    assert dict(leaves(with_values(config, values))) == {**dict(leaves(config)), **values}
    assert config == Config()


def test_choices_and_defaults(write):
    path = write({"systems": {"din": {"model.din.pooling": {"choices": ["attention", "sdim"]}}}})
    space = read_space(path, "din")
    assert space == {"model.din.pooling": Choices(("attention", "sdim"))}
    assert configured(Config(), space) == {"model.din.pooling": "attention"}
    assert with_values(Config(), {"model.din.pooling": "sdim"}).model.din.pooling == "sdim"
    assert read_space(write(""), "din") == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- 1", "must hold names and values"),
        ("a: [", "not readable YAML"),
        ({"sytems": {}}, "'sytems' is unknown: did you mean 'systems'"),
        ({"systems": {"grase": {}}}, r"systems: 'grase' is unknown: did you mean 'grace'"),
        ({"systems": {"ple": {"keys": RATE}}}, r"systems.ple: 'keys' is unknown"),
        ({"systems": {"ple": {"model.copr.chnk": {}}}}, r"systems.ple: 'model.copr.chnk' is unknown: did you mean"),
        ({"systems": {"ple": []}}, r"systems.ple must hold names and values, found \[\]"),
        ({"common": {"prerank.learning_rat": {}}}, "common: 'prerank.learning_rat' is unknown: did you mean"),
        ({"common": {"data.cutoffs": {}}}, "common: 'data.cutoffs' is unknown"),
        ({"common": {"prerank.threads": {}}}, "common: 'prerank.threads' is unknown"),
        ({"common": {"model.name": {}}}, "common: 'model.name' is unknown"),
        ({"common": RATE, "systems": {"ple": RATE}}, "prerank.learning_rate is searched by all systems"),
    ],
)
def test_a_file_that_cannot_be_used(write, content, message):
    with pytest.raises(InputError, match=message):
        read_space(write(content), "ple")


@pytest.mark.parametrize(
    ("key", "entry", "message"),
    [
        ("prerank.learning_rate", {"low": 0.1, "hi": 1}, "'hi' is unknown: did you mean 'high'"),
        ("prerank.learning_rate", {"low": 0.1}, "learning_rate: high is missing"),
        ("prerank.learning_rate", {"low": 0.1, "high": "1e-1"}, "high must be a finite number, found '1e-1'"),
        ("prerank.learning_rate", {"low": 0.1, "high": float("inf")}, "finite"),
        ("prerank.learning_rate", {"low": True, "high": 2}, "low must be a finite number, found True"),
        ("prerank.learning_rate", {"low": 0.1, "high": 0.1}, "low must be below high, found 0.1 and 0.1"),
        ("prerank.learning_rate", {"low": 0, "high": 0.1, "log": True}, "a logarithmic range begins above 0"),
        ("prerank.learning_rate", {"low": 0, "high": 0.1}, "prerank.learning_rate must be above 0, found 0"),
        ("prerank.learning_rate", {"low": 0.1, "high": 0.2, "log": 1}, "log must be true or false"),
        ("prerank.learning_rate", {"choices": [0.1], "low": 0.1}, "choices stand alone"),
        ("prerank.learning_rate", {"choices": [0.1]}, "two or more different plain values"),
        ("prerank.learning_rate", {"choices": [0.1, 0.1]}, "two or more different plain values"),
        ("prerank.learning_rate", {"choices": [0.1, [0.2]]}, "two or more different plain values"),
        ("prerank.learning_rate", {"choices": [0.1, -0.2]}, "prerank.learning_rate must be above 0, found -0.2"),
        ("model.experts.dropout", {"low": 0, "high": 1.5}, "model.experts.dropout must be from 0 to 1"),
        ("model.copr.chunk", {"low": 2, "high": 5}, "takes whole numbers: add integer: true"),
        ("model.copr.chunk", {"low": 2, "high": 5.5, "integer": True}, "needs whole numbers, found 2 and 5.5"),
        ("model.din.pooling", {"low": 2, "high": 5}, r"is no number \(its default is 'attention'\): give choices"),
        ("model.din.pooling", {"choices": ["attention", "sum"]}, r"spaces.yaml: common.model.din.pooling: .*sum"),
        ("model.item.use_hash_id", {"low": 0, "high": 1}, "is no number"),
    ],
)
def test_an_entry_that_is_none(write, key, entry, message):
    with pytest.raises(InputError, match=message) as raised:
        read_space(write({"common": {key: entry}}), "ple")
    assert f"spaces.yaml: common.{key}" in str(raised.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"tune.space: .*none.yaml does not exist"):
        read_space(tmp_path / "none.yaml", "ple")


def test_a_system_without_an_entry_has_the_common_keys_that_it_reads(write):
    path = write({"common": RATE, "systems": {"grace": {"model.rank.weight": {"low": 0.1, "high": 1}}}})
    assert read_space(path, "ple") == {"prerank.learning_rate": Range(0.01, 0.1)}
    assert read_space(path, "lightgbm") == {}
    assert list(read_space(path, "grace")) == ["prerank.learning_rate", "model.rank.weight"]


def test_what_is_configured_must_lie_within():
    config = parse(["model=ple", "prerank.learning_rate=0.5"]).config
    with pytest.raises(InputError, match=r"prerank.learning_rate=0.5 is configured, .* searched in 0.003 to 0.1"):
        configured(config, read_space(SPACES, "ple"))


@pytest.mark.parametrize(
    ("searched", "value", "beyond"),
    [
        (Range(0.0, 1.0), 0.5, None),
        (Range(0.0, 1.0), 0.01, -0.02),
        (Range(0.0, 1.0), 0.99, 1.02),
        (Range(1.0, 100.0, log=True), 10.0, None),
        (Range(1.0, 100.0, log=True), 1.01, 100**-0.02),
        (Range(1.0, 100.0, log=True), 99.0, 100**1.02),
        (Range(2, 10, integer=True), 2, 1),
        (Range(2, 10, integer=True), 10, 11),
        (Range(2, 10, integer=True), 3, None),
        (Choices((1, 2)), 1, None),
    ],
)
def test_the_edge_of_a_range(searched, value, beyond):
    assert searched.beyond(value) == (None if beyond is None else pytest.approx(beyond))


def test_what_is_never_searched():
    assert not set(NOT_TUNED) & set(dict(leaves(Config())))


def test_nested_keys():
    values = {"model.rank.weight": 1.0, "prerank.learning_rate": 0.1, "model.contrast.weight": 2.0}
    assert nested(values) == {
        "model": {"rank": {"weight": 1.0}, "contrast": {"weight": 2.0}},
        "prerank": {"learning_rate": 0.1},
    }
