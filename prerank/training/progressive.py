"""Progressive validation: yesterday's system on today's rows, all of them, before any of them is trained on.

The rows are those that the run's log has newly read, whatever split they are of; what the origin held out, and is
trained on now, is none of them. The system sees of the items what it saw yesterday: their training counts are those of
yesterday.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prerank.encoding.batches import EncodedLog
from prerank.encoding.features import counts_by_id
from prerank.evaluation.fusion import FusionWeights
from prerank.training.contracts import FittedSystem
from prerank.training.scoring import prediction_table

SPLIT = "test"
"""The name that all the rows go by: figures of this split are what a trend is made of."""


def as_yesterday(today: EncodedLog, yesterday: EncodedLog) -> EncodedLog:
    """Today's encoded log with the training counts that its items had yesterday, 0 for new ones."""
    view = copy.copy(today)
    counts, _ = counts_by_id(yesterday, today.item_ids)
    view.items = replace(today.items, counts=counts)
    return view


def new_rows(today: EncodedLog, last: str, system: FittedSystem, weights: FusionWeights) -> pa.Table:
    """The predictions of all rows after yesterday's log, as of one split.

    Args:
        today: as :func:`as_yesterday` makes it.
        last: time of the last row of yesterday's log, UTC.
        system: fitted yesterday, with its fusion weights.
    """
    after = pa.scalar(last).cast(pa.timestamp("ms")).cast(pa.timestamp("ms", tz="UTC"))
    tables, before = [], 0
    for name in today.schema.splits:
        split = today.split(name)
        times = split.requests["timestamp"].cast(pa.timestamp("ms", tz="UTC"))
        of_row = pa.array(np.asarray(split.request))
        table = prediction_table(split, SPLIT, system.predict(split), weights)
        numbered = table.set_column(
            table.column_names.index("request"), "request", pc.add(of_row.cast(pa.int64()), before)
        )
        tables.append(numbered.filter(pc.greater(times, after).take(of_row)))
        before += len(split.requests)
    return pa.concat_tables(tables, promote_options="permissive").unify_dictionaries()
