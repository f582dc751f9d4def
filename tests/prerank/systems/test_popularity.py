"""Popularity scores an item of any catalogue by what training days told of it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.command import parse
from prerank.encoding.features import encode_new_log
from prerank.systems.popularity import Popularity
from prerank.training.contracts import Work


def test_items_of_a_new_log_are_found_by_id(small_encoded_log, checked_log, tmp_path):
    trained = small_encoded_log
    known = trained.item_ids.take(pa.array([31, 4])).to_pylist()
    ids = ["never seen", *known]
    items = pa.table(
        {"item_id": ids, "title": ["a"] * 3, "brand": ["b"] * 3, "price": pa.array([1.0] * 3, pa.float32())}
    )
    rows = [{"request_id": 1, "user_id": 1, "item_id": item, "split": "test"} for item in ids]
    new = encode_new_log(trained, checked_log(rows, items), tmp_path / "encoded").split("test")
    fitted = Popularity.fit(Work(parse([f"runs_folder={tmp_path}"]).config, trained, None, tmp_path))
    scores = dict(zip([ids[item] for item in new.item], fitted.predict(new).click, strict=True))

    counts = trained.training_counts
    average = counts.clicks.sum() / counts.impressions.sum()
    for item in ids:
        row = pc.index(trained.item_ids, item).as_py()
        shown, clicked = (0, 0) if row < 0 else (counts.impressions[row], counts.clicks[row])
        rate = (clicked + 20 * average) / (shown + 20)
        np.testing.assert_allclose(scores[item], np.log(rate / (1 - rate)), rtol=1e-5)
