"""The encoding against a row-by-row reference, on ordinary and on odd logs."""

from __future__ import annotations

import datetime
import math
import re
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from configs.command import Invocation
from configs.errors import InputError
from configs.stages import read_json
from graph.hashing import NULL_HASH, hash_ngrams, hash_values
from prerank.encoding import impressions
from prerank.encoding.arrays import ArrayWriter, load_array
from prerank.encoding.batches import EncodedLog
from prerank.encoding.encode import LARGEST_NUMBER, encode_list, number_statistics
from prerank.encoding.features import encode_log, encode_new_log
from prerank.encoding.schema import LIST_LENGTH, STAGES, TEXT_LENGTH, Column, EncodedSchema

RequestFor = Callable[..., Invocation]
WriteLog = Callable[..., Any]


def one_hash(value: Any) -> int:
    return NULL_HASH if value is None else int(hash_values(pa.array([value]))[0])


def padded(hashes: Sequence[int], length: int) -> list[int]:
    return [*hashes[:length], *[0] * (length - len(hashes[:length]))]


def words(text: str | None) -> list[int]:
    return list(map(int, hash_ngrams(pa.array([text], pa.string()), TEXT_LENGTH)[0]))


def naive_request_rows(rows: Sequence[Mapping[str, Any]], split: str) -> list[Any]:
    """Request ids of a split in order of their first row."""
    return list(dict.fromkeys(row["request_id"] for row in rows if row["split"] == split))


ITEMS = pa.table(
    {
        "item_id": ["a", "b", "c", "d"],
        "title": ["Red Shoe", None, "grüne Jacke 🧥", ""],
        "brand": ["Nike", "Nike", None, "ünï"],
        "stars": pa.array([5, None, 3, 5], pa.int8()),
        "outlet": [True, False, None, True],
        "weight": [1.5, None, math.inf, -3e30],
        "cost": pa.array([Decimal("1.50"), None, Decimal("2.25"), Decimal("-1.00")], pa.decimal128(8, 2)),
        "listed_at": pa.array([0, 1, 2, 3], pa.timestamp("ms", tz="UTC")),
        "nothing": pa.nulls(4, pa.string()),
        "constant": ["same"] * 4,
        "about": ["one two three four five", None, "a b c d", "w x y z"],
        "tags": [["x", "y"], None, [], ["z", None]],
        "odd/name": ["p", "q", "r", "s"],
    }
)
USERS = pa.table({"user_id": ["u2", "u1"], "age": [31.5, 28.0], "country": ["de", "fr"]})
QUERIES = pa.table({"query": ["red shoes"], "country": ["xx"], "topic": ["shoes"]})


def ordinary_rows() -> list[dict[str, Any]]:
    def row(request: str, item: str, split: str = "train", **more: Any) -> dict[str, Any]:
        return {"request_id": request, "item_id": item, "split": split, **more}

    return [
        row("r1", "a", position=1, clicked=True, price=10.0, rank_score=0.5),
        row("r1", "b", position=2, clicked=True, ordered=True, price=None),
        row("r1", "d", stage="ranked", position=3, price=30.0),
        row("r1", "c", stage="random", price=5.0),
        row("r2", "b", query="grün", user_id="u2", position=1, price=20.0),
        row("r3", "c", "validation", query="red shoes", user_id="new", position=1, clicked=True, price=1000.0),
        row("r4", "d", "test", query="", user_id=None, stage="recalled", price=1e9),
        row("r4", "c", "test", query="", user_id=None, position=1, price=-1e9, clicked=True, ordered=True),
    ]


@pytest.fixture
def encode(checked_log: WriteLog, request_for: RequestFor) -> Callable[..., EncodedLog]:
    def make(rows: Any, items: pa.Table = ITEMS, *overrides: str, name: str = "logs", **tables: Any) -> EncodedLog:
        return encode_log(request_for(*overrides, run=name), checked_log(rows, items, name=name, **tables))

    return make


def test_automatic_features_of_an_odd_log(
    encode: Callable[..., EncodedLog], capsys: pytest.CaptureFixture[str]
) -> None:
    schema = encode(ordinary_rows(), users=USERS, queries=QUERIES).schema
    assert schema.sides["item"].ids == ("brand", "stars", "outlet", "constant", "odd/name")
    assert [number.name for number in schema.sides["item"].numbers] == ["weight", "cost"]
    assert [(c.name, c.length, c.table) for c in schema.sides["item"].lists] == [
        ("title", TEXT_LENGTH, "title:ngrams"),
        ("about", TEXT_LENGTH, "about:ngrams"),
        ("tags", LIST_LENGTH, "tags"),
    ]
    assert schema.sides["request"].ids == ("user_id", "query", "country", "topic")
    assert [number.name for number in schema.sides["request"].numbers] == ["age"]
    assert [column.name for column in schema.sides["request"].lists] == ["query"]
    assert [number.name for number in schema.sides["pair"].numbers] == ["price"]
    said = " ".join(capsys.readouterr().out.split())
    assert "items: column listed_at (timestamp[ms, tz=UTC]) is no feature" in said
    assert "items: column nothing holds no value and is no feature" in said
    assert "queries: column country is no feature: another request column has this name" in said
    assert "weight: 1 infinite values, taken as missing" in said
    assert "weight: 1 values beyond ±1e+18, cut to it" in said
    assert "users: 2 requests without a row in users.parquet" in said


def test_columns_equal_a_row_by_row_reference(encode: Callable[..., EncodedLog]) -> None:
    rows = ordinary_rows()
    encoded = encode(rows, users=USERS, queries=QUERIES)
    items, schema = encoded.items, encoded.schema
    for index, item in enumerate(ITEMS.to_pylist()):
        assert items.item_hash[index] == one_hash(item["item_id"])
        assert items.features.ids[index].tolist() == [one_hash(item[name]) for name in schema.sides["item"].ids]
        expected = [item["weight"], None if item["cost"] is None else float(item["cost"])]
        expected = [math.nan if v is None or math.isinf(v) else max(v, -LARGEST_NUMBER) for v in expected]
        np.testing.assert_array_equal(items.features.numbers[index], np.array(expected, np.float32))
        for name in ("title", "about"):
            assert items.features.lists[name][index].tolist() == words(item[name])
        tags = [0 if tag is None else one_hash(tag) for tag in item["tags"] or []]
        assert items.features.lists["tags"][index].tolist() == padded(tags, LIST_LENGTH)

    for name in ("train", "validation", "test"):
        split = encoded.split(name)
        mine = [{"user_id": "u1", "query": "red shoes", "stage": "exposed", **row} for row in rows]
        mine = [row for row in mine if row["split"] == name]
        requests = naive_request_rows(rows, name)
        assert split.rows == len(mine)
        assert split.requests["request_id"].to_pylist() == requests
        for index, row in enumerate(mine):
            assert ITEMS["item_id"][int(split.item[index])].as_py() == row["item_id"]
            assert requests[split.request[index]] == row["request_id"]
            assert bool(split.clicked[index]) is row.get("clicked", False)
            assert bool(split.ordered[index]) is row.get("ordered", False)
            assert STAGES[split.stage[index]] == row["stage"]
            position = row.get("position") or (math.inf if row["stage"] == "random" else math.nan)
            np.testing.assert_equal(split.position[index], np.float32(position))
            np.testing.assert_equal(split.price[index], np.float32(row["price"] or math.nan))
            np.testing.assert_equal(split.rank_score[index], np.float32(row.get("rank_score") or math.nan))
            np.testing.assert_equal(split.pair_features.numbers[index], [np.float32(row["price"] or math.nan)])
        for index, request in enumerate(requests):
            of_request = [row for row in mine if row["request_id"] == request]
            user, query = of_request[0]["user_id"], of_request[0]["query"]
            assert split.list_length[index] == sum(row.get("position") is not None for row in of_request)
            country = {"u1": "fr", "u2": "de"}.get(user)
            topic = {"red shoes": "shoes"}.get(query)
            expected_ids = [one_hash(value) for value in (user, query, country, topic)]
            assert split.request_features.ids[index].tolist() == expected_ids
            age = {"u1": 28.0, "u2": 31.5}.get(user, math.nan)
            np.testing.assert_equal(split.request_features.numbers[index], [np.float32(age)])
            assert split.request_features.lists["query"][index].tolist() == words(query)


def test_statistics_and_counts_are_of_training_rows(encode: Callable[..., EncodedLog]) -> None:
    encoded = encode(ordinary_rows(), users=USERS)
    assert encoded.training_counts.impressions.tolist() == [1, 2, 0, 0]
    assert encoded.training_counts.clicks.tolist() == [1, 1, 0, 0]
    assert encoded.training_counts.orders.tolist() == [0, 1, 0, 0]
    (price,) = encoded.schema.sides["pair"].numbers
    values = [10.0, 30.0, 5.0, 20.0]
    assert price.mean == pytest.approx(np.mean(values))
    assert price.std == pytest.approx(np.std(values))
    assert price.edges == (5.0, 10.0, 20.0)
    assert price.missing_share == pytest.approx(1 / 5)
    (age,) = encoded.schema.sides["request"].numbers
    assert age.mean == pytest.approx((28.0 + 31.5) / 2)
    assert age.missing_share == 0
    _, cost = encoded.schema.sides["item"].numbers
    assert cost.mean == pytest.approx((1.5 + 2.25 - 1) / 3)
    assert cost.missing_share == pytest.approx(1 / 4)


def test_numbers_of_items_that_training_did_not_see_do_not_count(encode: Callable[..., EncodedLog]) -> None:
    items = pa.table({"item_id": ["a", "b", "new"], "weight": [1.0, 3.0, 1e6]})
    rows = [
        {"request_id": "r1", "item_id": "a"},
        {"request_id": "r2", "item_id": "b", "stage": "recalled"},
        {"request_id": "r3", "item_id": "new", "split": "test"},
    ]
    (weight,) = encode(rows, items).schema.sides["item"].numbers
    assert (weight.mean, weight.std, weight.edges) == (2, 1, (1,))


def test_no_row_after_training_changes_what_was_learnt(encode: Callable[..., EncodedLog]) -> None:
    rows = ordinary_rows()
    changed = [
        row if row["split"] == "train" else {**row, "price": 7.0, "clicked": True, "item_id": "abcd"[place % 4]}
        for place, row in enumerate(rows)
    ]
    changed.append({**rows[-1], "request_id": "r9", "item_id": "a", "price": 1.0, "position": 1})
    before, after = encode(rows), encode(changed, name="changed")
    assert after.schema.sides == before.schema.sides
    assert after.schema.cutoffs == before.schema.cutoffs
    for name in ("impressions", "clicks", "orders"):
        expected = getattr(before.training_counts, name)
        np.testing.assert_array_equal(getattr(after.training_counts, name), expected)
    np.testing.assert_array_equal(after.split("train").price, before.split("train").price)


def test_chunks_change_nothing(
    encode: Callable[..., EncodedLog], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = encode(ordinary_rows(), users=USERS)
    monkeypatch.setattr(impressions, "CHUNK_ROWS", 1)
    cut = encode(ordinary_rows(), name="cut", users=USERS, row_group=1)
    files = sorted(path.relative_to(whole.folder) for path in whole.folder.rglob("*.npy"))
    assert files == sorted(path.relative_to(cut.folder) for path in cut.folder.rglob("*.npy"))
    for file in files:
        assert (whole.folder / file).read_bytes() == (cut.folder / file).read_bytes(), file
    assert not list(tmp_path.rglob("*.tmp"))


def test_integer_ids_and_opaque_queries(encode: Callable[..., EncodedLog]) -> None:
    rows = [{"request_id": 7, "item_id": 2, "user_id": 1, "query": 3}, {"request_id": 8, "item_id": 1, "query": 3}]
    rows[1]["user_id"] = 1
    encoded = encode(rows, pa.table({"item_id": [1, 2]}))
    assert encoded.schema.sides["item"].ids == ()
    assert encoded.schema.sides["request"].ids == ("user_id", "query")
    assert not encoded.schema.sides["request"].lists
    assert not encoded.schema.sides["pair"].numbers
    assert encoded.split("train").item.tolist() == [1, 0]
    assert encoded.items.features.ids.shape == (2, 0)
    assert encoded.items.item_hash.tolist() == [one_hash(1), one_hash(2)]


def test_users_that_are_all_unknown_are_no_feature(
    encode: Callable[..., EncodedLog], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"request_id": "r", "item_id": "a"}]
    table = impressions_table(rows).drop_columns("user_id").append_column("user_id", pa.nulls(1, pa.string()))
    assert encode(table, pa.table({"item_id": ["a"]})).schema.sides["request"].ids == ("query",)
    assert "column user_id holds no value" in capsys.readouterr().out


def impressions_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    moment = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    names: dict[str, tuple[Any, pa.DataType | None]] = {
        "user_id": ("u", None),
        "query": ("q", None),
        "timestamp": (moment, pa.timestamp("ms", tz="UTC")),
        "stage": ("exposed", None),
        "position": (None, pa.int32()),
        "rank_score": (None, pa.float32()),
        "clicked": (False, None),
        "ordered": (False, None),
        "price": (None, pa.float32()),
        "split": ("train", None),
    }
    given = {name: pa.array([row[name] for row in rows]) for name in rows[0]}
    filled = {n: pa.array([value] * len(rows), kind) for n, (value, kind) in names.items() if n not in given}
    return pa.table({**given, **filled})


HISTORY = [
    {"request_id": "r1", "item_id": "a", "history": list("dcba") * 6, "recency": 2.0, "device": "phone"},
    {"request_id": "r1", "item_id": "b", "history": list("dcba") * 6, "recency": math.inf, "device": "phone"},
    {"request_id": "r2", "item_id": "b", "history": [], "recency": None, "device": "desktop"},
]
NAMED = (
    "data.features=[{column: history, kind: list, side: request, table: item_id},"
    "{column: recency, kind: number, side: pair}, {column: device, side: request},"
    "{column: brand}, {column: title, kind: text}]"
)


def test_named_features_and_histories(encode: Callable[..., EncodedLog], capsys: pytest.CaptureFixture[str]) -> None:
    encoded = encode(HISTORY, ITEMS, NAMED)
    split, schema = encoded.split("train"), encoded.schema
    assert schema.sides["item"].ids == ("brand",)
    assert [(c.name, c.table) for c in schema.sides["request"].lists] == [("history", "item_id")]
    expected = [padded([one_hash(item) for item in list("dcba") * 6], LIST_LENGTH), [0] * LIST_LENGTH]
    assert split.request_features.lists["history"].tolist() == expected
    np.testing.assert_array_equal(split.pair_features.numbers[:, 0], np.array([2, np.nan, np.nan], np.float32))
    said = capsys.readouterr().out
    assert "history: 1 lists longer than 20" in said
    assert "recency: 1 infinite values" in said


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ("{column: brand, kind: number}", "column brand has type string, which cannot be a feature of kind number"),
        ("{column: listed_at, kind: number}", "use kind: id"),
        ("{column: brnd}", "did you mean 'brand'?"),
        ("{column: device}", "the log has it for side: request or pair"),
        ("{column: recency, kind: number, side: request}", "column recency must be the same in all rows of a request"),
        ("{column: clicked, side: pair}", "clicked is an outcome"),
        ("{column: item_id}", "item_id is always used"),
        ("{column: brand}, {column: brand}", "names brand (id, item side) twice"),
        ("{column: tags, kind: list, table: shop}", "shares the table of 'shop', which is no feature"),
        ("{column: device, kind: list, side: request}", "cannot be a feature of kind list (expected list)"),
        ("{column: weight, kind: text}", "cannot be a feature of kind text"),
    ],
)
def test_features_that_do_not_fit_are_refused(encode: Callable[..., EncodedLog], features: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        encode(HISTORY, ITEMS, f"data.features=[{features}]")


@pytest.mark.parametrize("column", ["device", "history"])
def test_a_request_column_that_varies_names_the_column_and_a_request(
    encode: Callable[..., EncodedLog], column: str
) -> None:
    rows = [*HISTORY, {**HISTORY[0], "request_id": "r3"}, {**HISTORY[0], "request_id": "r3", column: None}]
    with pytest.raises(InputError, match=f"column {column} .* 1 rows, e.g. of request r3: .* side: pair"):
        encode(rows, ITEMS, NAMED)


def test_lists_of_items_must_be_of_the_items_type(encode: Callable[..., EncodedLog]) -> None:
    rows = [{"request_id": "r", "item_id": 1, "history": ["1"]}]
    feature = "data.features=[{column: history, kind: list, side: request, table: item_id}]"
    with pytest.raises(InputError, match="lists of strings, but item_id is of type integer"):
        encode(rows, pa.table({"item_id": [1]}), feature)


def test_cutoffs_are_clipped_to_what_training_lists_can_tell(
    encode: Callable[..., EncodedLog], capsys: pytest.CaptureFixture[str]
) -> None:
    assert encode(ordinary_rows(), ITEMS, "data.cutoffs=[1,2,3,9]").schema.cutoffs == (1, 2)
    assert "dropped [3, 9]: the longest ranked list of a training request has 3 items" in capsys.readouterr().out
    off = encode(ordinary_rows(), ITEMS, "data.cutoffs=[3]", name="none").schema
    assert off.cutoffs == ()
    assert off.tasks["rank"]["available"] is False
    assert "more than 3 ranked items" in off.tasks["rank"]["reason"]


def test_a_log_without_positions_has_no_cutoffs(encode: Callable[..., EncodedLog]) -> None:
    rows = [{k: v for k, v in row.items() if k != "position"} for row in ordinary_rows()]
    schema = encode(rows).schema
    assert schema.cutoffs == ()
    assert schema.tasks["rank"] == {"available": False, "reason": "no row of train has a position"}


def test_a_finished_encoding_is_kept_and_another_one_lies_beside_it(
    checked_log: WriteLog, request_for: RequestFor, capsys: pytest.CaptureFixture[str]
) -> None:
    log = checked_log(ordinary_rows(), ITEMS)
    first = encode_log(request_for(), log)
    written = (first.folder / "train" / "item.npy").stat().st_mtime_ns
    encode_log(request_for("model.dimension=8"), log)
    assert (first.folder / "train" / "item.npy").stat().st_mtime_ns == written
    assert "is up to date" in capsys.readouterr().out
    for other in (("data.cutoffs=[2]",), ("data.cutoffs=[2]", "overwrite=true")):
        beside = encode_log(request_for(*other), log)
        assert beside.schema.cutoffs == (2,)
        assert beside.folder != first.folder
        assert (first.folder / "train" / "item.npy").stat().st_mtime_ns == written


def test_an_interrupted_encoding_is_not_taken_for_finished(
    checked_log: WriteLog, request_for: RequestFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, request = checked_log(ordinary_rows(), ITEMS), request_for()

    def full(self: ArrayWriter, _values: Any) -> None:
        raise OSError(28, "No space left on device", str(self.path))

    with monkeypatch.context() as patched:
        patched.setattr("prerank.encoding.encode.ArrayWriter.append", full)
        with pytest.raises(OSError, match="No space left"):
            encode_log(request, log)
    with pytest.raises(InputError, match="is unfinished"):
        EncodedLog.open(request.run.encoded)
    (request.run.encoded / "train").mkdir()
    (request.run.encoded / "train" / "item.npy").write_bytes(b"half")
    assert encode_log(request, log).split("train").rows == 5


def test_a_log_that_is_not_what_its_facts_say_is_refused(checked_log: WriteLog, request_for: RequestFor) -> None:
    rows = [{"request_id": r, "item_id": "a"} for r in ("r1", "r2", "r1")]
    with pytest.raises(InputError, match="announces 2 requests, found 3"):
        encode_log(request_for(), checked_log(rows, ITEMS))
    rows = [{"request_id": "r1", "item_id": "zz"}]
    with pytest.raises(InputError, match=r"1 rows have an unknown item_id, e\.g\. zz"):
        encode_log(request_for(run="unknown"), checked_log(rows, ITEMS, name="unknown"))


def test_a_new_log_is_encoded_with_the_trained_statistics(
    checked_log: WriteLog, encode: Callable[..., EncodedLog], tmp_path: Path
) -> None:
    trained = encode(ordinary_rows(), users=USERS)
    new_items = ITEMS.slice(1).append_column("more", [[1, 2, 3]])
    last = {**ITEMS.slice(0, 1).to_pylist()[0], "item_id": "z", "more": 4}
    new_items = pa.concat_tables([new_items, pa.Table.from_pylist([last], schema=new_items.schema)])
    rows = [{"request_id": "n", "item_id": item, "split": "test", "price": 1.0, "position": 1} for item in "zb"]
    log = checked_log(rows, new_items, users=USERS, name="new")
    made = encode_new_log(trained, log, tmp_path / "made")
    assert made.schema.sides == trained.schema.sides
    assert made.schema.cutoffs == trained.schema.cutoffs
    assert made.schema.n_items == 4
    assert made.schema.catalogue == log.catalogue != trained.schema.catalogue
    assert list(made.schema.splits) == ["test"]
    assert made.training_counts.impressions.tolist() == [2, 0, 0, 0]
    assert made.split("test").item.tolist() == [3, 0]
    assert made.items.item_hash[0] == trained.items.item_hash[1]
    with pytest.raises(InputError, match="has no split 'train'"):
        made.split("train")


def test_a_new_log_that_lacks_columns_is_refused_by_name(
    checked_log: WriteLog, encode: Callable[..., EncodedLog], tmp_path: Path
) -> None:
    trained = encode(ordinary_rows(), users=USERS)
    log = checked_log(ordinary_rows(), ITEMS.drop_columns(["brand"]), name="new")
    with pytest.raises(InputError, match=r"lacks 3 column\(s\) .*: brand \(items\), age \(users\), country \(users\)"):
        encode_new_log(trained, log, tmp_path / "made")


def test_number_statistics_of_nothing_and_of_a_constant() -> None:
    columns = [Column(name, "number", "item", "items", "") for name in ("empty", "constant")]
    values = np.array([[np.nan, 4], [np.nan, 4]], np.float32)
    empty, constant = number_statistics(columns, values)
    assert (empty.mean, empty.std, empty.edges, empty.missing_share) == (0, 1, (), 1)
    assert (constant.mean, constant.std, constant.edges, constant.missing_share) == (4, 1, (4,), 0)
    assert number_statistics(columns, values[:0])[0].missing_share == 1


def test_edges_are_quantiles_of_the_data() -> None:
    values = np.random.default_rng(0).permutation(3200).astype(np.float32)[:, None]
    (number,) = number_statistics([Column("n", "number", "item", "items", "")], values)
    assert len(number.edges) == 31
    buckets = np.bincount(np.searchsorted(number.edges, values[:, 0], side="right"), minlength=32)
    assert buckets.min() >= 99
    assert buckets.max() <= 101


def test_lists_of_every_form_are_padded_alike() -> None:
    lists = [[1, 2], None, [], [3] * 25, [4, None, 5]]
    for kind in (pa.list_(pa.int64()), pa.large_list(pa.int32())):
        tally: Counter[tuple[str, str]] = Counter()
        encoded = encode_list(pa.array([[9], *lists], kind).slice(1), "h", tally)
        expected = [padded([one_hash(v) if v else 0 for v in values or []], LIST_LENGTH) for values in lists]
        assert encoded.tolist() == expected
        assert sum(tally.values()) == 1
    fixed = encode_list(pa.array([[1, 2], [3, 4]], pa.list_(pa.int64(), 2)), "h", Counter())
    assert fixed.tolist() == [padded([one_hash(v) for v in pair], LIST_LENGTH) for pair in ([1, 2], [3, 4])]


def test_schema_survives_the_disk(encode: Callable[..., EncodedLog]) -> None:
    encoded = encode(ordinary_rows(), users=USERS)
    again = EncodedSchema.load(encoded.folder / "schema.json")
    assert again == encoded.schema
    again.save(encoded.folder / "again.json")
    assert read_json(encoded.folder / "again.json") == read_json(encoded.folder / "schema.json")


def test_a_damaged_array_names_its_file(encode: Callable[..., EncodedLog]) -> None:
    encoded = encode(ordinary_rows())
    path = encoded.folder / "train" / "item.npy"
    path.write_bytes(path.read_bytes()[:140])
    with pytest.raises(InputError, match=r"train/item.npy is not a readable array"):
        encoded.split("train")
    shutil.rmtree(encoded.folder / "train")
    with pytest.raises(InputError, match="is not a readable array"):
        encoded.split("train")


def test_arrays_of_no_rows_can_be_read(tmp_path: Path) -> None:
    writer = ArrayWriter(tmp_path / "empty.npy", np.int64, (0, 3))
    writer.close()
    assert load_array(tmp_path / "empty.npy").shape == (0, 3)
