"""The schema states every key once, with its meaning; every value of it is asked for somewhere."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from enum import StrEnum

import pytest

import configs.schema as schema
from configs.command import parse
from configs.errors import InputError
from configs.options import names, options, suggestion, within

SECTIONS = [each for each in vars(schema).values() if isinstance(each, type) and is_dataclass(each)]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_key_has_a_meaning(section):
    assert section.__doc__
    for entry in fields(section):
        assert re.search(r"[^.]$", entry.metadata["help"]), entry.name


@pytest.mark.parametrize(
    "kind",
    [each for each in vars(schema).values() if isinstance(each, type) and issubclass(each, StrEnum)],
    ids=lambda kind: kind.__name__,
)
def test_names_of_choices_are_their_values(kind):
    assert [member.name for member in kind] == [member.value for member in kind], "OmegaConf reads names, YAML values"


def test_mutable_defaults_are_not_shared():
    first, second = schema.Config(), schema.Config()
    first.data.cutoffs.append(7)
    first.model.item.hidden.append(7)
    assert second.data.cutoffs == [10, 30, 50, 100]
    assert second.model.item.hidden == [64]


def test_options_are_the_leaves_of_the_schema():
    assert len(set(names())) == len(names())
    by_name = {option.name: option for option in options()}
    assert by_name["data.split.by"].kind == "auto|day|session"
    assert by_name["data.split.by"].default == "auto"
    assert by_name["data.features"].kind == "list[FeatureConfig]"
    assert by_name["evaluation.confidence"].limits == "above 0 and below 1"
    assert by_name["serve.port"].limits == "at least 0 and at most 65535"
    assert by_name["run"].limits == ""


def test_a_removed_key_is_unknown(tmp_path):
    with pytest.raises(InputError, match=r"unknown key 'model\.contrast\.on'"):
        parse([f"runs_folder={tmp_path}", "model.contrast.on=clicked"])


def test_within_knows_whole_names_only():
    assert within("model.item", ("model.item",))
    assert within("model.item.hidden", ("model",))
    assert not within("model.items", ("model.item",))
    assert not within("model", ("model.item",))


def test_a_key_without_its_section_is_found():
    for last in (name.rsplit(".", 1)[-1] for name in names()):
        assert f"{last}'?" in suggestion(last, names())


def test_nothing_is_suggested_for_nonsense():
    assert suggestion("qqqqqqqqqqqq", names()) == ""
