"""A fit refuses the keys of other systems, which it would ignore."""

from __future__ import annotations

import pytest

from configs.command import parse
from configs.commands import COMMANDS
from configs.errors import InputError
from configs.layers import Layer, group_names, of_group
from configs.options import within
from prerank import systems
from prerank.fitting import refuse_unread

OF_EVERY_MODEL = ("model.name", "model.system", "model.fixed")


def told(*arguments: str) -> None:
    refuse_unread(parse(["runs_folder=/nowhere", *arguments], command=COMMANDS["prerank.fit"]))


def test_a_key_of_another_system_is_refused_with_whose_it_is():
    with pytest.raises(InputError, match=r"model\.copr\.weight is not read by model=grace, but by copr: leave it out"):
        told("model.copr.weight=1")
    with pytest.raises(InputError, match=r"model\.rank\.weight is not read by model=ple, but by grace, grace_no"):
        told("model=ple", "model.rank.weight=1")
    told("model=copr", "model.copr.weight=1")


def test_what_is_about_several_systems_is_not_refused():
    told("model=popularity", "prerank.max_epochs=1", "experiment=paper")
    refuse_unread(parse(["runs_folder=/nowhere", "model.copr.weight=1"]))


@pytest.mark.parametrize("name", group_names("model"))
def test_a_system_reads_what_its_file_says(name):
    stated = Layer(of_group("model", name)).keys
    assert [key for key in stated if not within(key, (*OF_EVERY_MODEL, *systems.named(name).KEYS))] == []
