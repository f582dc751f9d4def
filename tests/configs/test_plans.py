"""Plans: a value is what its type says, or the message names the file, the place, what was expected and found."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

import pytest

from configs.errors import InputError
from configs.plans import EntryName, PlanPlace, checked, load_plan


class Colour(StrEnum):
    red = "red"
    null = "null"


def twice(value: Any, place: PlanPlace) -> int:
    return 2 * checked(int, value, place)


@dataclass(frozen=True)
class Entry:
    name: EntryName
    title: str
    from_: int = 0
    share: float = 0.5
    flag: bool = False


@dataclass(frozen=True)
class Garden:
    entries: Mapping[str, Entry]
    colours: Mapping[Colour, tuple[str, ...]] = field(default_factory=dict)
    doubled: Annotated[int, twice] = 0
    anything: Any = None


FULL = {
    "entries": {"first": {"title": "One", "from": 3, "share": 1, "flag": True}},
    "colours": {None: ["a", "b"]},
    "doubled": 4,
    "anything": {1: [2]},
}


def test_a_plan_is_read(tmp_path):
    (tmp_path / "plan.yaml").write_text(
        "entries: {first: {title: One, from: 3, share: 1, flag: true}}\ncolours: {null: [a, b]}\ndoubled: 4\n"
        "anything: {1: [2]}\n"
    )
    garden = load_plan(Garden, tmp_path / "plan.yaml", "some.key")
    assert garden == Garden({"first": Entry("first", "One", 3, 1.0, True)}, {Colour.null: ("a", "b")}, 8, {1: [2]})
    assert isinstance(garden.entries["first"].share, float)


def test_what_is_left_out_has_its_default_and_nothing_is_an_empty_mapping():
    assert checked(Garden, {"entries": None}, PlanPlace("f")) == Garden({})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"entrys": {}},
            "f: 'entrys' is unknown: did you mean 'entries'? There are entries, colours, doubled, anything",
        ),
        ({"xyz": 1}, "f: 'xyz' is unknown: there are entries, colours, doubled, anything"),
        ({"entries": [1]}, "f: entries must hold names and values, found [1]"),
        ({"entries": {2: {}}}, "f: entries must hold names and values, found {2: {}}"),
        ({"entries": {"First": {}}}, "f: entries.First: names are small letters, digits and _, a letter first"),
        ({"entries": {"a": {}}}, "f: entries.a: title is missing"),
        ({"entries": {"a": {"title": 3}}}, "f: entries.a.title must be text, found 3"),
        ({"entries": {"a": {"title": " "}}}, "f: entries.a.title must be text, found ' '"),
        ({"entries": {"a": {"title": "t", "name": "b"}}}, "f: entries.a: 'name' is unknown"),
        ({"entries": {"a": {"title": "t", "from": 1.5}}}, "f: entries.a.from must be a whole number, found 1.5"),
        ({"entries": {"a": {"title": "t", "from": True}}}, "f: entries.a.from must be a whole number, found True"),
        (
            {"entries": {"a": {"title": "t", "share": "1e-1"}}},
            "f: entries.a.share must be a finite number, found '1e",
        ),
        ({"entries": {"a": {"title": "t", "share": True}}}, "f: entries.a.share must be a finite number, found True"),
        ({"entries": {"a": {"title": "t", "share": float("nan")}}}, "f: entries.a.share must be a finite number"),
        ({"entries": {"a": {"title": "t", "flag": 1}}}, "f: entries.a.flag must be true or false, found 1"),
        ({"entries": {"a": {"title": "t", "flag": "no"}}}, "f: entries.a.flag must be true or false, found 'no'"),
        ({"colours": {"rad": []}}, "f: colours: 'rad' is unknown: did you mean 'red'?"),
        ({"colours": {"red": "a"}}, "f: colours.red must be a list, found 'a'"),
        ({"colours": {"red": ["a", 1]}}, "f: colours.red must be text, found 1"),
        ({"doubled": "x"}, "f: doubled must be a whole number, found 'x'"),
    ],
)
def test_a_slip_is_named(change, message):
    with pytest.raises(InputError, match=re.escape(message)):
        checked(Garden, {**FULL, **change}, PlanPlace("f"))


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"some\.key: .*nowhere\.yaml does not exist"):
        load_plan(Garden, tmp_path / "nowhere.yaml", "some.key")
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(InputError, match=r"broken\.yaml is not readable YAML: "):
        load_plan(Garden, tmp_path / "broken.yaml", "some.key")
