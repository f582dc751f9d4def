"""A graph that goes on from yesterday's is that of a rebuild over all days, where no cap binds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest

from configs.command import Invocation
from configs.errors import InputError
from graph.building import build_graph
from graph.increment import read_item_events
from graph.logs.log import SearchLog
from graph.store import Graph
from tests.graph.test_building import check_invariants, edges_of, random_log

MakeLog = Callable[..., SearchLog]
MakeRequest = Callable[..., Invocation]


def built(make_request: MakeRequest, make_log: MakeLog, rows: Any, items: Any, run: str, *overrides: str) -> Graph:
    """The graph of a run of these rows, whose configuration is settled for a later run to go on from."""
    request = make_request(*overrides, run=run)
    request.save(request.run.config)
    return build_graph(request, make_log(request.run.logs, rows, items))


def of_days(rows: list[dict[str, Any]], first: int, last: int) -> list[dict[str, Any]]:
    return [row for row in rows if first <= row["timestamp"].day <= last]


def chain(
    make_request: MakeRequest, make_log: MakeLog, seed: int, sessions: bool, numbers: bool, *settings: str
) -> tuple[Graph, Graph]:
    """The graph of days 1 and 2, then 3, then 4, each from the one before, which is gone by then; and a rebuild."""
    rows, items = random_log(seed, sessions, numbers)
    early = {item["item_id"] for item in items[:22]}
    for row in of_days(rows, 1, 3):  # what is not listed yet is touched by nobody
        row["history"] = [item for item in row["history"] or () if item in early] or None
    built(make_request, make_log, of_days(rows, 1, 2), items[:22], "monday", *settings)
    tuesday = built(make_request, make_log, of_days(rows, 3, 3), items[:23], "tuesday", "from=monday")
    shutil.rmtree(tuesday.folder.parent.with_name("monday"))
    wednesday = built(make_request, make_log, of_days(rows, 4, 4), items, "wednesday", "from=tuesday")
    return wednesday, built(make_request, make_log, of_days(rows, 1, 4), items, "whole", *settings)


@pytest.mark.parametrize(
    ("seed", "sessions", "numbers", "settings"),
    [
        (0, True, False, ()),
        (2, True, True, ("graph.item_item_window=4",)),
        (3, False, True, ("graph.half_life_days=1.5", "graph.attributes=[stars,category]")),
        (4, True, False, ("graph.weight_touch=0", "graph.weight_click=0.25")),
    ],
)
def test_increments_equal_a_rebuild(
    make_log: MakeLog, make_request: MakeRequest, seed: int, sessions: bool, numbers: bool, settings: tuple[str, ...]
) -> None:
    wednesday, whole = chain(make_request, make_log, seed, sessions, numbers, *settings)
    ours, expected = edges_of(wednesday), edges_of(whole)
    assert ours.keys() == expected.keys()
    for name, edges in expected.items():
        assert ours[name] == pytest.approx(edges, rel=1e-5), name
    for kind in whole.node_counts:
        assert wednesday.nodes(kind)["key"].to_pylist() == whole.nodes(kind)["key"].to_pylist()
    assert read_item_events(wednesday).tolist() == read_item_events(whole).tolist()
    check_invariants(wednesday)


def test_strength_beyond_a_cap_still_counts_at_its_ends(make_log: MakeLog, make_request: MakeRequest) -> None:
    """The edges that both graphs store weigh alike, whatever of the ends' strength lies beyond the cap."""
    wednesday, whole = chain(make_request, make_log, 1, True, False, "graph.degree_cap=3")
    for name in ("query__engaged__item", "item__engaged_by__query", "item__co_engaged__item"):
        ours, expected = edges_of(wednesday)[name], edges_of(whole)[name]
        shared = ours.keys() & expected.keys()
        assert len(shared) > 0.7 * len(expected), name
        alike = [pair for pair in shared if ours[pair] == pytest.approx(expected[pair], rel=0.01)]
        assert len(alike) > 0.7 * len(shared), name
    check_invariants(wednesday)


def test_the_same_graph_twice(make_log: MakeLog, make_request: MakeRequest) -> None:
    rows, items = random_log(5, True, False)
    built(make_request, make_log, of_days(rows, 1, 3), items, "monday")
    folders = [
        built(make_request, make_log, of_days(rows, 4, 4), items, run, "from=monday").folder for run in ("one", "two")
    ]
    files = [path.relative_to(folders[0]) for path in sorted(folders[0].rglob("*.np[yz]"))]
    assert files
    for file in files:
        assert (folders[0] / file).read_bytes() == (folders[1] / file).read_bytes()


def test_what_cannot_be_gone_on_from_is_refused(make_log: MakeLog, make_request: MakeRequest) -> None:
    rows, items = random_log(0, True, False)
    monday = built(make_request, make_log, of_days(rows, 1, 3), items, "monday")
    with pytest.raises(InputError, match="from=monday is the run itself"):
        build_graph(make_request("from=monday", run="monday"), SearchLog.open(monday.folder.with_name("logs")))
    shutil.rmtree(monday.folder / "state")
    with pytest.raises(InputError, match="built by an older version"):
        built(make_request, make_log, of_days(rows, 4, 4), items, "tuesday", "from=monday")
    (monday.folder / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"run `python -m graph.build run=monday` first"):
        built(make_request, make_log, of_days(rows, 4, 4), items, "thursday", "from=monday")
