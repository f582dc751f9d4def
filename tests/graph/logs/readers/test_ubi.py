"""User Behavior Insights on made-up documents, in each of the forms that it is exported in; and on a real sample."""

from __future__ import annotations

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.command import parse
from configs.errors import InputError
from graph.logs.prepare import prepare_log

DAY = "2025-01-{:02d}T10:00:{:02d}.000Z"


def query(number, text="lamp", hits=("a", "b", "c"), **others):
    """One document of ubi_queries."""
    return {
        "application": "shop",
        "query_id": f"q{number}",
        "client_id": f"c{number % 4}",
        "user_query": text,
        "query_attributes": {},
        "timestamp": DAY.format(1 + number % 5, 0),
        "query_response_hit_ids": list(hits),
    } | others


def event(number, action, item=None, ordinal=None, second=5, **others):
    """One document of ubi_events."""
    attributes = {"position": {} if ordinal is None else {"ordinal": ordinal}}
    if item is not None:
        attributes["object"] = {"object_id": item, "object_id_field": "sku"}
    return {
        "application": "shop",
        "action_name": action,
        "query_id": f"q{number}",
        "client_id": f"c{number % 4}",
        "session_id": f"s{number}",
        "timestamp": DAY.format(1 + number % 5, second),
        "event_attributes": attributes,
    } | others


def session(number, **others):
    """A query with its list, two impressions and a click."""
    shown = [event(number, "impression", item, ordinal) for ordinal, item in enumerate("ab", 1)]
    return [query(number, **others), *shown, event(number, "click", "b", 2, 9)]


LOG = [document for number in range(10) for document in session(number)]


def as_lines(path, documents, bulk=False, opener=open):
    with opener(path, "wt", encoding="utf-8") as file:
        for document in documents:
            index = "ubi_events" if "action_name" in document else "ubi_queries"
            lines = [{"index": {"_index": index, "_id": "1"}}, document] if bulk else [document]
            file.writelines(json.dumps(line) + "\n" for line in lines)
    return path


@pytest.fixture
def read(tmp_path, request_for):
    """Read documents, or a path; return the log and its rows by (request, item)."""

    def run(source, *overrides, run="x"):
        path = as_lines(tmp_path / "ubi.ndjson", source) if isinstance(source, list) else source
        log = prepare_log(request_for(tmp_path / "runs" / run, "ubi", path, *overrides))
        rows = log.dataset().to_table().to_pylist()
        return log, {(row["request_id"], row["item_id"]): row for row in rows}

    return run


def left_out(log):
    return log.facts["accounts"]["impressions"]["left_out"]


def of(rows, request, *columns):
    return {item: tuple(row[c] for c in columns) for (key, item), row in rows.items() if key == request}


def test_a_query_is_a_request_with_its_hits_and_what_came_of_them(read):
    log, rows = read(LOG)
    assert of(rows, "q3", "position", "stage", "clicked", "carted", "ordered") == {
        "a": (1, "exposed", False, False, False),
        "b": (2, "exposed", True, False, False),
        "c": (3, "ranked", False, False, False),
    }
    row = rows["q3", "a"]
    assert (row["user_id"], row["session_id"], row["query"]) == ("c3", "s3", "lamp")
    assert row["timestamp"].isoformat() == "2025-01-04T10:00:00+00:00"
    assert left_out(log) == {}
    assert log.items()["item_id"].to_pylist() == ["a", "b", "c"]


@pytest.mark.parametrize("form", ["bulk", "gzip", "hits", "parquet", "parquet_json", "flattened", "folder"])
def test_every_form_of_export_reads_alike(read, tmp_path, form):
    _, expected = read(LOG)
    folder = tmp_path / "forms"
    folder.mkdir()
    queries, events = [d for d in LOG if "user_query" in d], [d for d in LOG if "action_name" in d]
    path = folder
    match form:
        case "bulk":
            path = as_lines(folder / "all.json", LOG, bulk=True)
        case "gzip":
            path = as_lines(folder / "all.ndjson.gz", LOG, bulk=True, opener=gzip.open)
        case "hits":
            path = as_lines(folder / "all.jsonl", [{"_index": "i", "_id": "1", "_source": d} for d in LOG])
        case "parquet" | "parquet_json":
            as_text = form == "parquet_json"
            events = [e | ({"event_attributes": json.dumps(e["event_attributes"])} if as_text else {}) for e in events]
            pq.write_table(
                pa.Table.from_pylist([q | {"query_attributes": None} for q in queries]), folder / "q.parquet"
            )
            pq.write_table(pa.Table.from_pylist(events), folder / "e.parquet")
        case "flattened":
            flat = [
                {k: v for k, v in e.items() if k != "event_attributes"}
                | {
                    "event_attributes.object.object_id": e["event_attributes"]["object"]["object_id"],
                    "event_attributes.position.ordinal": float(e["event_attributes"]["position"]["ordinal"]),
                }
                for e in events
            ]
            pq.write_table(pa.Table.from_pylist(flat), folder / "e.parquet")
            as_lines(folder / "q.ndjson", queries)
        case "folder":
            (folder / "2025" / "01").mkdir(parents=True)
            as_lines(folder / "ubi_queries.ndjson", queries)
            as_lines(folder / "2025" / "01" / "ubi_events.ndjson", events)
    _, rows = read(path, run=form)
    assert rows == expected


def test_times_are_iso_or_epoch(read):
    written = [1736157605000, "1736157605000", 1736157605, 1736157605000000]
    written += ["2025-01-06T10:00:05Z", "2025-01-06T12:00:05+0200", "2025-01-06T10:00:05"]
    _, rows = read([*LOG, *(query(77 + number, timestamp=each) for number, each in enumerate(written))])
    times = [rows[f"q{77 + number}", "a"]["timestamp"].isoformat() for number in range(len(written))]
    assert times == ["2025-01-06T10:00:05+00:00"] * len(written)


def test_ordinals_of_all_versions(read):
    documents = [query(0, hits=())]
    documents += [event(0, "impression", f"x{n}", each) for n, each in enumerate([{"index": 1}, 2, "3", 4.0, 4.5])]
    documents.append(event(0, "impression", "x5") | {"event_attributes": {"object": {"object_id": "x5"}, "rank": 6}})
    _, rows = read([*LOG[4:], *documents])
    expected = {"x0": (1,), "x1": (2,), "x2": (3,), "x3": (4,), "x4": (None,), "x5": (6,)}
    assert of(rows, "q0", "position") == expected


def test_ordinals_from_0_become_positions_from_1_and_hits_say_more_than_ordinals(read):
    shown = [event(0, "impression", item, ordinal) for ordinal, item in enumerate("xyz")]
    other = {"application": "other"}
    documents = [query(0, hits=(), **other), *(e | other for e in shown), *(d for d in LOG if d["query_id"] != "q0")]
    _, rows = read(documents)
    assert of(rows, "q0", "position") == {"x": (1,), "y": (2,), "z": (3,)}
    assert of(rows, "q1", "position") == {"a": (1,), "b": (2,), "c": (3,)}


def test_two_items_at_one_place_leave_one_without_a_position(read):
    log, rows = read([*LOG[4:], query(0, hits=()), event(0, "impression", "x", 1), event(0, "impression", "y", 1)])
    assert of(rows, "q0", "position") == {"x": (1,), "y": (None,)}
    assert log.facts["rejected"] == {}


def test_where_no_impression_is_logged_the_hits_were_shown(read):
    documents = [d for d in LOG if d.get("action_name") != "impression"]
    _, rows = read(documents)
    assert of(rows, "q3", "stage", "clicked") == {
        "a": ("exposed", False),
        "b": ("exposed", True),
        "c": ("exposed", False),
    }


def test_pages_of_one_query_and_engine_calls_without_hits_are_one_list(read):
    pages = [
        query(0, hits=()),
        query(0, query=json.dumps({"size": 3})),
        query(0, hits=("d", "e"), query=json.dumps({"from": 3, "size": 3}), timestamp=DAY.format(1, 30)),
        query(0, hits=("z",), timestamp=DAY.format(1, 40)),
    ]
    _, rows = read([*pages, *LOG[1:]])
    assert of(rows, "q0", "position") == {"a": (1,), "b": (2,), "c": (3,), "d": (4,), "e": (5,)}


def test_a_query_id_kept_while_typing_on_is_several_requests(read):
    typed = [
        query(0, "red", ("a",)),
        query(0, "red lamp", ("b",), timestamp=DAY.format(1, 20)),
        event(0, "click", "b", second=25),
        event(0, "click", "a", second=26, user_query="red"),
    ]
    _, rows = read([*LOG[4:], *typed])
    assert {(key, row["query"], row["clicked"]) for key, row in rows.items() if key[0].startswith("q0")} == {
        (("q0/1", "a"), "red", True),
        (("q0/2", "b"), "red lamp", True),
    }


def test_the_text_of_a_query_without_document_comes_from_its_events(read):
    documents = [
        event(70, "search", message_type="QUERY", message="sofa", second=0),
        event(70, "impression", "a", 1),
        event(71, "impression", "a", 1, user_query="bed"),
        event(72, "impression", "a", 1),
        event(73, "impression", "a", 1) | {"query_id": None},
    ]
    log, rows = read([*LOG, *documents])
    assert {rows[key, "a"]["query"] for key in ("q70", "q71")} == {"sofa", "bed"}
    assert left_out(log) == {
        "actions that data.ubi does not name": 1,
        "impressions of queries whose text is unknown": 1,
        "impressions without query_id": 1,
    }


def test_an_engagement_counts_once_and_on_the_list_that_showed_the_item(read):
    documents = [
        event(0, "click", "b", second=11),
        event(0, "add_to_cart", "b", second=12),
        event(0, "purchase", "b", second=13) | {"query_id": "later"},
        event(0, "purchase", "b", second=14) | {"query_id": None},
        event(0, "purchase", "unheard of", second=15),
        event(1, "click", "new", 7, second=15),
        event(80, "click", "b", client_id="stranger"),
    ]
    log, rows = read([*LOG, *documents])
    assert of(rows, "q0", "clicked", "carted", "ordered")["b"] == (True, True, True)
    assert of(rows, "q1", "clicked", "stage", "position")["new"] == (True, "exposed", None)
    assert left_out(log) == {
        "further clicks of one item in one request": 1,
        "further orders of one item in one request": 1,
        "orders of items that no list showed": 1,
        "clicks of queries whose text is unknown": 1,
    }
    assert "carted" in log.facts["columns"]


def test_an_engagement_beyond_the_window_belongs_to_no_list(read):
    late = event(0, "purchase", "b", query_id=None, timestamp="2025-01-01T10:31:00Z")
    log, rows = read([*LOG, late])
    assert not rows["q0", "b"]["ordered"]
    assert left_out(log) == {"orders without query_id": 1}
    _, rows = read([*LOG, late], "data.ubi.window_minutes=31", run="wide")
    assert rows["q0", "b"]["ordered"]


def test_action_names_and_applications_are_keys(read):
    documents = [*LOG, *(d | {"application": "test"} for d in session(60)), event(1, "Tile_Click", "a")]
    log, rows = read(documents, "data.ubi.click=[tile_click]", "data.ubi.applications=[shop]")
    assert of(rows, "q1", "clicked") == {"a": (True,), "b": (False,), "c": (False,)}
    assert left_out(log) == {"actions that data.ubi does not name": 10, "not of data.ubi.applications": 4}


def test_query_ids_that_two_applications_count_alike_are_two_queries(read):
    _, rows = read([*LOG, *(d | {"application": "other"} for d in session(0, text="rug", hits=("x",)))])
    assert {row["query"] for (key, _), row in rows.items() if key in ("shop/q0", "other/q0")} == {"lamp", "rug"}


def test_a_user_counts_before_a_client(read):
    _, rows = read([*LOG, event(0, "click", "a", second=7, user_id="u1"), event(1, "click", "a", user_id="")])
    assert (rows["q0", "c"]["user_id"], rows["q1", "c"]["user_id"]) == ("u1", "c1")


def test_bad_documents_are_rejected_by_name(read, tmp_path):
    bad = [
        event(0, "click", "a", timestamp="yesterday"),
        event(0, "impression"),
        {k: v for k, v in event(0, "click", "a").items() if k not in ("client_id", "session_id")},
        query(0, query_id=None),
        {"neither": 1},
        [1, 2],
    ]
    path = as_lines(tmp_path / "ubi.ndjson", [*LOG, *bad])
    with path.open("a", encoding="utf-8") as file:
        file.write('\n{"query_id": "cut o')
    with pytest.raises(InputError, match="7 of 40 rows"):
        read(path)
    log, _ = read(path, "data.rejected_share=0.5")
    assert log.facts["rejected"] == {
        "impression without object_id": 1,
        "neither an event (action_name) nor a query (query_id, user_query)": 1,
        "no JSON document": 2,
        "query_id is missing": 1,
        "timestamp is missing or neither ISO 8601 nor an epoch": 1,
        "user_id, client_id and session_id are missing": 1,
    }
    rejected = pq.read_table(log.folder / "rejected.parquet").to_pylist()
    assert {row["row"] for row in rejected if "JSON" in row["reason"]} == {45, 47}


def test_attributes_come_from_impressions_alone(read):
    def described(document, **object_):
        attributes = document["event_attributes"]
        return document | {"event_attributes": attributes | {"object": attributes["object"] | object_}}

    documents = [
        described(event(0, "impression", "a", 1), name="Lamp", object_detail={"price": 5, "brand": "x", "tags": [1]}),
        described(event(1, "impression", "a", 1, second=8), name="Lamp 2", object_detail={"price": 6.5}),
        described(event(0, "click", "c"), object_detail={"supplier": "telling"}),
    ]
    log, rows = read([*LOG, *documents])
    items = {row.pop("item_id"): row for row in log.items().to_pylist()}
    assert items["a"] == {"title": "Lamp 2", "price": 6.5, "brand": "x"}
    assert items["c"] == {"title": None, "price": None, "brand": None}
    assert (rows["q0", "a"]["price"], rows["q1", "a"]["price"]) == (5.0, 6.5)


def test_a_catalogue_beside_the_documents_describes_the_items(read, tmp_path):
    folder = tmp_path / "with_items"
    folder.mkdir()
    as_lines(folder / "ubi.ndjson", [*LOG, event(0, "impression", 17)])
    pq.write_table(pa.table({"item_id": [17, 18], "brand": ["x", "y"]}), folder / "items.parquet")
    log, _ = read(folder)
    assert dict(zip(*log.items().to_pydict().values(), strict=True)) == {
        **{"17": "x", "18": "y"},
        **dict.fromkeys("abc"),
    }
    pq.write_table(pa.table({"sku": [17]}), folder / "items.parquet")
    with pytest.raises(InputError, match="no column item_id"):
        read(folder, run="again")


def test_hits_in_other_ids_than_the_events_are_not_used(read):
    documents = [d for number in range(10) for d in session(number, hits=("1", "2", "3"))]
    _, rows = read(documents)
    assert of(rows, "q3", "position", "clicked") == {"a": (1, False), "b": (2, True)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no JSON document"),
        ("[\n1\n]", "holds no JSON document"),
        (
            '{"action_name": "click", "timestamp": 1736157605000, "client_id": "c"}',
            "1 of 1 rows|no request can be made",
        ),
        ('{"query_id": "q", "timestamp": 1736157605000, "client_id": "c"}', "no request can be made"),
    ],
)
def test_what_holds_no_request_is_refused_in_words(read, tmp_path, content, message):
    path = tmp_path / "ubi.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read(path)


def test_a_file_of_another_ending_is_refused(read, tmp_path):
    (tmp_path / "ubi.txt").write_text("{}")
    with pytest.raises(InputError, match="export the two UBI indices"):
        read(tmp_path / "ubi.txt")


@pytest.mark.realdata
def test_the_real_sample_with_all_its_mess(shared_data, tmp_path):
    path = shared_data / "ubi_sample"
    log = prepare_log(parse(["data=ubi", f"data.path={path}", f"runs_folder={tmp_path}"], remember=False))
    facts = log.facts
    assert (facts["rows"], facts["requests"], facts["items"], facts["rejected"]) == (2632, 286, 1157, {})
    assert left_out(log) == {
        "actions that data.ubi does not name": 911,
        "further carts of one item in one request": 97,
        "further clicks of one item in one request": 97,
        "queries of which neither an impression nor a hit is known": 30,
        "impressions of queries whose text is unknown": 20,
        "clicks of queries whose list is unknown: neither impressions nor hits": 11,
        "carts of queries whose list is unknown: neither impressions nor hits": 7,
        "orders of queries whose list is unknown: neither impressions nor hits": 6,
    }
    rows = log.dataset().to_table().to_pylist()
    of_esci = [row for row in rows if row["application"] == "esci_ubi_sample"]
    assert {row["position"] for row in of_esci} == {1, 2, 3, 4, 5}
    assert sum(row["clicked"] for row in of_esci) == 60
