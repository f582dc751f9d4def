"""What the page holds of single items: the right neighbours, pictures and points, and never too many bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from graph.store import Graph, Relation, write_graph
from index.measures.catalogue import CatalogueItems
from index.measures.figures import Bootstrap
from index.measures.suite import Neighbours, Subject
from index.report import neighbour_browser as browser
from index.report.graph_picture import Surroundings, positions
from index.report.item_map import MOST_ITEMS, item_map, layout
from index.report.neighbour_browser import GROUPS, browser_content, stratified
from index.report.page import write_report
from prerank.pages.render import embedded

LONG = "青い</script>ランプ'\"&\u2028" * 20


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def made(p: int, outside: int, title: str = "lamp {}", k: int = 10) -> tuple[Subject, Neighbours, CatalogueItems]:
    """Random vectors, random lists; the items of P come first in the catalogue."""
    generator = np.random.default_rng(0)
    items = p + outside
    queries = np.arange(min(p, 20_000))
    psi, phi = unit(generator.normal(size=(p, 8))), unit(generator.normal(size=(p, 8)))
    impressions = generator.zipf(1.5, items).clip(max=5000)
    impressions[p + outside // 2 :] = 0
    subject = Subject(
        psi, phi, psi, phi, unit(generator.normal(size=(outside, 8))), queries, {}, {}, impressions[:p], [k],
        Bootstrap(10, 0.95, 0),
    )  # fmt: skip
    near = [generator.integers(0, p, (len(queries), k)) for _ in range(2)]
    lists = Neighbours(near[0], near[1], near[0], near[1], generator.integers(0, p, (outside, k)))
    table = pa.table(
        {
            "item_id": [f"i{row}" for row in range(items)],
            "title": [title.format(row) for row in range(items)],
            "category": [f"c{row % 9}" for row in range(items)],
            "price": generator.lognormal(size=items),
        }
    )
    return subject, lists, CatalogueItems(table, {}, impressions.astype(np.int64))


def content_of(p: int, outside: int, title: str = "lamp {}", graph: Graph | None = None) -> dict[str, Any]:
    subject, lists, catalogue = made(p, outside, title)
    return browser_content(subject, lists, catalogue, np.arange(p), p + np.arange(outside), 0, graph)


def small_graph(folder: Path, items: int) -> Graph:
    """Item i is engaged with by queries i and i + 1, has brand i % 3, and is co-engaged with its two neighbours."""
    rows = np.arange(items)

    def relation(source: str, name: str, near: list[list[int]], weights: list[list[float]]) -> Relation:
        order = [np.argsort(each) for each in near]
        return Relation(
            source, name, "item", np.cumsum([0, *map(len, near)]),
            np.concatenate([np.array(each, dtype=np.int64)[at] for each, at in zip(near, order, strict=True)]),
            np.concatenate([np.array(each, dtype=np.float32)[at] for each, at in zip(weights, order, strict=True)]),
        )  # fmt: skip

    nodes = {
        "item": pa.table({"key": [f"i{row}" for row in rows]}),
        "query": pa.table({"key": [f"query {row}" for row in range(items + 1)]}),
        "brand": pa.table({"key": ["x", "y", "z"]}),
    }
    relations = [
        relation("query", "engaged", [[row, row + 1] for row in rows], [[1.0, 2.0]] * items),
        relation("brand", "brand_of", [[row % 3] for row in rows], [[1.0]] * items),
        relation("item", "co_engaged", [[(row - 1) % items, (row + 1) % items] for row in rows], [[0.5, 0.25]] * items),
    ]
    return write_graph(folder, nodes, relations, {})


def test_every_item_is_shown_where_all_fit_and_each_with_its_own_neighbours_and_cosines() -> None:
    subject, lists, catalogue = made(60, 20)
    content = browser_content(subject, lists, catalogue, np.arange(60), 60 + np.arange(20), 0)
    ids = [item[content["columns"].index("item_id")] for item in content["items"]]
    assert sorted(ids[entry["item"]] for entry in content["shown"]) == sorted(f"i{row}" for row in range(80))
    for entry in content["shown"]:
        row = int(ids[entry["item"]][1:])
        expected = lists.phi[row] if row < 60 else lists.outside[row - 60]
        own = subject.phi[row] if row < 60 else subject.outside[row - 60]
        assert [ids[place] for place, _ in entry["phi"]] == [f"i{near}" for near in expected]
        assert [cosine for _, cosine in entry["phi"]] == pytest.approx(subject.phi[expected] @ own, abs=6e-4)
        assert bool(entry["psi"]) == (row < 60)
        assert (entry["group"] == "cold") == (catalogue.impressions[row] == 0 and row >= 60)
    assert {group["name"]: group["shown"] for group in content["groups"]}.keys() == GROUPS.keys()
    assert sum(group["of"] for group in content["groups"]) == 80


def test_names_that_begin_alike_stay_apart() -> None:
    subject, lists, catalogue = made(60, 0)
    names = [f"{'x' * 150}{row % 8}{'y' * 150}" for row in range(60)]
    column = catalogue.table.column_names.index("category")
    table = catalogue.table.set_column(column, "category", pa.array(names))
    content = browser_content(subject, lists, replace(catalogue, table=table), np.arange(60), np.arange(0), 0)
    ids, codes = (content["columns"].index(name) for name in ("item_id", "category"))
    assert "category" in content["coded"]
    assert len({item[codes] for item in content["items"]}) == 8
    for item in content["items"]:
        name = names[int(item[ids][1:])]
        assert content["texts"][item[codes]] == f"{name[:60]}…{name[-59:]}"


def test_a_search_that_found_too_few_shows_no_items_that_are_none() -> None:
    subject, lists, catalogue = made(60, 0)
    lists.psi[:, 4:] = -1
    content = browser_content(subject, lists, catalogue, np.arange(60), np.arange(0), 0)
    assert {len(entry["psi"]) for entry in content["shown"]} == {4}


def test_where_popularity_is_unknown_nothing_is_called_cold_or_unpopular() -> None:
    subject, lists, catalogue = made(60, 10)
    catalogue.impressions[:] = 0
    subject.impressions[:] = 0
    content = browser_content(subject, lists, catalogue, np.arange(60), 60 + np.arange(10), 0)
    assert {entry["group"] for entry in content["shown"]} == {"torso", "outside P"}
    assert "impressions" not in content["columns"]


def test_each_tenth_of_popularity_has_its_turn() -> None:
    strata = np.repeat([0, 1, 2], [500, 30, 3])
    order = stratified(strata, np.random.default_rng(0))
    assert sorted(order) == list(range(533))
    assert strata[order[:9]].tolist() == [0, 1, 2] * 3
    assert np.bincount(strata[order[:63]]).tolist() == [30, 30, 3]


def test_a_hundred_thousand_items_make_a_page_below_five_megabytes(audit_figures: Any, tmp_path: Path) -> None:
    content = content_of(60_000, 40_000, LONG + " {}", small_graph(tmp_path / "graph", 100_000))
    found = audit_figures | {"items": 100_000, "items_of_p": 60_000}
    page = write_report(tmp_path, found, content)
    assert 2_500_000 < page.stat().st_size < 5_000_000
    assert {entry["group"] for entry in content["shown"]} == {*GROUPS}
    assert (tmp_path / "embeddings.json").stat().st_size > 1_000_000


def test_bytes_are_counted_as_they_stand_in_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "MOST_BYTES", 1_000_000)
    content = content_of(1500, 500, "<&>'" * 30 + "{}")
    assert 980_000 < len(embedded({name: content[name] for name in ("items", "shown", "texts")}).encode()) < 1_030_000


def test_nothing_in_embedded_json_can_end_a_script() -> None:
    text = "</script><!--<script>]]>&'\"\\\u2028\u2029\n`${1}`"
    made_of = embedded({text: [text, 1.5, None]})
    assert not {"<", ">", "&", "'", "\u2028", "\u2029", "\n"} & {*made_of}
    assert json.loads(made_of) == {text: [text, 1.5, None]}


def test_the_graph_picture_holds_the_strongest_neighbours_and_the_edges_among_them(tmp_path: Path) -> None:
    surroundings = Surroundings(small_graph(tmp_path, 40))
    picture = surroundings.ego(7)
    assert {*picture} == {
        ("item", 7), ("item", 6), ("item", 8), ("query", 7), ("query", 8), ("brand", 1),
    }  # fmt: skip
    assert {frozenset(edge) for edge in picture.edges} == {
        frozenset(edge)
        for edge in (
            (("item", 7), ("query", 7)), (("item", 7), ("query", 8)), (("item", 7), ("brand", 1)),
            (("item", 7), ("item", 6)), (("item", 7), ("item", 8)), (("item", 6), ("query", 7)),
            (("item", 8), ("query", 8)),
        )
    }  # fmt: skip
    assert picture.graph["of"] == {"query": 2, "brand": 1, "item": 2}
    assert surroundings.key(("query", 8)) == "query 8"
    placed = positions(picture)
    assert {node[0]: placed[node][0] for node in picture if node != ("item", 7)} == {
        "query": 0,
        "brand": 50,
        "item": 100,
    }
    assert placed["query", 8][1] < placed["query", 7][1], "the stronger one stands above"
    assert len({*placed.values()}) == len(placed)


def test_an_item_with_very_many_neighbours_keeps_a_small_picture(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    weight = generator.random(50).astype(np.float32)
    hub = Relation("query", "engaged", "item", np.array([0, 50]), np.arange(50), weight)
    nodes = {"item": pa.table({"key": ["i0"]}), "query": pa.table({"key": [f"q{row}" for row in range(50)]})}
    picture = Surroundings(write_graph(tmp_path, nodes, [hub], {})).ego(0)
    assert [index for kind, index in picture if kind == "query"] == np.argsort(-weight)[:6].tolist()
    assert picture.graph["of"] == {"query": 50}


def test_an_item_that_the_graph_does_not_know_stands_alone(tmp_path: Path) -> None:
    empty = Relation("query", "engaged", "item", np.array([0, 0]), np.arange(0), np.zeros(0, dtype=np.float32))
    nodes = {"item": pa.table({"key": ["i0"]}), "query": pa.table({"key": ["q0"]})}
    picture = Surroundings(write_graph(tmp_path, nodes, [empty], {})).ego(0)
    assert positions(picture) == {("item", 0): (50, 50)}


def test_pictures_name_what_they_show(tmp_path: Path) -> None:
    content = content_of(60, 20, graph=small_graph(tmp_path, 80))
    ids = [item[0] for item in content["items"]]
    for entry in content["shown"]:
        graph = entry["graph"]
        assert graph["nodes"][graph["own"]][:2] == ["item", entry["item"]]
        row = int(ids[entry["item"]][1:])
        named = {content["texts"][node[1]] for node in graph["nodes"] if node[0] == "query"}
        assert named == {f"query {row}", f"query {row + 1}"}


def test_the_map_is_the_same_twice_and_keeps_groups_together() -> None:
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(4), 50)
    units = unit(5 * np.eye(8)[groups] + generator.normal(size=(200, 8)) * 0.5)
    first, second = layout(units, 3), layout(units, 3)
    np.testing.assert_array_equal(first, second)
    near = np.argsort(np.square(first[:, None] - first[None]).sum(axis=-1), axis=1)[:, 1:6]
    assert (groups[near] == groups[:, None]).mean() > 0.95


def test_maps_of_a_rotated_embedding_lie_over_each_other() -> None:
    subject, _, _ = made(200, 0)
    generator = np.random.default_rng(1)
    groups = generator.integers(0, 3, 200)
    psi = unit(4 * np.eye(8)[groups] + generator.normal(size=(200, 8)) * 0.3)
    rotation = np.linalg.qr(generator.normal(size=(8, 8)))[0]
    turned = Subject(**{**vars(subject), "psi": psi, "phi": unit(psi @ rotation)})
    found = item_map(turned, np.arange(200), 0)
    assert found is not None
    centres = [
        [np.mean(np.array(found[name])[groups == group], axis=0) for group in range(3)] for name in ("psi", "phi")
    ]
    for group in range(3):
        assert np.argmin(np.linalg.norm(np.array(centres[1]) - centres[0][group], axis=1)) == group


def test_maps_of_few_items_of_one_vector_and_of_one_dimension() -> None:
    subject, _, _ = made(30, 0)
    assert item_map(subject, np.arange(3), 0) is None
    same = np.tile(unit(np.ones((1, 8))), (30, 1))
    found = item_map(Subject(**{**vars(subject), "psi": same}), np.arange(30), 0)
    assert found is not None
    assert len({tuple(point) for point in found["psi"]}) == 1
    assert layout(unit(np.array([[1.0], [-1.0]] * 10)), 0).shape == (20, 2)
    assert MOST_ITEMS >= 1000


@pytest.fixture
def audit_figures() -> dict[str, Any]:
    """The least that the page needs of an audit."""
    figure = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 100}
    chance = {"value": 0.01, "low": None, "high": None, "n": 100}
    return {
        "run": "made", "system": "grace", "simulated": True, "items": 10, "items_of_p": 10, "queries": 10,
        "neighbours": [10], "attributes": [], "main_attribute": None, "confidence": 0.95, "draws": 10, "seed": 0,
        "device": "CPU", "overlap": {"overlap@10": figure, "overlap@10_chance": chance},
        "purity": {"psi": {}, "phi": {}, "phi_outside_p": {}}, "geometry": {}, "approximate": {},
        "popularity": [{"items": 10, "fewest_impressions": 0, "most_impressions": 9, "overlap": figure}],
        "occurrence": [{"from": 0, "to": None, "psi": 1.0, "phi": 1.0, "chance": 1.0}], "cold_start": None,
    }  # fmt: skip
