"""From logits to the table of predictions that evaluation, reports and comparisons read."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float
from scipy.special import expit

from configs.stages import replacing, write_json
from prerank.encoding.batches import EncodedLog, EncodedSplit
from prerank.encoding.schema import STAGES
from prerank.evaluation.fusion import FusionWeights, fuse, tune_fusion
from prerank.training.contracts import Predictions


def mean_rank_logit(rank: Float[np.ndarray, "rows cutoffs"] | None) -> Float[np.ndarray, rows] | None:
    """One rank logit for each row: the mean over k, which is the logit itself for the shared head of eq. 8."""
    return None if rank is None else rank.mean(axis=1)


def choose_fusion(encoded: EncodedLog, predictions: Predictions) -> FusionWeights:
    """Fusion weights from the validation rows that users saw; the same grid for every system.

    Random negatives are left out: they are told apart easily, and would hide which weights order a list well.
    """
    split = encoded.split("validation")
    rows = np.flatnonzero(np.asarray(split.stage) == STAGES.index("exposed"))
    rank = mean_rank_logit(predictions.rank)
    return tune_fusion(
        None if predictions.click is None else predictions.click[rows],
        None if predictions.order is None else predictions.order[rows],
        None if rank is None else rank[rows],
        split.clicked[rows],
        split.ordered[rows],
        split.request[rows],
    )


def prediction_table(split: EncodedSplit, name: str, predictions: Predictions, weights: FusionWeights) -> pa.Table:
    """The predictions of one split, a row for each of the split's rows, in order.

    ``p_rank`` is the probability of the mean rank logit; ``score`` is the fused ranking score, higher is better.
    """
    rank = mean_rank_logit(predictions.rank)
    score = fuse(predictions.click, predictions.order, rank, weights).astype(np.float32)
    requests = split.requests
    of_row = pa.array(np.asarray(split.request))
    columns = {
        "split": pa.array([name] * split.rows, pa.string()).dictionary_encode(),
        "request": of_row,
        **{key: requests[key].take(of_row) for key in requests.column_names if key != "timestamp"},
        "item_id": split.items.item_id.take(pa.array(np.asarray(split.item))),
        "item": pa.array(np.asarray(split.item)),
        "stage": pa.DictionaryArray.from_arrays(pa.array(np.asarray(split.stage, np.int8)), pa.array(STAGES)),
        "position": pa.array(np.asarray(split.position)),
        "list_length": pa.array(np.asarray(split.list_length)[split.request]),
        "clicked": pa.array(np.asarray(split.clicked, bool)),
        "ordered": pa.array(np.asarray(split.ordered, bool)),
        "price": pa.array(np.asarray(split.price)),
        "rank_score": pa.array(np.asarray(split.rank_score)),
        "p_click": _probability(predictions.click, split.rows),
        "p_order": _probability(predictions.order, split.rows),
        "p_rank": _probability(rank, split.rows),
        "score": pa.array(score),
        **_rank_columns(predictions.rank, split.schema.cutoffs),
    }
    return pa.table(columns)


def _rank_columns(rank: np.ndarray | None, cutoffs: tuple[int, ...]) -> dict[str, pa.Array]:
    """P[pos ≤ k] of each k, where the rank head has one of its own for each (``per_k``, ``ordinal``)."""
    if rank is None or rank.shape[1] < 2 or (rank == rank[:, :1]).all():
        return {}
    return {f"p_top{k}": _probability(rank[:, place], len(rank)) for place, k in enumerate(cutoffs)}


def _probability(logit: np.ndarray | None, rows: int) -> pa.Array:
    return pa.nulls(rows, pa.float32()) if logit is None else pa.array(expit(logit).astype(np.float32))


def write_predictions(table: pa.Table, folder: Path) -> None:
    with replacing(folder / "predictions.parquet") as temporary:
        pq.write_table(table, temporary, compression="zstd")


def write_fusion(weights: FusionWeights, folder: Path) -> None:
    """Write ``fusion.json``, so that a new log is scored with the same weights."""
    write_json(folder / "fusion.json", asdict(weights))
