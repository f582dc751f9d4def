"""``python -m graph.check`` as a whole: what a log is understood as, and the features that a system would see of it."""

from __future__ import annotations

import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs.command import Invocation
from configs.console import say
from configs.errors import InputError
from configs.schema import DataConfig
from graph.logs.contract import day_files
from graph.logs.log import SearchLog
from graph.understanding.command import check
from prerank.encoding.columns import automatic_columns, changed_columns, named_columns, say_columns


def understand(invocation: Invocation) -> None:
    """The command: everything that the room graph says of a log, and its features.

    Raises:
        InputError: if the log cannot be used as it is, with all that stands in its way.
    """
    check(invocation, tell_features)


def tell_features(data: DataConfig, log: SearchLog) -> None:
    """Print the features that ``prerank.fit`` would use."""
    tables = {"items": log.items(), "users": log.users(), "queries": log.queries()}
    tables = {called: table for called, table in tables.items() if table is not None}
    first = next(iter(day_files(log.folder / "impressions").values()))[0]
    sources = {"impressions": pq.read_schema(first), **{called: table.schema for called, table in tables.items()}}
    try:
        if data.features:
            columns = named_columns(data.features, sources)
        else:
            rows, named = log.dataset(), ("user_id", "price")
            filled = [n for n in named if rows.scanner(columns=[n], filter=pc.field(n).is_valid()).head(1).num_rows]
            columns = automatic_columns(sources, tables, filled)
        say_columns(changed_columns(columns, data.remove_features, data.add_features, sources))
    except InputError as error:
        say(f"features: {error}")
