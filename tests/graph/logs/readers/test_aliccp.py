"""The Ali-CCP reader on made-up impressions, as published and as multi-task tables use them."""

from __future__ import annotations

import csv
import hashlib

import pyarrow.parquet as pq
import pytest

from configs.errors import InputError
from graph.logs.prepare import prepare_log
from graph.logs.readers.aliccp.layouts import JOINED, PERSON, STRONGEST


def features(*triples):
    """A published list of features: count and text."""
    return [len(triples), "\x01".join(f"{field}\x02{key}\x03{value}" for field, key, value in triples)]


def digest(user):
    return hashlib.md5(str(user).encode(), usedforsecurity=False).hexdigest()[:16]


def person(user, tastes=()):
    """A published line of common features; ``tastes`` holds (field, id, value)."""
    return [digest(user), *features(("101", user, 1.0), ("121", 700 + user % 3, 1.0), ("124", 9, 1.0), *tastes)]


def impression(number, user, item, click=0, buy=0, pair=()):
    """A published line of the skeleton; an item's category, shop, intention and brand follow from its id."""
    of_item = [("205", item, 1.0), ("206", item % 2, 1.0), ("207", item % 3, 1.0), ("210", 5, 1.0)]
    return [number, click, buy, digest(user), *features(*of_item, ("216", 6, 1.0), ("301", 1, 1.0), *pair)]


TASTES = [("150_14", 51, 0.7), ("150_14", 52, 2.0), ("109_14", 1, 1.5)]
USERS = {split: [person(user, TASTES if user == 0 else ()) for user in range(10)] for split in ("train", "test")}
PAIR = [("508", 61, 0.25), ("853", 64, 1.5)]
ROWS = {
    "train": [
        impression(u * 4 + i, u, i + 1, int(i == 0), int(i == 0 and u % 2), PAIR) for u in range(10) for i in range(4)
    ],
    "test": [impression(u * 3 + i, u, i + 1, int(i == 0)) for u in range(10) for i in range(3)],
}


def write_published(folder, rows=ROWS, users=USERS, subfolders=False):
    for split in ("train", "test"):
        target = folder / f"sample_{split}" if subfolders else folder
        target.mkdir(parents=True, exist_ok=True)
        for stem, lines in (("sample_skeleton", rows[split]), ("common_features", users[split])):
            text = "".join(",".join(map(str, line)) + "\n" for line in lines)
            (target / f"{stem}_{split}.csv").write_text(text)
    return folder


@pytest.fixture
def read(tmp_path, request_for):
    """Read a folder; return the log and its rows by (request, item)."""

    def run(folder=None, *overrides, run="x", **written):
        folder = folder or write_published(tmp_path / "ccp", **written)
        log = prepare_log(request_for(tmp_path / "runs" / run, "aliccp", folder, *overrides))
        return log, {(row["request_id"], row["item_id"]): row for row in log.dataset().to_table().to_pylist()}

    return run


def test_an_impression_has_its_item_and_pair_features(read):
    log, rows = read()
    row = rows[f"train/{digest(1)}/1", "1"]
    assert (row["clicked"], row["ordered"], row["stage"], row["position"]) == (True, True, "exposed", None)
    assert (row["category_match"], row["category_affinity"], row["intention_affinity"]) == ("61", 0.25, 1.5)
    assert (row["shop_match"], row["shop_affinity"], row["position_class"]) == (None, 0.0, "1")
    items = {row["item_id"]: row for row in log.items().to_pylist()}
    assert items["3"] == {"item_id": "3", "category": "1", "shop": "0", "intention": "5", "brand": "6"}
    assert sorted(items) == ["1", "2", "3", "4"]
    tasks = {name: task["available"] for name, task in log.facts["tasks"].items()}
    assert tasks == {"click": True, "order": True, "rank": False}


def test_a_user_at_a_moment_has_attributes_and_tastes_by_weight(read):
    log, rows = read()
    users = {row["user_id"]: row for row in log.users().to_pylist()}
    first, second = users[f"train/{digest(0)}"], users[f"train/{digest(1)}"]
    assert (first["member"], first["profile"], first["gender"], first["age"]) == ("0", "700", "9", None)
    assert (first["intentions"], first["categories"], first["brands"]) == (["52", "51"], ["1"], [])
    assert (second["intentions"], second["member"]) == ([], "1")
    queries = {row["user_id"]: row["query"] for row in rows.values()}
    assert (queries[first["user_id"]], queries[second["user_id"]]) == ("intention 52", "no intention")


def test_only_the_strongest_tastes_are_kept(read):
    many = [("109_14", number, number / 10) for number in range(3 * STRONGEST)]
    log, _ = read(users=USERS | {"train": [person(0, many), *USERS["train"][1:]]})
    users = {row["user_id"]: row for row in log.users().to_pylist()}
    assert users[f"train/{digest(0)}"]["categories"] == [str(3 * STRONGEST - 1 - place) for place in range(STRONGEST)]


def test_an_item_shown_again_is_of_the_next_request(read):
    again = [impression(90, 3, 1), impression(91, 3, 1, 1), impression(92, 3, 2)]
    _, rows = read(rows=ROWS | {"train": [*ROWS["train"], *again]})
    key = f"train/{digest(3)}"
    assert {item for request, item in rows if request == f"{key}/2"} == {"1", "2"}
    assert (rows[f"{key}/1", "1"]["clicked"], rows[f"{key}/2", "1"]["clicked"]) == (True, False)
    assert rows[f"{key}/3", "1"]["clicked"]


def test_the_published_test_is_test_and_a_tenth_of_the_users_validates(read):
    log, rows = read()
    splits = {name: facts["requests"] for name, facts in log.facts["splits"].items()}
    assert splits == {"train": 9, "validation": 1, "test": 10}
    assert {row["split"] for (request, _), row in rows.items() if request.startswith("test/")} == {"test"}


def test_bad_lines_are_rejected_with_their_row(read):
    good = impression(99, 1, 9)
    bad = [
        [*good, "more"],
        [*good[:1], 2, *good[2:]],
        [*good[:4], 12, good[5]],
        [*good[:5], good[5].replace("\x03", "")],
        impression(99, 1, 9, pair=[("205", 8, 1.0)]),
        impression(99, 77, 9),
    ]
    log, _ = read(None, "data.rejected_share=0.5", rows=ROWS | {"train": [*ROWS["train"], *bad]})
    rejected = pq.read_table(log.folder / "rejected.parquet").to_pylist()
    assert sorted((row["row"] - 40, row["reason"]) for row in rejected) == [
        (
            0,
            "the line is not sample_id, click, buy, common_feature_index, feature_num, feature_list",
        ),
        (1, "click or buy is neither 0 nor 1"),
        (2, "feature_num is not the number of features"),
        (3, "feature_num is not the number of features"),
        (4, "field 205 (item) does not occur exactly once"),
        (5, "common_feature_index is not in common_features_train.csv"),
    ]
    assert {row["source"] for row in rejected} == {"sample_skeleton_train.csv"}


def test_subfolders_of_the_archives_are_found(read, tmp_path):
    _, rows = read()
    assert read(write_published(tmp_path / "deep", subfolders=True), run="y")[1] == rows


def joined_row(user, item, click=0, purchase=0, **others):
    row = dict.fromkeys(JOINED, 0) | dict.fromkeys(PERSON, user)
    return row | {
        "click": click,
        "purchase": purchase,
        "205": item,
        "206": 4,
        "207": 5,
        "210": 7,
        "150_14": 3,
        **others,
    }


def write_joined(folder, **files):
    folder.mkdir(exist_ok=True)
    for called, rows in files.items():
        with (folder / f"ali_ccp_{called}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, JOINED)
            writer.writeheader()
            writer.writerows(rows)
    return folder


TABLE = [joined_row(user, item, int(item == 1)) for user in range(5) for item in (1, 2, 0)]


def test_joined_tables_with_their_own_validation(read, tmp_path):
    folder = write_joined(tmp_path / "joined", train=TABLE, val=TABLE, test=TABLE)
    log, rows = read(folder)
    assert {name: facts["requests"] for name, facts in log.facts["splits"].items()} == dict.fromkeys(
        ("train", "validation", "test"), 5
    )
    assert {row["query"] for row in rows.values()} == {"intention 3"}
    assert {item for _, item in rows} == {"1", "2", "rare 4 5 7 0"}
    assert {row["category_affinity"] for row in rows.values()} == {0}


def test_joined_tables_without_validation_and_with_bad_rows(read, tmp_path):
    bad = joined_row(1, 2, click="x")
    log, _ = read(write_joined(tmp_path / "joined", train=[*TABLE, bad], test=TABLE), "data.rejected_share=0.5")
    assert {name: facts["requests"] for name, facts in log.facts["splits"].items()} == {
        "train": 4,
        "validation": 1,
        "test": 5,
    }
    assert log.facts["rejected"] == {"click or purchase is neither 0 nor 1": 1}


def test_folders_that_cannot_be_read(read, tmp_path):
    with pytest.raises(InputError, match=r"is a file: expected the folder with sample_skeleton_train.csv"):
        read(write_published(tmp_path / "a") / "sample_skeleton_train.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds neither layout of Ali-CCP: .* unpack archives first"):
        read(tmp_path / "empty")
    (tmp_path / "a" / "common_features_test.csv").unlink()
    with pytest.raises(InputError, match=r"lacks common_features_test.csv: Ali-CCP is four files"):
        read(tmp_path / "a")
    twice = USERS | {"train": [*USERS["train"], person(3)]}
    with pytest.raises(InputError, match=r"common_features_train.csv: expected one line a user.* 1 repeated keys"):
        read(write_published(tmp_path / "b", users=twice))
    other = ROWS | {"train": [["a", "b"]], "test": [["c", "d"]]}
    with pytest.raises(InputError, match=r"no row can be read \(the line is not sample_id.*: 2\)"):
        read(write_published(tmp_path / "c", rows=other))
