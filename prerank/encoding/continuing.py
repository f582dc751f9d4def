"""An encoding that goes on from yesterday's: its columns, cutoffs and tasks stand, counts and statistics grow.

The quantile edges of a number stand, too, since the rows of a trained table are numbered by them. Its mean and its
deviation become those of all training rows so far, by which a network standardises it: what yesterday's weights saw as
(x - m) / s is (x - m') / s' today, which for a day among many is nearly the same; weights are trained on from there.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from configs.console import say, warn
from graph.logs.log import SearchLog
from prerank.encoding.batches import EncodedLog, TrainingCounts
from prerank.encoding.schema import EncodedSchema, NumberStatistics

ROWS_OF = {"request": "requests", "pair": "rows"}
"""What of a split a side's numbers are taken from."""


def added(before: TrainingCounts, today: TrainingCounts) -> TrainingCounts:
    """Counts of all training rows so far."""
    return TrainingCounts(
        before.impressions + today.impressions, before.clicks + today.clicks, before.orders + today.orders
    )


def statistics_so_far(
    before: EncodedSchema, side: str, today: tuple[NumberStatistics, ...]
) -> tuple[NumberStatistics, ...]:
    """A side's statistics over all training rows so far.

    Args:
        before: yesterday's schema.
        side: item, request or pair.
        today: over today's training rows; of items, over all of the catalogue that training has seen.
    """
    old = before.sides[side].numbers
    if side == "item":
        return tuple(replace(new, edges=was.edges) for was, new in zip(old, today, strict=True))
    rows = before.splits["train"][ROWS_OF[side]]
    return tuple(_pooled(replace(was, rows=was.rows or rows), new) for was, new in zip(old, today, strict=True))


def _pooled(before: NumberStatistics, today: NumberStatistics) -> NumberStatistics:
    r"""Of two sets of rows together.

    .. math:: m = \frac{n_1 m_1 + n_2 m_2}{n_1 + n_2}, \quad
        s^2 = \frac{n_1 (s_1^2 + m_1^2) + n_2 (s_2^2 + m_2^2)}{n_1 + n_2} - m^2
    """
    counts = [round(each.rows * (1 - each.missing_share)) for each in (before, today)]
    rows, present = before.rows + today.rows, sum(counts)
    if not all(counts):
        filled = before if counts[0] else today
        mean, std = filled.mean, filled.std
    else:
        shares = [count / present for count in counts]
        mean = sum(share * each.mean for share, each in zip(shares, (before, today), strict=True))
        square = sum(
            share * (each.std**2 + (each.mean - mean) ** 2) for share, each in zip(shares, (before, today), strict=True)
        )
        std = math.sqrt(square) or 1.0
    return replace(before, mean=mean, std=std, missing_share=1 - present / rows if rows else 1.0, rows=rows)


def tasks_of(before: EncodedSchema, log: SearchLog) -> dict[str, Any]:
    """Yesterday's tasks, which its networks have heads for; where today's rows tell of others, that is said."""
    for name, task in before.tasks.items():
        available = bool(log.facts["tasks"][name]["available"])
        if task["available"] and not available:
            warn(f"the {name} task goes on, though today {log.facts['tasks'][name]['reason']}")
        elif available and not task["available"]:
            say(f"the {name} task stays off, as in the run that this one goes on from: {task['reason']}")
    return dict(before.tasks)


def queries_so_far(before: EncodedLog, today: pa.ChunkedArray | pa.Array) -> pa.Table:
    """The distinct queries of all training requests so far."""
    earlier = before.training_queries
    parts = [pc.unique(earlier), pc.unique(today).cast(earlier.type)]
    return pa.table({"query": pc.unique(pa.chunked_array(parts, earlier.type))})
