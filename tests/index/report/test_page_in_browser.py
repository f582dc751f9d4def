"""The page as its readers use it, by mouse, keyboard, finger and printer, and as those do who attack it."""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from graph.store import Graph, stored_relations, write_relation
from index.audit import auditing as audit_module
from index.audit.auditing import audit
from index.report.neighbour_browser import LONGEST
from index.report.page import write_report
from prerank.pages.render import shortened

OpenPage = Callable[..., Any]
PAYLOADS = (
    "</script><script>window.hacked = 1</script>",
    '"><img src=x onerror="window.hacked = 2">',
    "'><svg onload=window.hacked=3>",
    "javascript:window.hacked=4",
    "${window.hacked = 5}{{ 7*7 }}{% raw %}",
    "<!--<script>\n\u2028\u2029\\\"'`",
    "__proto__",
    "\u202etxt.exe\u0000\r\n<b>",
)
REPEATED = 3


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    """Of one audit, made by the first test that asks for a page."""
    return {}


@pytest.fixture
def page_of(world: Any, content: dict[str, Any], no_cold_start: Any, monkeypatch: Any, tmp_path: Path) -> Any:
    """Writes the page of an audit whose graph pictures are drawn, after its figures and items were changed."""
    if not content:
        graph = _graph(world, tmp_path / "graph")
        monkeypatch.setattr(audit_module.Graph, "open", lambda _folder: graph)
        audit(world.request)
        content |= json.loads((world.run.reports / "embeddings.json").read_text())
        content["audit"]["cold_start"] = no_cold_start

    def write(change: Callable[[dict[str, Any]], dict[str, Any]] = lambda same: same) -> Path:
        changed = change(copy.deepcopy(content))
        return write_report(tmp_path / "reports", changed["audit"], changed["browser"])

    return write


def _graph(world: Any, folder: Path) -> Graph:
    """Every item has two queries, its brand, and the next item as co-engaged."""
    items = len(world.items)
    rows = np.arange(items)
    counts = {"item": items, "query": items + 1, "brand": 25}
    edges = {
        ("query", "engaged", "item"): (np.repeat(rows, 2), (rows[:, None] + [0, 1]).ravel()),
        ("brand", "brand_of", "item"): (rows, rows % 25),
        ("item", "co_engaged", "item"): (rows[:-1], rows[1:]),
    }
    for key, (targets, sources) in edges.items():
        weights = np.ones(len(targets), dtype=np.float32)
        write_relation(folder, key, counts, len(targets), [(targets, sources, weights)])
    graph = Graph(folder, "by hand", {"nodes": counts}, stored_relations(folder))
    keys = {name: pa.table({"key": [f"{name} {row}" for row in range(count)]}) for name, count in counts.items()}
    graph.nodes = keys.__getitem__  # type: ignore[method-assign]
    return graph


def names(page: Any, selector: str) -> list[str]:
    found: list[str] = page.locator(selector).all_inner_texts()
    return found


def centre_of(page: Any, selector: str) -> tuple[float, float]:
    box = page.locator(selector).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_the_verdict_comes_first_with_three_figures(page_of: Any, open_page: OpenPage) -> None:
    page = open_page(page_of())
    assert page.locator("h1").inner_text().count(".") == 3
    assert page.locator(".card .number").count() == 3
    assert page.locator(".card").first.bounding_box()["y"] < page.locator("figure").first.bounding_box()["y"]
    assert page.locator("figure svg[role=img]").count() >= 6


def test_an_item_is_found_by_keyboard_alone(page_of: Any, open_page: OpenPage) -> None:
    page = open_page(page_of())
    field = page.locator("#wanted")
    field.focus()
    page.keyboard.type("LAMP 17")
    options = page.locator("#found [role=option]")
    assert field.get_attribute("aria-expanded") == "true"
    assert options.count() >= 2
    assert all("lamp" in text and "17" in text for text in options.all_inner_texts())
    assert options.first.inner_text().startswith("lamp 17"), "what begins as typed comes first"
    page.keyboard.press("ArrowDown")
    chosen = page.locator("#found [aria-selected=true]")
    assert chosen.count() == 1
    assert chosen.get_attribute("id") == field.get_attribute("aria-activedescendant") == "option-1"
    wanted = chosen.locator(".name").inner_text()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.locator("#item .name").inner_text() == wanted
    assert page.locator("#found").is_hidden()
    page.keyboard.press("Escape")
    assert field.input_value() == ""
    page.keyboard.type("no such thing")
    assert "no item of this page matches" in page.locator("#found").inner_text()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    assert page.locator("#item .name").inner_text() == wanted


def test_an_item_is_found_by_its_id_first(page_of: Any, open_page: OpenPage) -> None:
    page = open_page(page_of())
    page.locator("#wanted").fill("i1")
    assert "id i1\n" in page.locator("#found [role=option]").first.inner_text() + "\n"


def test_neighbours_stand_side_by_side_with_their_agreement_in_words(
    page_of: Any, content: dict[str, Any], open_page: OpenPage
) -> None:
    page = open_page(page_of())
    browser = content["browser"]
    shown = browser["shown"][0]
    titles = [item[1] for item in browser["items"]]
    assert names(page, "#psi .name") == [titles[place] for place, _ in shown["psi"]]
    assert names(page, "#phi .name") == [titles[place] for place, _ in shown["phi"]]
    agreed = {place for place, _ in shown["psi"]} & {place for place, _ in shown["phi"]}
    assert page.locator("#phi li.shared").count() == len(agreed)
    assert f"{len(agreed)} of its 10 nearest" in page.locator("#item").inner_text()
    for rank, (place, cosine) in enumerate(shown["phi"]):
        entry = page.locator("#phi li").nth(rank).inner_text()
        there = [other for other, _ in shown["psi"]].index(place) + 1 if place in agreed else None
        assert ("○ not among the 10 under ψ" if there is None else f"● agreed: no. {there} under ψ") in entry
        assert f"{abs(cosine):.2f}"[:3] in entry
        for word in ("category", "price", "impressions", f"id {browser['items'][place][0]}"):
            assert word in entry
    first, second = (page.locator(f"#{side}").bounding_box() for side in ("psi", "phi"))
    assert first["y"] == second["y"]
    assert first["x"] < second["x"]


def test_groups_steps_and_neighbours_lead_from_item_to_item(
    page_of: Any, content: dict[str, Any], open_page: OpenPage
) -> None:
    page = open_page(page_of())
    first = page.locator("#item .name").inner_text()
    page.locator("#next").click()
    assert page.locator("#item .name").inner_text() != first
    page.locator("#previous").click()
    assert page.locator("#item .name").inner_text() == first
    page.locator("#group").select_option("outside P")
    assert "outside P · It has no ψ" in page.locator("#item").inner_text()
    assert names(page, "#psi li") == ["None: this item has no ψ."]
    page.locator("#next").click()
    assert "outside P · " in page.locator("#item").inner_text()
    neighbour = page.locator("#phi button.name").first
    wanted = neighbour.inner_text()
    neighbour.click()
    assert page.locator("#item .name").inner_text() == wanted
    page.locator("#wanted").click()
    assert page.locator("#found .facts").first.inner_text().startswith("outside P")
    page.locator("#found [role=option]").nth(2).click()
    assert content["browser"]["groups"]


def test_the_graph_picture_names_queries_attributes_and_items(page_of: Any, open_page: OpenPage) -> None:
    page = open_page(page_of())
    page.locator("#wanted").fill("i100")
    page.keyboard.press("Enter")
    title = page.locator("#item .name").inner_text()
    drawn = page.locator("#picture text").all_text_contents()
    assert {"query 100", "query 101", "brand 0", title} <= {*drawn}
    assert page.locator("#picture .edge.own").count() == 4
    assert "2 of 2 queries" in page.locator("#picture-note").inner_text()
    page.locator("#graph summary").click()
    assert {"query 100", "query 101", "brand 0"} <= {*names(page, "#picture-list dd")}


def test_the_map_tells_what_a_pointer_is_at(page_of: Any, content: dict[str, Any], open_page: OpenPage) -> None:
    page = open_page(page_of())
    point = page.locator("#map-psi .marker").nth(40)
    point.scroll_into_view_if_needed()
    page.mouse.move(*centre_of(page, "#map-psi .marker >> nth=40"))
    told = page.locator("#told")
    assert told.is_visible()
    for word in ("lamp", "category", "price", "impressions", "id i"):
        assert word in told.inner_text()
    rings = page.locator("svg .ring:not(.chosen)")
    assert [rings.nth(view).get_attribute("visibility") for view in (0, 1)] == ["visible", "visible"]
    page.mouse.click(*centre_of(page, "#map-psi .marker >> nth=40"))
    name = told.locator(".name").inner_text()
    told.locator("button").click()
    assert page.locator("#item .name").inner_text() == name
    assert told.is_hidden()
    assert len(content["browser"]["map"]["items"]) == page.locator("#map-phi .marker").count()


def test_the_map_is_walked_by_keyboard(page_of: Any, open_page: OpenPage) -> None:
    page = open_page(page_of())
    page.locator("#map-phi").focus()
    page.keyboard.press("ArrowRight")
    ring = page.locator("#map-phi .ring:not(.chosen)")
    before = float(ring.get_attribute("cx"))
    page.keyboard.press("ArrowRight")
    assert float(ring.get_attribute("cx")) > before
    page.keyboard.press("ArrowDown")
    name = page.locator("#told .name").inner_text()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.textContent") == "Show its neighbours"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "map-phi"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert page.locator("#item .name").inner_text().startswith("lamp")
    assert name.startswith("lamp")


def test_the_map_is_touched(page_of: Any, open_page: OpenPage) -> None:
    page = open_page(page_of(), width=400, has_touch=True, is_mobile=True)
    page.locator("#map-phi").scroll_into_view_if_needed()
    page.touchscreen.tap(*centre_of(page, "#map-phi .marker >> nth=9"))
    assert page.locator("#told").is_visible()
    assert "lamp" in page.locator("#told").inner_text()
    page.touchscreen.tap(5, 5)
    assert page.locator("#told").is_hidden()


def test_a_shape_of_the_map_is_seen_alone(page_of: Any, open_page: OpenPage) -> None:
    page = open_page(page_of())
    key = page.locator("#keys button").first
    count = int(key.inner_text().rsplit("(", maxsplit=1)[1].rstrip(")"))
    key.click()
    assert key.get_attribute("aria-pressed") == "true"
    assert page.locator("#map-psi .marker.kept").count() == page.locator("#map-phi .marker.kept").count() == count
    key.click()
    assert page.locator(".faded").count() == 0
    shapes = [path.get_attribute("d") for path in page.locator("#keys path").all()]
    assert len(shapes) == len({*shapes})


def test_categories_that_end_differently_are_different_kinds(page_of: Any, open_page: OpenPage) -> None:
    """Eight categories of 60 letters in common were four on the map."""
    names = [f"{'shoes and everything else that is worn on feet ' * 3}no. {place}" for place in range(5)]

    def rename(content: dict[str, Any]) -> dict[str, Any]:
        browser = content["browser"]
        column = browser["columns"].index("category")
        first = len(browser["texts"])
        browser["texts"] += [shortened(name, LONGEST) for name in names]
        for place, item in enumerate(browser["items"]):
            item[column] = first + place % 5
        return content

    page = open_page(page_of(rename))
    keys = page.locator("#keys button .name").all_inner_texts()
    assert len(keys) == 5
    assert {re.search(r"no\. (\d)", key).group(1) for key in keys} == set("01234")  # type: ignore[union-attr]
    assert all(len(key) < 65 for key in keys)
    assert "no. 0" in page.locator("#item .facts").first.inner_text()


def test_a_title_that_turns_its_direction_leaves_the_price_beside_it_alone(page_of: Any, open_page: OpenPage) -> None:
    turned = "\u202e\u0627\u0644\u0639\u0631\u0628\u064a\u0629 17"

    def turn(content: dict[str, Any]) -> dict[str, Any]:
        browser = content["browser"]
        browser["texts"] = [turned] * len(browser["texts"])
        for item in browser["items"]:
            item[browser["columns"].index("title")] = turned
        return content

    page = open_page(page_of(turn))
    ends = page.evaluate(
        """() => [...document.querySelectorAll(".facts bdi")]
            .filter(each => /^price/.test(each.textContent)).map(each => {
          const text = each.firstChild, at = place => {
            const range = document.createRange();
            range.setStart(text, place);
            range.setEnd(text, place + 1);
            return range.getBoundingClientRect().left;
          };
          return [at(0), at(text.length - 1)];
        })"""
    )
    assert len(ends) > 10
    assert all(first < last for first, last in ends)


def test_nothing_runs_that_comes_from_the_data(page_of: Any, open_page: OpenPage) -> None:
    payloads = itertools.cycle(PAYLOADS)

    def attacked(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: attacked(entry) for name, entry in value.items()}
        if isinstance(value, list):
            return [attacked(entry) for entry in value]
        return next(payloads) if isinstance(value, str) else value

    def attack(content: dict[str, Any]) -> dict[str, Any]:
        found, browser = content["audit"], content["browser"]
        attribute = found["main_attribute"]
        found = json.loads(json.dumps(found).replace(f'"{attribute}', json.dumps(PAYLOADS[1])[:-1]))
        for name in ("run", "system", "device", "catalogue", "seed", "draws"):
            found[name] = next(payloads)
        found["collisions"] = None
        for row in found["curve"]:
            row |= {"index": PAYLOADS[len(row["index"]) % len(PAYLOADS)], "setting": next(payloads)}
        columns = browser["columns"]
        items = attacked(browser["items"])
        for graph in (entry["graph"] for entry in browser["shown"]):
            graph["nodes"] = [
                [attacked(node[0]) if node[0] != "item" else "item", *node[1:]] for node in graph["nodes"]
            ]
            graph["of"] = {PAYLOADS[place]: 3 for place, _ in enumerate(graph["of"])}
        return {"audit": found, "browser": {**attacked(browser), "columns": columns, "items": items}}

    honest = open_page(page_of())
    count = "document.querySelectorAll(%s).length"
    before = honest.evaluate(count % "'script'")
    page = open_page(page_of(attack))
    page.locator("#wanted").fill("hacked")
    page.locator("#found [role=option]").nth(REPEATED).click()
    for _ in range(len(PAYLOADS)):
        page.locator("#next").click()
    page.locator("#map-psi").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    for key in page.locator("#keys button").all():
        key.click()
    page.locator("#graph summary").click()
    assert page.evaluate("window.hacked") is None
    assert page.evaluate(count % "'script'") == before
    assert page.evaluate(count % "'img, svg[onload], a, iframe, b > b'") == 0
    assert page.evaluate("({}).hacked") is None
    shown = page.locator("#item").inner_text() + "".join(names(page, "#psi .name, #phi .name"))
    assert "window.hacked" in shown


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_shows_it_without_sideways_scrolling(page_of: Any, open_page: OpenPage, dark: bool) -> None:
    page = open_page(page_of(), width=400, dark=dark)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.locator("#wanted").fill("lamp")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground.removeprefix("rgb(").rstrip(")").split(","))) < 200) == dark


def test_paper_shows_the_neighbours_and_no_controls(page_of: Any, open_page: OpenPage) -> None:
    page = open_page(page_of(), dark=True)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    assert page.locator(".on-screen:visible").count() == 0
    page.set_viewport_size({"width": 703, "height": 1000})  # A4 within its margins
    assert page.evaluate("document.documentElement.scrollWidth") <= 703
    assert page.locator(".controls").is_hidden()
    assert page.locator("#psi li").first.is_visible()
    assert page.locator("#map-psi .marker").first.is_visible()
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 31, 36)"


def test_focus_is_seen_and_every_control_has_a_name(page_of: Any, open_page: OpenPage) -> None:
    page = open_page(page_of())
    page.locator("#wanted").focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    unnamed = """[...document.querySelectorAll("button, select, input, [tabindex]")].filter(control =>
        !(control.textContent.trim() || control.labels?.length
          || control.getAttribute("aria-label") || control.getAttribute("aria-labelledby")))"""
    assert page.evaluate(f"{unnamed}.length") == 0
