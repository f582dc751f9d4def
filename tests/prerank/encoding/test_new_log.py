"""A log that a fitted system is measured on, or scores: in training's types, and what of it training never saw."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from configs.errors import InputError
from configs.stages import read_json, write_json
from prerank.encoding.batches import EncodedLog
from prerank.encoding.features import encode_log, encode_new_log
from prerank.encoding.unseen import tell_unseen, unseen_values
from tests.prerank.conftest import impressions_of

ITEMS = pa.table({"item_id": [1, 2, 3, 4], "brand": [5, 6, 5, None], "weight": [1.0, 2.5, None, 4.0]})


def rows(split="train", item_ids=(1, 2, 3), user=7, query=40):
    asked = {"request_id": f"{split} 1", "user_id": user, "query": query, "split": split}
    return [
        {**asked, "item_id": item, "position": place, "clicked": place == 1, "shop": item % 2, "seen": [item]}
        for place, item in enumerate(item_ids, start=1)
    ]


FEATURES = (
    "data.features=[{column: brand}, {column: weight, kind: number}, {column: user_id, side: request}, {column: query, "
    "side: request}, {column: shop, side: pair}, {column: seen, kind: list, side: pair, table: item_id}]"
)


@pytest.fixture
def trained(checked_log, request_for):
    log = checked_log(impressions_of(rows() + rows("validation") + rows("test")), ITEMS)
    return encode_log(request_for(FEATURES), log)


def new_log(checked_log, name, change=lambda table: table, items=ITEMS):
    return checked_log(change(impressions_of(rows("test", (1, 4, 2)))), items, name=name)


def as_type(table, **types):
    fields = [field.with_type(types.get(field.name, field.type)) for field in table.schema]
    return table.cast(pa.schema(fields))


def arrays(encoded):
    split = encoded.split("test")
    sides = (split.items.features, split.request_features, split.pair_features)
    return [split.item, split.items.item_hash, split.items.counts.clicks] + [
        array for side in sides for array in (side.ids, side.numbers, *side.lists.values())
    ]


@pytest.mark.parametrize("old_folder", [False, True])
@pytest.mark.parametrize("number", [pa.float64(), pa.string(), pa.int32()])
def test_types_that_have_drifted_make_the_same_arrays(trained, checked_log, tmp_path, number, old_folder):
    if old_folder:  # made before types were kept: the run's checked log has them
        schema = read_json(trained.folder / "schema.json")
        for column in schema["columns"]:
            del column["type"]
        write_json(trained.folder / "schema.json", schema)
        trained = EncodedLog.open(trained.folder)
    own = tmp_path / "logs"
    expected = encode_new_log(trained, new_log(checked_log, "as trained"), tmp_path / "expected", own)
    keys = {"item_id": number, "user_id": number, "query": number, "shop": number, "seen": pa.list_(number)}
    if number == pa.float64():  # an id is an integer or text, or the log is refused when it is checked
        keys = {"shop": number}
    items = as_type(ITEMS, brand=number, **{key: type_ for key, type_ in keys.items() if key == "item_id"})
    log = new_log(checked_log, "drifted", lambda table: as_type(table, **keys), items)
    drifted = encode_new_log(trained, log, tmp_path / "encoded", own)
    for one, other in zip(arrays(expected), arrays(drifted), strict=True):
        np.testing.assert_array_equal(one, other)


def test_values_of_another_type_are_refused_before_anything_is_written(trained, checked_log, tmp_path):
    items = ITEMS.set_column(1, "brand", pa.array(["5", "six", "5", None]))
    log = new_log(checked_log, "drifted", items=items)
    with pytest.raises(InputError, match="items: column brand has type string, in training it was integer, and 1 of 4"):
        encode_new_log(trained, log, tmp_path / "encoded", tmp_path / "logs")
    assert not (tmp_path / "encoded").exists()


def test_shares_of_unseen_values(trained, checked_log, tmp_path, capsys):
    def change(table):
        table = table.set_column(table.schema.get_field_index("user_id"), "user_id", pa.array([8, 8, 8]))
        return table.set_column(table.schema.get_field_index("shop"), "shop", pa.array([0, 9, None], pa.int64()))

    items = ITEMS.set_column(2, "weight", pa.array([1.0, 99.0, None, None]))
    log = new_log(checked_log, "new", change, items)
    split = encode_new_log(trained, log, tmp_path / "encoded").split("test")
    shares = {(each.column, each.side): each for each in unseen_values(trained, split)}
    assert shares["item_id", "item"].unseen == pytest.approx(1 / 3)  # item 4 is in the catalogue, but in no row
    assert shares["brand", "item"].unseen == pytest.approx(1 / 3)  # its null was never seen
    assert shares["brand", "item"].missing == pytest.approx(1 / 3)
    assert shares["weight", "item"].unseen == pytest.approx(1 / 2)  # 99, of the two that there are
    assert shares["weight", "item"].missing_in_training == pytest.approx(1 / 3)
    assert shares["user_id", "request"].unseen == 1
    assert shares["query", "request"].unseen == 0
    assert shares["shop", "pair"].unseen == pytest.approx(2 / 3)
    assert shares["seen", "pair"].unseen == pytest.approx(1 / 3)
    tell_unseen(trained, split, tmp_path / "unseen.json")
    said = capsys.readouterr().out
    assert "user_id: training saw none of its values" in said
    assert "item_id: training saw none" not in said
    assert len(json.loads((tmp_path / "unseen.json").read_text())) == 7


def test_codes_with_a_gap_are_ids_and_the_same_as_integers(checked_log, request_for, capsys):
    items = pa.table(
        {"item_id": [1, 2, 3, 4, 5], "category": [7, 7, 8, 8, None], "list_price": [3.0, 3.0, 4.0, 4.0, None]}
    )
    of_train = impressions_of(rows() + rows("validation") + rows("test"))
    whole = encode_log(request_for(run="whole"), checked_log(of_train, items, name="whole"))
    gaps = items.set_column(1, "category", items["category"].cast(pa.float64()))
    encoded = encode_log(request_for(run="gaps"), checked_log(of_train, gaps, name="gaps"))
    assert encoded.schema.sides["item"].ids == ("category",)
    assert [number.name for number in encoded.schema.sides["item"].numbers] == ["list_price"]
    np.testing.assert_array_equal(encoded.items.features.ids, whole.items.features.ids)
    assert "category (double) holds whole numbers that repeat" in " ".join(capsys.readouterr().out.split())
