"""Golden requests with their scores, and what rounding the tables costs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from prerank.encoding.batches import EncodedSplit
from prerank.evaluation.bootstrap import Undefined
from prerank.evaluation.fusion import FusionWeights, fuse
from prerank.evaluation.measures import SplitMeasures, split_rows
from prerank.exporting.requests import GoldenRequest, some_rows
from prerank.training.contracts import Predictions
from prerank.training.scoring import mean_rank_logit, prediction_table

TOLERANCE = 1e-5
RECALL_AT = 10
MEASURED = ("auc_click", "auc_order", "gauc_click", "gauc_order", f"recall_at_{RECALL_AT}")
"""What a rounded table may cost, by the definitions of :mod:`prerank.evaluation.definitions`."""

Predict = Callable[[EncodedSplit], Predictions]


def write_golden(
    requests: Sequence[GoldenRequest],
    split: EncodedSplit,
    predict: Predict,
    predict_stored: Predict | None,
    fusion: FusionWeights,
    path: Path,
) -> None:
    """Write ``golden.jsonl``: body, and the scores and logits of its candidates in their order.

    Args:
        requests: raw.
        split: whose rows they are.
        predict: the training code's.
        predict_stored: the same with tables as they are stored; None where they are stored as they are.
        fusion: weights of the heads' logits.
        path: of the file.
    """
    rows = np.concatenate([request.rows for request in requests])
    part = some_rows(split, rows)
    scores = _scores(predict(part), fusion)
    if predict_stored is not None:
        scores["score_stored"] = _scores(predict_stored(part), fusion)["score"]
    with path.open("w", encoding="utf-8") as file:
        for line in _lines(requests, scores):
            file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")


def _scores(predictions: Predictions, fusion: FusionWeights) -> dict[str, np.ndarray]:
    heads = {"click": predictions.click, "order": predictions.order, "rank": predictions.rank}
    score = fused(predictions, fusion)
    return {"score": score, **{head: logits for head, logits in heads.items() if logits is not None}}


def fused(predictions: Predictions, fusion: FusionWeights) -> Float32[np.ndarray, " rows"]:
    """The ranking score."""
    rank = mean_rank_logit(predictions.rank)
    score: np.ndarray = fuse(predictions.click, predictions.order, rank, fusion).astype(np.float32)
    return score


def _lines(requests: Sequence[GoldenRequest], scores: dict[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    at = 0
    for request in requests:
        end = at + len(request.rows)
        yield {"body": request.body, **{name: values[at:end].tolist() for name, values in scores.items()}}
        at = end


def loss_of_rounding(
    split: EncodedSplit, predict: Predict, predict_stored: Predict, fusion: FusionWeights
) -> dict[str, dict[str, Any]]:
    """What the test split's figures lose where tables are stored rounded.

    Returns:
        Metric → ``fp32``, ``stored``, ``loss`` (fp32 − stored), and ``n`` as in ``metrics.json``; metrics that the log
        cannot tell are left out.
    """
    exact, stored = _figures(split, predict(split), fusion), _figures(split, predict_stored(split), fusion)
    return {
        name: {"fp32": value, "stored": stored[name][0], "loss": value - stored[name][0], "n": n}
        for name, (value, n) in exact.items()
    }


def _figures(split: EncodedSplit, predictions: Predictions, fusion: FusionWeights) -> dict[str, tuple[float, int]]:
    rows = split_rows(prediction_table(split, "test", predictions, fusion))
    tasks_off = {name: str(task["reason"]) for name, task in split.schema.tasks.items() if not task["available"]}
    measures = SplitMeasures(rows, tasks_off, split.schema.cutoffs, [RECALL_AT])
    statistics = measures.statistics(np.ones(split.rows, np.bool_))
    figures = {name: statistics[name] for name in MEASURED if name in statistics}
    return {name: (float(each.value), each.n) for name, each in figures.items() if not isinstance(each, Undefined)}
