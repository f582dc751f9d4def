"""The AliExpress reader on made-up searches, as published and as multi-task tables use them."""

from __future__ import annotations

import csv

import pyarrow.parquet as pq
import pytest

from configs.errors import InputError
from graph.logs.prepare import prepare_log
from graph.logs.readers.aliexpress import ITEM_FILE, ITEM_IDS, ITEM_NUMBERS, JOINED, USER_FILE, USER_IDS, USER_NUMBERS


def shown(search, item, click=0, conversion=0, **others):
    """One joined row: what is the user's depends on the search only, what is the item's on both."""
    row = {"search_id": search, "click": click, "conversion": conversion}
    row |= {column: search % 3 + place for place, column in enumerate(USER_IDS)}
    row |= dict.fromkeys(ITEM_IDS, item % 2)
    row |= {column: search / 8 + place for place, column in enumerate(USER_NUMBERS)}
    row |= {column: item / 4 + place for place, column in enumerate(ITEM_NUMBERS)}
    return row | others


TRAIN = [shown(search, item, item == 0, item == 0 and search % 2) for search in range(100, 120) for item in range(4)]
TRAIN = [row | {"click": int(row["click"]), "conversion": int(row["conversion"])} for row in TRAIN]
TEST = [shown(search, item, int(item == 1)) for search in range(100, 104) for item in range(3)]


def write_joined(folder, train=TRAIN, test=TEST, columns=JOINED):
    folder.mkdir(exist_ok=True)
    for called, rows in (("train.csv", train), ("test.csv", test)):
        with (folder / called).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
    return folder


def write_published(folder, train=TRAIN, test=TEST):
    """Both files of each split, without headers; the label is 0, 1 or 2."""
    folder.mkdir(exist_ok=True)
    for split, rows in (("train", train), ("test", test)):
        searches = {row["search_id"]: row for row in rows}
        for side, columns, chosen in (("user", USER_FILE, searches.values()), ("item", ITEM_FILE, rows)):
            with (folder / f"nl_{side}_{split}.csv").open("w", newline="", encoding="utf-8") as file:
                labelled = [row | {"label": row["click"] + row["conversion"]} for row in chosen]
                csv.writer(file).writerows([row[column] for column in columns] for row in labelled)
    return folder


@pytest.fixture
def read(tmp_path, request_for):
    def run(folder=None, *overrides, run="x", **written):
        folder = folder or write_joined(tmp_path / "ae", **written)
        log = prepare_log(request_for(tmp_path / "runs" / run, "aliexpress", folder, *overrides))
        return log, log.dataset().to_table().to_pylist()

    return run


def by_label(rows, request):
    return {(row["clicked"], row["ordered"], row["numerical_24"]) for row in rows if row["request_id"] == request}


def test_a_search_is_a_request_and_test_numbers_its_own(read):
    log, rows = read()
    assert log.facts["requests"] == 24
    assert by_label(rows, "train/101") == {
        (True, True, 0),
        (False, False, 0.25),
        (False, False, 0.5),
        (False, False, 0.75),
    }
    assert by_label(rows, "test/101") == {(False, False, 0), (True, False, 0.25), (False, False, 0.5)}
    row = next(row for row in rows if row["request_id"] == "train/100")
    assert (row["user_id"], row["query"], row["stage"], row["position"]) == (
        "train/100",
        "1 2 3 4 5 6 7 8 9",
        "exposed",
        None,
    )
    assert (row["categorical_9"], row["numerical_1"], row["numerical_23"]) == (9, 12.5, 34.5)
    tasks = {name: task["available"] for name, task in log.facts["tasks"].items()}
    assert tasks == {"click": True, "order": True, "rank": False}


def test_the_published_test_is_test_and_a_tenth_of_the_searches_validates(read):
    log, rows = read()
    splits = {name: facts["requests"] for name, facts in log.facts["splits"].items()}
    assert splits == {"train": 18, "validation": 2, "test": 4}
    assert {row["split"] for row in rows if row["request_id"].startswith("test/")} == {"test"}
    days = {str(row["timestamp"].date()) for row in rows}
    assert days == {"2000-01-01", "2010-01-01", "2020-01-01"}


def test_items_are_places_in_an_order_that_tells_nothing(read):
    log, rows = read()
    assert log.items()["item_id"].to_pylist() == [1, 2, 3, 4]
    assert log.items().column_names == ["item_id"]
    clicked = [row["item_id"] for row in rows if row["clicked"]]
    assert len(set(clicked)) == 4


def test_both_layouts_read_the_same(read, tmp_path):
    _, joined = read()
    _, published = read(write_published(tmp_path / "raw"), run="y")
    place = lambda row: (row["request_id"], row["numerical_24"])  # noqa: E731
    plain = [
        sorted(({k: v for k, v in row.items() if k != "item_id"} for row in rows), key=place)
        for rows in (joined, published)
    ]
    assert plain[0] == plain[1]


def test_the_published_files_have_33_and_49_columns():
    assert (len(USER_FILE), len(ITEM_FILE), len(JOINED)) == (33, 49, 82)
    assert [ITEM_FILE[place - 1] for place in (1, 2, 19, 34, 42, 48, 49)] == [
        "search_id",
        "numerical_24",
        "categorical_10",
        "categorical_11",
        "categorical_16",
        "numerical_63",
        "label",
    ]
    assert (USER_FILE[7], USER_FILE[8], USER_FILE[-1]) == ("categorical_7", "numerical_1", "categorical_9")


def test_bad_rows_are_rejected_with_their_row(read):
    bad = [
        shown(130, 0, search_id="x"),
        shown(130, 0, categorical_3="high"),
        shown(130, 1, numerical_30="inf"),
        shown(130, 2, click=2),
        shown(130, 3, numerical_30=""),
    ]
    log, rows = read(None, "data.rejected_share=0.5", train=[*TRAIN, *bad])
    rejected = pq.read_table(log.folder / "rejected.parquet").to_pylist()
    assert sorted((row["row"], row["reason"]) for row in rejected) == [
        (80, "search_id is not a whole number"),
        (81, "a categorical column is not a whole number"),
        (82, "a numerical column is neither empty nor a number"),
        (83, "click or conversion is neither 0 nor 1"),
    ]
    assert [row["numerical_30"] for row in rows if row["request_id"] == "train/130"] == [None]


def test_published_rows_without_their_search_are_rejected(read, tmp_path):
    folder = write_published(tmp_path / "raw")
    users = folder / "nl_user_train.csv"
    users.write_text("".join(line for line in users.open() if not line.startswith("101,")))
    log, rows = read(folder, "data.rejected_share=0.5")
    assert log.facts["rejected"] == {"search_id is not in nl_user_train.csv": 4}
    assert not by_label(rows, "train/101")
    users.write_text(users.read_text() + users.read_text())
    with pytest.raises(InputError, match=r"expected one row for each search_id \(first column\); found 19 that repeat"):
        read(folder, run="y")


def test_columns_in_another_order_are_noticed(read):
    mixed = [row | {"numerical_5": row["numerical_24"]} for row in TRAIN]
    with pytest.raises(InputError, match=r"found 20 of 24 searches where they differ, e\.g\. train/100"):
        read(train=mixed)


def test_folders_that_cannot_be_read(read, tmp_path):
    with pytest.raises(InputError, match="is a file: expected the folder of one country"):
        read(write_joined(tmp_path / "a") / "train.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no train rows: .*the joined table has 82 columns"):
        read(tmp_path / "empty")
    with pytest.raises(InputError, match="holds no train rows"):
        read(write_joined(tmp_path / "b", columns=JOINED[:-1]))
    two = write_joined(tmp_path / "c")
    (two / "es_train.csv").write_bytes((two / "train.csv").read_bytes())
    with pytest.raises(InputError, match=r"expected one table of train .* found 2 \(es_train.csv, train.csv\)"):
        read(two)
    with pytest.raises(InputError, match=r"no row can be read \(search_id is not a whole number: 2\)"):
        read(train=[shown(1, 0, search_id="x")], test=[shown(1, 0, search_id="y")])
