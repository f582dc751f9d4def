"""The page: complete, closed, and deaf to what titles try to say."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.audit.auditing import audit
from index.report import verdict
from index.report.figures import typed
from index.report.page import render, write_report
from index.report.verdict import findings
from prerank.pages.numbers import percent
from tests.prerank.pages.elements import PageElements

World = Any
"""See conftest.py, which cannot be imported by name."""
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7*7 }}\u2028"


@pytest.fixture
def made(world: World, audited: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A copy of one audit's figures and browser data, for a test to spoil."""
    if not audited:
        audit(world.request)
        audited |= json.loads((world.run.reports / "embeddings.json").read_text())
    return copy.deepcopy((audited["audit"], audited["browser"]))


@pytest.fixture(scope="module")
def audited() -> dict[str, Any]:
    """Filled by the first test that asks for it."""
    return {}


def test_the_page_is_one_file_that_asks_for_nothing(made: Any) -> None:
    page = render(*made)
    assert not re.search(r"(?: src=|href=|url\(|@import|fetch\(|XMLHttpRequest)", page)
    namespace = "http://www.w3.org/2000/svg"
    assert "http" not in page.replace("http-equiv", "").replace(namespace, "")
    assert len(page.encode()) < 5_000_000


def test_every_figure_of_the_audit_is_in_the_table(made: Any) -> None:
    found, browser = made
    page = render(found, browser)
    for section in (found["overlap"], found["purity"]["phi"], found["geometry"]["phi"], found["cold_start"]["figures"]):
        for name in section:
            if not name.endswith("_chance"):
                assert f"</span> {name}</th>" in page


def test_a_difference_of_shares_is_said_in_points(made: Any) -> None:
    found, browser = made
    found["overlap"]["overlap@5_less_attributes"] = {"value": -0.0123, "low": -0.02, "high": 0.01, "n": 300}
    row = re.search(r"overlap@5_less_attributes</th>(.*?)</tr>", render(found, browser))
    assert row
    assert "−1.23 points" in row[1]
    assert "−2.00 points to +1.00 points" in row[1]
    assert "%" not in row[1]


def hostile(value: Any) -> Any:
    """Every string of a structure replaced by a hostile one, keys and the names of attributes included."""
    if isinstance(value, dict):
        return {name: hostile(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [hostile(entry) for entry in value]
    return HOSTILE if isinstance(value, str) else value


def test_nothing_can_be_injected_through_any_field(made: Any) -> None:
    found, browser = copy.deepcopy(made)
    honest = PageElements(render(found, browser))
    attribute = found["main_attribute"]
    renamed = json.loads(json.dumps(found).replace(f'"{attribute}', json.dumps(HOSTILE)[:-1]))
    renamed |= dict.fromkeys(("run", "system", "device", "catalogue", "seed", "draws"), HOSTILE)
    attacked = PageElements(render(renamed, hostile(browser)))
    assert attacked.tags == honest.tags
    assert "onerror" not in attacked.attributes
    assert len(attacked.scripts) == len(honest.scripts) == 2
    assert json.loads(attacked.scripts[0])["items"][0][1] == HOSTILE
    assert attacked.scripts[1] == honest.scripts[1]


def test_hostile_titles_come_through_the_whole_audit(
    world: World, build_world: Any, no_cold_start: dict[str, Any]
) -> None:
    hostile_world = build_world(world.run.root.parent / "hostile", lambda row: f"{row}{HOSTILE}")
    assert no_cold_start["held_out"] == 0
    audit(hostile_world.request)
    page = (hostile_world.run.reports / "embeddings.html").read_text()
    tags = PageElements(page)
    assert len(tags.scripts) == 2
    assert "img" not in tags.tags
    assert json.loads(tags.scripts[0])["items"][0][1].endswith(HOSTILE)


def test_undefined_figures_and_no_attributes_still_make_a_page(
    made: Any, no_cold_start: dict[str, Any], tmp_path: Path
) -> None:
    found, browser = made
    for name in list(found["overlap"]):
        if "attributes" in name:
            del found["overlap"][name]
    found |= {"main_attribute": None, "purity": {"psi": {}, "phi": {}, "phi_outside_p": {}}}
    found["cold_start"] = no_cold_start
    del found["curve"], found["collisions"]
    found["popularity"] = [{"items": 1, "fewest_impressions": 0, "most_impressions": 0}]
    page = write_report(tmp_path, found, {"items": [], "shown": []}).read_text()
    assert "undefined" in page
    assert page.count("Not measured by this audit") == 2
    found["cold_start"] = None
    page = write_report(tmp_path, found, {"items": [], "shown": []}).read_text()
    assert page.count("Not measured by this audit") == 3
    assert "Generalisation was not measured" in page
    assert json.loads((tmp_path / "embeddings.json").read_text())["audit"] == found
    assert browser["shown"]


def test_the_audit_of_another_system_stays_under_its_name(made: Any, tmp_path: Path) -> None:
    found, browser = made
    for system in ("grace", "dssm", "dssm", "grace"):
        write_report(tmp_path, found | {"system": system}, browser)
        assert f"system <b>{system}</b>" in (tmp_path / "embeddings.html").read_text()
    assert sorted(path.name for path in tmp_path.glob("embeddings*")) == [
        "embeddings-dssm.html", "embeddings-dssm.json", "embeddings.html", "embeddings.json",
    ]  # fmt: skip
    assert "system <b>dssm</b>" in (tmp_path / "embeddings-dssm.html").read_text()


def figure(value: float, reach: float = 0.01) -> dict[str, Any]:
    return {"value": value, "low": value - reach, "high": value + reach, "n": 100}


@pytest.mark.parametrize(
    ("overlap", "gain", "state"),
    [(0.5, 0.2, "good"), (0.5, 0.0, "mixed"), (0.5, -0.2, "mixed"), (0.02, -0.2, "bad"), (0.2, 0.1, "mixed")],
)
def test_the_verdict_says_no_more_than_the_intervals(made: Any, overlap: float, gain: float, state: str) -> None:
    found, _ = made
    found["overlap"] |= {
        "overlap@5": figure(overlap),
        "overlap@5_chance": {**figure(0.015), "low": None, "high": None},
        "overlap@5_less_attributes": figure(gain),
    }
    found["cold_start"]["figures"]["retrained_psi/overlap@5"] = figure(0.7)
    assert findings(typed(found))[0].state == state


@pytest.mark.parametrize(("gap", "state"), [(0.1, "good"), (0.0, "mixed"), (-0.1, "mixed")])
def test_the_cold_start_verdict_names_what_is_simpler_and_better(made: Any, gap: float, state: str) -> None:
    found, _ = made
    figures = found["cold_start"]["figures"]
    figures |= {"student_infonce/overlap@5": figure(0.4), "retrained_psi/overlap@5": figure(0.7)}
    for name in figures:
        if name.startswith("student_infonce_minus_"):
            figures[name] = figure(gap)
    finding = findings(typed(found))[1]
    assert finding.state == state
    assert {"good": "better than", "mixed": "level with" if gap == 0 else "worse than"}[state] in finding.sentence


def test_attributes_alone_count_as_something_simpler():
    """An item network without ids is simpler: where it finds more, the verdict must not claim the better of all."""
    figure = lambda value, low, high: {"value": value, "low": low, "high": high, "n": 900}  # noqa: E731
    figures = {
        "student_infonce/overlap@10": figure(0.10, 0.09, 0.11),
        "student_attributes_only/overlap@10": figure(0.12, 0.11, 0.13),
        "student_infonce_minus_student_attributes_only/overlap@10": figure(-0.02, -0.03, -0.01),
        "overlap@10_chance": figure(0.01, None, None),
    }
    found = verdict._generalisation(typed({"cold_start": {"neighbours": [10], "figures": figures}}))
    assert (found.state, "something simpler does it better" in found.headline) == ("mixed", True)
    assert "worse than attributes only" in found.sentence


@given(
    value=st.floats(0, 1),
    reach=st.floats(0, 0.2),
    chance=st.floats(0, 1),
    level=st.floats(0, 1),
    n=st.sampled_from((2, 16, 99, 100, 2368)),
)
def test_neighbours_are_graded_between_chance_and_psi_on_enough_items(value, reach, chance, level, n):
    """2.9 % against 2.7 % by chance, with an interval above it, was called: neighbours belong together."""
    exact = {"low": None, "high": None, "n": n}
    own = {"brand@10": {"value": value, "low": value - reach, "high": value + reach, "n": n}}
    chances = {"brand@10_chance": {"value": chance, **exact}}
    audited = {
        "neighbours": [10],
        "main_attribute": "brand",
        "purity": {"phi_outside_p": own | chances, "psi": {"brand@10": {"value": level, **exact}}},
    }
    found = verdict._sense(typed(audited))
    above, way = value - reach > chance, (value - chance) / (level - chance) if level > chance else None
    expected = (
        "few" if n < 100
        else "bad" if not above or (way is not None and way < 0.1)
        else "mixed" if way is None or way < 0.5
        else "good"
    )  # fmt: skip
    assert found.state == expected
    assert (found.headline == "Neighbours of items without a ψ belong together") == (expected == "good")
    for words in (percent(value), percent(chance), percent(level), f"n {n:,}"):
        assert words in found.sentence
    assert ("% of the way" in found.sentence) == (way is not None)
    if way is not None:
        assert f"{100 * way:.0f}\N{NO-BREAK SPACE}% of the way" in found.sentence
        assert found.way == pytest.approx(way)
