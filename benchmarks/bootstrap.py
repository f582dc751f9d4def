"""The evaluation of a split with 1,000 bootstrap draws: rows, seconds, rows/s, peak memory, and how cost grows.

    python benchmarks/bootstrap.py [rows=1000000,10000000] [draws=1000]

A test split of lists of 25 is drawn with numpy: scores of three heads that know something, 8 % clicks, 1 % orders, a
session for every request or two, a twentieth as many items. Every metric is measured in every segment, as
``prerank.evaluate`` does; beside it stands the same evaluation with one draw, so that the draws' own cost is seen. Each
size runs in a process of its own.
"""

from __future__ import annotations

import sys

import numpy as np
import pyarrow as pa
from scale import emit, measured, options, print_growth

from configs.schema import EvaluationConfig
from prerank.evaluation.measuring import EvaluationContext, evaluate_predictions
from prerank.evaluation.segments import SegmentSources

LIST_LENGTH = 25
CUTOFFS = (3, 10)


def predictions(rows: int) -> pa.Table:
    """The predictions of a test split."""
    draw = np.random.default_rng(0)
    requests, items = rows // LIST_LENGTH, max(rows // 20, 100)
    request = np.repeat(np.arange(requests, dtype=np.int32), LIST_LENGTH)
    count = len(request)
    first = (np.exp(draw.random(requests) * np.log(items + 1)) - 1).astype(np.int64)
    item = (first[request] + np.tile(np.arange(LIST_LENGTH), requests) * (items // LIST_LENGTH)) % items
    utility = draw.standard_normal(count, np.float32)
    position = np.empty(count, np.float32)
    position[np.lexsort((-utility, request))] = np.tile(np.arange(1, LIST_LENGTH + 1), requests)
    score = utility + draw.standard_normal(count, np.float32)
    clicked = draw.random(count, np.float32) < 0.22 / (1 + np.exp(1 - utility))
    ordered = clicked & (draw.random(count, np.float32) < 0.125)
    heads = {f"p_{name}": 1 / (1 + np.exp(shift - score)) for name, shift in (("click", 2), ("order", 4), ("rank", 0))}
    return pa.table(
        {
            "split": pa.DictionaryArray.from_arrays(np.zeros(count, np.int8), ["test"]),
            "request": request,
            "request_id": request,
            "user_id": request // 4,
            "session_id": (np.cumsum(draw.random(requests) < 0.8))[request],
            "query": (first % max(rows // 100, 10))[request],
            "item_id": item + 100,
            "item": item.astype(np.int32),
            "stage": pa.DictionaryArray.from_arrays(np.zeros(count, np.int8), ["exposed"]),
            "position": position,
            "clicked": clicked,
            "ordered": ordered,
            **heads,
            "score": score,
        }
    )


def context(rows: int, draws: int) -> EvaluationContext:
    """Segments of every kind: items by Zipf counts, a tenth of them cold, a third of them colliding."""
    items = max(rows // 20, 100)
    seen = (3 * rows / np.log(items) / np.arange(1, items + 1)).astype(np.int64)
    seen[-items // 10 :] = 0
    asked = (np.exp(np.random.default_rng(1).random(rows // LIST_LENGTH) * np.log(max(rows // 100, 10))) - 1).astype(
        int
    )
    colliding = np.where(np.arange(items) % 3 < 1, 2, 1)
    sources = SegmentSources(seen, seen >= 4, colliding, pa.array(asked))
    return EvaluationContext(sources, CUTOFFS, EvaluationConfig(draws=draws), 0)


def main(arguments: list[str]) -> None:
    chosen = options(arguments, rows="1000000,10000000", draws="1000")
    costs: dict[str, dict[int, dict[str, float]]] = {chosen["draws"]: {}, "1": {}}
    for rows in map(int, chosen["rows"].split(",")):
        for draws, of_draws in costs.items():
            of_draws[rows] = measured(__file__, rows, draws)
    for draws, of_draws in costs.items():
        print_growth(f"evaluation, {int(draws):,} draws", of_draws, {})


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        table, settings = predictions(int(sys.argv[2])), context(int(sys.argv[2]), int(sys.argv[3]))
        emit(lambda: evaluate_predictions(table, settings))
    else:
        main(sys.argv[1:])
