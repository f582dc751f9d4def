"""From the checked log to encoded columns: a stage that streams the log once and writes flat arrays.

::

    prerank/encoded/
      schema.json                                   EncodedSchema: columns, statistics, tasks, cutoffs
      items/{ids,numbers,lists_*,item_hash,training_*}.npy, item_id.parquet      a row per row of items.parquet
      <split>/{item,request,clicked,...}.npy, {ids,numbers,lists_*}.npy          a row per impression (pair side)
      <split>/requests/{ids,numbers,lists_*,list_length}.npy, requests.parquet   a row per request
      manifest.json                                 written last

Statistics come from training rows alone. Ids and words are kept as 64-bit hashes, numbers as they are: how many buckets
and which scale a model wants is the model's business, so that all systems share one encoding.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs.command import Invocation
from configs.console import say, warn
from configs.errors import InputError
from configs.keys import Keys
from configs.locks import alone
from configs.origin import origin_input, origin_of
from configs.schema import Config, DataConfig
from configs.stages import MANIFEST, Stage, plain, read_json, replacing
from graph.hashing import hash_values
from graph.logs.contract import day_files
from graph.logs.log import SearchLog, read_table
from prerank.encoding.arrays import load_array
from prerank.encoding.batches import EXPOSED, QUERIES, EncodedLog, SideArrays, TrainingCounts
from prerank.encoding.columns import (
    KEYS,
    Sources,
    automatic_columns,
    changed_columns,
    named_columns,
    require_columns,
    say_columns,
    typed,
)
from prerank.encoding.computed import Preparation
from prerank.encoding.continuing import added, queries_so_far, statistics_so_far, tasks_of
from prerank.encoding.encode import SideWriter, Tally, as_array, encode_side, in_order, number_statistics
from prerank.encoding.impressions import SplitWriter, encode_rows, whole_requests
from prerank.encoding.lookup import Lookup
from prerank.encoding.places import encoding_for, encoding_of
from prerank.encoding.schema import SIDES, SPLITS, Column, EncodedSchema, NumberStatistics, of_side, side_schema
from prerank.encoding.types import type_name

FORMAT = 1
"""Raised when the arrays' meaning changes, so that older encodings are made again."""
TYPES_FORMAT = 1
"""Of new logs: how their types are converted; raised as ``FORMAT``."""
ENCODED_KEYS = Keys(("data.features", "data.add_features", "data.remove_features", "data.cutoffs"))
"""What is encoded, and K of eq. 6."""
ITEM_ROWS = 200_000
"""Items encoded at a time."""
NUMBER_FOLDERS = {"item": "items", "request": "train/requests", "pair": "train"}
"""Where the numbers lie that a side's statistics are taken from."""


def encode_log(invocation: Invocation, log: SearchLog) -> EncodedLog:
    """Encode a run's log (:mod:`prerank.encoding.places`); a finished encoding of the same log and settings is kept.

    Args:
        invocation: :data:`ENCODED_KEYS` are what counts.
        log: the checked log.

    Raises:
        InputError: if a named feature does not fit the log, or a request-side column varies within a request.
    """
    config, run = invocation.config, invocation.run
    with alone(run.encoded):  # which decides where all of them lie
        settings = _settings(invocation)
        home = encoding_for(run, settings, log.identity)
        inputs = {"log": log.identity} | origin_input(
            config, home, lambda each: encoding_of(each, config.system), "python -m prerank.fit"
        )
        stage = Stage(home, settings, inputs, overwrite=config.overwrite)
        if stage.finished:
            say(f"encoded columns: {stage.folder} is up to date")
        else:
            origin = origin_of(config)
            before = None if origin is None else EncodedLog.open(encoding_of(origin, config.system))
            own = None if origin is None else origin.logs
            _encode(ENCODED_KEYS.view(config).data, log, stage, before, own)
    return EncodedLog.open(stage.home)


def encoding_settings(config: Config) -> dict[str, Any]:
    """What determines an encoding; keys that came later do not count where they say nothing, as in older encodings."""
    settings = ENCODED_KEYS.settings(config)
    for key in ("data.features", "data.add_features"):
        settings[key] = [{k: v for k, v in feature.items() if k != "sql" or v} for feature in settings[key]]
    later = ("data.add_features", "data.remove_features")
    return {key: value for key, value in settings.items() if value or key not in later} | {"format": FORMAT}


def _settings(invocation: Invocation) -> dict[str, Any]:
    """Those of the configuration; of a run that goes on from another, those of the encoding that it goes on from.

    Raises:
        InputError: if it is asked for other columns or cutoffs than that has.
    """
    config, settings = invocation.config, encoding_settings(invocation.config)
    origin = origin_of(config)
    for run in () if origin is None else (origin, invocation.run):
        manifest = encoding_of(run, config.system) / MANIFEST
        if manifest.exists():
            before: dict[str, Any] = read_json(manifest)["settings"]
            asked = [key for key in ENCODED_KEYS.determining if key in invocation.asked]
            differing = [key for key in asked if plain(settings.get(key)) != before.get(key)]
            if differing:
                raise InputError(
                    f"run={config.run} goes on from {config.from_run} and must have its keys: {', '.join(differing)} "
                    "differ: leave them out, or make a run of its own without from="
                )
            return before
    return settings


def _encode(data: DataConfig, log: SearchLog, stage: Stage, before: EncodedLog | None, own: Path | None) -> None:
    """Encode a log; ``before``, ``own``: the encoding that it goes on from, and the log of that."""
    tables = _tables(log)
    sources = _sources(log, tables)
    if before is not None:
        require_columns(before.schema.columns, sources)
        columns = _typed_columns(before, own)
        _trained_preparation(before, own).types.tell(sources)
    elif data.features:
        columns = named_columns(data.features, sources)
    else:
        columns = automatic_columns(sources, tables, _filled(log, ("user_id", "price")))
    if before is None:
        columns = changed_columns(columns, data.remove_features, data.add_features, sources)
    say_columns(columns)
    _start(stage)
    preparation = Preparation.of(columns) if before is None else _trained_preparation(before, own)
    tables = _prepared(tables, preparation)
    counts, seen = _write_splits(stage.folder, log, tables, preparation)
    if before is not None:
        earlier, _ = counts_by_id(before, as_array(tables["items"]["item_id"]))
        counts, seen = added(earlier, counts), seen | (earlier.impressions > 0)
    _write_items(stage.folder / "items", tables["items"], columns, counts)
    statistics = {side: _statistics(stage.folder, columns, side, seen) for side in SIDES}
    if before is None:
        cutoffs, tasks = _cutoffs(log, data.cutoffs, stage.folder)
    else:
        cutoffs, tasks = before.schema.cutoffs, tasks_of(before.schema, log)
        statistics = {side: statistics_so_far(before.schema, side, today) for side, today in statistics.items()}
        queries = read_table(stage.folder / "train" / "requests" / "requests.parquet")["query"]
        with replacing(stage.folder / QUERIES) as temporary:
            pq.write_table(queries_so_far(before, queries), temporary)
    schema = EncodedSchema(
        columns=columns,
        sides={side: side_schema(columns, side, numbers) for side, numbers in statistics.items()},
        n_items=len(tables["items"]),
        catalogue=log.catalogue,
        tasks=tasks,
        cutoffs=cutoffs,
        log=log.identity,
        splits=_announced(log),
    )
    schema.save(stage.folder / "schema.json")
    stage.finish()


def encode_new_log(trained: EncodedLog, log: SearchLog, folder: Path, own: Path | None = None) -> EncodedLog:
    """Encode another log with the columns, types, statistics and cutoffs that a model was trained with.

    Args:
        trained: the run's encoded log; training counts are taken over by item id, 0 for items that it lacks.
        log: checked, every row of it in the split ``test``.
        folder: to write to; a finished encoding of the same logs is kept.
        own: the run's checked log, which says the types of columns where an older encoding does not.

    Raises:
        InputError: if the log lacks a column that the model was trained with, or has values that its type there lacks.
    """
    settings = {"format": FORMAT, "types": TYPES_FORMAT}
    stage = Stage(folder, settings, {"log": log.identity, "trained": trained.identity}, overwrite=True)
    if stage.finished:
        return EncodedLog.open(folder)
    tables, schema = _tables(log), trained.schema
    sources = _sources(log, tables)
    require_columns(schema.columns, sources)
    preparation = _trained_preparation(trained, own)
    preparation.types.tell(sources)
    tables = _prepared(tables, preparation)
    _start(stage)
    folder = stage.folder
    _write_splits(folder, log, tables, preparation)
    counts, known = counts_by_id(trained, as_array(tables["items"]["item_id"]))
    say(f"{known:,} of the new log's {len(tables['items']):,} items are in the trained catalogue")
    _write_items(folder / "items", tables["items"], schema.columns, counts)
    tasks = dict(log.facts["tasks"])
    if not schema.tasks["rank"]["available"]:
        tasks["rank"] = schema.tasks["rank"]
    new_schema = dataclasses.replace(
        schema,
        n_items=len(tables["items"]),
        catalogue=log.catalogue,
        tasks=tasks,
        log=log.identity,
        splits=_announced(log),
    )
    new_schema.save(folder / "schema.json")
    stage.finish()
    return EncodedLog.open(stage.folder)


def _trained_preparation(trained: EncodedLog, own: Path | None) -> Preparation:
    """With the types that a log's columns were hashed in, and those of its keys."""
    columns = _typed_columns(trained, own)
    requests = trained.split("train").requests.schema
    return Preparation.of(
        columns,
        {"item_id": trained.item_ids.type, **{key: requests.field(key).type for key in ("user_id", "query")}},
    )


def _typed_columns(trained: EncodedLog, own: Path | None) -> tuple[Column, ...]:
    """The columns of an encoding with the types that they had in its log, also where an older encoding lacks them."""
    columns = trained.schema.columns
    if own is not None and (own / "log.json").exists() and not all(column.type for column in columns):
        log = SearchLog.open(own)
        columns = typed(columns, _sources(log, _tables(log)))
    return columns


def _prepared(tables: Mapping[str, pa.Table], preparation: Preparation) -> dict[str, pa.Table]:
    return {name: preparation.table(table, name).combine_chunks() for name, table in tables.items()}


def _start(stage: Stage) -> None:
    """Start over: half an encoding, left by a killed command, cannot be continued."""
    if stage.start():
        for left in stage.folder.iterdir():
            if left.is_dir():
                shutil.rmtree(left)


def _tables(log: SearchLog) -> dict[str, pa.Table]:
    tables = {"items": log.items(), "users": log.users(), "queries": log.queries()}
    return {name: table.combine_chunks() for name, table in tables.items() if table is not None}


def _sources(log: SearchLog, tables: Mapping[str, pa.Table]) -> Sources:
    first_day = next(iter(day_files(log.folder / "impressions").values()))
    return {"impressions": pq.read_schema(first_day[0]), **{name: table.schema for name, table in tables.items()}}


def _filled(log: SearchLog, names: Sequence[str]) -> list[str]:
    """Those of the impressions' columns that hold any value; what is left out is said."""
    rows = log.dataset()
    filled = [n for n in names if rows.scanner(columns=[n], filter=pc.field(n).is_valid()).head(1).num_rows]
    for name in names:
        if name not in filled:
            say(f"impressions: column {name} holds no value and is no feature")
    return filled


def _announced(log: SearchLog) -> dict[str, dict[str, int]]:
    """Rows and requests of the splits that have any, from log.json."""
    facts = log.facts["splits"]
    return {
        name: {what: facts[name][what] for what in ("rows", "requests")}
        for name in SPLITS
        if name in facts and facts[name]["rows"]
    }


def _write_splits(
    folder: Path, log: SearchLog, tables: Mapping[str, pa.Table], preparation: Preparation
) -> tuple[TrainingCounts, npt.NDArray[np.bool_]]:
    """Stream the impressions once; return what training rows say of each item, and which items occur in them."""
    tally: Tally = Counter()
    columns = preparation.columns
    lookups = {name: Lookup(table, KEYS[name]) for name, table in tables.items()}
    size = len(tables["items"])
    counts = TrainingCounts(*(np.zeros(size, np.int64) for _ in range(3)))
    seen = np.zeros(size, np.bool_)
    with ExitStack() as opened:
        writers = {}
        for name, announced in _announced(log).items():
            temporary = opened.enter_context(replacing(folder / name))
            writers[name] = opened.enter_context(SplitWriter(temporary, announced, columns))
        chunks = (preparation.impressions(chunk, lookups) for chunk in whole_requests(log, columns))
        parts = _parts(chunks, writers)
        for name, encoded in in_order(lambda part: (part[0], encode_rows(part[1], columns, lookups)), parts):
            writers[name].append(encoded)
            tally.update(encoded.tally)
            if name == "train":
                _count(encoded.arrays, counts)
                seen[encoded.arrays["item"]] = True
    _say_tally(tally)
    return counts, seen


def _parts(chunks: Iterable[pa.Table], splits: Iterable[str]) -> Iterator[tuple[str, pa.Table]]:
    """The rows of each split in each chunk."""
    for chunk in chunks:
        for name in splits:
            mine = pc.equal(chunk["split"], name)
            rows = chunk if pc.all(mine).as_py() else chunk.filter(mine)
            if len(rows):
                yield name, rows


def _count(arrays: Mapping[str, npt.NDArray[Any]], counts: TrainingCounts) -> None:
    """Add exposures, and the clicks and orders on them."""
    exposed = arrays["stage"] == EXPOSED
    item = arrays["item"][exposed]
    np.add.at(counts.impressions, item, 1)
    np.add.at(counts.clicks, item, arrays["clicked"][exposed].astype(np.int64))
    np.add.at(counts.orders, item, arrays["ordered"][exposed].astype(np.int64))


def _write_items(folder: Path, items: pa.Table, columns: tuple[Column, ...], counts: TrainingCounts) -> None:
    tally: Tally = Counter()

    def encode(start: int) -> tuple[SideArrays, Tally]:
        part, of_part = items.slice(start, ITEM_ROWS), Counter[tuple[str, str]]()
        return encode_side(columns, "item", len(part), lambda column: as_array(part[column.name]), of_part), of_part

    with replacing(folder) as temporary:
        writer = SideWriter(temporary, columns, "item", len(items))
        for encoded, of_part in in_order(encode, range(0, len(items), ITEM_ROWS)):
            writer.append(encoded)
            tally.update(of_part)
        writer.close()
        np.save(temporary / "item_hash.npy", hash_values(items["item_id"]))
        np.save(temporary / "training_impressions.npy", counts.impressions)
        np.save(temporary / "training_clicks.npy", counts.clicks)
        np.save(temporary / "training_orders.npy", counts.orders)
        pq.write_table(items.select(["item_id"]), temporary / "item_id.parquet")
    _say_tally(tally)


def counts_by_id(trained: EncodedLog, asked: pa.Array) -> tuple[TrainingCounts, int]:
    """The trained log's counts for other item ids, and how many of these it knows; 0 for the others.

    Raises:
        InputError: if the ids are of another type.
    """
    known = trained.item_ids
    if type_name(known.type) != type_name(asked.type):
        raise InputError(
            f"items.parquet: item_id has type {asked.type}, the log that the model was trained on has {known.type}: "
            "write both in one type"
        )
    indices = pc.index_in(asked.cast(known.type), value_set=known)
    counts = trained.training_counts
    row = indices.fill_null(0).to_numpy(zero_copy_only=False)
    new = indices.is_null().to_numpy(zero_copy_only=False)
    asked_counts = TrainingCounts(
        *(np.where(new, 0, each.take(row)) for each in (counts.impressions, counts.clicks, counts.orders))
    )
    return asked_counts, len(asked) - indices.null_count


def _statistics(
    folder: Path, columns: tuple[Column, ...], side: str, seen: npt.NDArray[np.bool_]
) -> tuple[NumberStatistics, ...]:
    """Statistics of a side's numbers: over items seen in training, training requests, or training rows."""
    numbers = load_array(folder / NUMBER_FOLDERS[side] / "numbers.npy")
    return number_statistics(of_side(columns, side, "number"), numbers[seen] if side == "item" else numbers)


def _cutoffs(log: SearchLog, asked: Sequence[int], folder: Path) -> tuple[tuple[int, ...], dict[str, Any]]:
    """The tasks, and the cutoffs k that training lists can tell: all of a list of k or fewer is in its top k."""
    tasks = dict(log.facts["tasks"])
    if not tasks["rank"]["available"]:
        warn(f"rank labels are off: {tasks['rank']['reason']}")
        return (), tasks
    longest = int(load_array(folder / "train" / "requests" / "list_length.npy").max(initial=0))
    cutoffs = tuple(k for k in asked if k < longest)
    dropped = [k for k in asked if k >= longest]
    if dropped:
        say(f"data.cutoffs: dropped {dropped}: the longest ranked list of a training request has {longest} items")
    if not cutoffs:
        reason = f"no training request has more than {min(asked)} ranked items: lower data.cutoffs {list(asked)}"
        warn(f"rank labels are off: {reason}")
        tasks["rank"] = {"available": False, "reason": reason}
    return cutoffs, tasks


def _say_tally(tally: Tally) -> None:
    for (column, what), count in tally.items():
        if count:
            say(f"{column}: {count:,} {what}")
