"""The whole construction against a naive reference of dictionaries and loops, and its rules one by one."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from configs.command import Invocation
from configs.errors import InputError
from configs.schema import GraphConfig
from graph.building import build_graph
from graph.logs.log import SearchLog
from graph.relations import attributes_of
from graph.store import Graph

MakeLog = Callable[..., SearchLog]
MakeRequest = Callable[..., Invocation]
Edges = dict[tuple[Any, Any], float]
RESOLUTION = 2.0**-24


def random_log(seed: int, sessions: bool, numbers: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A few hundred impressions on 5 days; the last day is the test day."""
    draw = random.Random(seed)

    def name(kind: str, i: int) -> int | str:
        return i * 7 + 3 if numbers else f"{kind}{i}"

    items = [
        {
            "item_id": name("i", i),
            "brand": draw.choice(["acme", "béla", None]),
            "category": draw.choice(["shoes", "hats", "bags"]),
            "stars": draw.choice([1.5, 4.0, math.nan, None]),
            "listed_at": datetime(2024, 1, draw.choice([1, 5, 6]), tzinfo=UTC) if draw.random() < 0.8 else None,
        }
        for i in range(25)
    ]
    rows = []
    for request in range(40):
        day = draw.randrange(5)
        moment = datetime(2024, 1, 1 + day, tzinfo=UTC) + timedelta(milliseconds=draw.randrange(86_400_000))
        shown = draw.sample(range(20), 6)
        common = {
            "request_id": name("r", request),
            "query": name("q", draw.randrange(6)),
            "user_id": name("u", draw.randrange(8)),
            "timestamp": moment,
            "split": "test" if day == 4 else "train",
            "history": [name("i", draw.randrange(25)) for _ in range(draw.randrange(4))] or None,
        }
        if sessions:
            common["session_id"] = f"day {day} session {draw.randrange(3)}" if draw.random() < 0.8 else None
        for item in shown:
            clicked = draw.random() < 0.4
            ordered = draw.random() < (0.3 if clicked else 0.03)
            rows.append({**common, "item_id": name("i", item), "clicked": clicked, "ordered": ordered})
    return rows, items


def reference(rows: list[dict[str, Any]], items: list[dict[str, Any]], config: GraphConfig) -> dict[str, Edges]:
    """Every relation as {(source key, target key): weight}, by loops over the training rows."""
    train = [row for row in rows if row["split"] == "train"]
    last = max(row["timestamp"] for row in train).date()
    end = datetime(last.year, last.month, last.day, tzinfo=UTC) + timedelta(days=1)
    order: dict[str, dict[Any, int]] = {
        "item": {item["item_id"]: i for i, item in enumerate(items)},
        "query": {query: i for i, query in enumerate(sorted({row["query"] for row in train}))},
    }

    def weigh(weight: float, moment: datetime) -> float:
        age = (end - moment.replace(microsecond=0)).total_seconds() / 86_400
        return max(1.0, math.floor(weight * 0.5 ** (age / config.half_life_days) / RESOLUTION + 0.5)) * RESOLUTION

    def session(row: dict[str, Any]) -> Any:
        return row.get("session_id") or ("request", row["request_id"])

    query_item: Edges = defaultdict(float)
    in_session: dict[Any, dict[Any, float]] = defaultdict(lambda: defaultdict(float))
    touch_times: dict[tuple[Any, Any, Any], datetime] = {}
    engaged_at: dict[tuple[Any, Any], datetime] = {}
    for row in train:
        if row["clicked"] or row["ordered"]:
            pair = (row["user_id"], row["item_id"])
            engaged_at[pair] = min(engaged_at.get(pair, row["timestamp"]), row["timestamp"])
    for row in train:
        if row["clicked"] or row["ordered"]:
            kind = config.weight_order if row["ordered"] else config.weight_click
            if kind == 0:
                continue
            weight = weigh(kind, row["timestamp"])
            query_item[row["query"], row["item_id"]] += weight
            in_session[session(row)][row["item_id"]] += weight
        for item in (row.get("history") or []) if config.weight_touch else []:
            if engaged_at.get((row["user_id"], item), row["timestamp"]) < row["timestamp"]:
                continue
            touch = (session(row), row["query"], item)
            touch_times[touch] = max(touch_times.get(touch, row["timestamp"]), row["timestamp"])
    touch_weights: dict[Any, dict[Any, float]] = defaultdict(lambda: defaultdict(float))
    for (place, query, item), moment in touch_times.items():
        weight = weigh(config.weight_touch, moment)
        query_item[query, item] += weight
        touch_weights[place][item] = max(touch_weights[place][item], weight)
    for place, touched in touch_weights.items():
        for item, weight in touched.items():
            in_session[place][item] += weight

    item_item: Edges = defaultdict(float)
    for strengths in in_session.values():
        chosen = sorted(strengths, key=lambda item: (-strengths[item], order["item"][item]))
        for left in chosen[: config.item_item_window]:
            for right in chosen[: config.item_item_window]:
                if left != right:
                    item_item[left, right] += min(strengths[left], strengths[right])

    edges: dict[str, Edges] = {}
    _both(edges, order, config, "query__engaged__item", "item__engaged_by__query", query_item)
    seen = {row["item_id"] for row in train}
    known = [i for i in items if i["item_id"] in seen or (i["listed_at"] is not None and i["listed_at"] <= end)]
    for name in config.attributes or ["brand", "category"]:
        values = {item[name] for item in items} - {None}
        order[name] = {value: i for i, value in enumerate(sorted(v for v in values if v == v))}
        has = {(item["item_id"], item[name]): 1.0 for item in known if item[name] in order[name]}
        _both(edges, order, config, f"item__has_{name}__{name}", f"{name}__{name}_of__item", has)
    if "category" in (config.attributes or ["category"]):
        category = {item["item_id"]: item["category"] for item in items}
        in_category: Edges = defaultdict(float)
        for (query, item), weight in query_item.items():
            in_category[query, category[item]] += weight
        names = ("query__in_category__category", "category__category_of_query__query")
        _both(edges, order, config, *names, in_category)
    one_way = _cap(_normalise(item_item), order, "item__co_engaged__item", config.degree_cap)
    edges["item__co_engaged__item"] = {(a, b): w for (a, b), w in one_way.items() if (b, a) in one_way}
    return {name: found for name, found in edges.items() if found}


def _both(
    edges: dict[str, Edges], order: dict[str, dict[Any, int]], config: GraphConfig, to: str, back: str, raw: Edges
) -> None:
    weights = _normalise(raw)
    edges[to] = _cap(weights, order, to, config.degree_cap)
    edges[back] = _cap({(b, a): w for (a, b), w in weights.items()}, order, back, config.degree_cap)


def _normalise(raw: Edges) -> Edges:
    source_sum: dict[Any, float] = defaultdict(float)
    target_sum: dict[Any, float] = defaultdict(float)
    for (source, target), weight in raw.items():
        source_sum[source] += weight
        target_sum[target] += weight
    return {(s, t): float(np.float32(w / math.sqrt(source_sum[s] * target_sum[t]))) for (s, t), w in raw.items()}


def _cap(weights: Edges, order: dict[str, dict[Any, int]], name: str, cap: int) -> Edges:
    sources = order[name.split("__")[0]]
    by_target: dict[Any, list[tuple[float, int, Any]]] = defaultdict(list)
    for (source, target), weight in weights.items():
        by_target[target].append((-weight, sources[source], source))
    return {(source, t): -w for t, found in by_target.items() for w, _, source in sorted(found)[:cap]}


def edges_of(graph: Graph) -> dict[str, Edges]:
    """The stored graph in the reference's form."""
    keys = {node_type: graph.nodes(node_type)["key"].to_pylist() for node_type in graph.node_counts}
    return {
        "__".join(key): {
            (keys[key[0]][s], keys[key[2]][t]): w
            for s, t, w in zip(r.indices.tolist(), r.targets.tolist(), r.weight.tolist(), strict=True)
        }
        for key, r in graph.relations.items()
    }


def check_invariants(graph: Graph) -> None:
    """CSR by target, ascending unique indices in range, memory-mapped, weights in (0, 1], degrees as stored."""
    degrees = {node_type: np.zeros(count, dtype=np.int64) for node_type, count in graph.node_counts.items()}
    for relation in graph.relations.values():
        assert all(isinstance(a, np.memmap) for a in (relation.indptr, relation.indices, relation.weight))
        assert (relation.indptr.dtype, relation.indices.dtype, relation.weight.dtype) == ("int64", "int64", "float32")
        assert len(relation.indptr) == graph.node_counts[relation.target] + 1
        assert relation.indptr[0] == 0
        for start, stop in zip(relation.indptr, relation.indptr[1:], strict=False):
            assert (np.diff(relation.indices[start:stop]) > 0).all()
        assert relation.indices.min() >= 0
        assert relation.indices.max() < graph.node_counts[relation.source]
        assert ((relation.weight > 0) & (relation.weight <= 1)).all()
        degrees[relation.target] += np.diff(relation.indptr)
    for node_type, expected in degrees.items():
        assert graph.nodes(node_type)["degree"].to_pylist() == expected.tolist()


@pytest.mark.parametrize(
    ("seed", "sessions", "numbers", "settings"),
    [
        (0, True, False, ()),
        (1, False, False, ("graph.degree_cap=2",)),
        (2, True, True, ("graph.degree_cap=3", "graph.item_item_window=4")),
        (3, False, True, ("graph.half_life_days=0.1", "graph.attributes=[stars,category]")),
        (4, True, False, ("graph.weight_touch=0", "graph.weight_click=0.25")),
        (5, True, False, ("graph.weight_click=0", "graph.degree_cap=1", "graph.attributes=[brand]")),
    ],
)
def test_graph_equals_the_naive_reference(
    tmp_path: Path,
    make_log: MakeLog,
    make_request: MakeRequest,
    seed: int,
    sessions: bool,
    numbers: bool,
    settings: tuple[str, ...],
) -> None:
    rows, items = random_log(seed, sessions, numbers)
    request = make_request(*settings)
    graph = build_graph(request, make_log(tmp_path / "logs", rows, items))
    assert edges_of(graph) == reference(rows, items, request.config.graph)
    assert graph.nodes("item")["key"].to_pylist() == [item["item_id"] for item in items]
    check_invariants(graph)
    assert not (request.run.graph / "scratch").exists()


def at(day: int, hour: int = 0) -> datetime:
    return datetime(2024, 1, day, hour, tzinfo=UTC)


def test_decay_halves_an_event_each_half_life(tmp_path: Path, make_log: MakeLog, make_request: MakeRequest) -> None:
    rows = [
        {"item_id": "a", "clicked": True, "timestamp": at(1)},
        {"item_id": "b", "clicked": True, "timestamp": at(3)},
        {"item_id": "c", "clicked": True, "timestamp": at(3), "ordered": True},
    ]
    log = make_log(tmp_path / "logs", rows, [{"item_id": name} for name in "abc"])
    graph = build_graph(make_request("graph.half_life_days=2", "graph.weight_order=4"), log)
    # Raw weights before the end of day 3: a 2^-1.5, b 2^-0.5, c 4 * 2^-0.5; each is its item's whole strength, so the
    # normalised weight is sqrt(w / sum): shares 1 : 2 : 8 of 11.
    expected = {("q", "a"): math.sqrt(1 / 11), ("q", "b"): math.sqrt(2 / 11), ("q", "c"): math.sqrt(8 / 11)}
    assert edges_of(graph)["query__engaged__item"] == pytest.approx(expected, rel=1e-6)


def test_ancient_events_keep_a_weight_above_zero(tmp_path: Path, make_log: MakeLog, make_request: MakeRequest) -> None:
    rows = [{"item_id": "a", "clicked": True, "timestamp": at(1)}, {"item_id": "b", "timestamp": at(31)}]
    log = make_log(tmp_path / "logs", rows, [{"item_id": name} for name in "ab"])
    graph = build_graph(make_request("graph.half_life_days=0.001"), log)
    assert edges_of(graph)["query__engaged__item"] == {("q", "a"): 1.0}


def test_cap_breaks_ties_by_index(tmp_path: Path, make_log: MakeLog, make_request: MakeRequest) -> None:
    rows = [{"query": f"q{i}", "item_id": "a", "clicked": True} for i in (4, 1, 3, 0, 2)]
    log = make_log(tmp_path / "logs", rows, [{"item_id": "a", "brand": "x"}, {"item_id": "b", "brand": "x"}])
    graph = build_graph(make_request("graph.degree_cap=2"), log)
    assert set(edges_of(graph)["query__engaged__item"]) == {("q0", "a"), ("q1", "a")}
    # The cap holds for each target: every query keeps its one item.
    assert len(edges_of(graph)["item__engaged_by__query"]) == 5
    assert graph.facts["edges_before_cap"]["query__engaged__item"] == 5


def test_capped_item_item_stays_symmetric(tmp_path: Path, make_log: MakeLog, make_request: MakeRequest) -> None:
    rows, items = random_log(7, sessions=True, numbers=False)
    graph = build_graph(make_request("graph.degree_cap=2"), make_log(tmp_path / "logs", rows, items))
    edges = edges_of(graph)["item__co_engaged__item"]
    assert edges
    assert all(edges[b, a] == weight for (a, b), weight in edges.items())
    assert np.diff(graph.relations["item", "co_engaged", "item"].indptr).max() <= 2


def test_repeated_touch_counts_once_a_session_and_query(
    tmp_path: Path, make_log: MakeLog, make_request: MakeRequest
) -> None:
    session = {"session_id": "s", "item_id": "c"}
    rows = [
        {**session, "history": ["a"], "timestamp": at(1, 1)},
        {**session, "history": ["a", "b"], "timestamp": at(1, 1), "request_id": "again"},
    ]
    log = make_log(tmp_path / "logs", rows, [{"item_id": name} for name in "abc"])
    graph = build_graph(make_request(), log)
    assert graph.facts["events"] == {"touch": 2}
    assert set(edges_of(graph)["query__engaged__item"]) == {("q", "a"), ("q", "b")}
    assert set(edges_of(graph)["item__co_engaged__item"]) == {("a", "b"), ("b", "a")}


def test_history_of_earlier_searches_is_no_touch(tmp_path: Path, make_log: MakeLog, make_request: MakeRequest) -> None:
    rows = [
        {"query": "hats", "item_id": "a", "clicked": True, "timestamp": at(1)},
        {"query": "shoes", "item_id": "c", "history": ["a", "b"], "timestamp": at(2)},
        {"query": "shoes", "item_id": "c", "history": ["a"], "timestamp": at(2), "user_id": "other"},
        {"query": "bags", "item_id": "a", "history": ["a"], "timestamp": at(1), "clicked": True, "user_id": "third"},
    ]
    log = make_log(tmp_path / "logs", rows, [{"item_id": name} for name in "abc"])
    graph = build_graph(make_request(), log)
    assert graph.facts["events"] == {"click": 2, "touch": 3}
    expected = {("hats", "a"), ("shoes", "a"), ("shoes", "b"), ("bags", "a")}
    assert set(edges_of(graph)["query__engaged__item"]) == expected


def test_touches_of_unknown_items_are_counted(
    tmp_path: Path, make_log: MakeLog, make_request: MakeRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"item_id": "a", "clicked": True, "history": ["gone", "a"]}]
    graph = build_graph(make_request(), make_log(tmp_path / "logs", rows, [{"item_id": "a"}]))
    assert graph.facts["events_on_unknown_items"] == {"touch": 1}
    assert "not in items.parquet" in capsys.readouterr().out


def test_later_days_change_no_byte(tmp_path: Path, make_log: MakeLog, make_request: MakeRequest) -> None:
    rows, items = random_log(8, sessions=True, numbers=False)
    train = [row for row in rows if row["split"] == "train"]
    contents = []
    for name, given in (("with", rows), ("without", train)):
        request = make_request(run=name)
        build_graph(request, make_log(tmp_path / name, given, items))
        files = [f for f in sorted(request.run.graph.rglob("*")) if f.suffix in (".npy", ".parquet")]
        contents.append({str(f.relative_to(request.run.graph)): f.read_bytes() for f in files})
    assert contents[0] == contents[1]
    assert len(contents[0]) > 10


def test_graph_days_restrict(tmp_path: Path, make_log: MakeLog, make_request: MakeRequest) -> None:
    rows, items = random_log(9, sessions=False, numbers=False)
    kept = [row for row in rows if row["timestamp"] < at(3)]
    graph = build_graph(make_request("graph.days=[2024-01-01..2024-01-02]"), make_log(tmp_path / "logs", rows, items))
    assert graph.facts["days"] == ["2024-01-01", "2024-01-02"]
    assert edges_of(graph) == reference(kept, items, GraphConfig())


@pytest.mark.parametrize("days", ["[2024-01-05]", "[2024-01-01,2023-12-30..2023-12-31]", "[yesterday]"])
def test_unknown_graph_days_are_refused(
    tmp_path: Path, make_log: MakeLog, make_request: MakeRequest, days: str
) -> None:
    rows, items = random_log(9, sessions=False, numbers=False)
    log = make_log(tmp_path / "logs", rows, items)
    assert "2024-01-05" in log.facts["splits"]["test"]["days"]
    with pytest.raises(InputError, match=r"graph\.days"):
        build_graph(make_request(f"graph.days={days}"), log)


@pytest.mark.parametrize("split_by", ["day", "session"])
def test_training_rows_of_a_later_split_are_refused(
    tmp_path: Path, make_log: MakeLog, make_request: MakeRequest, split_by: str
) -> None:
    rows = [
        {"item_id": "a", "clicked": True, "session_id": "s", "timestamp": at(1)},
        {"item_id": "b", "clicked": True, "session_id": "s", "timestamp": at(1, 5), "split": "test"},
    ]
    log = make_log(tmp_path / "logs", rows, [{"item_id": "a"}, {"item_id": "b"}], split_by)
    with pytest.raises(InputError, match=r"(day 2024-01-01|session session s) lies in"):
        build_graph(make_request(), log)
    with pytest.raises(InputError, match=r"does not exist|unfinished"):
        Graph.open(make_request().run.graph)


def test_sessions_of_one_day_may_be_split(tmp_path: Path, make_log: MakeLog, make_request: MakeRequest) -> None:
    rows = [
        {"item_id": "a", "clicked": True, "session_id": "s", "timestamp": at(1)},
        {"item_id": "b", "clicked": True, "session_id": "t", "timestamp": at(1, 5), "split": "test"},
    ]
    log = make_log(tmp_path / "logs", rows, [{"item_id": "a"}, {"item_id": "b"}], "session")
    assert set(edges_of(build_graph(make_request(), log))["query__engaged__item"]) == {("q", "a")}


def test_rows_that_log_json_does_not_know_are_refused(
    tmp_path: Path, make_log: MakeLog, make_request: MakeRequest
) -> None:
    log = make_log(tmp_path / "logs", [{"item_id": "a", "clicked": True}], [{"item_id": "a"}])
    log.facts["splits"]["train"]["rows"] = 2
    with pytest.raises(InputError, match="counts 2 training rows"):
        build_graph(make_request(), log)


def test_nothing_engaged_is_refused(tmp_path: Path, make_log: MakeLog, make_request: MakeRequest) -> None:
    log = make_log(tmp_path / "logs", [{"item_id": "a"}], [{"item_id": "a"}])
    with pytest.raises(InputError, match="no click, no order"):
        build_graph(make_request(), log)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("graph.weight_click=-1", "at least 0"),
        ("graph.item_item_window=1", "at least 2"),
        ("graph.memory_limit_gb=0", "above 0"),
        ("graph.attributes=[colour]", "colour"),
        ("graph.attributes=[tags]", "single values"),
        ("graph.attributes=[item_id]", "item_id"),
    ],
)
def test_settings_that_fit_no_graph_are_refused(
    tmp_path: Path, make_log: MakeLog, make_request: MakeRequest, setting: str, message: str
) -> None:
    log = make_log(tmp_path / "logs", [{"item_id": "a", "clicked": True}], [{"item_id": "a", "tags": ["x"]}])
    with pytest.raises(InputError, match=message):
        build_graph(make_request(setting), log)


def test_attributes_without_values_are_left_out_aloud(
    tmp_path: Path, make_log: MakeLog, make_request: MakeRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    log = make_log(tmp_path / "logs", [{"item_id": "a", "clicked": True}], [{"item_id": "a", "brand": None}])
    graph = build_graph(make_request(), log)
    assert set(graph.node_counts) == {"item", "query"}
    assert "has_brand is left out" in capsys.readouterr().out


def test_finished_graph_is_kept_and_changed_settings_are_refused_or_overwrite_it(
    tmp_path: Path, make_log: MakeLog, make_request: MakeRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, items = random_log(10, sessions=True, numbers=False)
    log = make_log(tmp_path / "logs", rows, items)
    first = build_graph(make_request(), log)
    again = build_graph(make_request("graph.memory_limit_gb=1"), log)
    assert "finished before" in capsys.readouterr().out
    assert again.identity == first.identity
    with pytest.raises(InputError, match=r'graph.attributes=\[\], asked for \["brand"\].*overwrite=true'):
        build_graph(make_request("graph.attributes=[brand]"), log)
    changed = build_graph(make_request("graph.attributes=[brand]", "overwrite=true"), log)
    assert changed.identity != first.identity
    assert "category" not in changed.node_counts


def test_interrupted_build_starts_over(
    tmp_path: Path, make_log: MakeLog, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, items = random_log(11, sessions=True, numbers=False)
    log = make_log(tmp_path / "logs", rows, items)
    request = make_request()
    with monkeypatch.context() as patched:
        patched.setattr("graph.building.finish_graph", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build_graph(request, log)
    with pytest.raises(InputError, match="unfinished"):
        Graph.open(request.run.graph)
    (request.run.graph / "edges" / "item__old__item").mkdir()
    graph = build_graph(request, log)
    assert edges_of(graph) == reference(rows, items, request.config.graph)


def test_facts_describe_the_graph(tmp_path: Path, make_log: MakeLog, make_request: MakeRequest) -> None:
    rows = [{"query": "x", "item_id": "a", "clicked": True}, {"query": "y", "item_id": "b", "clicked": True}]
    log = make_log(tmp_path / "logs", rows, [{"item_id": name} for name in "abc"])
    facts = build_graph(make_request(), log).facts
    assert facts["nodes"] == {"item": 3, "query": 2}
    assert facts["edges"] == {"item__engaged_by__query": 2, "query__engaged__item": 2}
    assert facts["components"] == {"count": 3, "largest": 2, "sizes": [[2, 2], [1, 1]]}
    assert facts["isolated"] == {"item": 1, "query": 0}
    assert facts["degrees"]["query__engaged__item"]["target"]["connected"] == 2
    assert facts["degrees"]["query__engaged__item"]["source"]["min"] == 1
    assert (facts["rows"], facts["days"], facts["catalogue"]) == (2, ["2024-01-01"], log.catalogue)


def test_spark_makes_the_same_graph(
    tmp_path: Path, make_log: MakeLog, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql = pytest.importorskip("pyspark.sql", reason="pyspark is an optional extra")
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    # The build takes up a running session; this one is sized for a few hundred rows: no compilation, no shuffles.
    settings_of_session = {
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.sql.adaptive.enabled": "false",
        "spark.ui.enabled": "false",
    }
    sql.SparkSession.builder.master("local[1]").config(map=settings_of_session).getOrCreate()
    rows, items = random_log(12, sessions=True, numbers=False)
    log = make_log(tmp_path / "logs", rows, items)
    settings = ("graph.degree_cap=3", "graph.attributes=[brand,category,stars]")
    by_duckdb = build_graph(make_request(*settings, run="duckdb"), log)
    by_spark = build_graph(make_request(*settings, "engine=spark", run="spark"), log)
    assert edges_of(by_spark) == edges_of(by_duckdb)
    for key, relation in by_duckdb.relations.items():
        assert relation.weight.tobytes() == by_spark.relations[key].weight.tobytes()


def test_spark_that_is_not_installed_is_explained(
    tmp_path: Path, make_log: MakeLog, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyspark.sql", None)
    log = make_log(tmp_path / "logs", [{"item_id": "a", "clicked": True}], [{"item_id": "a"}])
    with pytest.raises(InputError, match=r"pip install '\.\[spark\]'"):
        build_graph(make_request("engine=spark"), log)


def test_an_attribute_whose_name_no_file_may_have_is_refused():
    items = pa.table({"item_id": [1], "列" * 33: ["a"], "列" * 34: ["a"]})
    assert attributes_of(items, ["列" * 33]) == ["列" * 33]
    with pytest.raises(InputError, match="has 102 bytes; a node type, which names files, has 100 at most"):
        attributes_of(items, ["列" * 34])
