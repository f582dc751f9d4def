"""What a model has never seen of a new log: a share of each column's values, said before its figures are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64, Int64

from configs.console import table, warn
from configs.stages import write_json
from graph.hashing import NULL_HASH
from prerank.encoding.batches import EncodedLog, EncodedSplit, SideArrays
from prerank.encoding.schema import ITEM_TABLE, SIDES, TEXT_LENGTH, SideSchema

Values = npt.NDArray[Any]


@dataclass(frozen=True)
class Unseen:
    """One column of a new log, beside the training rows.

    Attributes:
        column, side, kind: of the feature.
        unseen: share of the values that no training row has, weighted by the new log's impressions (of a request:
            by its requests); of numbers, those outside of the range of training. None where there is no value at all.
        missing, missing_in_training: share of rows without a value.
    """

    column: str
    side: str
    kind: str
    unseen: float | None
    missing: float
    missing_in_training: float


def unseen_values(trained: EncodedLog, split: EncodedSplit) -> list[Unseen]:
    """Every feature of a new log's rows, and the item id, beside the training rows.

    Args:
        trained: the log that the model was trained on.
        split: of the new log, encoded with the same columns.
    """
    train = trained.split("train")
    sides = {
        "item": (trained.items.features, split.items.features, _times(train.item, len(trained.items))),
        "request": (train.request_features, split.request_features, np.ones(len(train.requests))),
        "pair": (train.pair_features, split.pair_features, np.ones(train.rows)),
    }
    weights = {
        "item": _times(split.item, len(split.items)),
        "request": np.ones(len(split.requests)),
        "pair": np.ones(split.rows),
    }
    occurs = sides["item"][2] > 0
    ids = _compared(trained.items.item_hash[occurs], split.items.item_hash, weights["item"])
    shares = [Unseen(ITEM_TABLE, "item", "id", ids, 0.0, 0.0)]
    for side in SIDES:
        known, new, times = sides[side]
        shares += _of_side(side, trained.schema.sides[side], known, new, times, weights[side])
    return shares


def tell_unseen(trained: EncodedLog, split: EncodedSplit, path: Path) -> None:
    """Print the shares of a new log, warn of columns that are all unknown, and write them to ``path`` as JSON."""
    shares = unseen_values(trained, split)
    table(
        "share of the new log's values that training never saw",
        ("column", "side", "kind", "unseen", "missing", "missing in training"),
        [
            (each.column, each.side, each.kind, *map(_percent, (each.unseen, each.missing, each.missing_in_training)))
            for each in shares
        ],
    )
    for each in shares:
        if each.unseen == 1 and each.kind != "number" and each.column != ITEM_TABLE:
            warn(f"{each.column}: training saw none of its values: is it written as in the training log?")
    write_json(path, [asdict(each) for each in shares])


def _of_side(
    side: str,
    schema: SideSchema,
    known: SideArrays,
    new: SideArrays,
    times: Float64[np.ndarray, " known"],
    weights: Float64[np.ndarray, " new"],
) -> Iterator[Unseen]:
    """The columns of one side; ``times`` and ``weights`` say how often each row occurs."""
    occurs = times > 0
    for place, name in enumerate(schema.ids):
        before, now = known.ids[:, place], new.ids[:, place]
        missing = _share(now == NULL_HASH, weights), _share(before == NULL_HASH, times)
        yield Unseen(name, side, "id", _compared(before[occurs], now, weights), *missing)
    for place, number in enumerate(schema.numbers):
        before, now = known.numbers[:, place], new.numbers[:, place]
        present, inside = before[occurs & ~np.isnan(before)], ~np.isnan(now)
        low, high = (present.min(), present.max()) if len(present) else (np.inf, -np.inf)
        outside = _share((now[inside] < low) | (now[inside] > high), weights[inside]) if inside.any() else None
        missing = _share(~inside, weights), _share(np.isnan(before), times)
        yield Unseen(number.name, side, "number", outside, *missing)
    for column in schema.lists:
        before, now = known.lists[column.name], new.lists[column.name]
        row, _ = np.nonzero(now)
        missing = _share(_is_empty(now), weights), _share(_is_empty(before), times)
        kind = "text" if column.length == TEXT_LENGTH else "list"
        yield Unseen(column.name, side, kind, _compared(before[occurs], now[now != 0], weights[row]), *missing)


def _times(rows: npt.NDArray[np.int32], size: int) -> Float64[np.ndarray, " size"]:
    return np.bincount(rows, minlength=size).astype(np.float64)


def _compared(known: Values, new: Int64[np.ndarray, " new"], weights: Float64[np.ndarray, " new"]) -> float | None:
    """The share of new hashes that are not among the known ones."""
    return _share(np.array(np.isin(new, np.unique(known), invert=True), np.bool_), weights) if len(new) else None


def _is_empty(lists: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    empty: npt.NDArray[np.bool_] = np.all(lists == 0, axis=1)
    return empty


def _share(chosen: npt.NDArray[np.bool_], weights: Float64[np.ndarray, " rows"]) -> float:
    total = float(weights.sum())
    return float(weights[chosen].sum()) / total if total else 0.0


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
