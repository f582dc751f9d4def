"""``data=table``: small files as people have them, by a mapping, against known logs."""

from __future__ import annotations

import pytest

from configs.command import parse
from configs.errors import InputError
from configs.schema import EventsConfig, ImpressionsConfig, TableConfig
from graph.logs.readers.table.plan import mapping_without_labels

NAMED = """
request_id: search
user_id: visitor
query: q
item_id: sku
timestamp: time
position: rank + 1
clicked: click
"""


def searches(count=6, items=("007", "12", "a")):
    """One search a day at 10:00 UTC, the first item clicked; ranks from 0."""
    header = "search,visitor,q,sku,time,rank,click"
    rows = [
        f"s{n},u{n % 2},red shoes,{item},2024-03-{n + 1:02} 10:00:00,{rank},{int(rank == 0)}"
        for n in range(count)
        for rank, item in enumerate(items)
    ]
    return "\n".join([header, *rows]) + "\n"


def below(section, text, **keys):
    """YAML of a section with its columns."""
    columns = "\n".join(f"    {line}" for line in text.strip().splitlines())
    others = "\n".join(f"  {key}: {value}" for key, value in keys.items())
    return f"{section}:\n  columns:\n{columns}\n{others}\n"


def test_a_wide_csv_is_mapped(read_table):
    log, rows = read_table({"a.csv": searches()}, below("impressions", NAMED))
    assert len(rows) == 18
    row = rows["s0", "007"]
    assert (row["user_id"], row["query"], row["position"], row["clicked"]) == ("u0", "red shoes", 1, True)
    assert row["timestamp"].isoformat() == "2024-03-01T10:00:00+00:00"
    assert log.facts["accounts"]["impressions"]["read"] == 18
    assert log.items()["item_id"].to_pylist() == ["007", "12", "a"]


def test_all_problems_of_a_mapping_are_told_at_once(read_table):
    bad = """
request_id: serch
query: q
item_id: sku
timestamp: to_timestamp(
position: upper(rank) + 1
other: (SELECT 1)
"""
    with pytest.raises(InputError) as error:
        read_table({"a.csv": searches()}, below("impressions", bad, where="clik = 1", leave="[nothing]"))
    message = str(error.value)
    for part in ("did you mean 'search'", "columns.timestamp", "columns.position", "subquery", "'clik'", "'nothing'"):
        assert part in message
    assert "lacks user_id, clicked (did you mean 'click'?)" in message


NESTED = """
request_id: id
user_id: who
query: q
timestamp: at
item_id: shown
position: ordinal
price: prices
clicked: coalesce(shown = chosen, false)
"""


def test_lists_of_text_are_taken_apart_side_by_side(read_table):
    log = "id;who;q;at;shown;prices;chosen\nr1;u1;shoes;1709251200;a|b|c;1,5|2|;b\nr2;u1;hats;1709337600;b;7;\n"
    log += "r3;u2;;1709424000;;;\nr4;u2;x;1709424000;a|b;1;a\n"
    mapping = below(
        "impressions", NESTED, unnest="[shown, prices]", separator="'|'", options="{decimal_separator: ','}"
    )
    log, rows = read_table({"a.csv": log}, mapping, "data.rejected_share=0.5")
    assert {key: (row["position"], row["price"], row["clicked"]) for key, row in rows.items()} == {
        ("r1", "a"): (1, 1.5, False),
        ("r1", "b"): (2, 2.0, True),
        ("r1", "c"): (3, None, False),
        ("r2", "b"): (1, 7.0, False),
    }
    account = log.facts["accounts"]["impressions"]
    assert (account["read"], account["rejected"], account["left_out"]) == (
        6,
        1,
        {"shown is null or empty, so nothing was shown": 1},
    )
    assert log.facts["rejected"] == {"the lists shown, prices are not equally long": 1}
    assert "shown" not in log.facts["columns"]


def test_lists_of_json_objects_are_taken_apart(read_table):
    lines = [
        '{"id": 1, "who": "u", "q": "a", "at": "2024-03-01T10:00+02:00", "hits": [{"sku": "x", "p": 1}, {"sku": "y"}]}',
        '{"id": 2, "who": "u", "q": "", "at": "2024-03-02T00:30:00+02:00", "hits": [{"sku": "y", "clicked": true}]}',
        "no json",
    ]
    columns = NESTED.replace("item_id: shown", "item_id: hits.sku").replace("price: prices", "price: hits.p")
    columns = columns.replace("coalesce(shown = chosen, false)", "coalesce(hits.clicked, false)")
    mapping = below("impressions", columns, unnest="[hits]")
    log, rows = read_table({"a.jsonl": "\n".join(lines)}, mapping, "data.rejected_share=0.5")
    assert {key: (row["position"], row["price"], row["clicked"]) for key, row in rows.items()} == {
        (1, "x"): (1, 1.0, False),
        (1, "y"): (2, None, False),
        (2, "y"): (1, None, True),
    }
    assert rows[1, "x"]["timestamp"].isoformat() == "2024-03-01T08:00:00+00:00"
    assert rows[2, "y"]["timestamp"].isoformat() == "2024-03-01T22:30:00+00:00"
    assert log.facts["rejected"] == {"the value is no JSON object in UTF-8": 1}


EVENTS = """event,sku,ts,session,user
click,b,2024-03-01 10:01:00,s1,u1
click,b,2024-03-01 10:02:00,s1,u1
cart,b,2024-03-01 10:03:00,s1,u1
purchase,b,2024-03-01 10:40:00,s1,u1
click,b,2024-03-01 10:20:00,s1,u1
click,a,2024-03-01 09:59:00,s1,u1
click,zzz,2024-03-01 10:01:00,s1,u1
click,c,2024-03-01 10:05:00,,u1
click,c,2024-03-01 10:05:00,s2,u1
scroll,,2024-03-01 10:05:00,s2,u1
click,,2024-03-01 10:05:00,s2,u1
purchase,a,2024-03-01 10:45:00,s1,u1
"""
JOINED = """events:
  files: [events.csv]
  columns: {item_id: sku, timestamp: ts, session_id: session, user_id: user}
  kinds: {click: [click], cart: [cart], order: [purchase]}
  window_minutes: 30
"""


def test_events_are_joined_to_the_latest_request_that_showed_their_item(read_table):
    rows = [
        f"{request},u1,s1,shoes,{item},2024-03-01 10:{minute}:00,{rank}"
        for request, minute in (("r1", "00"), ("r2", "15"))
        for rank, item in enumerate("abc", start=1)
    ]
    impressions = "\n".join(["request_id,user_id,session_id,query,item_id,timestamp,position", *rows])
    mapping = "impressions:\n  files: [shown.csv]\n" + JOINED
    log, rows = read_table({"shown.csv": impressions, "events.csv": EVENTS}, mapping)
    outcomes = {key: (row["clicked"], row["carted"], row["ordered"]) for key, row in rows.items() if row["clicked"]}
    assert outcomes == {
        ("r1", "b"): (True, True, False),  # two clicks: one is a repetition
        ("r2", "b"): (True, False, True),
        ("r1", "c"): (True, False, False),  # by the user, as it has no session
    }
    assert {key for key, row in rows.items() if row["ordered"]} == {("r2", "a"), ("r2", "b")}
    assert log.facts["accounts"]["impressions"] == {
        "read": 12,
        "kept": 6,
        "rejected": 0,
        "left_out": {
            "events of kinds that are not named": 1,
            "events without item_id or timestamp": 1,
            "events whose session was not shown their item within 30 minutes before": 3,
            "events that repeat on one item of a request": 1,
        },
    }


def test_views_are_the_impressions_where_there_are_only_events(read_table):
    events = """type,search,item,user,q,ts,rank,colour
view,r1,1,u1,shoes,1709251200000,0,red
view,r1,2,u1,shoes,1709251200000,1,blue
click,r1,2,u1,,1709251260000,,
order,r1,2,u1,,1709259999000,,
click,r9,2,u1,,1709251260000,,
view,r2,1,u2,hats,1709337600000,0,
"""
    mapping = """
events:
  columns:
    {event: type, request_id: search, item_id: item, user_id: user, query: q, timestamp: ts, position: rank + 1}
  kinds: {impression: [view], click: [click], order: [order]}
items:
  columns: {colour: colour}
"""
    log, rows = read_table({"events.csv": events}, mapping)
    assert {key: (row["position"], row["clicked"], row["ordered"]) for key, row in rows.items()} == {
        ("r1", 1): (1, False, False),
        ("r1", 2): (2, True, True),
        ("r2", 1): (1, False, False),
    }
    assert log.facts["accounts"]["impressions"]["left_out"] == {"events whose request did not show their item": 1}
    assert dict(zip(*log.items().to_pydict().values(), strict=True)) == {1: "red", 2: "blue"}


SHOWN = "request_id,user_id,session_id,query,item_id,timestamp\nr,u,1,q,a,2024-03-01 10:00:00\n"
DONE = "event,item_id,timestamp,session_id\nclick,a,2024-03-01 10:01:00,1\n"


@pytest.mark.parametrize(
    ("shown", "done", "keys", "expected"),
    [
        (SHOWN, DONE, "kinds: {click: [tap]}", r"none of click \['tap'\] is a value of event; there are: click \(1\)"),
        (SHOWN, DONE, "kinds: {click: []}", "(?s)2 things.*lacks clicked.*must name the values of event"),
        (SHOWN, DONE.replace("session_id", "visit"), "", "request_id, session_id or user_id must be there"),
        (SHOWN.replace("session_id", "visit"), DONE, "", "request_id, session_id or user_id must be there"),
        (SHOWN, DONE.replace("event", "type"), "", "data.table.events.columns lacks event"),
        (SHOWN, DONE, "columns: {own: {a: b}}", "columns.own must be a column or an SQL expression"),
        (SHOWN, DONE, "where: 'false'", "holds for none of 1 rows"),
    ],
)
def test_events_that_cannot_be_joined_are_refused(read_table, shown, done, keys, expected):
    mapping = f"impressions: {{files: [s.csv]}}\nevents:\n  files: [e.csv]\n  {keys}"
    with pytest.raises(InputError, match=expected):
        read_table({"s.csv": shown, "e.csv": done}, mapping)


def test_a_session_id_that_users_share_joins_the_events_of_its_own_user(read_table):
    shown = SHOWN + "r2,v,1,q,a,2024-03-01 10:00:30\n"
    done = DONE.replace("session_id", "session_id,user_id").replace(",1\n", ",1,u\n")
    _, rows = read_table({"s.csv": shown, "e.csv": done}, "impressions: {files: [s.csv]}\nevents: {files: [e.csv]}")
    assert {key: row["clicked"] for key, row in rows.items()} == {("r", "a"): True, ("r2", "a"): False}


def test_a_column_that_another_table_takes_leaves_the_impressions_unless_it_is_theirs(read_table):
    log = "request_id,user_id,query,item_id,timestamp,clicked,price,colour\nr,u,q,a,2024-03-01 10:00:00,1,2.5,red\n"
    mapping = "items: {columns: {price: price, colour: colour, shade: upper(colour)}}\nusers: {columns: {who: user_id}}"
    checked, rows = read_table({"a.csv": log}, mapping)
    assert rows["r", "a"]["price"] == 2.5
    assert "colour" not in checked.facts["columns"]
    assert checked.items().to_pylist() == [{"item_id": "a", "price": 2.5, "colour": "red", "shade": "RED"}]


def test_the_newest_mapping_of_a_run_stands_for_the_one_it_remembers(tmp_path):
    kept = tmp_path / "r" / "config.yaml"
    kept.parent.mkdir()
    kept.write_text("data: {name: table, table: {impressions: {columns: {old: a, query: q}}}}\n")
    mine = tmp_path / "mine.yaml"
    mine.write_text("data: {name: table, table: {impressions: {columns: {query: terms}}}}\n")
    arguments = [f"runs_folder={tmp_path}", "run=r"]
    assert parse(arguments).config.data.table.impressions.columns == {"old": "a", "query": "q"}
    assert parse([*arguments, "--config", str(mine)]).config.data.table.impressions.columns == {"query": "terms"}


def test_a_mapping_of_rows_that_are_only_scored_needs_no_clicks():
    impressions = ImpressionsConfig(
        files=["new.csv"], columns={"clicked": "purchases > 0", "ordered": "o", "query": "q"}
    )
    events = EventsConfig(files=["events.csv"])
    bare = mapping_without_labels(TableConfig(impressions=impressions, events=events))
    assert bare.impressions.columns == {"query": "q", "clicked": "false"}
    assert bare.impressions.files == ["new.csv"]
    assert bare.events == EventsConfig()
    alone = TableConfig(events=events)
    assert mapping_without_labels(alone) is alone


def test_a_source_may_number_its_rows_itself(read_table):
    shown = "rowid,request_id,user_id,session_id,query,item_id,timestamp\n"
    shown += "9,r,u,1,q,b,2024-03-01 10:00:00\n2,r,u,1,q,a,2024-03-01 10:00:00\n"
    _, rows = read_table({"s.csv": shown, "e.csv": DONE}, "impressions: {files: [s.csv]}\nevents: {files: [e.csv]}")
    assert {key: (row["clicked"], row["rowid"]) for key, row in rows.items()} == {
        ("r", "a"): (True, 2),
        ("r", "b"): (False, 9),
    }
