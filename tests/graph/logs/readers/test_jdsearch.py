"""The JDsearch reader on made-up users in the published schema."""

from __future__ import annotations

import gzip
import json

import pyarrow.parquet as pq
import pytest

from configs.errors import InputError
from graph.logs.prepare import prepare_log
from graph.logs.readers.jdsearch.reader import LINE, PRODUCT

TERM = "\x18"


def terms(*words):
    return TERM.join(map(str, words))


def user(query=(1, 2), candidates=(11, 12, 13), labels=(1, 0, 0), history=(), last_gap=60):
    """A published line; ``history`` holds (seconds after the touch before, query or -1, product, type)."""
    joined = lambda values: "_".join(map(str, values))  # noqa: E731
    queries = [q if q == -1 else terms(*q) for _, q, _, _ in history]
    return [
        terms(*query),
        joined(candidates),
        joined(f"{label}.0" for label in labels),
        joined(queries),
        joined(item for _, _, item, _ in history),
        joined(kind for _, _, _, kind in history),
        joined([*(gap for gap, _, _, _ in history), last_gap]),
    ]


def product(wid, name=(1, 7), brand=5, shop=9, categories=(100, 200, 300, 400)):
    levels = [value for category in categories for value in (category, terms(category))]
    return [wid, terms(*name), brand, terms(brand), *levels, shop]


HISTORY = [
    (0, -1, 21, "CLICK"),
    (100, (1, 3), 11, "CLICK"),
    (10, (1, 3), 22, "CART"),
    (10, (1, 3), 11, "ORD"),
    (9000, (4,), 23, "FLW"),
    (30, -1, 24, "CLICK"),
    (30, (1, 3), 25, "CLICK"),
]
USERS = [user(history=HISTORY), *(user(labels=(3, 0, 2)) for _ in range(9))]
PRODUCTS = [product(11), product(12, brand=6), product(22), product(99)]


def write(folder, users, products=PRODUCTS, header=True, ending=".txt"):
    folder.mkdir(exist_ok=True)
    opener = gzip.open if ending.endswith(".gz") else open
    for stem, names, rows in (("user_behavior_data", LINE, users), ("product_meta_data", PRODUCT, products)):
        with opener(folder / f"{stem}{ending}", "wt", encoding="utf-8") as file:
            file.writelines("\t".join(map(str, row)) + "\n" for row in ([names] if header else []) + list(rows))
    return folder


@pytest.fixture
def read(tmp_path, request_for):
    """Read users and products; return the log and its rows by (request, item)."""

    def run(users=USERS, *overrides, run="x", **written):
        folder = users if not isinstance(users, list) else write(tmp_path / "jd", users, **written)
        log = prepare_log(request_for(tmp_path / "runs" / run, "jdsearch", folder, *overrides))
        rows = log.dataset().to_table().to_pylist()
        return log, {(row["request_id"], row["item_id"]): row for row in rows}

    return run


def test_the_test_query_is_a_request_with_its_labels(read):
    log, rows = read()
    first, tenth = rows["user 0 list", 11], rows["user 9 list", 13]
    assert (first["query"], first["stage"], first["clicked"], first["ordered"]) == ("1 2", "exposed", True, False)
    assert (rows["user 0 list", 12]["clicked"], rows["user 9 list", 11]["ordered"]) == (False, True)
    assert (tenth["clicked"], tenth["ordered"]) == (True, False)
    assert {row["position"] for row in rows.values()} == {None}
    assert log.facts["stages"] == {"exposed": 30, "recalled": 4}
    assert log.facts["tasks"]["rank"] == {"available": False, "reason": "no row of train has a position"}


def test_seven_one_and_two_of_ten_test_queries(read):
    log, rows = read()
    lists = {(row["request_id"], row["split"]) for row in rows.values() if row["stage"] == "exposed"}
    splits = [split for _, split in lists]
    assert [splits.count(split) for split in ("train", "validation", "test")] == [7, 1, 2]
    assert {row["split"] for row in rows.values() if row["stage"] == "recalled"} == {"train"}
    days = {row["split"]: str(row["timestamp"].date()) for row in rows.values() if row["stage"] == "exposed"}
    assert days == {"train": "2000-01-01", "validation": "2010-01-01", "test": "2020-01-01"}
    assert max(log.facts["splits"]["train"]["days"]) == "2000-01-01"


def test_a_history_gives_searches_with_the_time_before_the_test_query(read):
    _, rows = read()
    searches = {key: row for key, row in rows.items() if row["stage"] == "recalled"}
    assert {(key, row["query"], row["clicked"], row["ordered"]) for key, row in searches.items()} == {
        (("user 0 search 1", 11), "1 3", True, True),
        (("user 0 search 1", 22), "1 3", True, False),
        (("user 0 search 2", 23), "4", True, False),
        (("user 0 search 3", 25), "1 3", True, False),
    }
    first = searches["user 0 search 1", 11]
    # 10 + 10 + 9000 + 30 + 30 + 60 seconds from the first touch of this search to the test query, and one to be before.
    assert first["timestamp"].isoformat() == "1999-12-31T21:27:39+00:00"
    assert first["history"] == [21]
    assert searches["user 0 search 2", 23]["history"] is None
    assert searches["user 0 search 3", 25]["history"] == [24, 23]
    assert (first["session_id"], searches["user 0 search 2", 23]["session_id"]) == (
        "user 0 session 0",
        "user 0 session 1",
    )


def test_candidates_know_what_their_user_touched_before(read):
    _, rows = read()
    row, other = rows["user 0 list", 11], rows["user 0 list", 12]
    assert row["past"] == [25, 24, 23, 11, 22, 21]
    assert row["history"] == [25, 24, 23]
    assert (row["past_touches"], row["query_terms"], row["terms_in_title"]) == (7, 2, 0.5)
    assert (row["item_touches"], row["brand_touches"], row["shop_touches"], row["category_touches"]) == (2, 3, 3, 3)
    assert row["seconds_since_category"] == 9120
    assert (other["item_touches"], other["brand_touches"], other["category_touches"]) == (0, 0, 3)
    unknown = rows["user 0 list", 13]
    assert (unknown["terms_in_title"], unknown["brand_touches"], unknown["seconds_since_category"]) == (None, 0, None)
    fresh = rows["user 3 list", 11]
    assert (fresh["past"], fresh["history"], fresh["past_touches"], fresh["item_touches"]) == (None, None, 0, 0)


def test_a_session_that_ended_before_the_test_query_is_no_history_of_it(read):
    _, rows = read([user(history=HISTORY, last_gap=1801), *USERS[1:]])
    assert rows["user 0 list", 11]["history"] is None
    assert rows["user 0 list", 11]["past"] == [25, 24, 23, 11, 22, 21]


def test_the_order_of_the_candidates_changes_nothing(read):
    turned = [user(candidates=(13, 12, 11), labels=(0, 0, 1), history=HISTORY)]
    turned += [user(candidates=(13, 12, 11), labels=(2, 0, 3)) for _ in range(9)]
    assert read()[1] == read(turned, run="y")[1]


def test_items_are_what_occurs_with_or_without_metadata(read, capsys):
    log, _ = read()
    items = {row["item_id"]: row for row in log.items().to_pylist()}
    assert sorted(items) == [11, 12, 13, 21, 22, 23, 24, 25]
    assert items[11] == {
        "item_id": 11,
        "title": "1 7",
        "brand": 5,
        "shop": 9,
        "category": 300,
        "category_1": 100,
        "category_2": 200,
        "category_4": 400,
    }
    assert items[13]["title"] is None
    said = capsys.readouterr().out
    assert "5 products of lists and histories are not in the metadata" in said
    assert "1 products of the metadata occur nowhere" in said


BAD = [
    ("the line has more than 7 fields", [*user(), "more"]),
    ("candidate_wid_list holds something that is not a whole number", user(candidates=("a", 12, 13))),
    ("candidate_label_list is not as long as candidate_wid_list", user(labels=(1, 0))),
    ("candidate_label_list holds something other than 0.0, 1.0, 2.0 and 3.0", user(labels=(4, 0, 0))),
    ("candidates without a query", user(query=())),
    ("history_wid_list holds something that is not a whole number", user(history=[(0, -1, "x", "ORD")])),
    (
        "history_qry_list or history_type_list is not as long as history_wid_list",
        [*user(history=[(0, -1, 21, "ORD")])[:5], "ORD_CLICK", "0_5"],
    ),
    ("history_type_list holds something other than ORD, CLICK, CART, FLW", user(history=[(0, -1, 21, "BUY")])),
    ("history_time_list is not one longer than history_wid_list", [*user(history=[(0, -1, 21, "ORD")])[:6], "0"]),
    ("history_time_list holds something that is not a whole number of seconds from 0", user(last_gap=-5)),
]


def test_lines_that_cannot_be_read_are_rejected_with_their_row(read):
    log, _ = read([*USERS, *(line for _, line in BAD)], "data.rejected_share=0.9")
    rejected = pq.read_table(log.folder / "rejected.parquet").to_pylist()
    found = [(row["row"], row["reason"]) for row in sorted(rejected, key=lambda row: row["row"])]
    assert found == [(len(USERS) + number, reason) for number, (reason, _) in enumerate(BAD)]
    assert {row["source"] for row in rejected} == {"user_behavior_data.txt"}
    assert json.loads(rejected[0]["content"])
    assert log.facts["requests"] == 13


def test_a_user_without_candidates_is_history_alone(read):
    log, rows = read([*USERS, user(query=(), candidates=(), labels=(), history=HISTORY)])
    assert not any(key == "user 10 list" for key, _ in rows)
    assert rows["user 10 search 2", 23]["clicked"]
    assert log.facts["rejected"] == {}


def test_without_header_gzipped_and_renamed_files_read_the_same(read, tmp_path):
    log, rows = read()
    for run, written in (("y", {"header": False}), ("z", {"ending": "_sample.txt.gz"})):
        again, found = read(write(tmp_path / run, USERS, **written), run=run)
        assert found == rows
        assert again.items().equals(log.items())


def test_folders_that_cannot_be_read(read, tmp_path):
    with pytest.raises(InputError, match=r"is a file: expected the unpacked folder"):
        read(write(tmp_path / "a", USERS) / "user_behavior_data.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no user_behavior_data.txt: .*unpack JDsearch.tar.gz first"):
        read(tmp_path / "empty")
    twice = write(tmp_path / "twice", USERS)
    write(twice, USERS, ending="_2.txt")
    with pytest.raises(InputError, match=r"expected one user_behavior_data\*.txt, found 2"):
        read(twice)
    with pytest.raises(InputError, match=r"none of its 1 lines is one: give product_meta_data.txt as published"):
        read(write(tmp_path / "b", USERS, products=[["no", "product"]]))
    bad = write(tmp_path / "c", [["some", "other", "file"]])
    with pytest.raises(InputError, match=r"lists joined with _; found .*\(1\): give user_behavior_data.txt"):
        read(bad)
    (bad / "user_behavior_data.txt").write_text("")
    with pytest.raises(InputError, match=r"user_behavior_data.txt is empty \(0 bytes\)"):
        read(bad)
